//! The keys, the time and the verifier of the tests.
//!
//! The files in `keys/` were made by `openssl` for these tests, and are used for nothing else.

use roomcast_core::Timestamp;
use roomcast_token::{Claims, Key, KeySet, Now, SigningKey, TokenError, Verifier};

pub(crate) use crate::hostile_tokens::{
    ED25519, ED25519_PUB, HEADER, P256, P256_PUB, RSA_PUB, SECRET, base64, token,
};

pub(crate) const RSA: &str = include_str!("keys/rsa2048.pem");

/// The time of the tests, on both clocks.
pub(crate) const NOW: Now = Now {
    unix_s: 1_800_000_000,
    time: Timestamp::from_millis(5_000),
};

/// Sound claims, for a minute.
pub(crate) const CLAIMS: &str = r#"{"sub":"alice","exp":1800000060}"#;

pub(crate) fn hs256() -> Key {
    key(&format!("hs256:{SECRET}"))
}

pub(crate) fn key(text: &str) -> Key {
    Key::parse(text).expect("a key")
}

pub(crate) fn signing(text: &str) -> SigningKey {
    SigningKey::parse(text).expect("a key")
}

pub(crate) fn verifier(keys: impl IntoIterator<Item = Key>) -> Verifier {
    Verifier::new(keys).expect("few keys")
}

/// Verifies at [`NOW`], without published keys.
pub(crate) fn verify(verifier: &Verifier, token: &str) -> Result<Claims, TokenError> {
    verifier.verify(token, &KeySet::default(), NOW)
}
