//! Commands for the host.

use core::{fmt, ops::Range};

use super::buffer::{Outbox, Shedding};
use crate::{
    policy::EventKind, policy::Overflow, relay::RelayCommand, room::Except, time::Timestamp,
    wire::CloseCode, wire::ConnId, wire::Frame,
};

/// A command for the host. Commands are carried out in order.
///
/// Exhaustive on purpose: a new variant must break every host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// Send one message to everybody named: one command per fan-out, never one per recipient.
    Send {
        /// The recipients: sorted, each once, all alive when the command was made.
        to: &'a [ConnId],
        /// The message.
        frame: Frame<'a>,
        /// Says what a host may do with the message when the queue of a recipient is full.
        class: Class<'a>,
    },
    /// Send what is queued, then a close frame, then end the transport. The hub has forgotten the
    /// connection: no command follows for it, and the host must not report its end.
    Close {
        /// The connection.
        conn: ConnId,
        /// The code of the close frame.
        code: CloseCode,
        /// The reason in the close frame; at most 123 bytes.
        reason: &'a str,
    },
    /// Send a WebSocket ping, and report what comes back with
    /// [`Input::Activity`](crate::Input::Activity).
    Ping {
        /// The connection.
        conn: ConnId,
    },
    /// The ground state of a connection changed, see [`Hub::conn_state`](crate::Hub::conn_state);
    /// for hosts that must survive eviction. Not given for what changes with every message
    /// (liveness, rate buckets).
    Persist {
        /// The connection.
        conn: ConnId,
    },
    /// Keep a message of a room's history, before anything behind this command is carried out. The
    /// room's own state changed too, as with [`PersistRoom`](Self::PersistRoom). Given only with
    /// [`Config::durable`](crate::Config::durable).
    Append {
        /// The room.
        room: &'a str,
        /// The message's offset, one above the last.
        offset: u64,
        /// The time of its publication.
        at: Timestamp,
        /// The frame that is sent.
        frame: &'a str,
        /// The connections and users that never get the message.
        except: &'a Except,
    },
    /// The ground state of a room changed, see [`Hub::room_state`](crate::Hub::room_state); when
    /// there is none, the room and its messages are to be forgotten. Given only with
    /// [`Config::durable`](crate::Config::durable).
    PersistRoom {
        /// The room.
        room: &'a str,
    },
    /// The record of a client's idempotency key changed, see
    /// [`Hub::client_key_state`](crate::Hub::client_key_state); if there is none, delete the stored
    /// one. Store it atomically with the message, which is in the same outbox. Given only with
    /// [`Config::durable`](crate::Config::durable).
    PersistKey {
        /// The client, by a name that only the hub interprets.
        client: &'a str,
        /// The key.
        key: &'a str,
    },
    /// Load the stored messages of a room, by [`Hub::history_loaded`](crate::Hub::history_loaded),
    /// before the next input: a client waits for them.
    LoadHistory {
        /// The room.
        room: &'a str,
    },
    /// Pass a command to the relay. Given only with [`Config::cluster`](crate::Config::cluster).
    Relay(&'a RelayCommand),
    /// Tell backends of an event. Given only for what
    /// [`Config::subscriptions`](crate::Config::subscriptions) wants.
    Tell {
        /// The kind.
        kind: EventKind,
        /// The room; `None` for an event of a connection.
        room: Option<&'a str>,
        /// The event, a JSON object.
        event: &'a str,
    },
}

/// Says what a host may do with a message when the queue of a recipient is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class<'a> {
    /// Must arrive while the connection lives: an answer, an error, a notice. Queues reserve some
    /// space for these.
    Control,
    /// The same, for an answer that tells the recipient its position in a room: a gap notice that
    /// was queued earlier does not apply after it. Only for rooms that drop their oldest messages.
    Position(Shed<'a>),
    /// The recipient is to be closed as too slow.
    Message,
    /// Messages may be dropped.
    Sheddable(Shed<'a>),
}

/// The rule by which messages of a room are dropped.
// An index into the outbox rather than its content: a command stays small.
#[derive(Clone, Copy)]
pub struct Shed<'a> {
    pub(super) outbox: &'a Outbox,
    pub(super) at: usize,
}

impl<'a> Shed<'a> {
    fn shedding(self) -> Option<&'a Shedding> {
        self.outbox.durable.as_ref()?.sheddings.get(self.at)
    }

    fn text(self, range: impl Fn(&Shedding) -> &Range<usize>) -> &'a str {
        let range = self.shedding().map(range).cloned();
        &self.outbox.text[range.unwrap_or_default()]
    }

    /// The room.
    pub fn room(self) -> &'a str {
        self.text(|shedding| &shedding.room)
    }

    /// The event, by which [`Overflow::Latest`] knows the messages that a newer one replaces.
    pub fn event(self) -> &'a str {
        self.text(|shedding| &shedding.event)
    }

    /// The number of the history that the message is in; 0 when it is in none.
    pub fn history(self) -> u64 {
        self.shedding().map_or(0, |shedding| shedding.history)
    }

    /// The message's offset; 0 in a room without history. The oldest dropped message is replaced
    /// with a [`gap_notice`](crate::queue::gap_notice) of the offset before it.
    pub fn offset(self) -> u64 {
        self.shedding().map_or(0, |shedding| shedding.offset)
    }

    /// The rule that chooses the dropped messages; never [`Overflow::Close`].
    pub fn overflow(self) -> Overflow {
        self.shedding()
            .map_or(Overflow::DropOldest, |shedding| shedding.overflow)
    }

    fn parts(self) -> (&'a str, &'a str, u64, Overflow) {
        (self.room(), self.event(), self.offset(), self.overflow())
    }
}

impl PartialEq for Shed<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Shed<'_> {}

impl fmt::Debug for Shed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shed")
            .field("room", &self.room())
            .field("event", &self.event())
            .field("offset", &self.offset())
            .field("overflow", &self.overflow())
            .finish()
    }
}
