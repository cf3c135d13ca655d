//! Signing keys of each algorithm.

use alloc::{boxed::Box, vec::Vec};

use ed25519_dalek as ed25519;
use hmac::{Hmac, Mac};
use p256::ecdsa::{self, signature::Signer as _};
use sha2::Sha256;

use super::verifying::Verifying;

/// A signing key of any algorithm except RS256. Both elliptic curves sign without randomness.
pub(crate) enum Signing {
    Hs256(Box<Hmac<Sha256>>),
    Es256(Box<ecdsa::SigningKey>),
    EdDsa(Box<ed25519::SigningKey>),
}

impl Signing {
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Hs256(mac) => {
                let mac = Hmac::clone(mac).chain_update(message);
                mac.finalize().into_bytes().to_vec()
            }
            Self::Es256(key) => {
                let signature: ecdsa::Signature = key.sign(message);
                signature.to_bytes().to_vec()
            }
            Self::EdDsa(key) => key.sign(message).to_bytes().to_vec(),
        }
    }

    /// The key that verifies.
    pub(crate) fn verifying(&self) -> Verifying {
        match self {
            Self::Hs256(mac) => Verifying::Hs256(mac.clone()),
            Self::Es256(key) => Verifying::Es256(Box::new(*key.verifying_key())),
            Self::EdDsa(key) => Verifying::EdDsa(Box::new(key.verifying_key())),
        }
    }
}
