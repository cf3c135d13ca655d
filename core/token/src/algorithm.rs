//! Algorithms of signatures.

use core::fmt;

/// An algorithm by which a token is signed. It belongs to the key; a token's header may only
/// repeat it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// HMAC with SHA-256, `HS256`: the key that verifies can also sign.
    Hs256,
    /// ECDSA on P-256 with SHA-256, `ES256`.
    Es256,
    /// Ed25519, `EdDSA`, or `Ed25519` by RFC 9864.
    EdDsa,
    /// RSA of 2048 to 4096 bits with PKCS #1 v1.5 and SHA-256, `RS256`; feature `rs256`.
    Rs256,
}

impl Algorithm {
    /// The name in the header of a token.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }

    /// The algorithm with this name, which is case-sensitive.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let all = [Self::Hs256, Self::Es256, Self::EdDsa, Self::Rs256];
        let found = all.into_iter().find(|algorithm| algorithm.name() == name);
        found.or_else(|| (name == "Ed25519").then_some(Self::EdDsa))
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
