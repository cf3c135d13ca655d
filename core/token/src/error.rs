//! Causes for which a token is refused.

use alloc::boxed::Box;

use roomcast_core::policy::GrantsError;

use crate::{algorithm::Algorithm, json::JsonError, limits::TOKEN_BYTES_MAX};

/// A cause for which a token is refused. Its text is for the server's log: it names the rule, and
/// never contains the token. A client always gets [`CLIENT_TEXT`](Self::CLIENT_TEXT).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The token is over 8 KiB.
    #[error("the token has {bytes} bytes, over {TOKEN_BYTES_MAX}: give it fewer claims")]
    Length {
        /// The bytes of the token.
        bytes: usize,
    },
    /// The token is not a JWS in compact form.
    #[error(
        "the token is not three parts of base64url without padding, with dots between them: send a \
         signed JWT, as it was made"
    )]
    Shape,
    /// A part of the token is not a JSON object, or has duplicate keys.
    #[error("the token's {part} {fault}")]
    Json {
        /// `header` or `claims`.
        part: &'static str,
        /// The fault.
        fault: JsonError,
    },
    /// The header has a member that no token needs, and that attacks use.
    #[error("the token's header has `{member}`, which is refused: sign without it")]
    Header {
        /// The member.
        member: &'static str,
    },
    /// A member of the header has the wrong type.
    #[error("the token's header has a `{member}` that is not {expected}")]
    HeaderType {
        /// The member.
        member: &'static str,
        /// The type that it must have.
        expected: &'static str,
    },
    /// The header names an algorithm that is never accepted, such as `none`.
    #[error("the token's header has the `alg` {said:?}: sign with HS256, ES256, EdDSA or RS256")]
    Algorithm {
        /// The algorithm in the header, at most 20 characters of it.
        said: Box<str>,
    },
    /// The token is signed with RSA, and the server was built without it.
    #[error(
        "the token is signed with RS256, and this server was built without the feature `rs256`: build \
         it with that, or sign with ES256 or EdDSA"
    )]
    RsaLeftOut,
    /// The header names another algorithm than that of its key.
    #[error(
        "the token says {said}, and the key {kid:?} that it names is for another algorithm: sign with \
         that of the key"
    )]
    OtherAlgorithm {
        /// The algorithm in the header.
        said: Algorithm,
        /// The id of the key.
        kid: Box<str>,
    },
    /// No key has the id that the header names. It may have been published since the last fetch:
    /// see [`Jwks::missing`](crate::Jwks::missing).
    #[error(
        "no key has the id {kid:?} that the token names: give it in `token-key`, or publish it at the \
         URL of `jwks`"
    )]
    UnknownKey {
        /// The id.
        kid: Box<str>,
    },
    /// The token names no key, and no configured key and not exactly one published key is for its
    /// algorithm.
    #[error(
        "the token names no key (`kid`), and there is none for {said} in `token-key`, and not exactly \
         one at the URL of `jwks`: give one, or have tokens name theirs"
    )]
    NoKey {
        /// The algorithm in the header.
        said: Algorithm,
    },
    /// The signature is not that of the key.
    #[error(
        "the signature does not fit: the token was signed with another key than that of `token-key` or \
         `jwks`, or changed on its way"
    )]
    Signature,
    /// A claim is missing.
    #[error("the token has no `{claim}`: sign it with one")]
    Missing {
        /// The claim.
        claim: &'static str,
    },
    /// A claim has the wrong type, or is out of range.
    #[error("the token's `{claim}` is not {expected}")]
    Claim {
        /// The claim.
        claim: &'static str,
        /// The type that it must have.
        expected: &'static str,
    },
    /// The token has expired.
    #[error("the token expired {ago_s} s ago (`exp`): renew it earlier, or compare the clocks")]
    Expired {
        /// Seconds since then.
        ago_s: u64,
    },
    /// The token is not valid yet.
    #[error("the token is not valid for another {ahead_s} s (`nbf`): compare the clocks")]
    NotYet {
        /// Seconds until then.
        ahead_s: u64,
    },
    /// The token is from another issuer than the configured one.
    #[error("the token's `iss` is {found:?}, and `token-issuer` is another")]
    Issuer {
        /// The issuer in the token, at most 100 characters of it.
        found: Box<str>,
    },
    /// The token is for another audience than the configured one.
    #[error("the token's `aud` does not hold the audience of `token-audience`")]
    Audience,
    /// The token is for an audience, and none is configured.
    #[error("the token is for an audience (`aud`), and none is configured: set `token-audience`")]
    AudienceUnset,
    /// The token's grants are not valid.
    #[error("the token's `grants` are not as they must be: {0}")]
    Grants(GrantsError),
}

impl TokenError {
    /// The text for clients, the same for all causes: more would tell an attacker how far a forgery
    /// came.
    pub const CLIENT_TEXT: &'static str = "the token is not valid; the server's log says why";

    /// A short name of the cause, for metrics, from a small fixed set.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Length { .. } | Self::Shape | Self::Json { .. } => "malformed",
            Self::Header { .. } | Self::HeaderType { .. } => "header",
            Self::Algorithm { .. } | Self::OtherAlgorithm { .. } | Self::RsaLeftOut => "algorithm",
            Self::UnknownKey { .. } | Self::NoKey { .. } => "unknown_key",
            Self::Signature => "signature",
            Self::Missing { .. } | Self::Claim { .. } => "claims",
            Self::Expired { .. } => "expired",
            Self::NotYet { .. } => "not_yet",
            Self::Issuer { .. } => "issuer",
            Self::Audience | Self::AudienceUnset => "audience",
            Self::Grants(_) => "grants",
        }
    }
}
