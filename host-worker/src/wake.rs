//! A hub made of what was saved.

use std::collections::BTreeSet;

use roomcast_core::{Config, ConnId, ConnState, Hub, Limits};

use crate::{attachment, platform::Saved};

/// A hub, and who of those that were there is in it.
#[derive(Debug)]
pub(crate) struct Wake {
    pub(crate) hub: Hub,
    /// For each attachment its connection, or why it has none.
    pub(crate) seats: Vec<Result<ConnId, String>>,
}

/// Restores a hub. An attachment that contradicts the rest costs its own connection, and nobody
/// else's.
///
/// Work: everything there is, thrice when something contradicts.
pub(crate) fn wake(limits: &Limits, saved: Saved, attachments: &[Vec<u8>]) -> Wake {
    let Saved { epoch, state } = saved;
    let config = Config::new(epoch).with_limits(limits.clone());
    let read = read(attachments);
    let seats = ids(&read);
    let whole = Hub::restore(config.clone(), state.clone(), read.into_iter().flatten());
    if let Ok(hub) = whole {
        return Wake { hub, seats };
    }
    // Slots are not taken twice, so that each can be judged by itself.
    let read = self::read(attachments).into_iter().map(|conn| {
        let conn = conn?;
        let alone = Hub::restore(config.clone(), state.clone(), [conn.clone()]);
        alone.map(|_| conn).map_err(|fault| fault.to_string())
    });
    let read: Vec<_> = read.collect();
    let seats = ids(&read);
    let rest = Hub::restore(config.clone(), state.clone(), read.into_iter().flatten());
    debug_assert!(rest.is_ok(), "good alone, and not together");
    let hub = rest.unwrap_or_else(|_| Hub::new(config));
    Wake { hub, seats }
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
        let epoch = "e".to_owned();
        let Wake { hub, seats } = wake(limits, Saved { epoch, state }, attachments);
        hub.assert_consistent();
        let conns: Vec<_> = seats.iter().flatten().copied().collect();
        assert_eq!(hub.members("r"), conns);
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
