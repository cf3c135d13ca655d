//! State of a namespace, as JSON.

use roomcast_core::{ConnId, Hub};
use serde::Serialize;

/// The number of rooms, and of connections, that are listed; the counts count all.
const LISTED_MAX: usize = 1000;
/// The number of newest messages of a history that are listed.
const MESSAGES_MAX: usize = 20;

/// The state of a namespace.
#[derive(Debug, Serialize)]
pub(super) struct State<'a> {
    namespace: &'a str,
    rooms_count: usize,
    connections_count: usize,
    rooms: Vec<Room<'a>>,
    connections: Vec<Connection<'a>>,
}

#[derive(Debug, Serialize)]
struct Room<'a> {
    room: &'a str,
    members_count: usize,
    members: &'a [ConnId],
    offset: u64,
    /// `null` when the room keeps none.
    history: Option<Vec<&'a str>>,
}

#[derive(Debug, Serialize)]
struct Connection<'a> {
    conn: ConnId,
    user: Option<&'a str>,
    since: u64,
    rooms: Vec<&'a str>,
}

impl<'a> State<'a> {
    /// The state of the hub of this namespace. Work: the listed entries, and sorting connections.
    pub(super) fn of(namespace: &'a str, hub: &'a Hub) -> Self {
        let counts = hub.counts();
        let rooms = hub.rooms("", None).take(LISTED_MAX).map(|room| {
            let members = hub.members(room.name);
            Room {
                room: room.name,
                members_count: members.len(),
                members: members.get(..LISTED_MAX).unwrap_or(members),
                offset: hub.position(room.name).offset,
                history: hub.history(room.name, None, None, MESSAGES_MAX),
            }
        });
        let mut live: Vec<_> = hub.connections().collect();
        live.sort_unstable_by_key(|info| info.id);
        let connections = live.into_iter().take(LISTED_MAX).map(|info| Connection {
            conn: info.id,
            user: info.user,
            since: info.since.as_millis(),
            rooms: hub.rooms_of(info.id).unwrap_or_default(),
        });
        Self {
            namespace,
            rooms_count: counts.rooms,
            connections_count: counts.connections,
            rooms: rooms.collect(),
            connections: connections.collect(),
        }
    }
}
