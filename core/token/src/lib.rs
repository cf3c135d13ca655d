//! Tokens of Roomcast (JWT): who a connection is, and what it may do.
//!
//! Like the core it does no I/O and has no clock. The steps of a host:
//!
//! 1. At the start it reads keys with [`Key::parse`], and makes a [`Verifier`] of them.
//! 2. With the URL of published keys it drives a [`Jwks`], which says when to fetch them.
//! 3. For each token it calls [`Verifier::verify`] with the time on both clocks. The [`Claims`]
//!    become the identity of the connection. The token goes no further than this.
//! 4. A [`TokenError`] is logged; the client always gets [`TokenError::CLIENT_TEXT`].
//!
//! ```
//! use roomcast_core::Timestamp;
//! use roomcast_token::{Jwks, Key, KeySet, Missing, Now, Poll, TokenError, Verifier};
//!
//! let key = Key::parse("hs256:a secret of at least thirty-two bytes")?;
//! let verifier = Verifier::new([key])?.with_issuer("https://login.example.com");
//! let mut jwks = Jwks::default();
//! let now = Now { unix_s: 1_800_000_000, time: Timestamp::ZERO };
//! assert_eq!(jwks.poll(now.time), Poll::Fetch); // and then `jwks.received(...)`
//!
//! match verifier.verify("not.a.token", jwks.keys(), now) {
//!     Ok(claims) => println!("{} until {:?}", claims.user, claims.deadline),
//!     Err(TokenError::UnknownKey { kid }) if jwks.missing(now.time, &kid) == Missing::Wait => {
//!         // Again after the fetch.
//!     }
//!     Err(error) => eprintln!("refused: {error}"),
//! }
//! # Ok::<(), roomcast_token::KeyError>(())
//! ```
//!
//! # Rules
//!
//! The algorithm is that of the key; a token's header can only repeat it. `none` does not exist. A
//! token has at most 8 KiB, no JSON key twice, and none of `crit`, `jku`, `jwk`, `x5u` in its
//! header. It has a `sub` of 1 to 200 bytes and an `exp`; `nbf` is enforced; clocks may differ by
//! 10 s. `iss` and `aud` must be present and match if they are configured. An `aud` is refused if
//! none is configured, by RFC 7519.
//!
//! The RustCrypto crates check the signatures. The rest is written here and not taken from a JWT
//! library: such libraries leave each of these rules to their users, do not check headers and
//! claims for duplicate keys, ask the system for the time, and have one set of algorithms for the
//! whole process, which may be another application that embeds the server.

#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::std_instead_of_core, clippy::alloc_instead_of_core)]

extern crate alloc;

mod algorithm;
mod claims;
mod error;
mod json;
mod jwks;
mod jwks_url;
mod key;
mod key_set;
pub mod limits;
mod now;
mod pace;
#[cfg(feature = "sign")]
mod sign;
mod unverified;
mod verifier;

pub use algorithm::Algorithm;
pub use claims::Claims;
pub use error::TokenError;
pub use json::JsonError;
pub use jwks::{FetchError, Jwks, Missing, Poll};
pub use jwks_url::{JwksUrl, JwksUrlError};
pub use key::{Key, KeyError};
pub use key_set::{KeySet, KeySetError};
pub use now::Now;
pub use pace::FetchPace;
#[cfg(feature = "sign")]
pub use sign::{NewToken, SigningKey};
pub use unverified::Unverified;
pub use verifier::Verifier;

#[cfg(test)]
extern crate std;
