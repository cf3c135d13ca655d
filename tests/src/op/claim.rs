//! The claims of a token that a client of a story shows.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use roomcast_core::{Identity, Timestamp, UnixTime, policy::GrantRules};
use roomcast_token::{NewToken, SigningKey};

use crate::escape::{escape, expand};

/// The claims of a token: the user, the time it is valid, and its rights.
#[derive(Clone, PartialEq, Eq)]
pub struct Claim {
    /// The user.
    pub user: Box<str>,
    /// Seconds for which the token is valid when it is shown; a server may find one less.
    pub left_s: u32,
    /// The grants, JSON.
    pub grants: Box<str>,
}

/// The key for the tokens of stories, in the form that servers take. It has no comma, which would
/// end it in a variable.
pub(crate) const KEY: &str = "hs256:the secret of all stories of 38 bytes";
/// The time for which a server accepts a token after its end.
const LEEWAY_S: u64 = 10;

impl Claim {
    /// Parses the words after `authenticates as`.
    pub(super) fn parse(words: &str) -> Option<Self> {
        let (user, words) = words.split_once(" for ")?;
        let (left_s, grants) = words.split_once(" s with ")?;
        let (user, left_s) = (expand(user).into(), left_s.parse().ok()?);
        GrantRules::from_json(grants).ok()?;
        let grants = grants.into();
        Some(Self {
            user,
            left_s,
            grants,
        })
    }

    /// The message that shows a token.
    pub(crate) fn text(token: &str) -> String {
        format!(r#"{{"event":"$auth","id":"auth","data":{{"token":"{token}"}}}}"#)
    }

    fn rules(&self) -> GrantRules {
        GrantRules::from_json(&self.grants).unwrap_or_default()
    }

    /// The token, signed at this moment.
    pub(crate) fn sign(&self) -> String {
        let (rules, now) = (self.rules(), unix_s());
        let until = (now + u64::from(self.left_s)).saturating_sub(LEEWAY_S);
        let mut token = NewToken::new(&self.user, now, until);
        token.grants = Some(&rules);
        let json = serde_json::to_string(&token).unwrap_or_default();
        let key = SigningKey::parse(KEY);
        key.map(|key| key.sign_json(&json)).unwrap_or_default()
    }

    /// The identity that a host makes of the token.
    pub(crate) fn identity(&self, now: Timestamp, unix: UnixTime) -> Option<Identity> {
        let grants = self.rules().all_for_user(&self.user).ok()?;
        let until = now + Duration::from_secs(self.left_s.into());
        let identity = Identity::user(&*self.user).with_grants(grants);
        let mut identity = identity.with_deadline(until);
        identity.issued_s = Some(unix.as_millis() / 1000);
        Some(identity)
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (user, left_s, grants) = (escape(&self.user), self.left_s, &self.grants);
        write!(f, "{user} for {left_s} s with {grants}")
    }
}

/// Seconds since 1970.
pub(crate) fn unix_s() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed();
    since.map_or(0, |since| since.as_secs())
}
