//! API keys.

use alloc::{format, string::String};
use core::{fmt, str::FromStr};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::key_scope::{KeyScope, KeyScopes};

/// A key of the HTTP API with its scope. Only its SHA-256 digest is kept, and it never appears in
/// logs.
///
/// The settings give it in plain text, with the scope `admin`; or as its hash, which is not a
/// secret, with any scope:
///
/// ```
/// use roomcast_http::{ApiKey, KeyScope};
///
/// let key: ApiKey = "a-key".parse()?;
/// assert_eq!(key.scope(), KeyScope::Admin);
/// let reader = key.with_scope(KeyScope::Read);
/// assert!(reader.hashed().starts_with("read:sha256:"));
/// assert_eq!(reader.hashed().parse(), Ok(reader));
/// # Ok::<(), roomcast_http::ApiKeyError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    digest: [u8; 32],
    scope: KeyScope,
}

/// The prefix of a hash in the settings.
const HASH: &str = "sha256:";

impl ApiKey {
    /// The key with this text, and the scope `admin`.
    pub fn new(text: &str) -> Self {
        Self {
            digest: digest(text),
            scope: KeyScope::Admin,
        }
    }

    /// Sets the scope.
    #[must_use]
    pub const fn with_scope(mut self, scope: KeyScope) -> Self {
        self.scope = scope;
        self
    }

    /// The scope.
    pub const fn scope(&self) -> KeyScope {
        self.scope
    }

    /// The text that stands for the key in the settings without revealing it, such as
    /// `read:sha256:` and 64 hexadecimal digits.
    pub fn hashed(&self) -> String {
        let mut text = match self.scope {
            KeyScope::Admin => String::from(HASH),
            scope @ (KeyScope::Publish | KeyScope::Read) => {
                format!("{}:{HASH}", scope.as_str())
            }
        };
        for byte in self.digest {
            text += &format!("{byte:02x}");
        }
        text
    }

    /// True for a text that contains the hash of a key: it does not work as a key itself.
    pub fn is_hashed(text: &str) -> bool {
        text.to_ascii_lowercase().contains(HASH)
    }

    /// The key with this hash.
    fn from_hash(text: &str, scope: KeyScope) -> Result<Self, ApiKeyError> {
        let hex = text.strip_prefix(HASH).ok_or(ApiKeyError::Hash)?;
        let digits = hex.as_bytes();
        if digits.len() != 64 {
            return Err(ApiKeyError::Hash);
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(ApiKeyError::Hash);
        let mut known = [0; 32];
        for (byte, pair) in known.iter_mut().zip(digits.chunks_exact(2)) {
            let value = digit(pair[0])? << 4 | digit(pair[1])?;
            *byte = u8::try_from(value).map_err(|_| ApiKeyError::Hash)?;
        }
        let is_empty = known == digest("");
        let key = Self {
            digest: known,
            scope,
        };
        (!is_empty).then_some(key).ok_or(ApiKeyError::Empty)
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// The scopes of a given key among the known ones; all of them, if the key is there several times.
/// Every key is compared in constant time, so that the time does not reveal which one is nearer.
pub(crate) fn scopes(keys: &[ApiKey], given: &str) -> KeyScopes {
    let given = digest(given);
    let add = |known: KeyScopes, key: &ApiKey| {
        let is_it = key.digest.ct_eq(&given);
        known.with(key.scope, is_it.into())
    };
    keys.iter().fold(KeyScopes::NONE, add)
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({})", self.scope.as_str())
    }
}

/// The error of a text that is not a key. It never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiKeyError {
    /// The text has characters that no key has, or too many, or none.
    #[error("an API key has 1 to 256 visible ASCII characters, and no comma, which separates two")]
    Form,
    /// The text begins like a scope or a hash, but is neither.
    #[error(
        "an API key that begins with publish:, read: or admin:, or has sha256: in it, must be \
         given as its hash, such as read:sha256: and 64 hexadecimal digits; `roomcast key` makes one"
    )]
    Hash,
    /// The text is the hash of an empty text.
    #[error("an API key is not empty, and this is the hash of an empty text: hash the key itself")]
    Empty,
}

impl FromStr for ApiKey {
    type Err = ApiKeyError;

