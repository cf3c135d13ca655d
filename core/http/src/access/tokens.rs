//! Tokens: the settings by which connections are identified.

mod credentials;
mod key;
mod refusal;

use alloc::{boxed::Box, format, string::String, string::ToString, vec::Vec};

use roomcast_core::{
    Identity,
    policy::{GrantRule, Grants, StandardGrants},
};
use roomcast_token::{Claims, FetchPace, JwksUrl, KeyError, Verifier};

pub(crate) use self::key::keys;
pub use self::{credentials::Credentials, key::TokenKey, refusal::TokenRefusal};
use crate::settings::setting::SettingError;

/// Settings of tokens: the keys that verify them, and the conditions on them. By default there are
/// none, and all clients are anonymous.
///
/// Secrets are never printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tokens {
    /// Keys; default none. Two keys make it possible to change them without a gap.
    pub keys: Vec<TokenKey>,
    /// The URL of published keys; default none.
    pub jwks: Option<JwksUrl>,
    /// The pace at which published keys are fetched; by default hourly, and at most every 30 s.
    pub jwks_pace: FetchPace,
    /// The issuer that each token must name, as its `iss`; default none.
    pub issuer: Option<Box<str>>,
    /// The audience that each token must name, in its `aud`; default none: then a token must have
    /// none.
    pub audience: Option<Box<str>>,
    /// Lets clients without a token in; default yes, and no as soon as there is a key or a URL of
    /// published keys.
    pub anonymous: Option<bool>,
}

impl Tokens {
    /// True when tokens are verified, or needed.
    pub fn is_on(&self) -> bool {
        !self.keys.is_empty() || self.jwks.is_some() || self.anonymous == Some(false)
    }

    /// True when a client without a token may connect.
    pub fn lets_anonymous_in(&self) -> bool {
        self.anonymous.unwrap_or(!self.is_on())
    }

    /// The ways in which clients are identified, for a log: `tokens (HS256, published keys)`.
    pub fn summary(&self) -> String {
        let algorithms = self.keys.iter().filter_map(TokenKey::key);
        let mut names: Vec<_> = algorithms.map(|key| key.algorithm().name()).collect();
        names.sort_unstable();
        names.dedup();
        names.extend(self.jwks.as_ref().map(|_| "published keys"));
        let names = names.join(", ");
        match (names.is_empty(), self.lets_anonymous_in()) {
            (false, false) => format!("tokens ({names})"),
            (false, true) => format!("tokens ({names}), or anonymous"),
            (true, true) => "anonymous: no key for tokens".into(),
            (true, false) => "no anonymous clients, and no key for tokens".into(),
        }
    }

    /// Warnings about configured grants that probably do not do what was intended, each a line for
    /// a log: patterns that also fit other names, and rules for anyone where clients without a
    /// token are refused.
    pub fn grant_warnings(&self, grants: &StandardGrants) -> Vec<String> {
        let mut warnings: Vec<_> = grants.iter().filter_map(GrantRule::warning).collect();
        let mut for_anyone = grants.for_anyone();
        if !self.lets_anonymous_in()
            && let Some(first) = for_anyone.next()
        {
            let more = match for_anyone.count() {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            warnings.push(format!(
                "the rule for \"{}\"{more} is for \"anyone\", and clients without a token are refused, \
                 so that it is for users alone: set ROOMCAST_ANONYMOUS (--anonymous) to on, or write \
                 for = \"users\"",
                first.rooms
            ));
        }
        warnings
    }

    /// The verifier with these keys and conditions. A host makes it once.
    ///
    /// # Errors
    ///
    /// When a key is in a file that was not read, there are too many, or two have one id.
    pub fn verifier(&self) -> Result<Verifier, SettingError> {
        let read = self.keys.iter().map(TokenKey::key);
        let keys: Option<Vec<_>> = read.map(|key| key.cloned()).collect();
        let keys = keys.ok_or_else(|| SettingError::new("token-key", key::UNREAD))?;
        let fault = |fault: KeyError| SettingError::new("token-key", fault.to_string());
        let mut verifier = Verifier::new(keys).map_err(fault)?;
        if let Some(issuer) = &self.issuer {
            verifier = verifier.with_issuer(issuer.clone());
        }
        if let Some(audience) = &self.audience {
            verifier = verifier.with_audience(audience.clone());
        }
        Ok(verifier)
    }

    /// Reads the files of keys, with a function of the host. Files that were read before are read
    /// again.
    ///
    /// # Errors
    ///
    /// The first key that cannot be read, by its number: its text may be a secret that was given
    /// without `hs256:`.
    pub fn read_files<E: core::fmt::Display>(
        &mut self,
        read: impl Fn(&str) -> Result<String, E>,
    ) -> Result<(), SettingError> {
        for (index, key) in self.keys.iter_mut().enumerate() {
            let Some(file) = key.file() else { continue };
            let fault = |fault: &dyn core::fmt::Display| {
                let number = index + 1;
                SettingError::new("token-key", format!("has a key {number} {fault}"))
            };
            let text = read(file).map_err(|cause| {
                fault(&format_args!(
                    "that is no file that can be read ({cause}): name a file, or begin a secret with \
                     hs256:"
                ))
            })?;
            let read = key.with_text(&text);
            *key = read.map_err(|cause| fault(&format_args!("in a file: {cause}")))?;
        }
        Ok(())
    }

    /// Checks the relations between the settings of tokens.
    ///
    /// # Errors
    ///
    /// The first that must change.
    pub(crate) fn check(&self) -> Result<(), SettingError> {
        let has_keys = !self.keys.is_empty() || self.jwks.is_some();
        let conditions = [
            ("token-issuer", &self.issuer),
            ("token-audience", &self.audience),
        ];
        for (name, condition) in conditions {
            if condition.is_some() && !has_keys {
                let fault = "is a condition on tokens, and there is no key for them: set \
                             ROOMCAST_TOKEN_KEY (--token-key) or ROOMCAST_JWKS (--jwks)";
                return Err(SettingError::new(name, fault));
            }
        }
        if self.jwks_pace.refresh < self.jwks_pace.interval {
            let fault = "must be at least ROOMCAST_JWKS_INTERVAL_MS (--jwks-interval-ms): keys \
                         are not fetched more often";
            return Err(SettingError::new("jwks-refresh-ms", fault));
        }
        // Files are read later, and their keys checked then.
        if self.keys.iter().all(|key| key.key().is_some()) {
            self.verifier()?;
        }
        Ok(())
    }
}

/// The identity that a token gives.
pub fn identity_of(claims: Claims) -> Identity {
    let mut identity = Identity::user(claims.user)
        .with_grants(claims.grants)
        .with_deadline(claims.deadline);
    identity.issued_s = claims.issued_s;
    identity.meta = claims.meta.map(|meta| meta.get().into());
    identity.rooms = claims.rooms;
    identity
}

/// The identity of a client without a token. `restricted` says that the settings have tokens or
/// grants: then the client has the rights that grants give to anyone, and otherwise all rights.
pub fn anonymous_identity(restricted: bool) -> Identity {
    let mut identity = Identity::new();
    identity.grants = restricted.then(Grants::default);
    identity
}

#[cfg(test)]
mod tests;
