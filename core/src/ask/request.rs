//! Requests to a namespace, each as one value.

use alloc::{borrow::Cow, boxed::Box, string::String, vec::Vec};
use core::ops::Bound;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::answer::{Answer, AskError, WITHDRAW_AHEAD_S};
use crate::explain::Explained;
use crate::hub::{Audience, ConnId, ConnectionInfo, ConnectionSummary, Hub};
use crate::{gateway::Applied, gateway::Input, policy::Policies, room::PageError};
use crate::{time::Timestamp, wire::CloseCode};

/// A request to a namespace: a question, or a change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Ask {
    /// Sends to an audience; with a key, only once.
    Send {
        /// The idempotency key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// The recipients.
        audience: Box<Audience>,
        /// The event name.
        event: String,
        /// The label of the push.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
        /// The payload.
        data: Box<RawValue>,
    },
    /// Sends a raw text frame.
    SendText {
        /// The recipients.
        audience: Box<Audience>,
        /// The whole message.
        text: String,
    },
    /// Sends a raw binary frame.
    SendBinary {
        /// The recipients.
        audience: Box<Audience>,
        /// The whole message.
        bytes: Vec<u8>,
    },
    /// Puts a connection into a room.
    Join {
        /// The connection.
        conn: ConnId,
        /// The room.
        room: String,
        /// Metadata that presence shows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        meta: Option<Box<RawValue>>,
    },
    /// Takes a connection out of a room.
    Leave {
        /// The connection.
        conn: ConnId,
        /// The room.
        room: String,
    },
    /// Closes a connection.
    Disconnect {
        /// The connection.
        conn: ConnId,
        /// The code of the close frame.
        code: CloseCode,
        /// The reason in the close frame.
        reason: String,
    },
    /// Closes all connections of a user.
    DisconnectUser {
        /// The user.
        user: String,
        /// The code of the close frames.
        code: CloseCode,
        /// The reason in the close frames.
        reason: String,
    },
    /// Refuses identities of a user from before a time, and ends the connections that have one:
    /// [`Hub::withdraw`].
    Withdraw {
        /// The user.
        user: String,
        /// The time, in seconds since 1970; at most
        /// [`WITHDRAW_AHEAD_S`](crate::ask::WITHDRAW_AHEAD_S) ahead.
        not_before_s: u64,
    },
    /// [`Hub::rooms`], at most `limit`.
    Rooms {
        /// The prefix of the names.
        prefix: String,
        /// The name after which to start.
        after: Option<String>,
        /// The largest number of them.
        limit: usize,
    },
    /// [`Hub::room`].
    Room {
        /// The room.
        room: String,
    },
    /// [`Hub::members`].
    Members {
        /// The room.
        room: String,
    },
    /// [`Hub::position`].
    Position {
        /// The room.
        room: String,
    },
    /// [`Hub::history_page`].
    History {
        /// The room.
        room: String,
        /// The offsets of the messages.
        offsets: (Bound<u64>, Bound<u64>),
        /// The largest number of them.
        limit: usize,
    },
    /// [`Hub::presence`].
    Presence {
        /// The room.
        room: String,
        /// The `next` of the page before.
        after: Option<String>,
        /// The largest number of them.
        limit: usize,
    },
    /// [`Hub::rooms_of`].
    RoomsOf {
        /// The connection.
        conn: ConnId,
    },
    /// [`Hub::rooms_of_user`].
    RoomsOfUser {
        /// The user.
        user: String,
    },
    /// [`Hub::connection`].
    Connection {
        /// The connection.
        conn: ConnId,
    },
    /// [`Hub::connections`] or [`Hub::connections_of`], the oldest first, at most `limit`.
    Connections {
        /// The user; `None` for all connections.
        user: Option<String>,
        /// The id after which to start.
        after: Option<ConnId>,
        /// The largest number of them.
        limit: usize,
    },
    /// [`Hub::counts`].
    Counts,
    /// [`Hub::explain`].
    Explain {
        /// The send.
        send: Explained,
        /// The connection.
        conn: ConnId,
    },
}

