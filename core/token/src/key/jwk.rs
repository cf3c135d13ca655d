//! JSON Web Keys (RFC 7517, RFC 8037).

use alloc::{boxed::Box, string::String, vec::Vec};

use base64ct::{Base64UrlUnpadded, Encoding};

use super::{error::KeyError, secret, verifying::Verifying};
use crate::{algorithm::Algorithm, json::Object, limits::KEY_ID_BYTES_MAX};

/// The id of a key, if it has one.
type Id = Option<Box<str>>;

/// The key of a JWK that has no private half, or of a secret.
pub(super) fn public(jwk: &Object<'_>) -> Result<(Id, Verifying), KeyError> {
    if jwk.has("d") {
        return Err(KeyError::Private);
    }
    read(jwk)
}

/// The public key of a JWK, with or without a private half, or its secret.
fn read(jwk: &Object<'_>) -> Result<(Id, Verifying), KeyError> {
    if jwk.has("keys") && !jwk.has("kty") {
        return Err(KeyError::Set);
    }
    let verifying = match Kind::of(jwk)? {
        Kind::Secret => Verifying::Hs256(secret::from_bytes(&bytes(jwk, "k")?)?),
        Kind::P256 => {
            // Uncompressed, by SEC 1.
            let mut point = alloc::vec![4];
            point.extend(coordinate(jwk, "x")?);
            point.extend(coordinate(jwk, "y")?);
            Verifying::es256(&point)?
        }
        Kind::Ed25519 => Verifying::ed25519(&coordinate(jwk, "x")?)?,
        Kind::Rsa => Verifying::rs256(&bytes(jwk, "n")?, &bytes(jwk, "e")?)?,
    };
    check_use(jwk, verifying.algorithm())?;
    Ok((id(jwk)?, verifying))
}

/// The id of a JWK, and its private half.
#[cfg(feature = "sign")]
pub(super) fn private(jwk: &Object<'_>) -> Result<(Id, super::signing::Signing), KeyError> {
    use super::signing::Signing;

    let kind = Kind::of(jwk)?;
    if matches!(kind, Kind::Rsa) {
        return Err(KeyError::RsaSigns);
    }
    let (id, public) = read(jwk)?;
    if !matches!(kind, Kind::Secret) && !jwk.has("d") {
        return Err(KeyError::Public);
    }
    let signing = match kind {
        Kind::Ed25519 => {
            let seed = coordinate(jwk, "d")?;
            let key = ed25519_dalek::SigningKey::try_from(&*seed);
            let key = key.map_err(|_| KeyError::Point { curve: "Ed25519" })?;
            Signing::EdDsa(Box::new(key))
        }
        Kind::P256 => {
            let key = p256::ecdsa::SigningKey::from_slice(&coordinate(jwk, "d")?);
            let key = key.map_err(|_| KeyError::Point { curve: "P-256" })?;
            Signing::Es256(Box::new(key))
        }
        Kind::Secret | Kind::Rsa => Signing::Hs256(secret::from_bytes(&bytes(jwk, "k")?)?),
    };
    let probe = b"halves";
    if !public.verify(probe, &signing.sign(probe)) {
        return Err(KeyError::Halves);
    }
    Ok((id, signing))
}

/// The kinds of keys that are supported.
enum Kind {
    Secret,
    P256,
    Ed25519,
    Rsa,
}

impl Kind {
    fn of(jwk: &Object<'_>) -> Result<Self, KeyError> {
        let kind = text(jwk, "kty")?.ok_or(KeyError::Member {
            member: "kty",
            expected: "\"EC\", \"OKP\", \"RSA\" or \"oct\"",
        })?;
        let curve = text(jwk, "crv")?;
        match (&*kind, curve.as_deref()) {
            ("oct", _) => Ok(Self::Secret),
            ("RSA", _) => Ok(Self::Rsa),
            ("EC", Some("P-256")) => Ok(Self::P256),
            ("OKP", Some("Ed25519")) => Ok(Self::Ed25519),
            _ => Err(KeyError::Type {
                found: curve.unwrap_or(kind),
            }),
        }
    }
}

/// Checks the members that limit the use of a key, if it has any.
fn check_use(jwk: &Object<'_>, algorithm: Algorithm) -> Result<(), KeyError> {
    if text(jwk, "use")?.is_some_and(|found| found != "sig") {
        return Err(KeyError::Use { member: "use" });
    }
    let operations: Option<Vec<String>> = jwk.get("key_ops").map_err(|_| KeyError::Member {
        member: "key_ops",
        expected: "a list of strings",
    })?;
    let serves = |name: &String| matches!(&**name, "verify" | "sign");
    if operations.is_some_and(|names| !names.iter().any(serves)) {
        return Err(KeyError::Use { member: "key_ops" });
    }
    match text(jwk, "alg")? {
        Some(found) if Algorithm::named(&found) != Some(algorithm) => Err(KeyError::Algorithm {
            found,
            expected: algorithm.name(),
        }),
        _ => Ok(()),
    }
}

fn id(jwk: &Object<'_>) -> Result<Id, KeyError> {
    let id = text(jwk, "kid")?;
    let fits = |id: &String| (1..=KEY_ID_BYTES_MAX).contains(&id.len());
    match id {
        Some(id) if !fits(&id) => Err(KeyError::Id),
        id => Ok(id.map(String::into_boxed_str)),
    }
}

fn text(jwk: &Object<'_>, member: &'static str) -> Result<Option<String>, KeyError> {
    let expected = "a string";
    jwk.get(member)
        .map_err(|_| KeyError::Member { member, expected })
}

/// The bytes of a member that must be present.
fn bytes(jwk: &Object<'_>, member: &'static str) -> Result<Vec<u8>, KeyError> {
    let expected = "base64url without padding";
    let text = text(jwk, member)?.unwrap_or_default();
    match Base64UrlUnpadded::decode_vec(&text) {
        Ok(bytes) if !bytes.is_empty() => Ok(bytes),
        _ => Err(KeyError::Member { member, expected }),
    }
}

/// The bytes of a coordinate or private key: 32 for both curves.
fn coordinate(jwk: &Object<'_>, member: &'static str) -> Result<Vec<u8>, KeyError> {
    let expected = "32 bytes in base64url without padding";
    match bytes(jwk, member)? {
        bytes if bytes.len() == 32 => Ok(bytes),
        _ => Err(KeyError::Member { member, expected }),
    }
}
