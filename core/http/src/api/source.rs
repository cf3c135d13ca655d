//! Sources from which the view of an answer is completed: the hub that gave it, or other nodes.

use alloc::{borrow::ToOwned, collections::BTreeMap, string::String, vec::Vec};

use roomcast_core::{ConnId, Hub, ask::ConnectionDetails, room::Position};

/// A source of details that an answer does not have itself.
pub(super) trait Source {
    fn has_room(&self, room: &str) -> bool;

    fn position(&self, room: &str) -> Position<'static>;

    /// The rooms of a connection, and the bytes that are queued for it; 0 if that is not known.
    fn details(&self, conn: ConnId) -> (Vec<String>, usize);

    /// True when there is a room after the last of a page.
    fn has_room_behind(&self, prefix: &str, last: &str) -> bool;

    /// True when there is a connection after the last of a page.
    fn has_conn_behind(&self, user: Option<&str>, last: ConnId) -> bool;
}

impl Source for Hub {
    fn has_room(&self, room: &str) -> bool {
        self.room(room).is_some()
    }

    fn position(&self, room: &str) -> Position<'static> {
        self.position(room).into_owned()
    }

    fn details(&self, conn: ConnId) -> (Vec<String>, usize) {
        let rooms = self.rooms_of(conn).unwrap_or_default();
        (rooms.into_iter().map(str::to_owned).collect(), 0)
    }

    fn has_room_behind(&self, prefix: &str, last: &str) -> bool {
        self.rooms(prefix, Some(last)).next().is_some()
    }

    fn has_conn_behind(&self, user: Option<&str>, last: ConnId) -> bool {
        match user {
            Some(user) => self.connections_of(user).iter().any(|conn| *conn > last),
            None => self.connections().any(|conn| conn.id > last),
        }
    }
}

/// Details that nodes sent along with their answers.
pub(super) struct FromNodes {
    /// The rooms that exist, and the position of each.
    pub(super) rooms: BTreeMap<String, Position<'static>>,
    /// Details of connections, sorted by id.
    pub(super) connections: Vec<ConnectionDetails>,
    /// True when there is another page.
    pub(super) has_more: bool,
}

impl Source for FromNodes {
    fn has_room(&self, room: &str) -> bool {
        self.rooms.contains_key(room)
    }

    fn position(&self, room: &str) -> Position<'static> {
        let position = self.rooms.get(room).cloned();
        position.unwrap_or_else(|| Position::new("", 0))
    }

    fn details(&self, conn: ConnId) -> (Vec<String>, usize) {
        let found = self.connections.binary_search_by_key(&conn, |it| it.conn);
        let found = found.ok().map(|at| &self.connections[at]);
        found.map_or_else(Default::default, |it| (it.rooms.clone(), it.queued_bytes))
    }

    fn has_room_behind(&self, _prefix: &str, _last: &str) -> bool {
        self.has_more
    }

    fn has_conn_behind(&self, _user: Option<&str>, _last: ConnId) -> bool {
        self.has_more
    }
}