/// A namespace that can be asked: its hub for questions, and its inputs for changes.
pub trait Asked {
    /// Asks the hub something.
    fn hub<R>(&self, question: impl FnOnce(&Hub) -> R) -> R;

    /// Applies an input, and carries out or queues the commands that follow.
    fn apply(&mut self, input: &Input<'_>) -> Applied;
}

impl Ask {
    /// True when the namespace must remember something of the request, even when nobody is
    /// connected: an idempotency key, a message in a history, a withdrawal.
    pub fn is_remembered(&self, policies: &Policies) -> bool {
        let Self::Send { key, audience, .. } = self else {
            return matches!(self, Self::Withdraw { .. });
        };
        let kept = |room: &str| {
            policies
                .of(room)
                .is_some_and(|policy| policy.history.is_some())
        };
        key.is_some() || audience.as_room().is_some_and(kept)
    }

    /// True when the request may change anything.
    pub fn changes(&self) -> bool {
        matches!(self, Self::DisconnectUser { .. }) || self.input().is_some()
    }

    /// The room whose messages it reads: a host that stores them [loads them](Input::HistoryLoaded)
    /// first.
    pub fn reads(&self) -> Option<&str> {
        if let Self::History { room, .. }
        | Self::Explain {
            send: Explained::Past { room, .. },
            ..
        } = self
        {
            Some(room)
        } else {
            None
        }
    }

    /// The input of a request that changes something; `None` for a question, and for a request that
    /// concerns several connections.
    pub fn input(&self) -> Option<Input<'_>> {
        Some(match self {
            Self::Send {
                key,
                audience,
                event,
                path,
                data,
            } => Input::Send {
                key: key.as_deref().map(Cow::Borrowed),
                audience: Cow::Borrowed(audience),
                event: event.into(),
                path: path.as_deref().map(Cow::Borrowed),
                data: Cow::Borrowed(data),
            },
            Self::SendText { audience, text } => Input::SendText {
                audience: Cow::Borrowed(audience),
                text: text.into(),
            },
            Self::SendBinary { audience, bytes } => Input::SendBinary {
                audience: Cow::Borrowed(audience),
                bytes: bytes.into(),
            },
            Self::Join { conn, room, meta } => Input::Join {
                conn: *conn,
                room: room.into(),
                meta: meta.as_deref().map(Cow::Borrowed),
            },
            Self::Leave { conn, room } => Input::Leave {
                conn: *conn,
                room: room.into(),
            },
            Self::Withdraw { user, not_before_s } => Input::Withdraw {
                user: user.into(),
                not_before_s: *not_before_s,
            },
            Self::Disconnect { conn, code, reason } => Input::close(*conn, *code, reason),
            Self::DisconnectUser { .. }
            | Self::Rooms { .. }
            | Self::Room { .. }
            | Self::Members { .. }
            | Self::Position { .. }
            | Self::History { .. }
            | Self::Presence { .. }
            | Self::RoomsOf { .. }
            | Self::RoomsOfUser { .. }
            | Self::Connection { .. }
            | Self::Connections { .. }
            | Self::Counts
            | Self::Explain { .. } => return None,
        })
    }

    /// Carries out the request. Work: the input, or the hub's query and the copied result.
    ///
    /// # Errors
    ///
    /// When it cannot be done; nothing changed then.
    pub fn run(&self, now: Timestamp, namespace: &mut impl Asked) -> Result<Answer, AskError> {
        if let Some(answer) = namespace.hub(|hub| self.look(now, hub)) {
            return answer;
        }
        namespace.hub(|hub| self.check(now, hub))?;
        if let Some(input) = self.input() {
            return answer(namespace.apply(&input));
        }
        let mut closed = 0;
        if let Self::DisconnectUser { user, code, reason } = self {
            for conn in namespace.hub(|hub| hub.connections_of(user).to_vec()) {
                let done = namespace.apply(&Input::close(conn, *code, reason));
                closed += usize::from(done == Applied::Done);
            }
        }
        Ok(Answer::Disconnected(closed))
    }

