//! State of a namespace that belongs to no connection: histories, rooms, and the state of its
//! application.

use roomcast_core::{
    Command, Input, Outbox, Timestamp, ask::Ask, gateway::AppState, hub::HubState, wire::Counted,
};

use super::Namespace;
use crate::{
    mount::AnyApp,
    platform::{Appended, Fault, Kept, Platform},
};

impl<P: Platform> Namespace<P> {
    /// Gives the hub the messages that it asks for. Somebody waits for them, so it is before
    /// anything is carried out.
    pub(super) fn load_histories(&mut self) -> Result<(), Fault> {
        let wanted = |out: &Outbox, given: &[String]| {
            let mut rooms = out.iter().filter_map(|command| {
                if let Command::LoadHistory { room } = command {
                    Some(room)
                } else {
                    None
                }
            });
            rooms
                .find(|room| given.iter().all(|other| other != room))
                .map(str::to_owned)
        };
        let mut given = Vec::new();
        while let Some(room) = wanted(&self.out, &given) {
            let (now, app, out, platform) = self.parts()?;
            history_loaded(platform, now, app, &room, out)?;
            given.push(room);
        }
        Ok(())
    }

    /// Gives the hub the messages that a question reads; says whether there were any to give.
    pub(super) fn load_for(&mut self, ask: &Ask) -> Result<bool, Fault> {
        let (now, app, out, platform) = self.parts()?;
        match ask.reads().filter(|room| app.hub().is_away(room)) {
            Some(room) => history_loaded(platform, now, app, room, out).map(|()| true),
            None => Ok(false),
        }
    }

    /// Writes what the commands changed that belongs to no connection.
    ///
    /// It is the last thing that may fail, so that nothing has to take it back.
    pub(super) fn save_kept(&mut self) -> Result<(), Fault> {
        let application = self.changed_application()?;
        let Some(app) = &self.app else {
            return Ok(());
        };
        let hub = app.hub();
        let mut kept = Kept {
            application: application.as_deref(),
            ..Kept::default()
        };
        let mut rooms: Vec<&str> = Vec::new();
        for command in &self.out {
            if let Command::Append { room, .. } | Command::PersistRoom { room } = command {
                rooms.push(room);
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
            kept.rooms = rooms
                .into_iter()
                .map(|room| (room, hub.room_state(room)))
                .collect();
            kept.histories_opened = Some(hub.histories_opened())
                .filter(|histories_opened| *histories_opened != self.histories_opened);
        }
        if kept.is_empty() {
            return Ok(());
        }
        self.platform.save_kept(&kept)?;
        if !kept.rooms.is_empty() {
            self.histories_opened = hub.histories_opened();
            self.forgotten.clear();
        }
        if let Some(text) = application {
            self.saved = text;
        }
        Ok(())
    }

    /// State that the application keeps, when it differs from the saved one.
    fn changed_application(&mut self) -> Result<Option<String>, Fault> {
        let Some(app) = self.app.as_mut().filter(|_| self.application.is_some()) else {
            return Ok(None);
        };
        if !app.take_unsaved() {
            return Ok(None);
        }
        let mut state = app.state();
        // The storage has it by parts.
        state.hub = HubState::default();
        let text = if state == AppState::default() {
            String::new()
        } else {
            let text = serde_json::to_string(&state);
            text.map_err(|fault| Fault::new("the application's state cannot be encoded", fault))?
        };
        Ok(Some(text).filter(|text| *text != self.saved))
    }
}

/// Gives the hub the messages of a room that are in the storage.
fn history_loaded(
    platform: &mut impl Platform,
    now: Timestamp,
    app: &mut AnyApp,
    room: &str,
    out: &mut Outbox,
) -> Result<(), Fault> {
    let messages = match app.hub().room_state(room) {
        Some(state) => {
            let (first, top) = (state.first(), state.offset());
            let messages = platform.history(room, first..=top)?;
            let lost = (top + 1 - first).saturating_sub(messages.len() as u64);
            if lost > 0 {
                let lost = Counted(usize::try_from(lost).unwrap_or(usize::MAX), "message");
                let text = format!(
                    "the storage is damaged: {lost} of {room:?} cannot be read, and those before \
                     are dropped"
                );
                platform.log(&text);
            }
            messages
        }
        None => Vec::new(),
    };
    let (room, messages) = (room.into(), messages.into());
    app.apply(now, &Input::HistoryLoaded { room, messages }, out);
    Ok(())
}
