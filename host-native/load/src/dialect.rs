//! The protocol of a kind of server.

use serde::Deserialize;

use super::{stamp::Stamp, upgrade::ConnectError};

/// A protocol with rooms, each known by its number.
pub trait Dialect: std::fmt::Debug {
    /// The path of the upgrade.
    fn path(&self) -> &str;

    /// The subprotocol that the client requests and the server must accept.
    fn protocol(&self) -> Option<&str> {
        None
    }

    /// True when a connection is ready only after the server has sent a greeting.
    fn greets(&self) -> bool {
        false
    }

    /// The request to enter a room.
    fn join(&self, room: u32) -> String;

    /// The request to leave a room.
    fn leave(&self, room: u32) -> String;

    /// Appends a message for all members of the stamp's room, with a payload of `bytes` bytes.
    fn publish(&self, stamp: Stamp, bytes: usize, out: &mut Vec<u8>);

    /// A message with a payload of `bytes` bytes, which the server answers only to its sender.
    fn ask(&self, bytes: usize) -> String;

    /// Reads a message from the server.
    fn read(&self, text: &[u8]) -> What;
}

/// The limits that a server announces; `None` is no limit.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Bytes of one message.
    pub message_bytes: Option<usize>,
    /// Messages a second from one connection.
    pub inbound_messages_per_s: Option<u32>,
}

/// The kind of an event of a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum What {
    /// The connection can be used.
    Ready(Limits),
    /// The connection is in its room.
    Joined,
    /// The connection is in the room no more.
    Left,
    /// A question is answered.
    Answered,
    /// A message has been delivered.
    Message(Stamp),
    /// Something was refused.
    Refusal(Box<Refusal>),
    /// A message of unknown form, or for another room.
    Stray,
    /// The server closes, or answers a close: the code, or 1005 without one.
    Bye(u16),
    /// The connection has ended, or could not be made.
    Ended(ConnectError),
    /// A text that must be sent back to keep the session alive. The crowd does so.
    Reply(&'static str),
    /// Any other message. The crowd drops it.
    Other,
}

/// A refused request.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// True when it was a message into a room.
    pub published: bool,
    /// The kind of error.
    pub code: String,
    /// The reason.
    pub message: String,
}
