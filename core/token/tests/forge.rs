//! Tokens that no honest issuer makes, and the keys of the tests.
//!
//! The files in `keys/` were made by `openssl` for these tests, and are used for nothing else.

use base64ct::{Base64UrlUnpadded, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use roomcast_core::Timestamp;
use roomcast_token::{Claims, Key, KeySet, Now, SigningKey, TokenError, Verifier};
use sha2::Sha256;

pub(crate) const SECRET: &str = "a secret of at least thirty-two bytes";

pub(crate) const P256: &str = include_str!("keys/p256.pem");
pub(crate) const P256_PUB: &str = include_str!("keys/p256.pub.pem");
pub(crate) const ED25519: &str = include_str!("keys/ed25519.pem");
pub(crate) const ED25519_PUB: &str = include_str!("keys/ed25519.pub.pem");
pub(crate) const RSA: &str = include_str!("keys/rsa2048.pem");
pub(crate) const RSA_PUB: &str = include_str!("keys/rsa2048.pub.pem");

/// The time of the tests, on both clocks.
pub(crate) const NOW: Now = Now {
    unix_s: 1_800_000_000,
    time: Timestamp::from_millis(5_000),
};

pub(crate) const HEADER: &str = r#"{"alg":"HS256"}"#;

/// Sound claims, for a minute.
pub(crate) const CLAIMS: &str = r#"{"sub":"alice","exp":1800000060}"#;

pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    Base64UrlUnpadded::encode_string(bytes.as_ref())
}

/// The two signed parts of a token.
pub(crate) fn signed(header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
    format!("{}.{}", base64(header), base64(claims))
}

/// Signs parts by HMAC with any secret.
pub(crate) fn hmac(secret: impl AsRef<[u8]>, signed: &str) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_ref()).expect("any length");
    let mac = mac.chain_update(signed.as_bytes()).finalize();
    mac.into_bytes().to_vec()
}

/// A token with this header and these claims, signed with [`SECRET`].
pub(crate) fn token(header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
    let signed = signed(header, claims);
    let signature = hmac(SECRET, &signed);
    format!("{signed}.{}", base64(signature))
}

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
