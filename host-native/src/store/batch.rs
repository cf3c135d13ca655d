//! The changes of a turn for the store, and the data that it returns.

use std::{collections::BTreeMap, mem, sync::Arc};

use roomcast_core::{
    Timestamp,
    hub::{ClientKeyState, KeyState, RoomState},
    room::HistoryMessage,
};
use roomcast_hooks::KeptEvent;

/// Changes in the histories of some namespaces, written as a whole or not at all.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(super) namespaces: BTreeMap<Arc<str>, NamespaceBatch>,
}

/// Changes in one namespace.
#[derive(Debug, Default)]
pub(super) struct NamespaceBatch {
    /// The header; `None` when the namespace is to be removed.
    pub(super) header: Option<NamespaceHeader>,
    pub(super) rooms: BTreeMap<Box<str>, RoomBatch>,
    pub(super) keys: Vec<KeyState>,
    /// Users, each with the time before which its identities are refused.
    pub(super) withdrawn: Vec<(Box<str>, u64)>,
    /// The time before which identities of all users are refused, if it changed.
    pub(super) not_before_s: Option<u64>,
    pub(super) client_keys: Vec<ClientKeyBatch>,
    /// The time before which expired keys are to be removed.
    pub(super) now: Option<Timestamp>,
}

/// A client idempotency key: the client, the key, and its state, or `None` when it is to be
/// removed.
pub(crate) type ClientKeyBatch = (Box<str>, Box<str>, Option<ClientKeyState>);

/// Data of a namespace, apart from its rooms, that must be kept.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct NamespaceHeader {
    /// The first part of its epochs.
    pub(crate) epoch: Box<str>,
    /// The number of histories that have started.
    pub(crate) histories_opened: u64,
    /// The first connection serial that was not given out.
    pub(crate) next_serial: u64,
}

/// A namespace in the store.
#[derive(Debug)]
pub(crate) struct StoredNamespace {
    pub(crate) header: NamespaceHeader,
    pub(crate) rooms: Vec<StoredRoom>,
    pub(crate) keys: Vec<KeyState>,
    pub(crate) client_keys: Vec<ClientKeyState>,
}

/// The withdrawals of a namespace in the store.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct StoredWithdrawn {
    /// Users, each with the time before which its identities are refused, in seconds since 1970.
    pub(crate) users: Vec<(Box<str>, u64)>,
    /// The time for all users; 0 when there is none.
    pub(crate) not_before_s: u64,
}

/// A queue of hooks in the store.
#[derive(Debug)]
pub(crate) struct StoredLine {
    pub(crate) epoch: String,
    pub(crate) events: Vec<KeptEvent>,
}

/// A room in the store.
#[derive(Debug)]
pub(crate) struct StoredRoom {
    /// The key of its row.
    #[cfg_attr(not(feature = "store"), expect(dead_code))]
    pub(super) id: i64,
    pub(crate) state: RoomState,
}

impl NamespaceHeader {
    /// The header of a namespace that is not stored yet.
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
    /// The state of the room; `None` when it is to be removed.
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

    /// Adds a message of a room; the room's state after this message must follow.
    pub(crate) fn append(&mut self, namespace: &Arc<str>, room: &str, message: HistoryMessage) {
        self.room(namespace, room).messages.push(message);
    }

    /// Sets the state of a room of a namespace; `None` removes the room.
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

    /// Adds a user, with the time before which its identities are refused, in seconds since 1970.
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

    /// Sets the time, in seconds since 1970, before which identities of all users are refused.
    /// Users with an earlier time of their own are removed.
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

    /// Adds the state of a client idempotency key.
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

    /// Removes the namespace; its withdrawals stay.
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