    /// Parses a key. A text that begins like a scope or a hash is refused: it could be a mistyped
    /// hash, which would then be a key that everybody may read.
    fn from_str(text: &str) -> Result<Self, ApiKeyError> {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b',';
        if !((1..=256).contains(&text.len()) && text.bytes().all(is_plain)) {
            return Err(ApiKeyError::Form);
        }
        let first = text.split_once(':').map(|(word, _)| word);
        let named =
            |scope: &KeyScope| first.is_some_and(|word| word.eq_ignore_ascii_case(scope.as_str()));
        if let Some(scope) = KeyScope::ALL.into_iter().find(named) {
            let rest = text.strip_prefix(scope.as_str());
            let rest = rest.and_then(|rest| rest.strip_prefix(':'));
            return Self::from_hash(rest.ok_or(ApiKeyError::Hash)?, scope);
        }
        if Self::is_hashed(text) {
            return Self::from_hash(text, KeyScope::Admin);
        }
        Ok(Self::new(text))
    }
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec, vec::Vec};

    use super::*;

    const OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn matches(key: &ApiKey, text: &str) -> bool {
        scopes(core::slice::from_ref(key), text) != KeyScopes::NONE
    }

    #[test]
    fn a_key_matches_itself_and_hides() {
        let key: ApiKey = "s3cret".parse().expect("a key");
        assert!(matches(&key, "s3cret"));
        assert!(!matches(&key, "s3cret ") && !matches(&key, ""));
        assert_eq!(format!("{key:?}"), "ApiKey(admin)");
        for bad in ["", "a b", "a,b", ",", "k\u{e9}y", "a\n"] {
            assert_eq!(bad.parse::<ApiKey>(), Err(ApiKeyError::Form), "{bad:?}");
        }
    }

    #[test]
    fn a_hash_stands_for_its_key_and_is_none_itself() {
        for (scope, prefix) in [
            (KeyScope::Admin, ""),
            (KeyScope::Admin, "admin:"),
            (KeyScope::Read, "read:"),
            (KeyScope::Publish, "publish:"),
        ] {
            for hex in [OF_ABC.to_string(), OF_ABC.to_uppercase()] {
                let text = format!("{prefix}sha256:{hex}");
                let key: ApiKey = text.parse().expect("a hash");
                assert_eq!(key, ApiKey::new("abc").with_scope(scope), "{text}");
                assert!(matches(&key, "abc"));
                assert!(!matches(&key, &text) && !matches(&key, &hex));
                assert_eq!(key.hashed().parse(), Ok(key));
                assert!(ApiKey::is_hashed(&text));
            }
        }
        assert_eq!(ApiKey::new("abc").hashed(), format!("sha256:{OF_ABC}"));
        // A key may look like a digest.
        let key: ApiKey = OF_ABC.parse().expect("a key");
        assert!(matches(&key, OF_ABC) && !matches(&key, "abc"));
    }

    /// With a slip in it, a hash would be a key that everybody may read.
    #[test]
    fn what_begins_like_a_scope_or_a_hash_is_no_key() {
        for bad in [
            "sha256:",
            "sha256:abc",
            "SHA256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a",
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015adf",
            "sha256:xa7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "sha256:+a7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "read:",
            "read:s3cret",
            "publish:s3cret",
            "admin:s3cret",
            "Read:s3cret",
            "read:read:sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "READ:sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "write:sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "read=sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ] {
            let fault = bad.parse::<ApiKey>().expect_err(bad);
            assert_eq!(fault, ApiKeyError::Hash, "{bad}");
            assert!(!fault.to_string().contains("s3cret"));
        }
        for empty in ["sha256:", "read:sha256:"] {
            let text = format!("{empty}{OF_NOTHING}");
            assert_eq!(text.parse::<ApiKey>(), Err(ApiKeyError::Empty), "{text}");
        }
        for good in ["reader:x", "read", "a:read:b", "sha256", "sha256-x"] {
            let key: ApiKey = good.parse().expect(good);
            assert!(matches(&key, good) && key.scope() == KeyScope::Admin);
        }
    }

    /// Also behind a match: the last one counts as much as the first.
    #[test]
    fn every_key_is_compared() {
        let keys: Vec<_> = KeyScope::ALL
            .into_iter()
            .flat_map(|scope| {
                let names = ["a", "b"].map(|name| format!("{}-{name}", scope.as_str()));
                names.map(|name| ApiKey::new(&name).with_scope(scope))
            })
            .collect();
        for scope in KeyScope::ALL {
            for name in ["a", "b"] {
                let given = scopes(&keys, &format!("{}-{name}", scope.as_str()));
                assert_eq!(given, KeyScopes::NONE.with(scope, true), "{scope:?} {name}");
            }
        }
        assert_eq!(scopes(&keys, "read-c"), KeyScopes::NONE);
        let twice = vec![
            ApiKey::new("a").with_scope(KeyScope::Read),
            ApiKey::new("b"),
            ApiKey::new("a").with_scope(KeyScope::Publish),
        ];
        let both = scopes(&twice, "a");
        assert!(both.allow(KeyScope::Read) && both.allow(KeyScope::Publish));
        assert!(!both.allow(KeyScope::Admin));
    }
}
