//! Events of an actor, and answers to the server side.

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

/// The bytes that are written so; `None` when they are not.
pub(crate) fn unhex(hex: &str) -> Option<Vec<u8>> {
    let byte = |at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// The answer to the server side: that of the HTTP API, whichever way the request is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status; 200 for what has no answer.
    pub status: u16,
    /// The JSON body of a success; empty for what has no answer, and with every other status.
    pub body: String,
}

impl Answer {
    /// Nothing was asked for.
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

/// The answer as it stands behind `->` in a trace: the body, or the status of a refusal.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.status == 200 {
            f.write_str(&self.body)
        } else {
            self.status.fmt(f)
        }
    }
}
