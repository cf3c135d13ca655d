//! Limits on everything that grows, and the configuration of a hub.

use alloc::string::String;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    policy::Policies, policy::Subscriptions, relay::Publishes, relay::Relay, wire::ConnId,
};

/// A steady rate with a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Refill per second.
    pub per_second: u32,
    /// The amount that may come at once after an idle time.
    pub burst: u32,
}

/// The limits of one hub; every field has a default.
///
/// Limits below the hub, on bytes in socket queues, fragments or handshakes, are the host's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Limits {
    /// Live connections; default and maximum 2<sup>20</sup>. A host usually has a lower one, for
    /// its file descriptors.
    pub connections: usize,
    /// Bytes of one inbound message; default 64 KiB, as much as a chat or a game frame needs and
    /// little enough that a thousand peers cannot fill a small machine. Passed: close 1009.
    pub message_bytes: usize,
    /// Rooms of one connection; default 128. Bounds the cost of a disconnect. Passed: `room_limit`.
    pub rooms_per_connection: usize,
    /// Bytes of the names of one connection's rooms, each counted as in a JSON list; default
    /// `None`, no limit except on their number. For a host that keeps a connection's ground state
    /// in limited space. Passed: `room_limit`.
    pub room_names_bytes: Option<usize>,
    /// Bytes of a room name; default 200. Passed: `bad_room`.
    pub room_name_bytes: usize,
    /// Messages from one connection; default 50 a second, burst 100; `None` is no limit. Passed:
    /// `rate_limited`.
    pub inbound_messages: Option<Rate>,
    /// Bytes of messages from one connection; default 256 KiB a second, burst the same; `None` is
    /// no limit. Passed: `rate_limited`.
    pub inbound_bytes: Option<Rate>,
    /// Refusals for rate before the connection is closed with 4429; default 100, refilled by one
    /// per second: a client that overshoots is told, one that floods is closed.
    pub inbound_refusals: Rate,
    /// Silence after which a connection is pinged; default 25 s, below the 30 s idle timeout of
    /// common proxies. `None` is no heartbeat, which lets an edge object sleep.
    pub heartbeat: Option<Duration>,
    /// Silence after the ping before the connection is closed with 4408; default 10 s. With the
    /// default heartbeat a half-open connection is found within 35 s.
    pub heartbeat_wait: Duration,
    /// Bytes of a session, the data that an application keeps for a connection; default 1,024, half
    /// of what Cloudflare Workers first allowed for the state of a sleeping socket.
    pub session_bytes: usize,
    /// Idempotency keys of [`Hub::send_once`](crate::Hub::send_once) remembered; default 10,000,
    /// the oldest are evicted first. The same limit holds for the keys of all clients: there the
    /// client with the most keys loses its oldest, so that nobody evicts the keys of clients with
    /// few.
    pub idempotency_keys: usize,
    /// Idempotency keys of one user, or of one connection without a user; default 256, more
    /// messages than any client has unanswered. The oldest are evicted first.
    #[serde(skip_serializing_if = "is_keys_per_client")]
    pub idempotency_keys_per_client: usize,
    /// The time for which a key is remembered; default 5 minutes, longer than any sane retry.
    pub idempotency: Duration,
    /// Bytes of memory that all histories take; default 64 MiB, hundreds of busy rooms. The
    /// histories whose last message is the oldest are trimmed first, so the limit should be several
    /// times what one room may keep.
    pub history_bytes: usize,
    /// Rooms without members that are kept for their history; default 10,000, some megabytes. Rooms
    /// without messages are removed first, then the least recently used. As many further rooms may
    /// wait for absent users to return, see [`Gateway::absent`](crate::Gateway::absent); rooms past
    /// this number do not wait.
    pub history_rooms: usize,
    /// The time in which a client must identify itself, where that is required and it did not when
    /// connecting; default 5 s, for a slow network. Passed: closed with 4401.
    #[serde(skip_serializing_if = "is_auth_timeout")]
    pub auth_timeout: Duration,
    /// The time in which an application must decide about an upgrade request, in
    /// [`Gateway::upgrade`](crate::Gateway::upgrade), then about the connection, in
    /// [`Gateway::connect`](crate::Gateway::connect), and about a message, in each guard that
    /// waits. Default 7 s, enough for a slow database, and twice that is within the 15 s for which
    /// a client waits until it is connected. Passed: 503, closed with 1013, or `unavailable`.
    #[serde(skip_serializing_if = "is_admission_timeout")]
    pub admission_timeout: Duration,
    /// The time before an identity expires at which its client is told to renew it; default 60 s,
    /// long enough to fetch a token, and at most half of the identity's lifetime.
    #[serde(skip_serializing_if = "is_expiry_notice")]
    pub expiry_notice: Duration,
    /// The time for which a connection with an expired identity stays open, without rights, to
    /// renew it; default 25 s, for a backend that restarts. Passed: closed with 4401.
    #[serde(skip_serializing_if = "is_expiry_grace")]
    pub expiry_grace: Duration,
    /// Withdrawn users remembered, each with a time; default 10,000, some megabytes. Past the limit
    /// the earliest time applies to all users.
    #[serde(skip_serializing_if = "is_withdrawn_users")]
    pub withdrawn_users: usize,
    /// Messages that are replayed to one join; default 500, half of what hosts queue for a
    /// connection. Passed: `"recovered":false`.
    pub recovery_messages: usize,
    /// Bytes of messages that are replayed to one join; default 512 KiB, half of what hosts queue
    /// for a connection. Passed: `"recovered":false`.
    pub recovery_bytes: usize,
    /// Messages or members in one answer to `$history` or `$members`; default 100, a screen full
    /// and some more. The client asks for the next page.
    pub page_entries: usize,
    /// Bytes of one such answer; default 256 KiB. A single entry may be larger.
    pub page_bytes: usize,
    /// Users of a room up to which they are listed, and their joins and leaves are announced;
    /// default 1,000, since each notice goes to all members. Passed: counts only.
    pub presence_list: usize,
    /// Bytes of JSON that presence shows of a user; default 2 KiB, a name and a picture's address.
    /// Passed: `too_large`.
    pub meta_bytes: usize,
    /// Bytes of this metadata over all rooms of a connection, plus 8 for each; default `None`, no
    /// limit except on each alone. For a host that keeps a connection's ground state in limited
    /// space. Passed: `too_large`.
    pub metas_bytes: Option<usize>,
}

