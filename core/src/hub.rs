//! The state machine of one namespace.

mod audience;
pub(crate) mod change;
mod connection;
mod conns;
pub(crate) mod error;
mod history;
mod idempotency;
pub(crate) mod identity;
mod lifecycle;
mod limits;
mod membership;
mod presence;
pub(crate) mod receive;
mod send;
mod state;
mod tell;

use alloc::{collections::BTreeSet, vec::Vec};
use core::ops::Bound;

use serde::{Deserialize, Serialize};

pub use self::{
    audience::{Audience, Delivery},
    conns::{ConnectionInfo, ConnectionSummary, Handshake},
    error::{
        JoinError, KEY_BYTES_MAX, Refusal, RequestError, RestoreError, SendError, SessionError,
        SetUserError, UnknownConn,
    },
    limits::{Cluster, Config, Limits, Rate},
    receive::allowance::{Allowance, Excess, Meter},
    receive::rate::Bucket,
    receive::resting::Resting,
    state::{ClientKeyState, ConnState, HubState, KeyState, RoomState},
};
use self::{
    change::Change, change::Changes, conns::Conns, idempotency::Keys,
    idempotency::client_keys::ClientKeys, identity::withdrawn::Withdrawn,
};
pub use crate::room::{RoomInfo, RoomSummary};
pub use crate::wire::conn_id::{ConnId, ParseConnIdError};
use crate::{
    relay::OptionalRelay,
    relay::Relay,
    relay::Topic,
    room::{recovery::Recoveries, rooms::Rooms},
    time::{Timestamp, UnixTime},
};

/// A namespace: its connections, its rooms, and who receives what.
///
/// The hub does no I/O and has no clock. Hosts drive it by [`App::apply`](crate::App::apply); a hub
/// alone is for tests and tools. Its methods are of five kinds:
///
/// 1. **What happened**: [`connect`](Self::connect), [`receive`](Self::receive) (of a hub alone),
///    [`authenticate`](Self::authenticate), [`note_activity`](Self::note_activity),
///    [`disconnect`](Self::disconnect), [`handle_timeout`](Self::handle_timeout).
/// 2. **What the application wants**: [`publish`](Self::publish), [`send`](Self::send),
///    [`send_once`](Self::send_once), [`join`](Self::join), [`join_with`](Self::join_with),
///    [`leave`](Self::leave), [`close`](Self::close), [`close_for`](Self::close_for),
///    [`withdraw`](Self::withdraw).
/// 3. **Questions**, which change nothing: [`rooms`](Self::rooms), [`members`](Self::members),
///    [`rooms_of`](Self::rooms_of), [`connection`](Self::connection), [`counts`](Self::counts),
///    [`next_timeout`](Self::next_timeout) and others.
/// 4. **Other settings**: [`set_policies`](Self::set_policies),
///    [`set_backends`](Self::set_backends).
/// 5. **Sleep and wake**: [`state`](Self::state), [`conn_state`](Self::conn_state),
///    [`restore`](Self::restore); and [`shrink_to_fit`](Self::shrink_to_fit).
///
/// Methods append commands to the [`Outbox`](crate::Outbox) that is passed to them. The host
/// carries
/// out the commands in order, clears the outbox, asks for [`next_timeout`](Self::next_timeout), and
/// waits for the next thing to happen.
///
/// The same inputs give the same outputs, byte for byte, on every machine.
///
/// ```
/// use roomcast_core::{Command, Config, Frame, Handshake, Hub, Outbox, Timestamp};
///
/// let mut hub = Hub::new(Config::new("epoch"));
/// let (now, mut out) = (Timestamp::ZERO, Outbox::new());
/// let ann = hub.connect(now, Handshake::new(), &mut out)?;
/// let bob = hub.connect(now, Handshake::new(), &mut out)?;
/// hub.join(now, bob, "lobby", &mut out)?;
/// out.clear();
///
/// let text = r#"{"event":"said","room":"lobby","data":"hi"}"#;
/// if let Some(message) = hub.receive(now, ann, Frame::Text(text), &mut out)? {
///     hub.publish(now, &message, &mut out)?; // or what the application decides
/// }
/// for command in &out {
///     let Command::Send { to, frame: Frame::Text(text), .. } = command else { continue };
///     assert_eq!(to, [bob]);
///     assert_eq!(text, r#"{"event":"said","room":"lobby","from":{"conn":"0"},"data":"hi"}"#);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Hub {
    config: Config,
    conns: Conns,
    rooms: Rooms,
    next_serial: u64,
    keys: Keys,
    withdrawn: Withdrawn,
    client_keys: ClientKeys,
    /// Reused by sends with exceptions.
    scratch: Vec<ConnId>,
    changes: Changes,
    rate_refusals: u64,
    recoveries: Recoveries,
    relay: OptionalRelay,
    /// Connections that an application has neither accepted nor refused yet; they are in no
    /// audience.
    opening: BTreeSet<ConnId>,
}

