//! Calls of the API: the question of a request, and its answer.

use alloc::string::String;
use core::ops::Bound;

use roomcast_core::{
    Hub, Timestamp,
    ask::{self, Ask, Asked},
};

use super::answer::{Answer, ConnectionView, Found, RoomView};
use crate::problem::Problem;

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

    /// The request that the namespace is to answer.
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
            } => namespace.hub(|hub| Found::rooms(hub, prefix, after.as_deref(), *limit)),
            Ask::Room { room } => {
                let view = |hub: &Hub| {
                    let found = hub.room(room)?;
                    Some(RoomView::of(hub, room, found.members))
                };
                Found::Room(namespace.hub(view).ok_or(Problem::NoRoom)?)
            }
            Ask::Presence { room, after, limit } => {
                namespace.hub(|hub| Found::members(hub, room, after.as_deref(), *limit))?
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
                namespace.hub(|hub| Found::history(hub, room, span, *limit))?
            }
            Ask::Connections { user, after, limit } => {
                namespace.hub(|hub| Found::connections(hub, user.as_deref(), *after, *limit))
            }
            Ask::Connection { conn } => {
                let view = namespace.hub(|hub| ConnectionView::of(hub, *conn));
                Found::Connection(view.ok_or(Problem::NoConnection)?)
            }
            ask => match (ask.run(now, namespace)?, ask) {
                (ask::Answer::Sent(delivery), _) => Found::Sent(delivery),
                (ask::Answer::Joined(already), Ask::Join { room, .. }) => {
                    let position = namespace.hub(|hub| hub.position(room).into_owned());
                    Found::Joined { position, already }
                }
                (ask::Answer::Left(was), _) => Found::Left { was },
                (ask::Answer::Disconnected(disconnected), _) => {
                    Found::Disconnected { disconnected }
                }
                // The API does not ask anything else.
                (_, _) => return Err(Problem::NoCall),
            },
        }))
    }
}
