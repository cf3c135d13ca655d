//! Events of an actor, and answers to ops of the server side.

use std::fmt;

use crate::{escape::escape, op::json_string};

/// An event that an actor saw on its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A text message came.
    Text(String),
    /// A binary message came.
    Binary(Vec<u8>),
    /// A WebSocket ping came. Only the in-process driver reports these.
    Ping,
    /// A close frame came, and the connection ended.
    Closed {
        /// The code of the close frame.
        code: u16,
        /// Its reason.
        reason: String,
    },
    /// The connection ended without a close frame.
    Lost,
}

/// The event as a trace expects it: `gets {"event":...}`.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "gets {}", escape(text)),
            Self::Binary(bytes) => write!(f, "gets binary {}", hex(bytes)),
            Self::Ping => f.write_str("gets a ping"),
            Self::Closed { code, reason } => {
                write!(f, "is closed {code} {}", json_string(reason))
            }
            Self::Lost => f.write_str("is lost"),
        }
    }
}

/// An event that is expected. Texts are patterns, see [`Known`](crate::Known).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// A WebSocket ping.
    Ping,
    /// A close frame, with any reason when none is given.
    Closed {
        /// The code.
        code: u16,
        /// The reason.
        reason: Option<String>,
    },
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "gets {text}"),
            Self::Binary(bytes) => write!(f, "gets binary {}", hex(bytes)),
            Self::Ping => f.write_str("gets a ping"),
            Self::Closed { code, reason: None } => write!(f, "is closed {code}"),
            Self::Closed {
                code,
                reason: Some(reason),
            } => write!(f, "is closed {code} {}", json_string(reason)),
        }
    }
}

/// Bytes as a trace writes them: `00ff`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads bytes in this form; `None` for a text in another form.
pub(crate) fn unhex(hex: &str) -> Option<Vec<u8>> {
    let byte = |at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// The answer to an op of the server side, in the form of the HTTP API, however it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status; 200 for an op without an answer.
    pub status: u16,
    /// The JSON body of a success; empty for an op without an answer, and with any other status.
    pub body: String,
}

impl Answer {
    /// The answer of an op without one.
    pub const fn none() -> Self {
        Self {
            status: 200,
            body: String::new(),
        }
    }

    /// A success.
    pub fn ok(body: impl Into<String>) -> Self {
        Self {
            status: 200,
            body: body.into(),
        }
    }

    /// A refusal.
    pub const fn refused(status: u16) -> Self {
        Self {
            status,
            body: String::new(),
        }
    }
}

/// Formats the answer as in a trace after `->`: the body, or the status of a refusal.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.status == 200 {
            f.write_str(&self.body)
        } else {
            self.status.fmt(f)
        }
    }
}
