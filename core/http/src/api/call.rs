//! What a request asks for, and how it is done.

use alloc::{borrow::ToOwned, boxed::Box, string::String, vec::Vec};

use serde_json::value::RawValue;

use super::{
    Answer, ApiHost,
    answer::{
        ConnectionView, ConnectionsView, DisconnectedView, HistoryView, JoinedView, LeftView,
        RoomView, RoomsView, View, members,
    },
    no_connection, no_room,
};
use crate::Problem;
use roomcast_core::{Audience, CloseCode, ConnId, Event, Hub, JoinError};

/// A request of the API that is right in itself. It owns what it needs: it can be run on another
/// thread, or somewhere else.
#[derive(Debug)]
pub struct ApiCall {
    pub(super) namespace: String,
    pub(super) action: Action,
}

#[derive(Debug)]
pub(super) enum Action {
    Send {
        key: Option<String>,
        audience: Box<Audience>,
        event: String,
        path: Option<String>,
        data: Box<RawValue>,
    },
    Rooms {
        prefix: String,
        after: Option<String>,
        limit: usize,
    },
    Room {
        room: String,
    },
    Members {
        room: String,
        after: Option<String>,
        limit: usize,
    },
    History {
        room: String,
        after: Option<u64>,
        before: Option<u64>,
        limit: usize,
    },
    Join {
        room: String,
        conn: ConnId,
    },
    Leave {
        room: String,
        conn: ConnId,
    },
    Connections {
        user: Option<String>,
        after: Option<ConnId>,
        limit: usize,
    },
    Connection {
        conn: ConnId,
    },
    Disconnect {
        conn: ConnId,
        code: CloseCode,
        reason: String,
    },
    DisconnectUser {
        user: String,
        code: CloseCode,
        reason: String,
    },
}

impl ApiCall {
    /// The name of the namespace that the call is about.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Does what the call asks for, in that namespace.
    ///
    /// Work: as the hub says for what is done. A list of rooms costs its page; one of connections
    /// walks all of them, or all of the user.
    ///
    /// # Errors
    ///
    /// The answer when it cannot be done.
    pub fn run(self, host: &mut impl ApiHost) -> Result<Answer, Problem> {
        let view = match self.action {
            Action::Send {
                key,
                audience,
                event,
                path,
                data,
            } => {
                if key.is_some() || audience.as_room().is_some_and(|room| host.keeps(room)) {
                    // A key or a message must be remembered, even when nobody is there to hear it.
                    host.open()?;
                }
                let event = Event::new(&event).with_path(path.as_deref());
                View::Sent(host.send(key.as_deref(), &audience, event, &data)?)
            }
            Action::Rooms {
                prefix,
                after,
                limit,
            } => View::Rooms(rooms(host, &prefix, after.as_deref(), limit)),
            Action::Room { room } => {
                let view = host.ask(|hub| {
                    let found = hub.room(&room);
                    found.map(|found| RoomView::of(hub, &room, found.members))
                });
                View::Room(view.flatten().ok_or_else(no_room)?)
            }
            Action::Members { room, after, limit } => {
                let page = |hub: &Hub| members(hub, &room, after.as_deref(), limit);
                View::Members(host.ask(page).unwrap_or_else(|| Err(no_room()))?)
            }
            Action::History {
                room,
                after,
                before,
                limit,
            } => {
                host.load_history(&room);
                let page = |hub: &Hub| HistoryView::of(hub, &room, (after, before), limit);
                View::History(host.ask(page).unwrap_or_else(|| Err(no_room()))?)
            }
            Action::Join { room, conn } => View::Joined(join(host, &room, conn)?),
            Action::Leave { room, conn } => {
                let was = host.leave(conn, &room).map_err(|_| no_connection())?;
                View::Left(LeftView { was })
            }
            Action::Connections { user, after, limit } => {
                View::Connections(connections(host, user.as_deref(), after, limit))
            }
            Action::Connection { conn } => {
                View::Connection(describe(host, conn).ok_or_else(no_connection)?)
            }
            Action::Disconnect { conn, code, reason } => {
                let closed = host.close(conn, code, &reason);
                closed.map_err(|_| no_connection())?;
                View::Disconnected(DisconnectedView { disconnected: 1 })
            }
            Action::DisconnectUser { user, code, reason } => {
                let conns = host.ask(|hub| hub.connections_of(&user).to_vec());
                let conns = conns.unwrap_or_default().into_iter();
                let closed = conns.filter(|&conn| host.close(conn, code, &reason).is_ok());
                View::Disconnected(DisconnectedView {
                    disconnected: closed.count(),
                })
            }
        };
        Ok(Answer(view))
    }
}

fn rooms(host: &impl ApiHost, prefix: &str, after: Option<&str>, limit: usize) -> RoomsView {
    let page = |hub: &Hub| {
        let page = hub.rooms(prefix, after).take(limit + 1);
        page.map(|room| RoomView::of(hub, room.name, room.members))
            .collect()
    };
    let mut rooms: Vec<RoomView> = host.ask(page).unwrap_or_default();
    let more = rooms.len() > limit;
    rooms.truncate(limit);
    let next = rooms.last().filter(|_| more).map(|room| room.room.clone());
    RoomsView { rooms, next }
}

fn join(host: &mut impl ApiHost, room: &str, conn: ConnId) -> Result<JoinedView, Problem> {
    let already = host.join(conn, room).map_err(|fault| match fault {
        JoinError::UnknownConn(_) => no_connection(),
        fault => fault.into(),
    })?;
    let joined = host.ask(|hub| {
        let position = hub.position(room);
        JoinedView {
            epoch: position.epoch.into_owned(),
            offset: position.offset,
            already,
        }
    });
    joined.ok_or_else(no_connection)
}

fn connections(
    host: &mut impl ApiHost,
    user: Option<&str>,
    after: Option<ConnId>,
    limit: usize,
) -> ConnectionsView {
    let all = |hub: &Hub| match user {
        Some(user) => hub.connections_of(user).to_vec(),
        None => hub.connections().map(|conn| conn.id).collect(),
    };
    let mut ids: Vec<ConnId> = host.ask(all).unwrap_or_default();
    ids.retain(|&id| after.is_none_or(|after| id > after));
    ids.sort_unstable();
    let more = ids.len() > limit;
    ids.truncate(limit);
    ConnectionsView {
        next: ids.last().copied().filter(|_| more),
        connections: ids
            .into_iter()
            .filter_map(|conn| describe(host, conn))
            .collect(),
    }
}

fn describe(host: &mut impl ApiHost, conn: ConnId) -> Option<ConnectionView> {
    let (user, rooms, since) = host.ask(|hub| {
        let info = hub.connection(conn)?;
        let rooms = hub.rooms_of(conn)?;
        let rooms = rooms.into_iter().map(str::to_owned).collect();
        Some((info.user.unwrap_or_default().to_owned(), rooms, info.since))
    })??;
    Some(ConnectionView {
        conn,
        user,
        rooms,
        since_ms: host.unix_ms(since),
        queued_bytes: host.queued_bytes(conn),
    })
}
