//! Changes of one turn for the store, and what the store gives back.

use std::{collections::BTreeMap, mem, sync::Arc};

use roomcast_core::{
    Timestamp,
    hub::{ClientKeyState, KeyState, RoomState},
    room::HistoryMessage,
};
use roomcast_hooks::KeptEvent;

/// Changes in the histories of some namespaces; written as a whole or not at all.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(super) namespaces: BTreeMap<Arc<str>, NamespaceBatch>,
}

/// Changes in one namespace.
#[derive(Debug, Default)]
pub(super) struct NamespaceBatch {
    /// `None` when the namespace is to be forgotten.
    pub(super) header: Option<NamespaceHeader>,
    pub(super) rooms: BTreeMap<Box<str>, RoomBatch>,
    pub(super) keys: Vec<KeyState>,
    /// Users whose identities from before a time are refused, with that time.
    pub(super) withdrawn: Vec<(Box<str>, u64)>,
    /// The time before which identities of all users are refused, if it changed.
    pub(super) not_before_s: Option<u64>,
    pub(super) client_keys: Vec<ClientKeyBatch>,
    /// Keys that expired before are to be forgotten.
    pub(super) now: Option<Timestamp>,
}

/// An idempotency key of a client: the client, the key, and its state; `None` when it is to be
/// forgotten.
pub(crate) type ClientKeyBatch = (Box<str>, Box<str>, Option<ClientKeyState>);

/// Facts about a namespace, beside its rooms, that must not be forgotten.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct NamespaceHeader {
    /// The first part of its epochs.
    pub(crate) epoch: Box<str>,
    /// Number of histories that have begun.
    pub(crate) histories_opened: u64,
    /// The first serial number of a connection that was not given out.
    pub(crate) next_serial: u64,
}

/// A namespace as the store holds it.
#[derive(Debug)]
pub(crate) struct StoredNamespace {
    pub(crate) header: NamespaceHeader,
    pub(crate) rooms: Vec<StoredRoom>,
    pub(crate) keys: Vec<KeyState>,
    pub(crate) client_keys: Vec<ClientKeyState>,
}

/// Withdrawals of a namespace as the store holds them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct StoredWithdrawn {
    /// Users whose identities from before a time are refused, in seconds since 1970.
    pub(crate) users: Vec<(Box<str>, u64)>,
    /// The time that holds for all users; 0 when there is none.
    pub(crate) not_before_s: u64,
}

/// A line of hooks as the store holds it.
#[derive(Debug)]
pub(crate) struct StoredLine {
    pub(crate) epoch: String,
    pub(crate) events: Vec<KeptEvent>,
}

/// A room as the store holds it.
#[derive(Debug)]
pub(crate) struct StoredRoom {
    /// The key of its row.
    #[cfg_attr(not(feature = "store"), expect(dead_code))]
    pub(super) id: i64,
    pub(crate) state: RoomState,
}

impl NamespaceHeader {
    /// The header of a namespace that the store does not know.
    pub(crate) fn new(epoch: String) -> Self {
        Self {
            epoch: epoch.into(),
            histories_opened: 0,
            next_serial: 0,
        }
    }
}

/// Changes in one room.
#[derive(Debug, Default)]
pub(super) struct RoomBatch {
    /// State of the room; `None` when it is to be forgotten.
    pub(super) state: Option<RoomState>,
    pub(super) messages: Vec<HistoryMessage>,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
    }

    /// Takes the changes so far, and leaves the batch empty.
    pub(crate) fn take(&mut self) -> Self {
        mem::take(self)
    }

    /// Adds a message of a room; the state of the room with this message has to follow.
    pub(crate) fn append(&mut self, namespace: &Arc<str>, room: &str, message: HistoryMessage) {
        self.room(namespace, room).messages.push(message);
    }

    /// Sets the state of a room of a namespace; `None` when the room is to be forgotten.
    pub(crate) fn set_room(
        &mut self,
        namespace: &Arc<str>,
        header: NamespaceHeader,
        room: &str,
        state: Option<RoomState>,
    ) {
        self.room(namespace, room).state = state;
        self.namespace(namespace).header = Some(header);
    }

    /// Adds the state of an idempotency key.
    pub(crate) fn set_key(
        &mut self,
        now: Timestamp,
        namespace: &Arc<str>,
        header: NamespaceHeader,
        key: KeyState,
    ) {
        let batch = self.namespace(namespace);
        batch.now = Some(now);
        batch.header = Some(header);
        batch.keys.push(key);
    }

    /// Adds a user whose identities from before a time, in seconds since 1970, are refused.
    pub(crate) fn withdraw(
        &mut self,
        namespace: &Arc<str>,
        header: NamespaceHeader,
        user: &str,
        not_before_s: u64,
    ) {
        let batch = self.namespace(namespace);
        batch.header = Some(header);
        batch.withdrawn.push((user.into(), not_before_s));
    }

    /// Sets a time, in seconds since 1970, before which identities of all users are refused. Users
    /// with an earlier time of their own are forgotten.
    pub(crate) fn withdraw_all(
        &mut self,
        namespace: &Arc<str>,
        header: NamespaceHeader,
        not_before_s: u64,
    ) {
        let batch = self.namespace(namespace);
        batch.header = Some(header);
        batch.not_before_s = Some(not_before_s);
    }

    /// Adds what is remembered of an idempotency key of a client.
    pub(crate) fn set_client_key(
        &mut self,
        now: Timestamp,
        namespace: &Arc<str>,
        header: NamespaceHeader,
        key: ClientKeyBatch,
    ) {
        let batch = self.namespace(namespace);
        batch.now = Some(now);
        batch.header = Some(header);
        batch.client_keys.push(key);
    }

    /// The namespace is over; who was withdrawn in it stays so.
    pub(crate) fn forget(&mut self, namespace: &Arc<str>) {
        let batch = self.namespace(namespace);
        *batch = NamespaceBatch {
            withdrawn: mem::take(&mut batch.withdrawn),
            not_before_s: batch.not_before_s.take(),
            ..NamespaceBatch::default()
        };
    }

    fn namespace(&mut self, name: &Arc<str>) -> &mut NamespaceBatch {
        self.namespaces.entry(name.clone()).or_default()
    }

    fn room(&mut self, namespace: &Arc<str>, room: &str) -> &mut RoomBatch {
        let rooms = &mut self.namespace(namespace).rooms;
        rooms.entry(room.into()).or_default()
    }
}
