//! An input, and its results while its frames are checked.

use std::collections::BTreeSet;

use roomcast_core::{Audience, ConnId, Hub, Input};

use super::envelope::Request;

/// An input that was applied.
pub(super) struct Applied<'a> {
    pub(super) input: &'a Input<'a>,
    /// The connection that it is about, when it is alive before.
    pub(super) conn: Option<ConnId>,
    /// The hub behind it.
    pub(super) hub: &'a Hub,
}

/// A message that an input publishes.
#[derive(Debug)]
pub(super) enum Publish<'a> {
    /// A client publishes to a room.
    Client { room: String, echo: Option<bool> },
    /// A backend sends.
    Backend(&'a Audience),
}

/// The requests of an input, and their results so far.
#[derive(Debug, Default)]
pub(super) struct Turn<'a> {
    pub(super) conn: Option<ConnId>,
    /// The event of the client's message.
    pub(super) event: String,
    pub(super) publish: Option<Publish<'a>>,
    /// True when a publish that nobody gets may have been refused, held back or repeated.
    pub(super) may_be_silent: bool,
    /// True when the client's message could not be read here: an error may have any id.
    pub(super) is_unreadable: bool,
    /// True when the frame is the application's own, and may be anything.
    pub(super) is_raw: bool,
    /// True when each connection gets at most one message.
    pub(super) is_single: bool,
    /// Connections that got a message, replays left out.
    pub(super) heard: BTreeSet<ConnId>,
    pub(super) offset: Option<u64>,
    pub(super) reached: Option<usize>,
    /// Memberships with a replay.
    pub(super) replays: Vec<(ConnId, String)>,
}

/// The connection that an input is about.
#[allow(clippy::wildcard_enum_match_arm)] // the others are about none
pub(super) fn conn_of(input: &Input<'_>) -> Option<ConnId> {
    match input {
        Input::Text { conn, .. }
        | Input::Authenticate { conn, .. }
        | Input::Binary { conn, .. }
        | Input::Disconnect { conn, .. }
        | Input::Join { conn, .. }
        | Input::Leave { conn, .. }
        | Input::Close { conn, .. } => Some(*conn),
        _ => None,
    }
}

impl<'a> Turn<'a> {
    /// The turn of a backend's message.
    pub(super) fn send(audience: &'a Audience, event: &str, may_be_silent: bool) -> Self {
        let is_valid = (1..=128).contains(&event.len()) && !event.starts_with('$');
        Self {
            publish: Some(Publish::Backend(audience)),
            may_be_silent: may_be_silent || !is_valid,
            is_single: true,
            ..Self::default()
        }
    }

    /// The turn of a client's message, without one when it cannot be read.
    pub(super) fn request(conn: ConnId, request: Option<&Request<'_>>, is_waiting: bool) -> Self {
        let Some(request) = request else {
            return Self {
                conn: Some(conn),
                is_unreadable: true,
                ..Self::default()
            };
        };
        let is_publish = !request.event.starts_with('$');
        let room = request.room.as_deref().filter(|_| is_publish);
        Self {
            conn: Some(conn),
            event: request.event.clone().into_owned(),
            publish: room.map(|room| Publish::Client {
                room: room.to_owned(),
                echo: request.echo,
            }),
            may_be_silent: is_waiting || request.key.is_some(),
            is_single: true,
            ..Self::default()
        }
    }

    /// The one room that the message goes to, if that is all.
    pub(super) fn room(&self) -> Option<&str> {
        match self.publish.as_ref()? {
            Publish::Client { room, .. } => Some(room),
            Publish::Backend(audience) => audience.as_room(),
        }
    }
}
