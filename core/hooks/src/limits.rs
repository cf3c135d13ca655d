//! Limits of requests to backends.

use core::time::Duration;

/// Events of one request, at most.
pub const BATCH_EVENTS_MAX: usize = 100;
/// Bytes of events of one request, at most; a single event may be larger.
pub const BATCH_BYTES_MAX: usize = 256 << 10;
/// The time that an event waits for others.
pub const BATCH_TIME: Duration = Duration::from_secs(1);
/// Time for an answer, from the first byte of the request on: Standard Webhooks advises 15 to 30 s.
pub const ANSWER_TIME: Duration = Duration::from_secs(15);
/// The shortest time before a request is repeated.
pub const RETRY_MIN: Duration = Duration::from_secs(1);
/// The longest time before a request is repeated, jitter included.
pub const RETRY_MAX: Duration = Duration::from_secs(300);
/// The longest time that a receiver can ask for by `Retry-After`.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// The time after which attempts to send events are given up, and the events dropped.
pub const GIVE_UP: Duration = Duration::from_secs(24 * 3600);
/// Keys of an endpoint, at most: an old one and a new one, and some more.
pub const KEYS_MAX: usize = 8;
/// Bytes of a secret, at least, by Standard Webhooks.
pub const SECRET_BYTES_MIN: usize = 24;
/// Bytes of a secret, at most, by Standard Webhooks.
pub const SECRET_BYTES_MAX: usize = 64;
/// Endpoints of a server, at most: each costs a connection and a line.
pub const HOOKS_MAX: usize = 16;
/// Bytes of an answer of a backend that is asked, at most: room for 32 rules, metadata and rooms.
pub const ASK_ANSWER_BYTES_MAX: usize = 16 << 10;
/// The longest time for which such an answer is kept.
pub const ASK_TTL_MAX: Duration = Duration::from_secs(3600);
/// The longest life of an identity that a backend gives, in seconds: ten years.
pub const ASK_EXPIRY_S_MAX: u64 = 10 * 365 * 24 * 3600;
/// Bytes of the text of a refusal that the client reads, at most.
pub const ASK_MESSAGE_BYTES_MAX: usize = 200;
/// Header fields of the client's request that are forwarded to a backend, at most.
pub const ASK_HEADERS_MAX: usize = 16;
/// Probes in flight at the same time, at most, which find out whether a backend can be reached
/// again: a question that it does not answer must not block the others.
pub const ASK_PROBES_MAX: usize = 4;
/// The shortest time for an answer that can be set.
pub const ASK_TIMEOUT_MIN: Duration = Duration::from_millis(10);
/// The longest time for an answer that can be set: a client that connects waits for it.
pub const ASK_TIMEOUT_MAX: Duration = Duration::from_secs(10);
