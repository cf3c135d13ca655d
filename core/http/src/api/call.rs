//! What a request asks for, and its answer.

use alloc::{borrow::ToOwned, string::String, vec::Vec};
use core::ops::Bound;

use super::{
    Answer, Found,
    answer::{
        ConnectionView, ConnectionsView, DisconnectedView, HistoryView, JoinedView, LeftView,
        RoomView, RoomsView, members,
    },
    no_connection, no_room,
};
use crate::Problem;
use roomcast_core::{
    ConnId, Hub, JoinError, Timestamp,
    ask::{self, Ask, AskError, Asked},
};

/// A request of the API that is right in itself. It owns what it needs: it can be run on another
/// thread, or somewhere else.
#[derive(Debug)]
pub struct ApiCall {
    pub(super) namespace: String,
    pub(super) ask: Ask,
}

impl ApiCall {
    /// The name of the namespace that the call is about.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// What is asked of it.
    pub const fn ask(&self) -> &Ask {
        &self.ask
    }

    /// Does what the call asks for, in that namespace.
    ///
    /// Work: as the hub says for what is done. A list of rooms costs its page; one of connections
    /// walks all of them, or all of the user.
    ///
    /// # Errors
    ///
    /// The answer when it cannot be done.
    #[allow(clippy::wildcard_enum_match_arm)] // the others have no view of their own
    pub fn run(&self, now: Timestamp, namespace: &mut impl Asked) -> Result<Answer, Problem> {
        let ask = &self.ask;
        Ok(Answer(match ask {
            Ask::Rooms {
                prefix,
                after,
                limit,
            } => Found::Rooms(namespace.hub(|hub| rooms(hub, prefix, after.as_deref(), *limit))),
            Ask::Room { room } => {
                let view = |hub: &Hub| {
                    let found = hub.room(room);
                    found.map(|found| RoomView::of(hub, room, found.members))
                };
                Found::Room(namespace.hub(view).ok_or_else(no_room)?)
            }
            Ask::Presence { room, after, limit } => {
                let page = |hub: &Hub| members(hub, room, after.as_deref(), *limit);
                Found::Members(namespace.hub(page)?)
            }
            Ask::History {
                room,
                offsets,
                limit,
            } => {
                let edge = |bound: Bound<u64>| match bound {
                    Bound::Excluded(offset) | Bound::Included(offset) => Some(offset),
                    Bound::Unbounded => None,
                };
                let span = (edge(offsets.0), edge(offsets.1));
                let page = |hub: &Hub| HistoryView::of(hub, room, span, *limit);
                Found::History(namespace.hub(page)?)
            }
            Ask::Connections { user, after, limit } => {
                let page = |hub: &Hub| connections(hub, user.as_deref(), *after, *limit);
                Found::Connections(namespace.hub(page))
            }
            Ask::Connection { conn } => {
                let view = namespace.hub(|hub| describe(hub, *conn));
                Found::Connection(view.ok_or_else(no_connection)?)
            }
            ask => match (ask.run(now, namespace).map_err(refused)?, ask) {
                (ask::Answer::Sent(delivery), _) => Found::Sent(delivery),
                (ask::Answer::Joined(already), Ask::Join { room, .. }) => {
                    Found::Joined(namespace.hub(|hub| JoinedView::of(hub, room, already)))
                }
                (ask::Answer::Left(was), _) => Found::Left(LeftView { was }),
                (ask::Answer::Disconnected(disconnected), _) => {
                    Found::Disconnected(DisconnectedView { disconnected })
                }
                (_, _) => return Err(Problem::not_found("the API does not ask this")),
            },
        }))
    }
}

fn rooms(hub: &Hub, prefix: &str, after: Option<&str>, limit: usize) -> RoomsView {
    let page = hub.rooms(prefix, after).take(limit + 1);
    let view = |room: roomcast_core::hub::RoomInfo<'_>| RoomView::of(hub, room.name, room.members);
    let mut rooms: Vec<RoomView> = page.map(view).collect();
    let more = rooms.len() > limit;
    rooms.truncate(limit);
    let next = rooms.last().filter(|_| more).map(|room| room.room.clone());
    RoomsView { rooms, next }
}

fn connections(
    hub: &Hub,
    user: Option<&str>,
    after: Option<ConnId>,
    limit: usize,
) -> ConnectionsView {
    let mut ids: Vec<ConnId> = match user {
        Some(user) => hub.connections_of(user).to_vec(),
        None => hub.connections().map(|conn| conn.id).collect(),
    };
    ids.retain(|&id| after.is_none_or(|after| id > after));
    ids.sort_unstable();
    let more = ids.len() > limit;
    ids.truncate(limit);
    let next = ids.last().copied().filter(|_| more);
    let connections = ids.into_iter().filter_map(|conn| describe(hub, conn));
    ConnectionsView {
        connections: connections.collect(),
        next,
    }
}

fn describe(hub: &Hub, conn: ConnId) -> Option<ConnectionView> {
    let info = hub.connection(conn)?;
    let rooms = hub.rooms_of(conn)?.into_iter().map(str::to_owned);
    Some(ConnectionView {
        conn,
        user: info.user.unwrap_or_default().to_owned(),
        rooms: rooms.collect(),
        since_ms: hub.unix_time(info.since).as_millis(),
        queued_bytes: 0,
    })
}

/// The problem of what was not done. The path names the connection: the detail does not repeat it.
#[allow(clippy::wildcard_enum_match_arm)] // the others are told as they are
fn refused(error: AskError) -> Problem {
    match error {
        AskError::UnknownConn(_) | AskError::Join(JoinError::UnknownConn(_)) => no_connection(),
        error => error.into(),
    }
}
