//! Errors of texts that are not keys, with the way to fix them.

use alloc::{boxed::Box, string::String};

use crate::{
    json::JsonError,
    limits::{KEYS_MAX, SECRET_BYTES_MIN},
};

/// The error of a text that is not a key for tokens. The message says what to change, and never
/// reveals a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is no kind of key.
    #[error(
        "a token key is `hs256:` and a secret, or a file with a PEM (`-----BEGIN PUBLIC KEY-----`) \
         or a JWK (`{{\"kty\":...}}`)"
    )]
    Form,
    /// The secret is shorter than 32 bytes.
    #[error(
        "the secret after `hs256:` has {bytes} bytes, under {SECRET_BYTES_MIN}: make one with `openssl \
         rand -hex 32`"
    )]
    SecretShort {
        /// The bytes of the secret.
        bytes: usize,
    },
    /// The secret has white space around it.
    #[error("the secret after `hs256:` begins or ends with white space: remove it on both sides")]
    SecretSpace,
    /// The secret is a key of another kind, which others may know.
    #[error(
        "the text after `hs256:` is a {kind}, not a secret: write it to a file, and give the file's \
         name without `hs256:`"
    )]
    SecretIsKey {
        /// `PEM` or `JWK`.
        kind: &'static str,
    },
    /// The key is private, where the public one is enough.
    #[error(
        "this is a private key, and to verify tokens the server needs the public one: `openssl pkey \
         -in FILE -pubout`, or the JWK without `d`"
    )]
    Private,
    /// The key is public, where the private one is needed.
    #[error("this is a public key, and to make tokens the private one is needed")]
    Public,
    /// The PEM holds something else than a public key.
    #[error("the PEM holds a {label:?}, not a \"PUBLIC KEY\": {fix}")]
    PemLabel {
        /// The label in its first line.
        label: Box<str>,
        /// The command that makes the right one.
        fix: &'static str,
    },
    /// The PEM cannot be read.
    #[error(
        "the PEM cannot be read: it must be as `openssl` writes it, with its line breaks, and \
         nothing behind it"
    )]
    Pem,
    /// The JWK cannot be read.
    #[error("the JWK {fault}")]
    Json {
        /// The fault.
        fault: JsonError,
    },
    /// The text is a set of keys.
    #[error(
        "this is a set of keys (JWKS): give each of its `keys` by itself, or the set's URL to `jwks`"
    )]
    Set,
    /// A member of the JWK is missing, or of another form.
    #[error("the JWK needs a `{member}` that is {expected}")]
    Member {
        /// The member.
        member: &'static str,
        /// The form that it must have.
        expected: &'static str,
    },
    /// The key is not for signatures.
    #[error("the JWK is not for signatures: its `{member}` says so")]
    Use {
        /// `use` or `key_ops`.
        member: &'static str,
    },
    /// The key has a type that no supported algorithm uses.
    #[error(
        "keys of type {found:?} are not supported: use an RSA key (RS256), a P-256 key (ES256) or an \
         Ed25519 key (EdDSA)"
    )]
    Type {
        /// The type or curve.
        found: String,
    },
    /// The key is for another algorithm than its type has here.
    #[error("the JWK is for the algorithm {found:?}, and keys of its type are used for {expected}")]
    Algorithm {
        /// The algorithm in the JWK.
        found: String,
        /// The algorithm of its type.
        expected: &'static str,
    },
    /// The key is no valid point of its curve.
    #[error("the key is not a valid point of {curve}: take it from its source again")]
    Point {
        /// The curve.
        curve: &'static str,
    },
    /// The private and the public half do not belong together.
    #[error("the private and the public half of the JWK are not one key")]
    Halves,
    /// The RSA key is too short or too long.
    #[error("the RSA key has {bits} bits: make one of 2048 to 4096")]
    RsaBits {
        /// The bits of its modulus.
        bits: usize,
    },
    /// The RSA key has an even modulus, or an exponent that is even, too small or too large.
    #[error("the RSA key has a modulus or an exponent that no sound key has: take exponent 65537")]
    RsaParts,
    /// The server was built without RSA.
    #[error(
        "this is an RSA key (RS256), and this server was built without the feature `rs256`: build it \
         with that, or use a P-256 key (ES256) or an Ed25519 key (EdDSA)"
    )]
    RsaLeftOut,
    /// Signing with RSA keys is not supported.
    #[error("tokens are not made with RSA keys here: use `hs256:`, a P-256 key or an Ed25519 key")]
    RsaSigns,
    /// The secret of HS256 is in a published set, where everybody can read it.
    #[error("a published set holds a secret (`oct`), which everybody can read: change it")]
    PublishedSecret,
    /// The id of the key is too long or empty.
    #[error("the key's id (`kid`) must have 1 to 256 bytes")]
    Id,
    /// Two keys have the same id.
    #[error("two keys have the id {id:?}: remove one")]
    SameId {
        /// The id.
        id: Box<str>,
    },
    /// There are more than 16 keys.
    #[error(
        "{count} token keys, over {KEYS_MAX}: publish them as a set, and give its URL to `jwks`"
    )]
    Many {
        /// The number of keys.
        count: usize,
    },
}