impl Hub {
    /// An empty hub.
    pub fn new(config: Config) -> Self {
        let cluster = config.cluster.as_ref();
        let cluster = cluster.filter(|_| cfg!(feature = "cluster"));
        Self {
            next_serial: cluster.map_or(0, |cluster| cluster.serials.0),
            relay: OptionalRelay::new(cluster.map(Cluster::relay)),
            config,
            conns: Conns::default(),
            rooms: Rooms::default(),
            keys: Keys::default(),
            withdrawn: Withdrawn::default(),
            client_keys: ClientKeys::default(),
            scratch: Vec::new(),
            opening: BTreeSet::new(),
            changes: Changes::default(),
            rate_refusals: 0,
            recoveries: Recoveries::default(),
        }
    }

    /// Starts or stops recording changes for [`take_changes`](Self::take_changes).
    pub(crate) fn record_changes(&mut self, records: bool) {
        self.changes.record(records, self.config.notify_presence);
    }

    /// True when changes are recorded.
    #[inline]
    pub(crate) const fn records_changes(&self) -> bool {
        self.changes.are_recorded()
    }

    /// Takes the changes recorded since the last call.
    pub(crate) fn take_changes(&mut self) -> impl Iterator<Item = Change> {
        self.changes.take()
    }

    /// Drops the changes caused by a connection that the application refused.
    pub(crate) fn retract_changes(&mut self, conn: ConnId) {
        self.changes.retract(conn);
    }

    /// Releases spare memory. Nothing else changes.
    ///
    /// Work: all connections and rooms. Hosts call it occasionally, after many connections have
    /// ended.
    pub fn shrink_to_fit(&mut self) {
        self.conns.shrink_to_fit();
        self.rooms.shrink_to_fit();
        self.scratch = Vec::new();
    }

    /// The wall-clock time at `now`, from the wall-clock time of the host's [`Timestamp::ZERO`].
    pub const fn unix_time(&self, now: Timestamp) -> UnixTime {
        let zero_ms = self.config.unix_zero_ms;
        UnixTime::from_millis(zero_ms.saturating_add(now.as_millis()))
    }

    /// Sets the wall-clock time of [`Timestamp::ZERO`], in milliseconds since 1970, for hosts with
    /// monotonic timestamps and an adjusted wall clock. No rule depends on it, except
    /// [withdrawals](Self::withdraw) of users whom an application names afterwards.
    pub const fn set_unix_zero_ms(&mut self, unix_zero_ms: u64) {
        self.config.unix_zero_ms = unix_zero_ms;
    }

    /// The limits in force.
    pub const fn limits(&self) -> &Limits {
        &self.config.limits
    }
}

/// Totals of the namespace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Counts {
    /// Live connections.
    pub connections: usize,
    /// Rooms with members, or with a history.
    pub rooms: usize,
    /// Pairs of a connection and a room it is in.
    pub memberships: usize,
    /// Memory used by all histories, in bytes.
    pub history_bytes: usize,
}

/// Questions; none of them changes anything.
impl Hub {
    /// Totals of the namespace. Work: constant.
    pub fn counts(&self) -> Counts {
        Counts {
            connections: self.conns.len(),
            rooms: self.rooms.len() - self.rooms.vacant(),
            memberships: self.rooms.memberships(),
            history_bytes: self.rooms.histories().bytes(),
        }
    }

