//! A hub and its application, restored from the saved state.

use std::collections::BTreeSet;

use roomcast_core::{
    App, Config, ConnId, Hub,
    gateway::AppState,
    hub::{ConnState, HubState, RestoreError, RoomState},
};

use crate::{
    attachment,
    mount::{AnyApp, AnyGateway},
    platform::{PlatformError, Saved},
};

/// A hub with its application, and the connections that could be restored.
#[derive(Debug)]
pub(crate) struct Wake {
    pub(crate) app: AnyApp,
    /// The connection of each attachment, or why it has none.
    pub(crate) assigned: Vec<Result<ConnId, String>>,
    /// Rooms whose state contradicts itself. They start over.
    pub(crate) unfit: Vec<String>,
}

/// Restores a namespace, each time with a new gateway. A contradictory attachment loses only its
/// own connection, and a contradictory room state only the history of that room.
///
/// Work: reads the whole state, three times when something contradicts.
///
/// # Errors
///
/// When the application cannot read its saved state, which stays saved for a version that can.
pub(crate) fn wake(
    config: &Config,
    saved: Saved,
    attachments: &[Vec<u8>],
    gateway: impl Fn() -> AnyGateway,
) -> Result<Wake, PlatformError> {
    let Saved {
        state: hub,
        rooms,
        application,
        ..
    } = saved;
    let mut state = AppState::default();
    if cfg!(feature = "applications") && !application.is_empty() {
        state = serde_json::from_str(&application).map_err(|fault| {
            // The message omits the content, which clients may have chosen.
            let column = fault.column();
            unreadable(format_args!("it is no state, from byte {column} on"))
        })?;
    }
    let restore = |rooms: &[RoomState], read: Vec<Result<ConnState, String>>| {
        let conns = read.into_iter().flatten();
        let mut state = state.clone();
        state.hub = hub.clone().with_rooms(rooms.iter().cloned());
        App::restore(config.clone(), gateway(), state, conns)
    };
    let read = read(attachments);
    let mut assigned = ids(&read);
    let mut unfit = Vec::new();
    let app = match restore(&rooms, read) {
        Ok(app) => app,
        Err(fault @ RestoreError::Gateway) => return Err(unreadable(fault)),
        Err(_) => {
            // No slot occurs twice, so each connection can be checked on its own.
            let alone = |conn: ConnState| {
                let restored = Hub::restore(config.clone(), hub.clone(), [conn.clone()]);
                restored.map(|_| conn).map_err(|fault| fault.to_string())
            };
            let conns = self::read(attachments).into_iter();
            let read: Vec<_> = conns.map(|conn| conn.and_then(alone)).collect();
            assigned = ids(&read);
            let is_fit = |room: &RoomState| {
                let state = HubState::default().with_rooms([room.clone()]);
                Hub::restore(config.clone(), state, []).is_ok()
            };
            let (fit, others): (Vec<_>, Vec<_>) = rooms.into_iter().partition(is_fit);
            unfit.extend(others.iter().map(|state| state.room().to_owned()));
            restore(&fit, read).map_err(unreadable)?
        }
    };
    Ok(Wake {
        app,
        assigned,
        unfit,
    })
}

fn unreadable(fault: impl std::fmt::Display) -> PlatformError {
    PlatformError::new("the state that was saved cannot be used", fault)
}

/// Reads the states in the attachments; a slot belongs to the first attachment that claims it.
fn read(attachments: &[Vec<u8>]) -> Vec<Result<ConnState, String>> {
    let mut taken = BTreeSet::new();
    let read = attachments.iter().map(|bytes| {
        let conn = attachment::decode(bytes).map_err(|fault| fault.to_string())?;
        let id = conn.id();
        let is_free = taken.insert(id.slot());
        let conn = is_free.then_some(conn);
        conn.ok_or_else(|| format!("the slot of connection {id} is taken"))
    });
    read.collect()
}

fn ids(read: &[Result<ConnState, String>]) -> Vec<Result<ConnId, String>> {
    let ids = read.iter().map(Result::as_ref);
    ids.map(|conn| conn.map(ConnState::id).map_err(Clone::clone))
        .collect()
}

#[cfg(test)]
mod tests {
    use roomcast_core::{Handshake, Outbox, Timestamp};

    use super::*;

    const NOW: Timestamp = Timestamp::ZERO;

