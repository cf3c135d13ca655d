//! The verifier of tokens.

use alloc::{boxed::Box, string::String, vec::Vec};

use base64ct::{Base64UrlUnpadded, Encoding};

use crate::{
    algorithm::Algorithm,
    claims::{Claims, Conditions},
    error::TokenError,
    json::Object,
    key::{Key, KeyError},
    key_set::KeySet,
    limits::{KEY_ID_BYTES_MAX, KEYS_MAX, TOKEN_BYTES_MAX},
    now::Now,
};

/// The verifier of tokens: configured keys and conditions.
///
/// Make it with [`new`](Self::new), set [`issuer`](Self::with_issuer) and
/// [`audience`](Self::with_audience), then [`verify`](Self::verify) each token. It does not change,
/// and can be shared by threads.
#[derive(Debug, Clone, Default)]
pub struct Verifier {
    keys: Vec<Key>,
    conditions: Conditions,
}

impl Verifier {
    /// A verifier with these keys; each call can add a published set.
    ///
    /// # Errors
    ///
    /// When there are more than 16 keys, or two of them have the same id.
    pub fn new(keys: impl IntoIterator<Item = Key>) -> Result<Self, KeyError> {
        let keys: Vec<Key> = keys.into_iter().collect();
        if keys.len() > KEYS_MAX {
            return Err(KeyError::Many { count: keys.len() });
        }
        for (index, key) in keys.iter().enumerate() {
            let same = |other: &Key| key.id().is_some() && other.id() == key.id();
            if keys[..index].iter().any(same) {
                let id = key.id().unwrap_or_default().into();
                return Err(KeyError::SameId { id });
            }
        }
        Ok(Self {
            keys,
            conditions: Conditions::default(),
        })
    }

    /// Requires this `iss` in each token.
    #[must_use]
    pub fn with_issuer(mut self, issuer: impl Into<Box<str>>) -> Self {
        self.conditions.issuer = Some(issuer.into());
        self
    }

    /// Requires this audience in each token: as its `aud`, or in the list that its `aud` is. If no
    /// audience is set, a token that has one is refused: it was made for another server.
    #[must_use]
    pub fn with_audience(mut self, audience: impl Into<Box<str>>) -> Self {
        self.conditions.audience = Some(audience.into());
        self
    }

    /// Verifies a token, with the keys of this verifier and with published ones;
    /// `&KeySet::default()` for none.
    ///
    /// Work: at most 17 checks of the signature for a token that names no key, usually one.
    ///
    /// # Errors
    ///
    /// The cause, for the log. At [`TokenError::UnknownKey`] a host with published keys asks
    /// [`Jwks::missing`](crate::Jwks::missing), and perhaps verifies again after a fetch.
    pub fn verify(&self, token: &str, published: &KeySet, now: Now) -> Result<Claims, TokenError> {
        let bytes = token.len();
        if bytes > TOKEN_BYTES_MAX {
            return Err(TokenError::Length { bytes });
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Shape)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::Shape)?;
        let header = Header::read(&decode(header)?)?;
        let (payload, signature) = (decode(payload)?, decode(signature)?);
        self.check(&header, published, |key| {
            key.verify(signed.as_bytes(), &signature)
        })?;
        Claims::read(&payload, &self.conditions, now)
    }

    /// Checks the signature with each key that may have signed the token.
    fn check(
        &self,
        header: &Header,
        published: &KeySet,
        fits: impl Fn(&Key) -> bool,
    ) -> Result<(), TokenError> {
        let said = header.algorithm;
        let own = self.keys.iter().filter(|key| key.algorithm() == said);
        let Some(kid) = &header.kid else {
            let mut sets = published.keys().filter(|key| key.algorithm() == said);
            // Each key would cost a check of the signature, for a token that anybody can send.
            let only = sets.next().filter(|_| sets.next().is_none());
            let keys: Vec<&Key> = own.chain(only).collect();
            return if keys.is_empty() {
                Err(TokenError::NoKey { said })
            } else if keys.into_iter().any(fits) {
                Ok(())
            } else {
                Err(TokenError::Signature)
            };
        };
        let known = self.keys.iter().chain(published.keys());
        let known: Vec<&Key> = known.filter(|key| key.id() == Some(kid)).collect();
        let named = known.iter().filter(|key| key.algorithm() == said);
        if !known.is_empty() && named.clone().next().is_none() {
            let kid = kid.clone();
            return Err(TokenError::OtherAlgorithm { said, kid });
        }
        // A key without an id may have signed any token.
        let nameless = own.filter(|key| key.id().is_none());
        if named.copied().chain(nameless).any(fits) {
            Ok(())
        } else if known.is_empty() {
            let kid = kid.clone();
            Err(TokenError::UnknownKey { kid })
        } else {
            Err(TokenError::Signature)
        }
    }
}

/// The header of a token, which anybody may have written.
struct Header {
    algorithm: Algorithm,
    kid: Option<Box<str>>,
}

impl Header {
    /// Members by which a token would choose its own key, or its own rules.
    const REFUSED: [&str; 4] = ["crit", "jku", "jwk", "x5u"];

    fn read(json: &[u8]) -> Result<Self, TokenError> {
        let part = "header";
        let object = Object::read(json).map_err(|fault| TokenError::Json { part, fault })?;
        if let Some(member) = Self::REFUSED.into_iter().find(|name| object.has(name)) {
            return Err(TokenError::Header { member });
        }
        let wrong = |member, expected| TokenError::HeaderType { member, expected };
        let name: Option<String> = object.get("alg").map_err(|_| wrong("alg", "a string"))?;
        let name = name.unwrap_or_default();
        let expected = "a string of at most 256 bytes";
        let kid: Option<Box<str>> = object.get("kid").map_err(|_| wrong("kid", expected))?;
        if kid.as_ref().is_some_and(|kid| kid.len() > KEY_ID_BYTES_MAX) {
            return Err(wrong("kid", expected));
        }
        let algorithm = Algorithm::named(&name).ok_or_else(|| {
            let said = name.chars().take(20).collect::<String>().into();
            TokenError::Algorithm { said }
        })?;
        if algorithm == Algorithm::Rs256 && !cfg!(feature = "rs256") {
            return Err(TokenError::RsaLeftOut);
        }
        Ok(Self { algorithm, kid })
    }
}

pub(crate) fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    Base64UrlUnpadded::decode_vec(part).map_err(|_| TokenError::Shape)
}
