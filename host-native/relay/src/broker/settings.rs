//! Settings of a relay over Redis.

use std::time::Duration;

use bytes::Bytes;

use super::server::{lineage::Lineage, url::RelayUrl};

/// Settings of a [`RedisRelay`](crate::RedisRelay).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// The address of the server.
    pub url: RelayUrl,
    /// The prefix of all keys and topics; default `roomcast:`, and with Redis Cluster
    /// `{roomcast}:`. Servers with the same prefix share their rooms.
    pub prefix: Box<str>,
    /// The token that epochs are bound to; default [`Lineage::Replication`].
    pub lineage: Lineage,
    /// True to read the lineage in each script; default false. It closes the window between a
    /// failover and the next heartbeat, and costs the server about 7 µs per publish. A node that
    /// has missed two heartbeats does so in any case.
    pub asks_lineage: bool,
    /// Replicas that must have a publish before it is acknowledged; default 0. It narrows the
    /// window in which a failover loses acknowledged messages, but does not close it. Publishes
    /// then use a separate connection, and wait for those before them.
    pub replicas_ack: u8,
    /// True to start although the server hides `INFO` or `CONFIG`, because somebody has made the
    /// checks of the start by hand; default false.
    pub is_checked_by_hand: bool,
    /// Data about this node that [`nodes`](crate::Relay::nodes) lists.
    pub about: Bytes,
    /// Times.
    pub timing: Timing,
    /// Limits.
    pub limits: Limits,
}

impl Settings {
    /// The defaults for a server.
    pub fn new(url: RelayUrl) -> Self {
        let prefix = match url.is_cluster() {
            false => "roomcast:",
            true => "{roomcast}:",
        };
        Self {
            url,
            prefix: prefix.into(),
            lineage: Lineage::Replication,
            asks_lineage: false,
            replicas_ack: 0,
            is_checked_by_hand: false,
            about: Bytes::new(),
            timing: Timing::default(),
            limits: Limits::default(),
        }
    }
}

/// Times of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timing {
    /// The time within which each call is answered; default 1 s.
    pub response: Duration,
    /// The time within which a connection is made; default 2 s.
    pub connect: Duration,
    /// The time between two heartbeats; default 3 s.
    pub heartbeat: Duration,
    /// The time after which a node without a heartbeat counts as dead; default 10 s.
    pub lease: Duration,
    /// The time without a loss after which a node takes away ended leases of others; default 10 s,
    /// as long as a lease. After an outage all leases have ended, and living nodes return one after
    /// the other.
    pub claim_after: Duration,
    /// The time without a message after which a probe is sent; default 5 s.
    pub probe: Duration,
    /// The time without a message or probe after which the relay reconnects; default 10 s.
    pub silence: Duration,
    /// The first pause before a reconnect; default 50 ms. Each further pause is twice as long, and
    /// each is shortened by up to a half at random.
    pub backoff: Duration,
    /// The longest such pause; default 2 s.
    pub backoff_max: Duration,
    /// The time after which a room that nobody touches is forgotten; default 24 h, and longer where
    /// its history or a key is kept for longer; at most 10 minutes before the first message, and an
    /// hour before the first one that is kept. A room that comes back has a new epoch.
    pub room: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            response: Duration::from_secs(1),
            connect: Duration::from_secs(2),
            heartbeat: Duration::from_secs(3),
            lease: Duration::from_secs(10),
            claim_after: Duration::from_secs(10),
            probe: Duration::from_secs(5),
            silence: Duration::from_secs(10),
            backoff: Duration::from_millis(50),
            backoff_max: Duration::from_secs(2),
            room: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// Limits of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Calls in flight of each kind (publishes, changes of users, others); default 1,024. Further
    /// calls queue, within their response timeout.
    pub calls_max: usize,
    /// Messages that were received and are not delivered yet; default 65,536. If there are more,
    /// the relay counts as lost.
    pub ring_events_max: usize,
    /// Their bytes; default 64 MiB.
    pub ring_bytes_max: usize,
    /// Bytes of an envelope; default 16 MiB. Longer ones are foreign.
    pub envelope_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls_max: 1_024,
            ring_events_max: 65_536,
            ring_bytes_max: 64 << 20,
            envelope_bytes_max: 16 << 20,
        }
    }
}

/// Converts a duration to the milliseconds that scripts take.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
