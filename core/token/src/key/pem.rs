//! Keys in PEM.

use spki::{Document, ObjectIdentifier, SubjectPublicKeyInfoRef, der::asn1::BitStringRef};

use super::{error::KeyError, verifying::Verifying};

const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

const BEGIN: &str = "-----BEGIN ";

pub(super) fn is_pem(text: &str) -> bool {
    text.starts_with(BEGIN)
}

/// The public key of a PEM, as `openssl pkey -pubout` writes it.
pub(super) fn public(text: &str) -> Result<Verifying, KeyError> {
    match label(text)? {
        "PUBLIC KEY" => {}
        label if label.ends_with("PRIVATE KEY") => return Err(KeyError::Private),
        label => return Err(other(label)),
    }
    let document = read(text)?;
    let spki = SubjectPublicKeyInfoRef::try_from(document.as_bytes());
    let spki = spki.map_err(|_| KeyError::Pem)?;
    let key = bytes(&spki.subject_public_key)?;
    match spki.algorithm.oid {
        EC => match spki.algorithm.parameters_oid() {
            Ok(P_256) => Verifying::es256(key),
            Ok(curve) => Err(unknown(curve)),
            Err(_) => Err(KeyError::Pem),
        },
        ED25519 => Verifying::ed25519(key),
        RSA => rsa(key),
        other => Err(unknown(other)),
    }
}

#[cfg(feature = "rs256")]
fn rsa(key: &[u8]) -> Result<Verifying, KeyError> {
    let parts = rsa::pkcs1::RsaPublicKeyRef::try_from(key).map_err(|_| KeyError::Pem)?;
    Verifying::rs256(parts.modulus.as_bytes(), parts.public_exponent.as_bytes())
}

#[cfg(not(feature = "rs256"))]
fn rsa(_: &[u8]) -> Result<Verifying, KeyError> {
    Err(KeyError::RsaLeftOut)
}

/// The private key of a PEM in PKCS #8.
#[cfg(feature = "sign")]
pub(super) fn private(text: &str) -> Result<super::signing::Signing, KeyError> {
    use alloc::boxed::Box;

    use ed25519_dalek::pkcs8::{DecodePrivateKey, PrivateKeyInfoRef};

    use super::signing::Signing;

    match label(text)? {
        "PRIVATE KEY" => {}
        label if label.ends_with("PUBLIC KEY") => return Err(KeyError::Public),
        label => {
            let fix = "`openssl pkcs8 -topk8 -nocrypt -in FILE` makes a \"PRIVATE KEY\"";
            let label = label.into();
            return Err(KeyError::PemLabel { label, fix });
        }
    }
    let document = read(text)?;
    let der = document.as_bytes();
    let info = PrivateKeyInfoRef::try_from(der).map_err(|_| KeyError::Pem)?;
    match info.algorithm.oid {
        EC if info.algorithm.parameters_oid() == Ok(P_256) => {
            let key = p256::ecdsa::SigningKey::from_pkcs8_der(der);
            let key = key.map_err(|_| KeyError::Point { curve: "P-256" })?;
            Ok(Signing::Es256(Box::new(key)))
        }
        ED25519 => {
            let key = ed25519_dalek::SigningKey::from_pkcs8_der(der);
            let key = key.map_err(|_| KeyError::Point { curve: "Ed25519" })?;
            Ok(Signing::EdDsa(Box::new(key)))
        }
        RSA => Err(KeyError::RsaSigns),
        other => Err(unknown(other)),
    }
}

/// The label in the first line.
fn label(text: &str) -> Result<&str, KeyError> {
    let label = text.strip_prefix(BEGIN).and_then(|t| t.split_once("-----"));
    label.map(|(label, _)| label).ok_or(KeyError::Pem)
}

fn read(text: &str) -> Result<Document, KeyError> {
    let read = Document::from_pem(text).map_err(|_| KeyError::Pem)?;
    Ok(read.1)
}

fn bytes<'a>(bits: &BitStringRef<'a>) -> Result<&'a [u8], KeyError> {
    bits.as_bytes().ok_or(KeyError::Pem)
}

fn unknown(oid: ObjectIdentifier) -> KeyError {
    let found = alloc::string::ToString::to_string(&oid);
    KeyError::Type { found }
}

fn other(label: &str) -> KeyError {
    let fix = match label {
        "CERTIFICATE" => "`openssl x509 -in FILE -noout -pubkey` prints it",
        "RSA PUBLIC KEY" => "`openssl rsa -RSAPublicKey_in -in FILE -pubout` prints it",
        _ => "`openssl pkey -in FILE -pubout` prints that of a private key",
    };
    let label = label.into();
    KeyError::PemLabel { label, fix }
}
