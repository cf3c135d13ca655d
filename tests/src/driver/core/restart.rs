//! Sleep and crashes: applications that are restored from saved state.

use std::mem;

use roomcast_core::{
    App, Gateway, Input,
    gateway::AppState,
    hub::{ClientKeyState, ConnState, HubState, KeyState, RestoreError, RoomState},
    journal::{Opening, Record},
};
use serde::de::DeserializeOwned;

use super::{
    Core, Sleep,
    disk::{Disk, broken},
    upgrades::Upgrades,
    work::UnderWay,
};
use crate::driver::DriverError;

impl<G: Gateway> Core<G> {
    /// Forgets an application and restores it from text.
    pub(super) fn nap(&mut self, namespace: &str) -> Result<(), DriverError> {
        // Pending work keeps a host awake.
        let Some(app) = self.apps.get(namespace).filter(|app| app.is_idle()) else {
            return Ok(());
        };
        let state = serde_json::to_string(&app.state()).map_err(broken)?;
        let mut state: serde_json::Value = serde_json::from_str(&state).map_err(broken)?;
        if self.sleep == Sleep::Persisted {
            let rooms = self.disk.rooms(namespace).map(serde_json::from_str);
            let rooms: Result<Vec<serde_json::Value>, _> = rooms.collect();
            state["hub"]["rooms"] = rooms.map_err(broken)?.into();
            let keys = self.disk.client_keys(namespace).map(serde_json::from_str);
            let keys: Result<Vec<serde_json::Value>, _> = keys.collect();
            state["hub"]["client_keys"] = keys.map_err(broken)?.into();
        }
        let state: AppState = serde_json::from_value(state).map_err(broken)?;
        let mut conns: Vec<ConnState> = Vec::new();
        for (home, id) in self.live.keys().filter(|(home, _)| **home == *namespace) {
            let saved = match self.sleep {
                Sleep::Persisted => self
                    .persisted
                    .get(&(home.clone(), *id))
                    .cloned()
                    .ok_or_else(|| broken(format!("{id} was never persisted")))?,
                Sleep::Never | Sleep::Saved => {
                    let state = app.hub().conn_state(*id).map_err(broken)?;
                    serde_json::to_string(&state).unwrap_or_default()
                }
            };
            conns.push(serde_json::from_str(&saved).map_err(broken)?);
        }
        let gateway = (self.gateways)(namespace);
        let app = App::restore(self.config(namespace), gateway, state, conns).map_err(broken)?;
        self.apps.insert(namespace.into(), app);
        Ok(())
    }

    /// Stores the state of a room.
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
            self.disk.set_key(namespace, key, text);
            self.persist_birth(namespace);
        }
    }

    /// Stores the state of an idempotency key of a client, or forgets it.
    pub(super) fn persist_client_key(&mut self, namespace: &str, client: &str, key: &str) {
        let hub = self.hub(namespace);
        let state = hub.and_then(|hub| hub.client_key_state(client, key));
        let text = state.map(|state| serde_json::to_string(&state).unwrap_or_default());
        self.disk.set_client_key(namespace, client, key, text);
        self.persist_birth(namespace);
    }

    fn persist_birth(&mut self, namespace: &str) {
        if let Some(hub) = self.hub(namespace) {
            let birth = (hub.state().next_serial(), hub.histories_opened());
            self.disk.births.insert(namespace.into(), birth);
        }
    }

    /// Crashes the server, and restarts it from what it stored.
    pub(super) fn crash(&mut self) -> Result<(), DriverError> {
        self.apps.clear();
        self.live.clear();
        // The id of a connection after the last write may be given out again.
        self.conns.clear();
        self.persisted.clear();
        self.streams.clear();
        self.under_way = UnderWay::default();
        self.upgrades = Upgrades::default();
        if !self.disk.store {
            self.disk = Disk::default();
            self.starts += 1;
            return Ok(());
        }
        let births = mem::take(&mut self.disk.births);
        for (namespace, &(serial, opened)) in &births {
            self.begin_again(namespace, serial, opened)?;
        }
        self.disk.births = births;
        Ok(())
    }

    fn begin_again(
        &mut self,
        namespace: &str,
        serial: u64,
        opened: u64,
    ) -> Result<(), DriverError> {
        let rooms: Vec<RoomState> = read_all(self.disk.rooms(namespace))?;
        let keys = read_all::<KeyState>(self.disk.keys(namespace))?;
        let client_keys = read_all::<ClientKeyState>(self.disk.client_keys(namespace))?;
        let state = HubState::from_serial(serial)
            .with_histories_opened(opened)
            .with_rooms(rooms.iter().cloned())
            .with_keys(keys)
            .with_client_keys(client_keys);
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

fn read_all<'t, T: DeserializeOwned>(
    texts: impl Iterator<Item = &'t str>,
) -> Result<Vec<T>, DriverError> {
    texts
        .map(|text| serde_json::from_str(text).map_err(broken))
        .collect()
}
