//! Secrets of HS256.

use alloc::boxed::Box;

use hmac::{Hmac, KeyInit};
use sha2::Sha256;

use super::{error::KeyError, pem};
use crate::limits::SECRET_BYTES_MIN;

/// Reads the text after `hs256:`. A public key as the secret would let everybody sign: it is an old
/// attack to make a server verify HMAC with its public RSA key.
pub(super) fn read(text: &str) -> Result<Box<Hmac<Sha256>>, KeyError> {
    let trimmed = text.trim();
    if pem::is_pem(trimmed) {
        return Err(KeyError::SecretIsKey { kind: "PEM" });
    }
    if trimmed.starts_with('{') {
        return Err(KeyError::SecretIsKey { kind: "JWK" });
    }
    if trimmed.len() != text.len() {
        return Err(KeyError::SecretSpace);
    }
    from_bytes(text.as_bytes())
}

/// Makes a key from the bytes of a secret.
pub(super) fn from_bytes(bytes: &[u8]) -> Result<Box<Hmac<Sha256>>, KeyError> {
    let short = KeyError::SecretShort { bytes: bytes.len() };
    if bytes.len() < SECRET_BYTES_MIN {
        return Err(short);
    }
    let mac = Hmac::new_from_slice(bytes).map_err(|_| short)?;
    Ok(Box::new(mac))
}
