//! Limits of tokens and of published keys.

use core::time::Duration;

/// How long a token may be, in bytes: the header fields of a request hold no more on many servers.
pub const TOKEN_BYTES_MAX: usize = 8 << 10;

/// How far the clocks of an issuer and of a server may differ, in seconds.
pub const LEEWAY_S: u64 = 10;

/// How long the name of a user may be, in bytes, as everywhere in Roomcast.
pub const USER_BYTES_MAX: usize = 200;

/// How long the id of a key may be, in bytes.
pub const KEY_ID_BYTES_MAX: usize = 256;

/// How many keys may be configured: a token without a key id is held against each of them.
pub const KEYS_MAX: usize = 16;

/// How long the secret of HS256 must be, in bytes: as long as its hash, by RFC 7518.
pub const SECRET_BYTES_MIN: usize = 32;

/// The last second of the year 9999. An `exp` beyond it was meant in milliseconds.
pub(crate) const UNIX_S_MAX: u64 = 253_402_300_799;

/// How long a published set of keys may be, in bytes.
pub const JWKS_BYTES_MAX: usize = 64 << 10;

/// How long a fetch of published keys may take.
pub const JWKS_FETCH_TIMEOUT: Duration = Duration::from_secs(1);

/// How much time there is between the starts of two fetches, whatever clients do.
pub const JWKS_FETCH_INTERVAL: Duration = Duration::from_secs(30);

/// How old published keys become before they are fetched again.
pub const JWKS_REFRESH: Duration = Duration::from_secs(3600);

/// How many key ids are remembered as unknown.
pub const JWKS_UNKNOWN_MAX: usize = 128;

/// How long a key id is remembered as unknown.
pub const JWKS_UNKNOWN_AGE: Duration = Duration::from_secs(300);

// A refused id may ask again before it would be looked for again.
const _: () = assert!(JWKS_FETCH_INTERVAL.as_secs() < JWKS_UNKNOWN_AGE.as_secs());
const _: () = assert!(JWKS_UNKNOWN_AGE.as_secs() < JWKS_REFRESH.as_secs());
const _: () = assert!(JWKS_FETCH_TIMEOUT.as_secs() < JWKS_FETCH_INTERVAL.as_secs());