/// True for the default, which is not serialized: older journals lack the limit.
const fn is_keys_per_client(keys: &usize) -> bool {
    *keys == Limits::KEYS_PER_CLIENT
}

fn is_auth_timeout(time: &Duration) -> bool {
    *time == Limits::AUTH_TIMEOUT
}

fn is_admission_timeout(time: &Duration) -> bool {
    *time == Limits::ADMISSION_TIMEOUT
}

fn is_expiry_notice(time: &Duration) -> bool {
    *time == Limits::EXPIRY_NOTICE
}

fn is_expiry_grace(time: &Duration) -> bool {
    *time == Limits::EXPIRY_GRACE
}

const fn is_withdrawn_users(users: &usize) -> bool {
    *users == Limits::WITHDRAWN_USERS
}

impl Limits {
    const WITHDRAWN_USERS: usize = 10_000;
    const KEYS_PER_CLIENT: usize = 256;
    const AUTH_TIMEOUT: Duration = Duration::from_secs(5);
    const ADMISSION_TIMEOUT: Duration = Duration::from_secs(7);
    const EXPIRY_NOTICE: Duration = Duration::from_secs(60);
    const EXPIRY_GRACE: Duration = Duration::from_secs(25);

    /// Default of [`inbound_messages`](Self::inbound_messages).
    pub const INBOUND_MESSAGES: Rate = Rate {
        per_second: 50,
        burst: 100,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: ConnId::SLOTS,
            message_bytes: 64 * 1024,
            rooms_per_connection: 128,
            room_names_bytes: None,
            room_name_bytes: 200,
            inbound_messages: Some(Self::INBOUND_MESSAGES),
            inbound_bytes: Some(Rate {
                per_second: 256 * 1024,
                burst: 256 * 1024,
            }),
            inbound_refusals: Rate {
                per_second: 1,
                burst: 100,
            },
            heartbeat: Some(Duration::from_secs(25)),
            heartbeat_wait: Duration::from_secs(10),
            session_bytes: 1_024,
            idempotency_keys: 10_000,
            idempotency_keys_per_client: Self::KEYS_PER_CLIENT,
            idempotency: Duration::from_secs(300),
            history_bytes: 64 << 20,
            history_rooms: 10_000,
            auth_timeout: Self::AUTH_TIMEOUT,
            admission_timeout: Self::ADMISSION_TIMEOUT,
            expiry_notice: Self::EXPIRY_NOTICE,
            expiry_grace: Self::EXPIRY_GRACE,
            withdrawn_users: Self::WITHDRAWN_USERS,
            recovery_messages: 500,
            recovery_bytes: 512 << 10,
            page_entries: 100,
            page_bytes: 256 << 10,
            presence_list: 1_000,
            meta_bytes: 2 << 10,
            metas_bytes: None,
        }
    }
}

/// The place of a hub among several nodes that share a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Cluster {
    /// The name of this run of the node, which no other run of any node has.
    pub node: String,
    /// The first serial number for connections, and how many there are: no other node ever has them
    /// in this namespace. More follow by
    /// [`RelayEvent::Serials`](crate::relay::RelayEvent::Serials). They only rise: an id has the
    /// remainder by [`ConnId::SERIALS`](crate::ConnId::SERIALS).
    pub serials: (u64, u64),
    /// True when the relay answers a publish only after replicas have it. A message that comes back
    /// before that does not count as the answer. Default false.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub replicated: bool,
}