    /// Returns the attachments of this many connections, each in the room `r`.
    fn crowd(count: usize) -> (HubState, Vec<Vec<u8>>) {
        let (mut hub, mut out) = (Hub::new(Config::new("e")), Outbox::new());
        let attachments = (0..count).map(|_| {
            let conn = hub
                .connect(NOW, Handshake::new(), &mut out)
                .expect("a place");
            hub.join(NOW, conn, "r", &mut out).expect("alive");
            let mut bytes = Vec::new();
            let state = hub.conn_state(conn).expect("alive");
            attachment::encode(&state, &mut bytes).expect("encodes");
            bytes
        });
        let attachments = attachments.collect();
        (hub.state(), attachments)
    }

    fn has_slot(state: HubState, attachments: &[Vec<u8>]) -> Vec<bool> {
        let saved = Saved {
            epoch: "e".to_owned(),
            state,
            ..Saved::default()
        };
        let woken = wake(&Config::new("e"), saved, attachments, || Box::new(()));
        let Wake { app, assigned, .. } = woken.expect("nothing that an application saved");
        app.hub().assert_consistent();
        let conns: Vec<_> = assigned.iter().flatten().copied().collect();
        assert_eq!(app.hub().members("r"), conns);
        assigned.iter().map(Result::is_ok).collect()
    }

    #[test]
    fn everybody_comes_back() {
        let (state, attachments) = crowd(3);
        assert_eq!(has_slot(state, &attachments), [true; 3]);
    }

    #[test]
    fn who_contradicts_the_rest_is_out_and_the_rest_is_in() {
        let (state, mut attachments) = crowd(3);
        attachments[0] = b"\x01{".to_vec();
        attachments.push(attachments[2].clone());
        let assigned = has_slot(state, &attachments);
        assert_eq!(assigned, [false, true, true, false]);
    }

    #[test]
    fn an_id_from_the_future_is_out() {
        let (_, attachments) = crowd(3);
        let assigned = has_slot(HubState::from_serial(2), &attachments);
        assert_eq!(assigned, [true, true, false]);
    }

    /// Damage affects only its own connection: never others, and never the namespace.
    #[test]
    fn no_flipped_byte_of_an_attachment_costs_the_others() {
        let (state, sound) = crowd(2);
        for at in 0..sound[0].len() {
            for flip in [0x01, 0x20, 0x80] {
                let mut attachments = sound.clone();
                attachments[0][at] ^= flip;
                let saved = Saved {
                    epoch: "e".to_owned(),
                    state: state.clone(),
                    ..Saved::default()
                };
                let woken = wake(&Config::new("e"), saved, &attachments, || Box::new(()));
                let Wake { app, assigned, .. } = woken.expect("a namespace");
                app.hub().assert_consistent();
                // An id that is another one, and one that somebody has, is the first who claims it.
                let other = attachment::decode(&sound[1]).expect("sound").id();
                let claimed = assigned[0]
                    .as_ref()
                    .is_ok_and(|id| id.slot() == other.slot());
                assert!(
                    assigned[1].is_ok() || claimed,
                    "{flip:#x} at {at}: {assigned:?}"
                );
            }
        }
    }

    #[test]
    fn no_flipped_byte_of_a_room_costs_the_namespace() {
        let policies =
            r#"{"rooms":[{"match":"*","history":{"messages":300},"presence":"members"}]}"#;
        let config = Config::new("e")
            .with_policies(serde_json::from_str(policies).expect("valid"))
            .with_durable(true);
        let (mut hub, mut out) = (Hub::new(config.clone()), Outbox::new());
        for name in ["r", "s"] {
            let audience = roomcast_core::Audience::room(name);
            let sent = hub.send(NOW, &audience, "e", roomcast_core::Payload::NULL, &mut out);
            sent.expect("valid");
        }
        let rooms = ["r", "s"].map(|name| hub.room_state(name).expect("a room"));
        let sound = serde_json::to_string(&rooms[0]).expect("JSON");
        for at in 0..sound.len() {
            for flip in [0x01, 0x02, 0x10, 0x20] {
                let mut bytes = sound.clone().into_bytes();
                bytes[at] ^= flip;
                // One that is another room's does not get here.
                let damaged = serde_json::from_slice::<RoomState>(&bytes).ok();
                let Some(damaged) = damaged.filter(|state| state.room() == "r") else {
                    continue;
                };
                let saved = Saved {
                    epoch: "e".to_owned(),
                    state: HubState::default().with_histories_opened(hub.histories_opened()),
                    rooms: vec![damaged, rooms[1].clone()],
                    ..Saved::default()
                };
                let woken = wake(&config, saved, &[], || Box::new(()));
                let Wake { app, .. } = woken.expect("a namespace");
                app.hub().assert_consistent();
                let other = app.hub().room_state("s");
                assert_eq!(other.as_ref(), Some(&rooms[1]), "{flip:#x} at {at}");
            }
        }
    }
}
