//! Signing of tokens, for the command line and for tests.

use alloc::{boxed::Box, format, string::String};
use core::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};
use roomcast_core::{Timestamp, policy::GrantRules};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    algorithm::Algorithm,
    error::TokenError,
    json::JsonError,
    key::{self, Key, KeyError, signing::Signing},
    key_set::KeySet,
    now::Now,
    verifier::Verifier,
};

/// A key that signs. It never appears in logs.
///
/// ```
/// use roomcast_token::{KeySet, NewToken, Now, SigningKey, Verifier};
/// # use roomcast_core::Timestamp;
///
/// let key = SigningKey::parse("hs256:a secret of at least thirty-two bytes")?;
/// let token = key.sign(&NewToken::new("alice", 1_000, 4_600))?;
/// let verifier = Verifier::new([key.key()])?;
/// let now = Now { unix_s: 2_000, time: Timestamp::ZERO };
/// assert_eq!(&*verifier.verify(&token, &KeySet::default(), now)?.user, "alice");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SigningKey {
    id: Option<Box<str>>,
    signing: Signing,
}

/// The claims of a token to be made.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct NewToken<'a> {
    /// The user.
    #[serde(rename = "sub")]
    pub user: &'a str,
    /// The time at which it is made, in seconds since 1970.
    #[serde(rename = "iat")]
    pub issued_s: u64,
    /// The time at which it ends, in seconds since 1970.
    #[serde(rename = "exp")]
    pub expires_s: u64,
    /// The time at which it begins, in seconds since 1970.
    #[serde(rename = "nbf", skip_serializing_if = "Option::is_none")]
    pub not_before_s: Option<u64>,
    /// The issuer.
    #[serde(rename = "iss", skip_serializing_if = "Option::is_none")]
    pub issuer: Option<&'a str>,
    /// The audience.
    #[serde(rename = "aud", skip_serializing_if = "Option::is_none")]
    pub audience: Option<&'a str>,
    /// The rights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grants: Option<&'a GrantRules>,
    /// Metadata that presence shows by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<&'a RawValue>,
    /// Rooms to join at once.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub rooms: &'a [&'a str],
}

/// The header of a token.
#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    typ: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
}

impl<'a> NewToken<'a> {
    /// A token of a user without rights, valid between two times in seconds since 1970.
    pub const fn new(user: &'a str, issued_s: u64, expires_s: u64) -> Self {
        Self {
            user,
            issued_s,
            expires_s,
            not_before_s: None,
            issuer: None,
            audience: None,
            grants: None,
            meta: None,
            rooms: &[],
        }
    }
}

impl SigningKey {
    /// Reads `hs256:` and a secret, or the text of a PEM (`-----BEGIN PRIVATE KEY-----`) or a JWK
    /// with its private half. The id of a JWK becomes the `kid` of its tokens.
    ///
    /// # Errors
    ///
    /// When the text is not such a key, or is an RSA key, which can only verify.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let (id, signing) = key::private(text)?;
        Ok(Self { id, signing })
    }

    /// The algorithm of its tokens.
    pub fn algorithm(&self) -> Algorithm {
        self.key().algorithm()
    }

    /// The key that verifies its tokens.
    pub fn key(&self) -> Key {
        Key::of(self.id.clone(), &self.signing)
    }

    /// Makes a token.
    ///
    /// # Errors
    ///
    /// When a server with the same issuer and audience would refuse it even when it becomes valid.
    pub fn sign(&self, token: &NewToken<'_>) -> Result<String, TokenError> {
        let part = "claims";
        let fault = JsonError::Syntax;
        let claims = serde_json::to_string(token).map_err(|_| TokenError::Json { part, fault })?;
        let text = self.sign_json(&claims);
        // A single key is neither too many nor a duplicate.
        let mut verifier = Verifier::new([self.key()]).unwrap_or_default();
        if let Some(issuer) = token.issuer {
            verifier = verifier.with_issuer(issuer);
        }
        if let Some(audience) = token.audience {
            verifier = verifier.with_audience(audience);
        }
        let now = Now {
            unix_s: token.issued_s.max(token.not_before_s.unwrap_or_default()),
            time: Timestamp::ZERO,
        };
        verifier.verify(&text, &KeySet::default(), now)?;
        Ok(text)
    }

    /// Makes a token of claims as they are, unchecked.
    pub fn sign_json(&self, claims: &str) -> String {
        let header = Header {
            alg: self.algorithm().name(),
            typ: "JWT",
            kid: self.id.as_deref(),
        };
        // Strings always become JSON.
        let header = serde_json::to_string(&header).unwrap_or_default();
        let part = |json: &str| Base64UrlUnpadded::encode_string(json.as_bytes());
        let signed = format!("{}.{}", part(&header), part(claims));
        let signature = self.signing.sign(signed.as_bytes());
        format!("{signed}.{}", Base64UrlUnpadded::encode_string(&signature))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("SigningKey");
        shown.field("algorithm", &self.algorithm());
        shown.field("id", &self.id).finish_non_exhaustive()
    }
}
