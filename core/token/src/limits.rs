//! Limits of tokens and of published keys.

use core::time::Duration;

/// The largest size of a token, in bytes: many servers accept no larger header fields.
pub const TOKEN_BYTES_MAX: usize = 8 << 10;

/// The difference between the clocks of an issuer and of a server that is tolerated, in seconds.
pub const LEEWAY_S: u64 = 10;

/// The longest name of a user, in bytes, as everywhere in Roomcast.
pub const USER_BYTES_MAX: usize = 200;

/// The longest id of a key, in bytes.
pub const KEY_ID_BYTES_MAX: usize = 256;

/// The largest number of configured keys: a token without a key id is checked with each of them.
pub const KEYS_MAX: usize = 16;

/// The shortest secret of HS256, in bytes: as long as its hash, by RFC 7518.
pub const SECRET_BYTES_MIN: usize = 32;

/// The last second of the year 9999. A larger `exp` was probably meant as milliseconds.
pub(crate) const UNIX_S_MAX: u64 = 253_402_300_799;

/// The largest size of a published set of keys, in bytes.
pub const JWKS_BYTES_MAX: usize = 64 << 10;

/// The time after which a fetch of published keys is given up.
pub const JWKS_FETCH_TIMEOUT: Duration = Duration::from_secs(1);

/// The default of the shortest time between the starts of two fetches.
pub const JWKS_FETCH_INTERVAL: Duration = Duration::from_secs(30);

/// The default of the age at which published keys are fetched again.
pub const JWKS_REFRESH: Duration = Duration::from_secs(3600);

/// The largest number of key ids that are remembered as unknown.
pub const JWKS_UNKNOWN_MAX: usize = 128;

/// The time for which a key id is remembered as unknown.
pub const JWKS_UNKNOWN_AGE: Duration = Duration::from_secs(300);

// An unknown id must be remembered for longer than the time between two fetches.
const _: () = assert!(JWKS_FETCH_INTERVAL.as_secs() < JWKS_UNKNOWN_AGE.as_secs());
const _: () = assert!(JWKS_UNKNOWN_AGE.as_secs() < JWKS_REFRESH.as_secs());
const _: () = assert!(JWKS_FETCH_TIMEOUT.as_secs() < JWKS_FETCH_INTERVAL.as_secs());
