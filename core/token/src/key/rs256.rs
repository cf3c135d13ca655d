//! Keys of RS256.

use rsa::{BoxedUint, Pkcs1v15Sign, PublicKey};
use sha2::{Digest, Sha256};

use super::error::KeyError;

/// A public key of 2048 to 4096 bits.
#[derive(Clone)]
pub(crate) struct Rs256(PublicKey);

impl Rs256 {
    /// The key of a modulus and an exponent, in big-endian bytes.
    pub(super) fn new(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        let (modulus, exponent) = (trimmed(modulus), trimmed(exponent));
        let zeros = modulus.first().map_or(0, |first| first.leading_zeros());
        let bits = modulus.len() * 8 - usize::try_from(zeros).unwrap_or(0);
        if !(2048..=4096).contains(&bits) {
            return Err(KeyError::RsaBits { bits });
        }
        // An exponent over 33 bits is refused as well: verification would take too long.
        let number = BoxedUint::from_be_slice_vartime;
        let key = PublicKey::new(number(modulus), number(exponent));
        key.map(Self).map_err(|_| KeyError::RsaParts)
    }

    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let digest = Sha256::digest(message);
        let scheme = Pkcs1v15Sign::new::<Sha256>();
        self.0.verify(scheme, &digest, signature).is_ok()
    }
}

/// A number without its leading zeros.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}
