//! The stored rooms and keys, from which a server starts after a crash.

use std::{collections::BTreeMap, mem};

use roomcast_core::{
    App, Gateway, Input,
    hub::{HubState, RestoreError, RoomState},
    journal::{Opening, Record},
    room::HistoryMessage,
};

use super::Core;
use crate::driver::DriverError;

/// The stored data: JSON, as with any host. Every key begins with the namespace.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    /// True when the data outlives the server.
    pub(super) store: bool,
    rooms: BTreeMap<(Box<str>, Box<str>), StoredRoom>,
    keys: BTreeMap<(Box<str>, Box<str>), String>,
    /// The next serial number of a connection, and how many histories had begun, when something
    /// else was written last.
    births: BTreeMap<Box<str>, (u64, u64)>,
}

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

    fn keys(&self, namespace: &str) -> impl Iterator<Item = &str> {
        let keys = self.keys.iter();
        let keys = keys.filter(move |((home, _), _)| **home == *namespace);
        keys.map(|(_, key)| &**key)
    }
}

fn broken(fault: impl std::fmt::Display) -> DriverError {
    DriverError::Command(fault.to_string())
}

impl<G: Gateway> Core<G> {
    /// Writes down what a room must not forget.
    pub(super) fn persist_room(&mut self, namespace: &str, room: &str) {
        let state = self.hub(namespace).and_then(|hub| hub.room_state(room));
        self.disk.set_room(namespace, room, state.as_ref());
        self.persist_birth(namespace);
    }

    /// Stores the state of an idempotency key.
    pub(super) fn persist_key(&mut self, namespace: &str, key: &str) {
        let state = self
            .hub(namespace)
            .and_then(|hub| hub.key_state(self.now, key));
        if let Some(state) = state.filter(|_| self.disk.store) {
            let text = serde_json::to_string(&state).unwrap_or_default();
            self.disk.keys.insert((namespace.into(), key.into()), text);
            self.persist_birth(namespace);
        }
    }

    fn persist_birth(&mut self, namespace: &str) {
        if let Some(hub) = self.hub(namespace) {
            let birth = (hub.state().next_serial(), hub.histories_opened());
            self.disk.births.insert(namespace.into(), birth);
        }
    }

    /// The server dies, and starts again from what it kept.
    pub(super) fn crash(&mut self) -> Result<(), DriverError> {
        self.apps.clear();
        self.live.clear();
        // An id that nothing was written down with may be given out again.
        self.lives.clear();
        self.persisted.clear();
        self.streams.clear();
        self.under_way = super::UnderWay::default();
        if !self.disk.store {
            self.disk = Disk::default();
            self.starts += 1;
            return Ok(());
        }
        let births = mem::take(&mut self.disk.births);
        for (namespace, &(serial, lives)) in &births {
            self.begin_again(namespace, serial, lives)?;
        }
        self.disk.births = births;
        Ok(())
    }

    fn begin_again(&mut self, namespace: &str, serial: u64, lives: u64) -> Result<(), DriverError> {
        let read = |text| serde_json::from_str(text).map_err(broken);
        let rooms: Vec<RoomState> = self
            .disk
            .rooms(namespace)
            .map(read)
            .collect::<Result<_, _>>()?;
        let read = |text| serde_json::from_str(text).map_err(broken);
        let keys: Vec<_> = self
            .disk
            .keys(namespace)
            .map(read)
            .collect::<Result<_, _>>()?;
        let state = HubState::from_serial(serial)
            .with_histories_opened(lives)
            .with_rooms(rooms.iter().cloned())
            .with_keys(keys);
        let config = self.config(namespace);
        let opening = Opening::new(config.clone(), state.clone());
        self.write_down(namespace, Record::Open(opening));
        let gateway = (self.gateways)(namespace);
        let app = App::restore(config, gateway, state.into(), []);
        let app = app.map_err(|fault: RestoreError| broken(fault))?;
        self.apps.insert(namespace.into(), app);
        for room in rooms {
            let messages = self.disk.messages(namespace, room.room())?;
            if self
                .hub(namespace)
                .and_then(|hub| hub.room_state(room.room()))
                .is_none()
            {
                self.disk.set_room(namespace, room.room(), None);
                continue;
            }
            let (room, messages) = (room.room().into(), messages.into());
            self.call(namespace, Input::HistoryLoaded { room, messages })?;
        }
        Ok(())
    }
}
