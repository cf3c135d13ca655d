//! The stored rooms and keys, from which a server restarts after a crash.

use std::collections::BTreeMap;

use roomcast_core::{hub::RoomState, room::HistoryMessage};

use crate::driver::DriverError;

/// The stored data: JSON, as with any host. Every key begins with the namespace.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    /// True when the data outlives the server.
    pub(super) store: bool,
    rooms: BTreeMap<(Box<str>, Box<str>), StoredRoom>,
    keys: BTreeMap<(Box<str>, Box<str>), String>,
    client_keys: BTreeMap<ClientKey, String>,
    /// The next serial of a connection and the number of histories opened, as of the last write.
    pub(super) births: BTreeMap<Box<str>, (u64, u64)>,
}

/// A namespace, a client, and a key of the client's.
type ClientKey = (Box<str>, Box<str>, Box<str>);

/// The stored state and messages of a room.
#[derive(Debug, Clone, Default)]
struct StoredRoom {
    state: String,
    messages: BTreeMap<u64, String>,
}

impl Disk {
    pub(super) fn append(&mut self, namespace: &str, room: &str, message: &HistoryMessage) {
        let text = serde_json::to_string(message).unwrap_or_default();
        let stored = self.rooms.entry((namespace.into(), room.into()));
        stored.or_default().messages.insert(message.offset, text);
    }

    pub(super) fn set_room(&mut self, namespace: &str, room: &str, state: Option<&RoomState>) {
        let key = (namespace.into(), room.into());
        match state {
            Some(state) => {
                let stored = self.rooms.entry(key).or_default();
                stored.state = serde_json::to_string(state).unwrap_or_default();
                stored.messages = stored.messages.split_off(&state.first());
            }
            None => {
                self.rooms.remove(&key);
            }
        }
    }

    /// The messages of a room.
    pub(super) fn messages(
        &self,
        namespace: &str,
        room: &str,
    ) -> Result<Vec<HistoryMessage>, DriverError> {
        let stored = self.rooms.get(&(namespace.into(), room.into()));
        let texts = stored.map(|stored| stored.messages.values());
        let texts = texts.into_iter().flatten();
        texts
            .map(|text| serde_json::from_str(text).map_err(broken))
            .collect()
    }

    /// The states of the rooms of a namespace.
    pub(super) fn rooms(&self, namespace: &str) -> impl Iterator<Item = &str> {
        let rooms = self.rooms.iter();
        let rooms = rooms.filter(move |((home, _), _)| **home == *namespace);
        rooms.map(|(_, stored)| &*stored.state)
    }

    pub(super) fn set_key(&mut self, namespace: &str, key: &str, state: String) {
        self.keys.insert((namespace.into(), key.into()), state);
    }

    pub(super) fn set_client_key(
        &mut self,
        namespace: &str,
        client: &str,
        key: &str,
        state: Option<String>,
    ) {
        let name = (namespace.into(), client.into(), key.into());
        match state {
            Some(state) => self.client_keys.insert(name, state),
            None => self.client_keys.remove(&name),
        };
    }

    /// The states of the idempotency keys of the clients of a namespace.
    pub(super) fn client_keys(&self, namespace: &str) -> impl Iterator<Item = &str> {
        let keys = self.client_keys.iter();
        let keys = keys.filter(move |((home, _, _), _)| **home == *namespace);
        keys.map(|(_, key)| &**key)
    }

    /// The states of the idempotency keys of a namespace.
    pub(super) fn keys(&self, namespace: &str) -> impl Iterator<Item = &str> {
        let keys = self.keys.iter();
        let keys = keys.filter(move |((home, _), _)| **home == *namespace);
        keys.map(|(_, key)| &**key)
    }
}

pub(super) fn broken(fault: impl std::fmt::Display) -> DriverError {
    DriverError::Command(fault.to_string())
}