    /// Rooms whose name starts with `prefix` and comes after `after`, sorted by name. Work: a
    /// look-up, then constant per room taken.
    pub fn rooms<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = RoomInfo<'a>> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.rooms
            .range(from)
            .map(|(_, room)| room)
            .take_while(move |room| room.name.starts_with(prefix))
            .filter(|room| !room.is_vacant())
            .map(Into::into)
    }

    /// The room with this name, if there is one. Work: a look-up.
    pub fn room(&self, name: &str) -> Option<RoomInfo<'_>> {
        let found = self.rooms.find(name);
        let (_, room) = found.filter(|(_, room)| !room.is_vacant())?;
        Some(room.into())
    }

    /// The connections in a room, sorted; empty when there is no such room. Work: a look-up.
    pub fn members(&self, room: &str) -> &[ConnId] {
        self.rooms
            .find(room)
            .map_or(&[], |(_, room)| room.members.as_slice())
    }

    /// The rooms of a connection, sorted; `None` when it is not alive. Work: its rooms.
    pub fn rooms_of(&self, conn: ConnId) -> Option<Vec<&str>> {
        let conn = self.conns.get(conn)?;
        let names = conn.rooms.iter().map(|&slot| &*self.rooms.get(slot).name);
        let mut names: Vec<&str> = names.collect();
        names.sort_unstable();
        Some(names)
    }

    /// The rooms that a user is in by any connection, sorted, without duplicates. Work: all rooms
    /// of these connections.
    pub fn rooms_of_user(&self, user: &str) -> Vec<&str> {
        let conns = self.connections_of(user).iter();
        let mut names: Vec<&str> = conns
            .filter_map(|&conn| self.rooms_of(conn))
            .flatten()
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// A live connection; `None` when it is not alive. Work: constant.
    pub fn connection(&self, conn: ConnId) -> Option<ConnectionInfo<'_>> {
        self.conns.get(conn).map(Into::into)
    }

    /// All live connections, in an arbitrary but deterministic order.
    pub fn connections(&self) -> impl Iterator<Item = ConnectionInfo<'_>> {
        self.conns.iter().map(Into::into)
    }

    /// The connections of a user, sorted. Work: a look-up.
    pub fn connections_of(&self, user: &str) -> &[ConnId] {
        self.conns.of_user(user)
    }

    /// True when an idempotency key of [`send_once`](Self::send_once) is remembered at `now`. Keys
    /// of clients do not count. In a clustered hub it is always false: there the relay remembers
    /// the keys. Work: constant.
    pub fn remembers_keys(&self, now: Timestamp) -> bool {
        !self.is_clustered() && self.keys.latest().is_some_and(|latest| latest > now)
    }

    /// True when dropping the hub would lose nothing except the number of connections it has had.
    /// There are no connections, no rooms with a history or with absent users expected back, no
    /// withdrawn users (unless a relay remembers them), and no idempotency keys remembered at
    /// `now`, neither of [`send_once`](Self::send_once) nor of clients.
    pub fn is_idle(&self, now: Timestamp) -> bool {
        let keys = self.client_keys.latest().is_some_and(|latest| latest > now);
        self.conns.len() == 0
            && self.rooms.len() == 0
            && (self.withdrawn.is_empty() || self.is_relay_up())
            && !self.remembers_keys(now)
            && !keys
    }

    /// The withdrawn users, sorted, each with a time in seconds since 1970. Identities of the user
    /// from before this time are refused.
    pub fn withdrawn(&self) -> impl Iterator<Item = (&str, u64)> {
        self.withdrawn.iter()
    }

    /// The time, in seconds since 1970, before which the identities of all users are refused. It is
    /// 0 unless more users were withdrawn than the hub remembers.
    pub const fn not_before_s(&self) -> u64 {
        self.withdrawn.everyone_s()
    }

    /// True when a connection may have had this id, false when none has had it so far. `None` in a
    /// hub that has given out no ids, such as the stand-in for a namespace that does not exist.
    pub(crate) fn has_given_out(&self, conn: ConnId) -> Option<bool> {
        (self.next_serial > 0).then(|| conn.serial() < self.next_serial)
    }

    /// All rooms, for verbs to read.
    pub(crate) const fn table(&self) -> &Rooms {
        &self.rooms
    }

    /// The relay, where there is one.
    #[inline]
    pub(crate) fn relay_mut(&mut self) -> Option<&mut Relay> {
        self.relay.as_mut()
    }

    /// The recently delivered messages of a topic, with their offsets.
    pub(crate) fn recent_of<'a>(&'a self, topic: &Topic) -> impl Iterator<Item = (u64, &'a [u8])> {
        let relay = self.relay.as_ref();
        let track = relay.and_then(|relay| relay.track(topic));
        track.into_iter().flat_map(|track| track.recent())
    }

    /// True when messages take their order from a relay.
    #[inline]
    pub(crate) const fn is_clustered(&self) -> bool {
        self.relay.is_some()
    }

    /// Checks that all derived state agrees with its source; for tests. Work: the whole hub.
    ///
    /// # Panics
    ///
    /// When the state is inconsistent.
    ///
    /// When the hub is broken.
    pub fn assert_consistent(&self) {
        self.conns.assert_consistent();
        self.rooms.assert_consistent();
        self.assert_armed();
        self.assert_follows();
        self.client_keys.assert_consistent();
        let mut memberships = 0;
        for conn in self.conns.iter() {
            assert!(conn.id.serial() < self.next_serial, "an id from the future");
            for &slot in &conn.rooms {
                let room = self.rooms.get(slot);
                assert!(room.members.contains(&conn.id), "in a room that lacks it");
                let found = self.rooms.find(&room.name).map(|(slot, _)| slot);
                assert_eq!(found, Some(slot));
            }
            memberships += conn.rooms.len();
            assert!(conn.rooms.len() <= self.limits().rooms_per_connection);
        }
        for &conn in &self.opening {
            let rooms = self.rooms_of(conn);
            assert_eq!(rooms, Some(Vec::new()), "a connection that is not open yet");
        }
        // As many as the rooms say that there are: no member is dead.
        assert_eq!(memberships, self.rooms.memberships());
    }
}
