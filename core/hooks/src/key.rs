//! Keys by which requests are signed.

use alloc::{borrow::ToOwned, boxed::Box, string::String, vec::Vec};
use core::{fmt, str::FromStr};

use base64ct::{Base64, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::limits::{KEYS_MAX, SECRET_BYTES_MAX, SECRET_BYTES_MIN};

/// A signing key of Standard Webhooks, written as `whsec_` and its bytes in Base64.
#[derive(Clone)]
pub struct Key(Box<Hmac<Sha256>>);

/// The error of a key that cannot be used. It does not reveal the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is not in the form of a key.
    #[error(
        "a key is `whsec_` and {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} random bytes in Base64, \
         such as of `openssl rand -base64 32`; `env:NAME` and `file:PATH` name another place of it"
    )]
    Form,
    /// There is no key, or there are too many.
    #[error("an endpoint has 1 to {KEYS_MAX} keys")]
    Count,
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let text = text.strip_prefix("whsec_").ok_or(KeyError::Form)?;
        let bytes = Base64::decode_vec(text).map_err(|_| KeyError::Form)?;
        if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&bytes.len()) {
            return Err(KeyError::Form);
        }
        let mac = Hmac::new_from_slice(&bytes).map_err(|_| KeyError::Form)?;
        Ok(Self(Box::new(mac)))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// The keys of an endpoint. Each signs every request, so that a receiver can change from one to
/// the next at any time.
#[derive(Debug, Clone)]
pub struct Keys(Vec<Key>);

impl Keys {
    /// The keys of an endpoint, of which the receiver must know at least one.
    ///
    /// # Errors
    ///
    /// When there is none, or more than [`KEYS_MAX`].
    pub fn new(keys: impl IntoIterator<Item = Key>) -> Result<Self, KeyError> {
        let keys: Vec<_> = keys.into_iter().take(KEYS_MAX + 1).collect();
        if (1..=KEYS_MAX).contains(&keys.len()) {
            Ok(Self(keys))
        } else {
            Err(KeyError::Count)
        }
    }

    /// True when these are the same keys in the same order.
    pub fn is_same(&self, other: &Self) -> bool {
        self.sign("", "", b"") == other.sign("", "", b"")
    }

    /// The signatures of a message, as the header `webhook-signature` has them.
    pub(crate) fn sign(&self, id: &str, unix_s: &str, body: &[u8]) -> String {
        let mut signatures = String::new();
        for Key(key) in &self.0 {
            let mut mac = Hmac::clone(key);
            for part in [id.as_bytes(), b".", unix_s.as_bytes(), b".", body] {
                mac.update(part);
            }
            if !signatures.is_empty() {
                signatures.push(' ');
            }
            signatures.push_str("v1,");
            signatures.push_str(&Base64::encode_string(&mac.finalize().into_bytes()));
        }
        signatures
    }
}

/// The source of a key, as given in a file of settings.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySource {
    /// The key itself.
    Text(Box<str>),
    /// `env:NAME`: a variable of the environment.
    Env(Box<str>),
    /// `file:PATH`: a file with the key on its first line.
    File(Box<str>),
}

impl FromStr for KeySource {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.into())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            _ => text.parse::<Key>().map(|_| Self::Text(text.into())),
        }
    }
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self {
            Self::Text(_) => "..".to_owned(),
            Self::Env(name) => alloc::format!("env:{name}"),
            Self::File(path) => alloc::format!("file:{path}"),
        };
        write!(f, "KeySource({place})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification of Standard Webhooks.
    #[test]
    fn signature_of_the_specification() {
        let key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
            .parse()
            .expect("a key");
        let keys = Keys::new([key]).expect("one key");
        let body = br#"{"test": 2432232314}"#;
        assert_eq!(
            keys.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn keys_are_the_same_by_what_they_sign() {
        let keys = |texts: &[&str]| {
            let keys = texts.iter().map(|text| text.parse().expect("a key"));
            Keys::new(keys).expect("keys")
        };
        let (one, other) = (
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
        );
        assert!(keys(&[one, other]).is_same(&keys(&[one, other])));
        assert!(!keys(&[one]).is_same(&keys(&[other])));
        assert!(!keys(&[one]).is_same(&keys(&[one, other])));
    }

    #[test]
    fn keys_are_refused_by_form_and_length() {
        for bad in [
            "",
            "whsec_",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_c2hvcnQ=",
            "whsec_!",
        ] {
            assert_eq!(bad.parse::<Key>().err(), Some(KeyError::Form), "{bad}");
        }
        assert_eq!(Keys::new([]).err(), Some(KeyError::Count));
        assert_eq!("env:SECRET".parse(), Ok(KeySource::Env("SECRET".into())));
        assert_eq!("env:".parse::<KeySource>(), Err(KeyError::Form));
    }
}
