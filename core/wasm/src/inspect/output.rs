//! Commands of a step, as JSON.

use std::borrow::Cow;

use roomcast_core::{Command, ConnId, Frame, Outbox};
use serde::Serialize;

/// A command that a client can notice.
#[derive(Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Output<'a> {
    /// A message to send.
    Send {
        /// The recipients.
        to: &'a [ConnId],
        /// The text, or with `binary` the bytes, escaped as `\x1b` if they are not printable ASCII.
        frame: Cow<'a, str>,
        /// True for bytes.
        binary: bool,
    },
    /// A close frame.
    Close {
        /// The connection.
        conn: ConnId,
        /// The code.
        code: u16,
        /// The reason.
        reason: &'a str,
    },
    /// A ping.
    Ping {
        /// The connection.
        conn: ConnId,
    },
}

impl<'a> Output<'a> {
    /// The commands in an outbox, in their order.
    pub(super) fn all(out: &'a Outbox) -> impl Iterator<Item = Self> {
        out.iter().filter_map(Self::of)
    }

    /// The output for a command; `None` for commands that no client notices.
    fn of(command: Command<'a>) -> Option<Self> {
        Some(match command {
            Command::Send { to, frame, .. } => {
                let (frame, binary) = match frame {
                    Frame::Text(text) => (text.into(), false),
                    Frame::Binary(bytes) => (bytes.escape_ascii().to_string().into(), true),
                };
                Self::Send { to, frame, binary }
            }
            Command::Close { conn, code, reason } => {
                let code = code.as_u16();
                Self::Close { conn, code, reason }
            }
            Command::Ping { conn } => Self::Ping { conn },
            Command::Persist { .. }
            | Command::Append { .. }
            | Command::PersistRoom { .. }
            | Command::PersistKey { .. }
            | Command::LoadHistory { .. }
            | Command::Relay(_)
            | Command::Tell { .. } => return None,
        })
    }

    /// The connections that notice it.
    pub(super) fn to(&self) -> &[ConnId] {
        match self {
            Self::Send { to, .. } => to,
            Self::Close { conn, .. } | Self::Ping { conn } => std::slice::from_ref(conn),
        }
    }

    /// The output as one connection sees it.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Send { frame, .. } => frame.clone().into_owned(),
            Self::Close { code, reason, .. } => format!("close {code} {reason}"),
            Self::Ping { .. } => "ping".to_owned(),
        }
    }
}

/// The number of sends and closes of a step, counted for each recipient.
pub(super) fn deliveries(out: &Outbox) -> usize {
    let reached = Output::all(out).map(|output| match output {
        Output::Send { to, .. } => to.len(),
        Output::Close { .. } => 1,
        Output::Ping { .. } => 0,
    });
    reached.sum()
}

/// A value as JSON.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}
