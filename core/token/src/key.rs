//! Keys by which tokens are verified.

mod error;
mod jwk;
mod pem;
#[cfg(feature = "rs256")]
mod rs256;
mod secret;
#[cfg(feature = "sign")]
pub(crate) mod signing;
mod verifying;

use alloc::boxed::Box;
use core::fmt;

pub use self::error::KeyError;
use self::verifying::Verifying;
use crate::{algorithm::Algorithm, json::Object};

/// A key by which tokens are verified, for one algorithm, perhaps with an id. It never appears in
/// logs.
///
/// ```
/// use roomcast_token::{Algorithm, Key};
///
/// let key = Key::parse("hs256:a secret of at least thirty-two bytes")?;
/// assert_eq!(key.algorithm(), Algorithm::Hs256);
/// assert!(Key::parse("hs256:too short").is_err());
/// # Ok::<(), roomcast_token::KeyError>(())
/// ```
#[derive(Clone)]
pub struct Key {
    id: Option<Box<str>>,
    verifying: Verifying,
}

impl Key {
    /// Reads `hs256:` and a secret, or the text of a PEM or a JWK. If a setting does not begin with
    /// `hs256:`, the host reads the file that it names, and passes the text.
    ///
    /// # Errors
    ///
    /// When the text is not such a key. The error says what to change.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let (id, verifying) = match Text::of(text)? {
            Text::Secret(secret) => (None, secret::read(secret).map(Verifying::Hs256)?),
            Text::Pem(text) => (None, pem::public(text)?),
            Text::Jwk(jwk) => jwk::public(&jwk)?,
        };
        Ok(Self { id, verifying })
    }

    /// The algorithm of the tokens that it verifies.
    pub const fn algorithm(&self) -> Algorithm {
        self.verifying.algorithm()
    }

    /// The id by which tokens name the key (`kid`). Only a JWK can have one.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The public half of a key that signs.
    #[cfg(feature = "sign")]
    pub(crate) fn of(id: Option<Box<str>>, signing: &signing::Signing) -> Self {
        let verifying = signing.verifying();
        Self { id, verifying }
    }

    /// Reads a key of a published set.
    pub(crate) fn published(jwk: &Object<'_>) -> Result<Self, KeyError> {
        let (id, verifying) = jwk::public(jwk)?;
        match verifying.algorithm() {
            Algorithm::Hs256 => Err(KeyError::PublishedSecret),
            Algorithm::Es256 | Algorithm::EdDsa | Algorithm::Rs256 => Ok(Self { id, verifying }),
        }
    }

    /// True when this key made the signature for the message.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.verifying.verify(message, signature)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Key");
        shown.field("algorithm", &self.algorithm());
        shown.field("id", &self.id).finish_non_exhaustive()
    }
}

/// Reads the same texts as [`Key::parse`], with private keys in place of public ones.
#[cfg(feature = "sign")]
pub(crate) fn private(text: &str) -> Result<(Option<Box<str>>, signing::Signing), KeyError> {
    match Text::of(text)? {
        Text::Secret(secret) => Ok((None, secret::read(secret).map(signing::Signing::Hs256)?)),
        Text::Pem(text) => Ok((None, pem::private(text)?)),
        Text::Jwk(jwk) => jwk::private(&jwk),
    }
}

/// The text of a key, by its kind.
enum Text<'a> {
    /// The secret of HS256.
    Secret(&'a str),
    Pem(&'a str),
    Jwk(Object<'a>),
}

impl<'a> Text<'a> {
    fn of(text: &'a str) -> Result<Self, KeyError> {
        let trimmed = text.trim();
        if let Some(secret) = text.strip_prefix("hs256:") {
            Ok(Self::Secret(secret))
        } else if pem::is_pem(trimmed) {
            Ok(Self::Pem(trimmed))
        } else if trimmed.starts_with('{') {
            let jwk = Object::read(trimmed.as_bytes());
            jwk.map(Self::Jwk).map_err(|fault| KeyError::Json { fault })
        } else {
            Err(KeyError::Form)
        }
    }
}

#[cfg(test)]
mod wycheproof;
