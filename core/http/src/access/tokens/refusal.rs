//! Reasons for which a client's token is refused.

use roomcast_core::{ErrorCode, wire::Details};
use roomcast_core::{Timestamp, wire::Coded};
use roomcast_token::{Jwks, Missing, TokenError};

use crate::problem::Reason;

/// A reason for which a client's token is refused. Its text is for the log; the client gets
/// [`client_text`](Self::client_text), which does not reveal how far a forgery came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenRefusal {
    /// The token is not valid.
    #[error("{0}")]
    Invalid(TokenError),
    /// There is no token, and no way to send one later; or the `$auth` that should have a token has
    /// none.
    #[error(
        "the client sent no token: it goes into the request, or into `data` of $auth as `token`"
    )]
    Missing,
    /// The request has two different tokens.
    #[error(
        "the request has two different tokens: the client is to send one, in `Authorization`, as a \
         subprotocol or in `?token=`"
    )]
    Several,
    /// Published keys could not be fetched yet.
    #[error(
        "no published keys could be fetched yet, and the token needs one: see the lines about \
         `jwks`, and whether this machine reaches its URL"
    )]
    Unavailable,
    /// The identity expired before the namespace accepted the connection.
    #[error("the token expired while the client connected: renew it earlier")]
    Expired,
    /// The user's earlier tokens were withdrawn.
    #[error(
        "the user's tokens from before a time were withdrawn (`not_before`): have a new one signed, \
         whose `iat` is not earlier"
    )]
    Withdrawn,
}

impl TokenRefusal {
    /// The text for the client.
    pub const fn client_text(&self) -> &'static str {
        match self {
            Self::Invalid(_) => TokenError::CLIENT_TEXT,
            Self::Missing => {
                "a token is needed: send Authorization: Bearer TOKEN, or offer the subprotocol \
                 bearer.TOKEN"
            }
            Self::Several => "the request has two different tokens: send one",
            Self::Expired => "the token expired",
            Self::Withdrawn => "the token was withdrawn",
            Self::Unavailable => "the server has no keys to verify tokens with yet: try again",
        }
    }

    /// The reason under which a host counts it.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Missing => Reason::TokenMissing,
            Self::Several => Reason::TokenSeveral,
            Self::Unavailable => Reason::TokenUnavailable,
            Self::Expired => Reason::TokenExpired,
            Self::Withdrawn => Reason::TokenWithdrawn,
            Self::Invalid(error) => match error.label() {
                "header" => Reason::TokenHeader,
                "algorithm" => Reason::TokenAlgorithm,
                "unknown_key" => Reason::TokenUnknownKey,
                "signature" => Reason::TokenSignature,
                "claims" => Reason::TokenClaims,
                "expired" => Reason::TokenExpired,
                "not_yet" => Reason::TokenNotYet,
                "issuer" => Reason::TokenIssuer,
                "audience" => Reason::TokenAudience,
                "grants" => Reason::TokenGrants,
                _ => Reason::TokenMalformed,
            },
        }
    }

    /// The refusal of a token that was not valid, where keys are published. With `None`, wait for
    /// the fetch that runs or is due, and verify the token again.
    #[allow(clippy::wildcard_enum_match_arm)] // no fetch helps against the others
    pub fn after(error: TokenError, published: &mut Jwks, now: Timestamp) -> Option<Self> {
        let kid = match &error {
            TokenError::UnknownKey { kid } => &**kid,
            // The first keys that are fetched may have it.
            TokenError::NoKey { .. } if published.keys().keys().next().is_none() => "",
            _ => return Some(Self::Invalid(error)),
        };
        match published.missing(now, kid) {
            Missing::Wait => None,
            Missing::Unknown => Some(Self::Invalid(error)),
            Missing::Unavailable => Some(Self::Unavailable),
        }
    }
}

impl Coded for TokenRefusal {
    fn row(&self) -> (ErrorCode, Option<Details>) {
        let code = match self {
            Self::Invalid(_) | Self::Missing | Self::Several => ErrorCode::Unauthorized,
            Self::Expired | Self::Withdrawn => ErrorCode::Unauthorized,
            Self::Unavailable => ErrorCode::Unavailable,
        };
        (code, None)
    }
}
