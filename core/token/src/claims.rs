//! Claims of a token whose signature is valid.

use alloc::{borrow::ToOwned, boxed::Box, string::String, vec::Vec};
use core::time::Duration;

use roomcast_core::{
    Timestamp,
    policy::{GrantRules, Grants},
};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    error::TokenError,
    json::Object,
    limits::{LEEWAY_S, UNIX_S_MAX, USER_BYTES_MAX},
    now::Now,
};

/// Claims of a valid token: who a connection is, until when, and what it may do. Other claims are
/// ignored.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Claims {
    /// The user, from `sub`: 1 to 200 bytes without control characters.
    pub user: Box<str>,
    /// The end of the token, from `exp`: on the monotonic clock, so that a step of the wall clock
    /// changes nothing. It includes the leeway of 10 s.
    pub deadline: Timestamp,
    /// The time when the token was made, from `iat`, in seconds since 1970.
    pub issued_s: Option<u64>,
    /// The rights, from `grants`; none without it. `{user}` is replaced by the user.
    pub grants: Grants,
    /// Metadata that presence shows by default, from `meta`, unchanged. The hub limits its size.
    pub meta: Option<Box<RawValue>>,
    /// Rooms to join at once, from `rooms`. They give no rights: `grants` must allow each join. The
    /// hub limits their number and checks their names.
    pub rooms: Vec<Box<str>>,
}

/// Configured conditions on claims.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conditions {
    pub(crate) issuer: Option<Box<str>>,
    pub(crate) audience: Option<Box<str>>,
}

impl Claims {
    pub(crate) fn read(
        payload: &[u8],
        conditions: &Conditions,
        now: Now,
    ) -> Result<Self, TokenError> {
        let part = "claims";
        let object = Object::read(payload).map_err(|fault| TokenError::Json { part, fault })?;
        let time = |claim| time(&object, claim);

        let expires = time("exp")?.ok_or(TokenError::Missing { claim: "exp" })?;
        let end = expires.saturating_add(LEEWAY_S);
        let left = end.checked_sub(now.unix_s).filter(|left| *left > 0);
        let left = left.ok_or_else(|| TokenError::Expired {
            ago_s: now.unix_s.saturating_sub(expires),
        })?;
        let ahead_s = time("nbf")?.unwrap_or(0).saturating_sub(now.unix_s);
        if ahead_s > LEEWAY_S {
            return Err(TokenError::NotYet { ahead_s });
        }
        conditions.check(&object)?;
        let user = user(&object)?;
        let grants = match object.raw("grants") {
            Some(json) => GrantRules::from_json(json.get())
                .and_then(|rules| rules.all_for_user(&user))
                .map_err(TokenError::Grants)?,
            None => Grants::default(),
        };
        Ok(Self {
            user,
            deadline: now.time + Duration::from_secs(left),
            issued_s: time("iat")?,
            grants,
            meta: object.raw("meta").map(RawValue::to_owned),
            rooms: claim(&object, "rooms", "a list of strings")?.unwrap_or_default(),
        })
    }
}

impl Conditions {
    fn check(&self, object: &Object<'_>) -> Result<(), TokenError> {
        let found: Option<String> = claim(object, "iss", "a string")?;
        if let Some(issuer) = &self.issuer {
            let found = found.ok_or(TokenError::Missing { claim: "iss" })?;
            if *found != **issuer {
                let found = found.chars().take(100).collect::<String>().into();
                return Err(TokenError::Issuer { found });
            }
        }
        let found: Option<Audience> = claim(object, "aud", "a string or a list of strings")?;
        match (&self.audience, found) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err(TokenError::AudienceUnset),
            (Some(_), None) => Err(TokenError::Missing { claim: "aud" }),
            (Some(audience), Some(found)) if found.has(audience) => Ok(()),
            (Some(_), Some(_)) => Err(TokenError::Audience),
        }
    }
}

/// The two forms of `aud`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn has(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Several(several) => several.iter().any(|one| one == audience),
        }
    }
}

fn claim<'a, T: Deserialize<'a>>(
    object: &Object<'a>,
    claim: &'static str,
    expected: &'static str,
) -> Result<Option<T>, TokenError> {
    let value = object.get(claim);
    value.map_err(|_| TokenError::Claim { claim, expected })
}

/// A time in whole seconds since 1970; fractions of a second are cut off.
fn time(object: &Object<'_>, name: &'static str) -> Result<Option<u64>, TokenError> {
    let expected = "a number of seconds since 1970, up to the year 9999 (milliseconds are larger)";
    let seconds: Option<f64> = claim(object, name, expected)?;
    let whole = seconds.map(|seconds| {
        let time = Duration::try_from_secs_f64(seconds).ok()?;
        Some(time.as_secs()).filter(|whole| *whole <= UNIX_S_MAX)
    });
    match whole {
        None => Ok(None),
        Some(Some(whole)) => Ok(Some(whole)),
        Some(None) => Err(TokenError::Claim {
            claim: name,
            expected,
        }),
    }
}

fn user(object: &Object<'_>) -> Result<Box<str>, TokenError> {
    let expected = "a string of 1 to 200 bytes without control characters";
    let user: Option<Box<str>> = claim(object, "sub", expected)?;
    let user = user.ok_or(TokenError::Missing { claim: "sub" })?;
    if (1..=USER_BYTES_MAX).contains(&user.len()) && !user.contains(char::is_control) {
        Ok(user)
    } else {
        Err(TokenError::Claim {
            claim: "sub",
            expected,
        })
    }
}
