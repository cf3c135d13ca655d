//! Rows that a server with a store writes of a namespace.

#![allow(clippy::wildcard_enum_match_arm)] // few commands and inputs lead to rows

use std::collections::{BTreeMap, BTreeSet};

use roomcast_core::{
    Command, Hub, Input, Outbox,
    hub::{HubState, RoomState},
};

/// Rows of a store; states as text, so that nothing else of them is kept.
#[derive(Debug, Default)]
pub(super) struct Rows {
    rooms: BTreeMap<String, String>,
    withdrawn: BTreeMap<String, u64>,
    not_before_s: u64,
    histories_opened: u64,
    next_serial: u64,
}

impl Rows {
    /// Writes what an input and its commands changed.
    pub(super) fn store(&mut self, hub: &Hub, input: &Input<'_>, out: &Outbox) {
        let rooms = out.iter().filter_map(|command| match command {
            Command::Append { room, .. } | Command::PersistRoom { room } => Some(room),
            _ => None,
        });
        for room in rooms.collect::<BTreeSet<_>>() {
            match hub.room_state(room) {
                Some(state) => {
                    let state = serde_json::to_string(&state).expect("JSON");
                    self.rooms.insert(room.to_owned(), state);
                }
                None => drop(self.rooms.remove(room)),
            }
        }
        self.histories_opened = hub.histories_opened();
        self.next_serial = hub.state().next_serial();
        if let Input::Withdraw { user, .. } = input {
            let own = hub.withdrawn().find(|(other, _)| other == user);
            let own = own.map(|(user, time)| (user.to_owned(), time));
            self.withdrawn.extend(own);
            self.not_before_s = hub.not_before_s();
            self.withdrawn.retain(|_, time| *time > self.not_before_s);
        }
    }

    /// The state of a hub that begins with these rows.
    pub(super) fn state(&self) -> HubState {
        let rooms = self.rooms.values();
        let rooms = rooms.map(|text| serde_json::from_str::<RoomState>(text).expect("a state"));
        let users = self.withdrawn.iter();
        HubState::from_serial(self.next_serial)
            .with_histories_opened(self.histories_opened)
            .with_rooms(rooms)
            .with_withdrawn(users.map(|(user, time)| (user.as_str().into(), *time)))
            .with_not_before_s(self.not_before_s)
    }
}
