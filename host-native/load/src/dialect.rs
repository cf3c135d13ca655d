//! The language of a kind of server.

use serde::Deserialize;

use super::{stamp::Stamp, upgrade::ConnectError};

/// A protocol with rooms, each known by its number.
pub trait Dialect: std::fmt::Debug {
    /// The path of the upgrade.
    fn path(&self) -> &str;

    /// The subprotocol that is asked for, and must be agreed on.
    fn protocol(&self) -> Option<&str> {
        None
    }

    /// True when a connection is of use only when the server has said so.
    fn greets(&self) -> bool {
        false
    }

    /// The request to enter a room.
    fn join(&self, room: u32) -> String;

    /// The request to leave a room.
    fn leave(&self, room: u32) -> String;

    /// Appends a message to all members of the stamp's room, with a payload of so many bytes.
    fn publish(&self, stamp: Stamp, bytes: usize, out: &mut Vec<u8>);

    /// A message of so many bytes that is answered to its sender alone.
    fn ask(&self, bytes: usize) -> String;

    /// Reads a message from the server.
    fn read(&self, text: &[u8]) -> What;
}

/// The limits that a server announces; absent is none.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Bytes of one message.
    pub message_bytes: Option<usize>,
    /// Messages a second from one connection.
    pub inbound_messages_per_s: Option<u32>,
}

/// Something that came to a connection.
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
    /// A message in a form of its own, or in the wrong room.
    Stray,
    /// The server closes, or answers a close: the code, or 1005 without one.
    Bye(u16),
    /// The connection has ended, or never came about.
    Ended(ConnectError),
    /// A text to be sent back for the session to go on. The crowd does.
    Reply(&'static str),
    /// Nothing that a client of a room waits for. The crowd drops it.
    Other,
}

/// A request that came to nothing.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// True when it was a message into a room.
    pub published: bool,
    /// The kind of error.
    pub code: String,
    /// The reason.
    pub message: String,
}
