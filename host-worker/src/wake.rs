//! A hub and its application, made of what was saved.

use std::collections::BTreeSet;

use roomcast_core::{App, AppState, Config, ConnId, ConnState, Hub, Limits, RestoreError};

use crate::{
    attachment,
    mount::AnyGateway,
    namespace::AnyApp,
    platform::{Fault, Saved},
};

/// A hub with its application, and who of those that were there is in it.
#[derive(Debug)]
pub(crate) struct Wake {
    pub(crate) app: AnyApp,
    /// For each attachment its connection, or why it has none.
    pub(crate) seats: Vec<Result<ConnId, String>>,
}

/// Restores a namespace, each time with a new gateway. An attachment that contradicts the rest costs its own connection, and nobody
/// else's.
///
/// Work: everything there is, thrice when something contradicts.
///
/// # Errors
///
/// When the application cannot read what was saved for it: it stays saved, for one that can.
pub(crate) fn wake(
    limits: &Limits,
    saved: Saved,
    attachments: &[Vec<u8>],
    gateway: impl Fn() -> AnyGateway,
) -> Result<Wake, Fault> {
    let Saved {
        epoch,
        state: hub,
        application,
    } = saved;
    let config = Config::new(epoch).with_limits(limits.clone());
    let mut state = AppState::default();
    if cfg!(feature = "applications") && !application.is_empty() {
        state = serde_json::from_str(&application).map_err(|fault| {
            // Without what stands there: clients may have chosen it.
            unreadable(format_args!(
                "it is no state, from byte {} on",
                fault.column()
            ))
        })?;
    }
    state.hub = hub;
    let restore = |read: Vec<Result<ConnState, String>>| {
        let conns = read.into_iter().flatten();
        App::restore(config.clone(), gateway(), state.clone(), conns)
    };
    let read = read(attachments);
    let seats = ids(&read);
    match restore(read) {
        Ok(app) => return Ok(Wake { app, seats }),
        Err(fault @ RestoreError::Gateway) => return Err(unreadable(fault)),
        Err(_) => {}
    }
    // Slots are not taken twice, so that each can be judged by itself.
    let read = self::read(attachments).into_iter().map(|conn| {
        let conn = conn?;
        let alone = Hub::restore(config.clone(), state.hub.clone(), [conn.clone()]);
        alone.map(|_| conn).map_err(|fault| fault.to_string())
    });
    let read: Vec<_> = read.collect();
    let seats = ids(&read);
    let app = restore(read).map_err(unreadable)?;
    Ok(Wake { app, seats })
}

fn unreadable(fault: impl std::fmt::Display) -> Fault {
    Fault::new("the state that was saved cannot be used", fault)
}

/// The states in the attachments; each slot is given to the first who claims it.
fn read(attachments: &[Vec<u8>]) -> Vec<Result<ConnState, String>> {
    let mut taken = BTreeSet::new();
    let read = attachments.iter().map(|bytes| {
        let conn = attachment::decode(bytes).map_err(|fault| fault.to_string())?;
        if taken.insert(conn.id().slot()) {
            Ok(conn)
        } else {
            Err(format!("the slot of connection {} is taken", conn.id()))
        }
    });
    read.collect()
}

fn ids(read: &[Result<ConnState, String>]) -> Vec<Result<ConnId, String>> {
    let id = |conn: &Result<ConnState, String>| match conn {
        Ok(conn) => Ok(conn.id()),
        Err(why) => Err(why.clone()),
    };
    read.iter().map(id).collect()
}

#[cfg(test)]
mod tests {
    use roomcast_core::{Handshake, HubState, Outbox, Timestamp};

    use super::*;

    const NOW: Timestamp = Timestamp::ZERO;

    /// The attachments of so many connections, each in the room `r`.
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

    fn seated(limits: &Limits, state: HubState, attachments: &[Vec<u8>]) -> Vec<bool> {
        let saved = Saved {
            epoch: "e".to_owned(),
            state,
            application: String::new(),
        };
        let woken = wake(limits, saved, attachments, || Box::new(()));
        let Wake { app, seats } = woken.expect("nothing that an application saved");
        app.hub().assert_consistent();
        let conns: Vec<_> = seats.iter().flatten().copied().collect();
        assert_eq!(app.hub().members("r"), conns);
        seats.iter().map(Result::is_ok).collect()
    }

    #[test]
    fn everybody_comes_back() {
        let (state, attachments) = crowd(3);
        assert_eq!(seated(&Limits::default(), state, &attachments), [true; 3]);
    }

    #[test]
    fn who_contradicts_the_rest_is_out_and_the_rest_is_in() {
        let (state, mut attachments) = crowd(3);
        attachments[0] = b"\x01{".to_vec();
        attachments.push(attachments[2].clone());
        let seats = seated(&Limits::default(), state, &attachments);
        assert_eq!(seats, [false, true, true, false]);
    }

    #[test]
    fn an_id_from_the_future_is_out() {
        let (_, attachments) = crowd(3);
        let seats = seated(&Limits::default(), HubState::from_serial(2), &attachments);
        assert_eq!(seats, [true, true, false]);
    }
}
