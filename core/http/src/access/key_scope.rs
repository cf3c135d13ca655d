//! Scopes of API keys.

/// Calls that a key of the HTTP API allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum KeyScope {
    /// `POST send` only.
    Publish,
    /// The calls that change nothing: rooms, members, histories, connections.
    Read,
    /// Every call, also those that join, remove and disconnect.
    Admin,
}

impl KeyScope {
    /// All scopes.
    pub const ALL: [Self; 3] = [Self::Publish, Self::Read, Self::Admin];

    /// The word that stands for the scope in the settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }
}

/// A set of scopes under which a given key is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyScopes(u8);

impl KeyScopes {
    /// The set without a scope.
    pub(crate) const NONE: Self = Self(0);

    /// True for the set without a scope.
    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set with one more scope if the condition holds. It takes the same time if not.
    pub(crate) fn with(self, scope: KeyScope, holds: bool) -> Self {
        Self(self.0 | (u8::from(holds) * bit(scope)))
    }

    /// True when one of the scopes allows a call that needs this one.
    pub(crate) const fn allow(self, needed: KeyScope) -> bool {
        self.0 & (bit(needed) | bit(KeyScope::Admin)) != 0
    }
}

const fn bit(scope: KeyScope) -> u8 {
    1 << scope as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_allows_all_and_the_others_themselves() {
        for scope in KeyScope::ALL {
            let scopes = KeyScopes::NONE.with(scope, true);
            for needed in KeyScope::ALL {
                let allowed = scope == needed || scope == KeyScope::Admin;
                assert_eq!(scopes.allow(needed), allowed, "{scope:?} for {needed:?}");
                assert!(!KeyScopes::NONE.with(scope, false).allow(needed));
            }
        }
        let both = KeyScopes::NONE
            .with(KeyScope::Publish, true)
            .with(KeyScope::Read, true);
        assert!(both.allow(KeyScope::Publish) && both.allow(KeyScope::Read));
        assert!(!both.allow(KeyScope::Admin));
    }
}
