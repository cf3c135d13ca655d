//! State of a namespace that belongs to no connection: histories, rooms, and the state of its
//! application.

use roomcast_core::{App, Command, Hub, Timestamp, ask::Ask, gateway::AppState, hub::HubState};

use super::{Namespace, awake::Awake};
use crate::platform::{Appended, Kept, Platform, PlatformError};

impl<P: Platform> Namespace<P> {
    /// Gives the hub the messages that it asks for. Their answers are part of the input, so this
    /// comes before any command is carried out.
    pub(super) fn load_histories(&mut self) -> Result<(), PlatformError> {
        let mut given = Vec::new();
        loop {
            let mut awake = self.awake()?;
            let mut rooms = awake.out.iter().filter_map(|command| {
                if let Command::LoadHistory { room } = command {
                    Some(room)
                } else {
                    None
                }
            });
            let Some(room) = rooms.find(|room| given.iter().all(|other| other != room)) else {
                return Ok(());
            };
            given.push(room.to_owned());
            awake.load_history(&given[given.len() - 1])?;
        }
    }

    /// Gives the hub the messages that a question reads; returns true if there were any.
    pub(super) fn load_for(&mut self, ask: &Ask) -> Result<bool, PlatformError> {
        let mut awake = self.awake()?;
        match ask.reads().filter(|room| awake.app.hub().is_away(room)) {
            Some(room) => awake.load_history(room).map(|()| true),
            None => Ok(false),
        }
    }

    /// Writes the changes of the commands that belong to no connection.
    ///
    /// It is the last step that may fail, so it never has to be rolled back.
    pub(super) fn save_kept(&mut self) -> Result<(), PlatformError> {
        let application = self.changed_application()?;
        self.push_events();
        let Some(app) = &self.app else {
            return Ok(());
        };
        let hub = app.hub();
        let mut kept = Kept {
            now: self.platform.now(),
            application: application.as_deref(),
            lines: self.hooks.take_changes(),
            ..Kept::default()
        };
        let mut rooms: Vec<&str> = Vec::new();
        for command in &self.out {
            if let Command::Append { room, .. } | Command::PersistRoom { room } = command {
                rooms.push(room);
            }
            if let Command::PersistKey { client, key } = command {
                let state = hub.client_key_state(client, key);
                kept.keys.push((client, key, state));
            }
            if let Command::Append {
                room,
                offset,
                at,
                frame,
                except,
            } = command
            {
                kept.messages.push(Appended {
                    room,
                    offset,
                    at,
                    frame,
                    except,
                });
            }
        }
        if !(rooms.is_empty() && self.forgotten.is_empty()) {
            rooms.extend(self.forgotten.iter().map(|room| &**room));
            rooms.sort_unstable();
            rooms.dedup();
            let rooms = rooms.into_iter();
            kept.rooms = rooms.map(|room| (room, hub.room_state(room))).collect();
            let opened = Some(hub.histories_opened());
            kept.histories_opened = opened.filter(|opened| *opened != self.histories_opened);
        }
        if kept.is_empty() {
            return Ok(());
        }
        self.platform.save_kept(&kept)?;
        let has_lines = !kept.lines.is_empty();
        if !kept.rooms.is_empty() {
            self.histories_opened = hub.histories_opened();
            self.forgotten.clear();
        }
        if has_lines {
            self.hooks.saved();
        }
        if let Some(text) = application {
            self.saved = text;
        }
        Ok(())
    }

    /// Saves the state of an idempotency key.
    pub(super) fn save_key(
        &mut self,
        now: Timestamp,
        key: Option<&str>,
    ) -> Result<(), PlatformError> {
        let keys_max = self.limits.idempotency_keys;
        let Awake { app, platform, .. } = self.awake()?;
        match key.and_then(|key| app.hub().key_state(now, key)) {
            Some(state) => platform.save_key(&state, now, keys_max),
            None => Ok(()),
        }
    }

    /// The time before which identities of all users are refused, before a withdrawal.
    pub(super) fn folded_s(&self) -> u64 {
        let hub = self.app.as_ref().map(App::hub);
        hub.map_or(0, Hub::not_before_s)
    }

    /// Saves a withdrawal, and logs a change of the time that applies to all users.
    pub(super) fn save_withdrawn(&mut self, ask: &Ask, folded_s: u64) -> Result<(), PlatformError> {
        let Ask::Withdraw { user, .. } = ask else {
            return Ok(());
        };
        let Awake { app, platform, .. } = self.awake()?;
        let hub = app.hub();
        let not_before_s = hub.not_before_s();
        if not_before_s != folded_s {
            platform.log(&format!(
                "more users are withdrawn than ROOMCAST_WITHDRAWN_USERS_MAX: tokens of all users \
                 from before {not_before_s} s since 1970 are refused"
            ));
            platform.save_not_before(not_before_s)?;
        }
        match hub.withdrawn().find(|(other, _)| other == user) {
            Some((user, not_before_s)) => platform.save_withdrawn(user, not_before_s),
            None => Ok(()),
        }
    }

    /// State that the application keeps, when it differs from the saved one.
    fn changed_application(&mut self) -> Result<Option<String>, PlatformError> {
        let Some(app) = self.app.as_mut().filter(|_| self.application.is_some()) else {
            return Ok(None);
        };
        if !app.take_unsaved() {
            return Ok(None);
        }
        let mut state = app.state();
        // The storage holds it in parts.
        state.hub = HubState::default();
        let text = if state == AppState::default() {
            String::new()
        } else {
            let text = serde_json::to_string(&state);
            text.map_err(|fault| {
                PlatformError::new("the application's state cannot be encoded", fault)
            })?
        };
        Ok(Some(text).filter(|text| *text != self.saved))
    }
}