impl Cluster {
    /// The place of a node by its name and its first `serials` connection serials.
    pub fn new(node: impl Into<String>, first_serial: u64, serials: u64) -> Self {
        Self {
            node: node.into(),
            serials: (first_serial, serials),
            replicated: false,
        }
    }

    pub(super) fn relay(&self) -> Relay {
        let (first, count) = self.serials;
        let mut relay = Relay::new(self.node.as_str().into(), first.saturating_add(count));
        relay.publishes = Publishes::new(self.replicated);
        relay
    }
}

/// The configuration of a hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Config {
    /// The limits.
    #[serde(default)]
    pub limits: Limits,
    /// The name of this run of the namespace, which is in every position that it returns: positions
    /// of different epochs are not comparable. It must differ after each start that lost the
    /// history, so it is usually random; printable ASCII.
    pub epoch: String,
    /// True when messages are the application's own, text or binary, without envelopes: no protocol
    /// verbs, no `$welcome` and no `$bye`. Limits and rates apply; a message over the rate is
    /// dropped silently, since there is no way to report it. An [`App`](crate::App) sets this by
    /// its gateway.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub raw: bool,
    /// The policies of rooms; default none.
    #[serde(default, skip_serializing_if = "Policies::is_default")]
    pub policies: Policies,
    /// True when the host stores histories. It then receives each message, and the rooms whose
    /// state must be saved, by `Command::Append` and `Command::PersistRoom`. Default false:
    /// histories live in memory.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub durable: bool,
    /// True when the application hears of users who come and go. An [`App`](crate::App) sets this
    /// by its gateway.
    #[serde(
        rename = "told_of_users",
        default,
        skip_serializing_if = "core::ops::Not::not"
    )]
    pub notify_presence: bool,
    /// Events that backends are told of, by `Command::Tell`; default none.
    #[serde(default, skip_serializing_if = "Subscriptions::is_empty")]
    pub subscriptions: Subscriptions,
    /// True when the host asks a backend about a client that joins a room without the right to;
    /// default false. See [`App::take_asked`](crate::App::take_asked).
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub asks_join: bool,
    /// The place of the hub among several nodes that share the namespace; default `None`: the hub
    /// is alone, and its own sequencer. With a cluster, the relay keeps the histories, and
    /// `durable` has no effect. Read only with the feature `cluster`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Cluster>,
    /// The wall-clock time of `Timestamp::ZERO`, in milliseconds since 1970. Default 0: the host's
    /// timestamps are wall-clock times. Used by applications, and for withdrawals of users whom
    /// they name; no other rule depends on it.
    #[serde(default, skip_serializing_if = "crate::time::is_zero")]
    pub unix_zero_ms: u64,
}

impl Config {
    /// Default limits, under the given epoch.
    pub fn new(epoch: impl Into<String>) -> Self {
        Self {
            limits: Limits::default(),
            epoch: epoch.into(),
            raw: false,
            policies: Policies::default(),
            durable: false,
            notify_presence: false,
            subscriptions: Subscriptions::default(),
            asks_join: false,
            cluster: None,
            unix_zero_ms: 0,
        }
    }

    /// True when rooms may have a policy, events are subscribed to, or there is a cluster. Checked
    /// once per operation: everything that plain hubs do not need is behind this check, out of
    /// line.
    #[inline]
    pub(super) const fn has_extras(&self) -> bool {
        !self.policies.is_empty() || !self.subscriptions.is_empty() || self.cluster.is_some()
    }

    /// The same with other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The same with these room policies.
    #[must_use]
    pub fn with_policies(mut self, policies: Policies) -> Self {
        self.policies = policies;
        self
    }

    /// The same for a host that tells backends of events.
    #[must_use]
    pub fn with_subscriptions(mut self, subscriptions: Subscriptions) -> Self {
        self.subscriptions = subscriptions;
        self
    }

    /// The same for a host that asks a backend who may join.
    #[must_use]
    pub const fn with_asks_join(mut self, asks_join: bool) -> Self {
        self.asks_join = asks_join;
        self
    }

    /// The same for one of several nodes.
    #[cfg(feature = "cluster")]
    #[must_use]
    pub fn with_cluster(mut self, cluster: Cluster) -> Self {
        self.cluster = Some(cluster);
        self
    }

    /// The same for a host whose times count from this moment, in milliseconds since 1970.
    #[must_use]
    pub const fn with_unix_zero_ms(mut self, unix_zero_ms: u64) -> Self {
        self.unix_zero_ms = unix_zero_ms;
        self
    }

    /// The same for a host that stores histories, or does not.
    #[must_use]
    pub const fn with_durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }
}
