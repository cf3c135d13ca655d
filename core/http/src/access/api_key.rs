//! API keys.

use core::{fmt, str::FromStr};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A key of the HTTP API. Only its digest is kept, and it never appears in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey([u8; 32]);

impl ApiKey {
    /// The key with this text.
    pub fn new(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// True when a text is this key; takes the same time for every text of one length.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        self.0.ct_eq(&digest).into()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey")
    }
}

/// A text that is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an API key has 1 to 256 visible ASCII characters, and no comma, which separates two")]
pub struct ApiKeyError;

impl FromStr for ApiKey {
    type Err = ApiKeyError;

    fn from_str(text: &str) -> Result<Self, ApiKeyError> {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b',';
        let fits = (1..=256).contains(&text.len()) && text.bytes().all(is_plain);
        fits.then(|| Self::new(text)).ok_or(ApiKeyError)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn a_key_matches_itself_and_hides() {
        let key: ApiKey = "s3cret".parse().expect("a key");
        assert!(key.matches("s3cret"));
        assert!(!key.matches("s3cret ") && !key.matches(""));
        assert_eq!(format!("{key:?}"), "ApiKey");
        for bad in ["", "a b", "a,b", ",", "k\u{e9}y", "a\n"] {
            assert!(bad.parse::<ApiKey>().is_err(), "{bad:?}");
        }
    }
}