    /// Checks what [`run`](Self::run) refuses regardless of the connections. For a host that does
    /// other work first.
    ///
    /// # Errors
    ///
    /// For a withdrawal that is too far ahead.
    pub fn check(&self, now: Timestamp, hub: &Hub) -> Result<(), AskError> {
        if let Self::Withdraw { not_before_s, .. } = *self {
            let now_s = hub.unix_time(now).as_millis() / 1000;
            if not_before_s > now_s.saturating_add(WITHDRAW_AHEAD_S as u64) {
                return Err(AskError::Ahead);
            }
        }
        Ok(())
    }

    /// Answers a question; `None` for a request that changes something.
    fn look(&self, now: Timestamp, hub: &Hub) -> Option<Result<Answer, AskError>> {
        let summary = |info: ConnectionInfo<'_>| {
            ConnectionSummary::new(info, hub.unix_time(info.since).as_millis())
        };
        let owned = |rooms: Vec<&str>| rooms.into_iter().map(Into::into).collect();
        Some(Ok(match self {
            Self::Rooms {
                prefix,
                after,
                limit,
            } => {
                let rooms = hub.rooms(prefix, after.as_deref()).take(*limit);
                Answer::Rooms(rooms.map(Into::into).collect())
            }
            Self::Room { room } => Answer::Room(hub.room(room).map(Into::into)),
            Self::Members { room } => Answer::Members(hub.members(room).to_vec()),
            Self::Position { room } => Answer::Position(hub.position(room).into_owned()),
            Self::History {
                room,
                offsets,
                limit,
            } => {
                let page = hub.history_page(now, room, *offsets, *limit);
                return Some(page.map(Answer::History).map_err(AskError::from));
            }
            Self::Presence { room, after, limit } => {
                let page = hub.presence(room, after.as_deref(), *limit);
                return Some(match page {
                    // The relay has yet to send its users.
                    Err(PageError::Unfollowed) if !hub.members(room).is_empty() => {
                        let text = "it is not known yet who is in the room: ask again";
                        Err(AskError::Unavailable(text.into()))
                    }
                    page => page.map(Answer::Presence).map_err(AskError::from),
                });
            }
            Self::RoomsOf { conn } => Answer::RoomsOf(hub.rooms_of(*conn).map(owned)),
            Self::RoomsOfUser { user } => Answer::RoomsOfUser(owned(hub.rooms_of_user(user))),
            Self::Connection { conn } => Answer::Connection(hub.connection(*conn).map(summary)),
            Self::Connections { user, after, limit } => {
                let mut ids: Vec<ConnId> = match user {
                    Some(user) => hub.connections_of(user).to_vec(),
                    None => hub.connections().map(|info| info.id).collect(),
                };
                ids.retain(|id| after.as_ref().is_none_or(|after| id > after));
                ids.sort_unstable();
                let infos = ids.into_iter().filter_map(|id| hub.connection(id));
                Answer::Connections(infos.take(*limit).map(summary).collect())
            }
            Self::Explain { send, conn } => Answer::Explanation(hub.explain(send, *conn)),
            Self::Counts => Answer::Counts(hub.counts()),
            Self::Send { .. }
            | Self::SendText { .. }
            | Self::SendBinary { .. }
            | Self::Join { .. }
            | Self::Leave { .. }
            | Self::Disconnect { .. }
            | Self::DisconnectUser { .. }
            | Self::Withdraw { .. } => return None,
        }))
    }
}

/// The answer to an ask that was an input.
fn answer(applied: Applied) -> Result<Answer, AskError> {
    Ok(match applied {
        Applied::Sent(sent) => Answer::Sent(sent?),
        Applied::Relayed(token) => Answer::Relayed(token),
        Applied::Joined(joined) => Answer::Joined(joined?),
        Applied::Left(was) => Answer::Left(was),
        Applied::Withdrawn(ended) => Answer::Disconnected(ended),
        Applied::UnknownConn(fault) => return Err(fault.into()),
        Applied::Done | Applied::Connected(_) | Applied::Completed(_) => Answer::Disconnected(1),
    })
}
