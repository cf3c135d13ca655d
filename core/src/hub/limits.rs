//! Limits of everything that grows.

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
    /// The amount that may come at once after a rest.
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
    /// Rooms that one connection is in; default 128. Bounds what a disconnect costs. Passed:
    /// `room_limit`.
    pub rooms_per_connection: usize,
    /// Bytes of the names of the rooms that one connection is in, each counted as in a JSON list;
    /// default `None`, no limit but that of their number. For a host that keeps a connection's
    /// ground state in a small place. Passed: `room_limit`.
    pub room_names_bytes: Option<usize>,
    /// Bytes of a room name; default 200. Passed: `bad_room`.
    pub room_name_bytes: usize,
    /// Messages from one connection; default 50 a second, burst 100; `None` is no limit. Passed:
    /// `rate_limited`.
    pub inbound_messages: Option<Rate>,
    /// Bytes of messages from one connection; default 256 KiB a second, burst the same; `None` is
    /// no limit. Passed: `rate_limited`.
    pub inbound_bytes: Option<Rate>,
    /// Refusals for rate before the connection is closed with 4429; default 100, one back per
    /// second: a client that overshoots is told, one that floods is gone.
    pub inbound_refusals: Rate,
    /// Silence after which a connection is pinged; default 25 s, below the 30 s idle timeout of
    /// common proxies. `None` is no heartbeat: an edge object may then sleep.
    pub heartbeat: Option<Duration>,
    /// Silence after the ping that closes with 4408; default 10 s. With the default heartbeat a
    /// half-open connection is found within 35 s.
    pub heartbeat_wait: Duration,
    /// Bytes of a session, what an application keeps of a connection; default 1,024, half of what
    /// Cloudflare Workers first allowed for the state of a sleeping socket.
    pub session_bytes: usize,
    /// Idempotency keys of [`Hub::send_once`](crate::Hub::send_once) remembered; default 10,000,
    /// the oldest go first. So many more are those of clients: of these the client with the most
    /// loses its oldest, so that nobody pushes out the keys of those who have few.
    pub idempotency_keys: usize,
    /// Idempotency keys of one user, or of one connection without a user; default 256, more than
    /// any client has messages without an answer. The oldest go first.
    #[serde(skip_serializing_if = "is_keys_per_client")]
    pub idempotency_keys_per_client: usize,
    /// The time for which a key is remembered; default 5 minutes, longer than any sane retry.
    pub idempotency: Duration,
    /// Bytes of memory that all histories take; default 64 MiB, hundreds of busy rooms. The
    /// histories with the oldest last message go first; so it should be several times what one
    /// room may keep.
    pub history_bytes: usize,
    /// Rooms without members that are remembered for their history; default 10,000, some
    /// megabytes. Those touched longest ago are forgotten first. As many more
    /// rooms wait for absent users, see [`Gateway::absent`](crate::Gateway::absent); further rooms
    /// do not.
    pub history_rooms: usize,
    /// The time in which a client says who it is, where it must and did not when it connected;
    /// default 5 s, for a slow network. Passed: closed with 4401.
    #[serde(skip_serializing_if = "is_auth_timeout")]
    pub auth_timeout: Duration,
    /// The time in which an application decides about a request for a WebSocket, in
    /// [`Gateway::upgrade`](crate::Gateway::upgrade), then about the connection, in
    /// [`Gateway::connect`](crate::Gateway::connect), or about a message, in each of its guards,
    /// where that waits; default 7 s, enough for a slow database, and twice within the 15 s for
    /// which a client waits until it is connected. Passed: 503, closed with 1013, or `unavailable`.
    #[serde(skip_serializing_if = "is_admission_timeout")]
    pub admission_timeout: Duration,
    /// The time before the end of an identity at which its client is told to renew it; default
    /// 60 s, long enough to fetch a token, and at most half of the time that the identity holds.
    #[serde(skip_serializing_if = "is_expiry_notice")]
    pub expiry_notice: Duration,
    /// The time for which a connection whose identity is over stays open, without rights, to renew
    /// it; default 25 s, for a backend that restarts. Passed: closed with 4401.
    #[serde(skip_serializing_if = "is_expiry_grace")]
    pub expiry_grace: Duration,
    /// Users who were withdrawn, remembered each with a time; default 10,000, some megabytes. Past
    /// it the earliest time holds for all users.
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
    /// Users of a room that are listed and whose coming and going is told; default 1,000, since
    /// each is told to all. Passed: counts only.
    pub presence_list: usize,
    /// Bytes of JSON that presence shows of a user; default 2 KiB, a name and a picture's address.
    /// Passed: `too_large`.
    pub meta_bytes: usize,
    /// The same over all rooms of a connection, each with 8 bytes more; default `None`, no limit
    /// but that of one. For a host that keeps a connection's ground state in a small place. Passed:
    /// `too_large`.
    pub metas_bytes: Option<usize>,
}

/// True for the default, which journals of before the limit was there do not name.
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
    /// The first of the serials of connections, and how many they are: no other node has them, for
    /// as long as the namespace lives. More follow by
    /// [`RelayEvent::Serials`](crate::relay::RelayEvent::Serials). They only rise: an id has the
    /// remainder by [`ConnId::SERIALS`](crate::ConnId::SERIALS).
    pub serials: (u64, u64),
    /// True when the relay answers a publish only once replicas have it: a message that comes back
    /// before that is no answer. Default false.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub replicated: bool,
}

impl Cluster {
    /// The place of the node of this name, with so many serials of connections from the first on.
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
    /// The name of this run of the namespace, in every position that it gives out: a position of
    /// another epoch is not comparable. Different after each start that lost the history, so
    /// usually random; printable ASCII.
    pub epoch: String,
    /// True when messages are the application's own, text or binary, without envelopes: no protocol
    /// verbs, no `$welcome` and no `$bye`. Limits and rates hold; a message over the rate is
    /// dropped, since there is no way to say so. An [`App`](crate::App) sets it by its gateway.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub raw: bool,
    /// The policies of rooms; default none.
    #[serde(default, skip_serializing_if = "Policies::is_default")]
    pub policies: Policies,
    /// True when the host keeps histories: it is then told of each message, and of the rooms whose
    /// state must be saved, by `Command::Append` and `Command::PersistRoom`. Default false:
    /// histories live in memory.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub durable: bool,
    /// True when an application hears of users who come and go. An [`App`](crate::App) sets it by
    /// its gateway.
    #[serde(
        rename = "told_of_users",
        default,
        skip_serializing_if = "core::ops::Not::not"
    )]
    pub notify_presence: bool,
    /// Events that backends are told of, by `Command::Tell`; default none.
    #[serde(default, skip_serializing_if = "Subscriptions::is_empty")]
    pub subscriptions: Subscriptions,
    /// True when the host asks a backend for a client that joins a room and has no right to;
    /// default false. See [`App::take_asked`](crate::App::take_asked).
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub asks_join: bool,
    /// The place of the hub among several nodes that share the namespace; default `None`: it is
    /// alone, and its own sequencer. Histories are then the relay's, and `durable` means nothing.
    /// Read only with the feature `cluster`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Cluster>,
    /// The wall-clock time of `Timestamp::ZERO`, in milliseconds since 1970. Default 0: the host's
    /// times are those of the wall clock. For applications, and for withdrawals of users whom these
    /// name; no other rule depends on it.
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

    /// True when rooms may have a policy, or somebody wants to be told of events. Asked once on the
    /// way of an operation: all that plain hubs do not need lies behind it, out of line.
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

    /// The same for a host that keeps histories, or not.
    #[must_use]
    pub const fn with_durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }
}
