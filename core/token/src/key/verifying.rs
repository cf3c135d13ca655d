//! Verifying keys of each algorithm.

use alloc::boxed::Box;

use ed25519_dalek as ed25519;
use hmac::{Hmac, Mac};
use p256::ecdsa::{self, signature::Verifier as _};
use sha2::Sha256;

use super::error::KeyError;
#[cfg(feature = "rs256")]
use super::rs256::Rs256;
use crate::algorithm::Algorithm;

/// A verifying key of any algorithm.
#[derive(Clone)]
pub(crate) enum Verifying {
    Hs256(Box<Hmac<Sha256>>),
    Es256(Box<ecdsa::VerifyingKey>),
    EdDsa(Box<ed25519::VerifyingKey>),
    #[cfg(feature = "rs256")]
    Rs256(Box<Rs256>),
}

impl Verifying {
    /// The key of a point on P-256, as SEC 1 writes it.
    pub(super) fn es256(point: &[u8]) -> Result<Self, KeyError> {
        let key = ecdsa::VerifyingKey::from_sec1_bytes(point);
        let key = key.map_err(|_| KeyError::Point { curve: "P-256" })?;
        Ok(Self::Es256(Box::new(key)))
    }

    /// The key of a point on the Edwards curve. A point of small order is refused, since a
    /// signature would fit many messages; so is a non-canonical encoding, which RFC 8032 forbids.
    pub(super) fn ed25519(point: &[u8]) -> Result<Self, KeyError> {
        let key = point.try_into().ok().and_then(|bytes| {
            let key = ed25519::VerifyingKey::from_bytes(bytes).ok()?;
            let is_canonical = key.to_edwards().compress().as_bytes() == bytes;
            (is_canonical && !key.is_weak()).then_some(key)
        });
        let key = key.ok_or(KeyError::Point { curve: "Ed25519" })?;
        Ok(Self::EdDsa(Box::new(key)))
    }

    /// The key of a modulus and an exponent, in big-endian bytes.
    #[cfg(feature = "rs256")]
    pub(super) fn rs256(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        Ok(Self::Rs256(Box::new(Rs256::new(modulus, exponent)?)))
    }

    #[cfg(not(feature = "rs256"))]
    pub(super) fn rs256(_: &[u8], _: &[u8]) -> Result<Self, KeyError> {
        Err(KeyError::RsaLeftOut)
    }

    pub(super) const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Hs256(_) => Algorithm::Hs256,
            Self::Es256(_) => Algorithm::Es256,
            Self::EdDsa(_) => Algorithm::EdDsa,
            #[cfg(feature = "rs256")]
            Self::Rs256(_) => Algorithm::Rs256,
        }
    }

    /// True when this key made the signature for the message.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Hs256(mac) => {
                let mac = Hmac::clone(mac).chain_update(message);
                mac.verify_slice(signature).is_ok()
            }
            Self::Es256(key) => ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            Self::EdDsa(key) => ed25519::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            #[cfg(feature = "rs256")]
            Self::Rs256(key) => key.verify(message, signature),
        }
    }
}
