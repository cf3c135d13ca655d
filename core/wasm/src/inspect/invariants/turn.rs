//! An input, and the results of checking its frames so far.

use std::collections::BTreeSet;

use roomcast_core::{Audience, ConnId, Hub, Input, Timestamp};

use super::{
    envelope::{Request, text_of},
    keys::KeyOwner,
};

/// The bytes of a message's label, at most.
const LABEL_BYTES_MAX: usize = 200;

/// An input that was applied.
pub(super) struct Applied<'a> {
    pub(super) input: &'a Input<'a>,
    /// The time of the input.
    pub(super) at: Timestamp,
    /// The connection that the input is about, if it was alive before.
    pub(super) conn: Option<ConnId>,
    /// True when a timeout was due before the input.
    pub(super) is_due: bool,
    /// The hub after the input.
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
    /// The event of the client's message, or of the backend's.
    pub(super) event: String,
    pub(super) publish: Option<Publish<'a>>,
    /// The payload of a message, which must arrive unchanged.
    pub(super) data: Option<&'a str>,
    /// The idempotency key of the message, with its owner.
    pub(super) key: Option<(KeyOwner, String)>,
    /// True when the client waits for an earlier answer: this message may have to wait too.
    pub(super) is_waiting: bool,
    /// True when the client's own message was answered by an error.
    pub(super) is_refused: bool,
    /// True when a publish that nobody gets may have been refused, held back or repeated.
    pub(super) may_be_silent: bool,
    /// True when the client's message could not be read here: an error may have any id.
    pub(super) is_unreadable: bool,
    /// True when the frame is the application's own, and may be anything.
    pub(super) is_raw: bool,
    /// True when each connection gets at most one message.
    pub(super) is_single: bool,
    /// Connections that got a message, except by a replay.
    pub(super) heard: BTreeSet<ConnId>,
    pub(super) offset: Option<u64>,
    pub(super) reached: Option<usize>,
    /// Memberships with a replay.
    pub(super) replays: Vec<(ConnId, String)>,
    /// The room that the client has joined without a replay.
    pub(super) fresh: Option<String>,
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
    /// The turn of a backend's message; an empty turn for any other input.
    pub(super) fn send(applied: &Applied<'a>) -> Self {
        let Input::Send {
            key,
            audience,
            event,
            path,
            data,
        } = applied.input
        else {
            return Self::default();
        };
        let name_bytes_max = applied.hub.limits().room_name_bytes;
        let mut rooms = audience.rooms.iter().chain(&audience.except_rooms);
        let is_label = |path: &str| (1..=LABEL_BYTES_MAX).contains(&path.len());
        // An invalid message is refused.
        let is_valid = (1..=128).contains(&event.len())
            && !event.starts_with('$')
            && path.as_deref().is_none_or(is_label)
            && rooms.all(|room| (1..=name_bytes_max).contains(&room.len()));
        Self {
            event: event.to_string(),
            publish: Some(Publish::Backend(audience)),
            data: Some(data.get()),
            key: key.as_ref().map(|key| (KeyOwner::Backend, key.to_string())),
            may_be_silent: key.is_some() || !is_valid,
            is_single: true,
            ..Self::default()
        }
    }

    /// The turn of a client's message; `request` is `None` when it cannot be read.
    pub(super) fn request(conn: ConnId, request: Option<&Request<'a>>, is_waiting: bool) -> Self {
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
            data: Some(text_of(request.data)),
            may_be_silent: is_waiting || request.key.is_some(),
            is_waiting,
            is_single: true,
            ..Self::default()
        }
    }

    /// The room that the message goes to, if that is its only audience.
    pub(super) fn room(&self) -> Option<&str> {
        match self.publish.as_ref()? {
            Publish::Client { room, .. } => Some(room),
            Publish::Backend(audience) => audience.as_room(),
        }
    }
}
