//! Published sets of keys (JWKS).

use alloc::{sync::Arc, vec::Vec};

use serde_json::value::RawValue;

use crate::{
    json::{JsonError, Object},
    key::{Key, KeyError},
    limits::JWKS_BYTES_MAX,
};

/// A published set of keys. Clones are cheap and never change, so each thread can keep one.
#[derive(Debug, Clone, Default)]
pub struct KeySet(Arc<Set>);

#[derive(Debug, Default)]
struct Set {
    keys: Vec<Key>,
    ignored: usize,
    first_ignored: Option<KeyError>,
}

/// The error of a text that is not a set of keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeySetError {
    /// The set is over 64 KiB.
    #[error("the set of keys has over {JWKS_BYTES_MAX} bytes")]
    Length,
    /// The text is not JSON, or not an object.
    #[error("the set of keys {0}")]
    Json(JsonError),
    /// The object has no list of keys.
    #[error("the set of keys has no `keys` that is a list of objects")]
    NoList,
    /// None of the keys can be used.
    #[error("the set of keys has none that can be used{}", reason(.first))]
    Empty {
        /// The reason for which the first key was ignored.
        first: Option<KeyError>,
    },
}

fn reason(first: &Option<KeyError>) -> alloc::string::String {
    first.as_ref().map_or_else(Default::default, |error| {
        alloc::format!(": of its first key: {error}")
    })
}

impl KeySet {
    /// Reads the set that an issuer publishes. Keys that cannot be used are ignored: keys of
    /// unknown types, keys that are not for signatures, secrets, and invalid keys.
    ///
    /// # Errors
    ///
    /// When the text is not a set, or none of its keys can be used.
    pub fn read(text: &[u8]) -> Result<Self, KeySetError> {
        if text.len() > JWKS_BYTES_MAX {
            return Err(KeySetError::Length);
        }
        let set = Object::read(text).map_err(KeySetError::Json)?;
        let list: Option<Vec<&RawValue>> = set.get("keys").map_err(|_| KeySetError::NoList)?;
        let mut read = Set::default();
        for json in list.ok_or(KeySetError::NoList)? {
            let jwk = Object::read(json.get().as_bytes());
            let jwk = jwk.map_err(|fault| KeyError::Json { fault });
            match jwk.and_then(|jwk| Key::published(&jwk)) {
                Ok(key) => read.keys.push(key),
                Err(error) => {
                    read.ignored += 1;
                    read.first_ignored.get_or_insert(error);
                }
            }
        }
        if read.keys.is_empty() {
            let first = read.first_ignored;
            return Err(KeySetError::Empty { first });
        }
        Ok(Self(Arc::new(read)))
    }

    /// The keys that can be used.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.0.keys.iter()
    }

    /// True when a key has this id.
    pub fn has(&self, kid: &str) -> bool {
        self.keys().any(|key| key.id() == Some(kid))
    }

    /// The number of keys that were ignored, and the reason for the first, for the log.
    pub fn ignored(&self) -> Option<(usize, &KeyError)> {
        let reason = self.0.first_ignored.as_ref()?;
        Some((self.0.ignored, reason))
    }
}
