//! Requests between the nodes of a namespace, and their answers, as bytes.

use alloc::{boxed::Box, format, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use super::{Answer, Ask, AskError, wire};
use crate::wire::ConnId;

/// The answer of one node to a request that concerns several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeAnswer {
    /// The answer, or an error.
    pub answer: Result<Answer, AskError>,
    /// Details of the connections in it, if they were asked for.
    pub connections: Vec<ConnectionDetails>,
}

impl From<Result<Answer, AskError>> for NodeAnswer {
    fn from(answer: Result<Answer, AskError>) -> Self {
        let connections = Vec::new();
        Self {
            answer,
            connections,
        }
    }
}

/// Details of a connection that only its node knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionDetails {
    /// The connection.
    pub conn: ConnId,
    /// Its rooms, sorted.
    pub rooms: Vec<String>,
    /// Bytes in its queue.
    pub queued_bytes: usize,
}

/// A request to other nodes, or an answer to the asking node.
#[derive(Debug)]
pub enum BusMessage {
    /// A request.
    Ask {
        /// A number that the asking node uses once.
        number: u64,
        /// The request.
        ask: Box<Ask>,
        /// True when details of connections are wanted.
        detailed: bool,
    },
    /// The answer to the node that asked.
    Answer {
        /// The number of the request.
        number: u64,
        /// The answer.
        answer: NodeAnswer,
    },
}

/// The kind of a message and the number of its request, read without the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusHead {
    /// A request.
    Ask(u64),
    /// An answer.
    Answer(u64),
}

/// The version of the format. A node drops messages of other versions.
const VERSION: u8 = b'1';

#[derive(Serialize, Deserialize)]
struct Asking {
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    detailed: bool,
    ask: Box<Ask>,
}

impl BusMessage {
    /// The maximum length of a message in bytes: the same as for bodies of the HTTP API.
    pub const BYTES_MAX: usize = 1 << 20;

    /// Writes the message. An answer that is too long becomes an error that says so.
    ///
    /// # Errors
    ///
    /// When a request is too long.
    pub fn write(&self) -> Result<Vec<u8>, AskError> {
        let text = match self {
            Self::Ask {
                number,
                ask,
                detailed,
            } => {
                let asking = Asking {
                    detailed: *detailed,
                    ask: ask.clone(),
                };
                let asking = serde_json::to_string(&asking).map_err(|_| too_long())?;
                format!("q{number} {asking}")
            }
            Self::Answer { number, answer } => {
                let text = write_answer(answer);
                let text = match text.len() < Self::BYTES_MAX - 32 {
                    true => text,
                    false => write_answer(&Err(too_long()).into()),
                };
                format!("a{number} {text}")
            }
        };
        let mut bytes = Vec::with_capacity(text.len() + 1);
        bytes.push(VERSION);
        bytes.extend(text.as_bytes());
        if bytes.len() > Self::BYTES_MAX {
            return Err(too_long());
        }
        Ok(bytes)
    }

    /// Reads the beginning; `None` for anything that no node of this version wrote.
    pub fn head(bytes: &[u8]) -> Option<BusHead> {
        head(bytes).map(|(head, _)| head)
    }

    /// Reads the message; `None` for anything that no node of this version wrote.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (head, text) = head(bytes)?;
        let text = core::str::from_utf8(text).ok()?;
        Some(match head {
            BusHead::Ask(number) => {
                let Asking { detailed, ask } = serde_json::from_str(text).ok()?;
                Self::Ask {
                    number,
                    ask,
                    detailed,
                }
            }
            BusHead::Answer(number) => {
                let (answer, connections) = text.split_once('\n').unwrap_or((text, "[]"));
                let answer = NodeAnswer {
                    answer: wire::read(answer),
                    connections: serde_json::from_str(connections).ok()?,
                };
                Self::Answer { number, answer }
            }
        })
    }
}

/// The beginning of a message, and the rest.
fn head(bytes: &[u8]) -> Option<(BusHead, &[u8])> {
    if bytes.len() > BusMessage::BYTES_MAX {
        return None;
    }
    let [VERSION, kind, rest @ ..] = bytes else {
        return None;
    };
    let space = rest.iter().take(21).position(|&byte| byte == b' ')?;
    let number = core::str::from_utf8(&rest[..space]).ok()?.parse().ok()?;
    let head = match kind {
        b'q' => BusHead::Ask(number),
        b'a' => BusHead::Answer(number),
        _ => return None,
    };
    Some((head, &rest[space + 1..]))
}

/// A line for the answer, and one for details if there are any: JSON has no line breaks.
fn write_answer(answer: &NodeAnswer) -> String {
    let text = wire::write(answer.answer.clone()).unwrap_or_default();
    if answer.connections.is_empty() {
        return text;
    }
    let connections = serde_json::to_string(&answer.connections).unwrap_or_default();
    format!("{text}\n{connections}")
}

fn too_long() -> AskError {
    let limit = BusMessage::BYTES_MAX;
    AskError::Unavailable(format!(
        "it takes more than {limit} bytes between nodes: ask for fewer"
    ))
}

#[cfg(test)]
mod tests;
