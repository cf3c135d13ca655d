//! Requests that concern several nodes of a namespace, and one answer made from theirs.

use alloc::{boxed::Box, collections::BTreeMap, format, string::String, vec::Vec};
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Answer, Ask, AskError, wire};
use crate::hub::{ConnId, ConnectionSummary, Counts, Hub, RoomSummary};
use crate::relay::{Read, Topic, TopicPage};
use crate::room::PageError;

/// The nodes that can answer a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// The node that was asked: what it does, the relay spreads.
    Here,
    /// The one node that has a connection; others answer that there is none.
    Holder(ConnId),
    /// Any node with a member of the room; others answer that they have none.
    Member,
    /// All nodes, each for its part.
    All,
    /// The relay: see [`Ask::read`].
    Relay,
}

impl Ask {
    /// The nodes of a clustered namespace that can answer the request.
    pub const fn scope(&self) -> Scope {
        match self {
            Self::Send { .. } | Self::SendText { .. } | Self::SendBinary { .. } => Scope::Here,
            Self::Join { conn, .. }
            | Self::Leave { conn, .. }
            | Self::Disconnect { conn, .. }
            | Self::RoomsOf { conn }
            | Self::Connection { conn }
            | Self::Explain { conn, .. } => Scope::Holder(*conn),
            Self::Presence { .. } => Scope::Member,
            Self::Position { .. } | Self::History { .. } => Scope::Relay,
            Self::DisconnectUser { .. }
            | Self::Withdraw { .. }
            | Self::Rooms { .. }
            | Self::Room { .. }
            | Self::Members { .. }
            | Self::RoomsOfUser { .. }
            | Self::Connections { .. }
            | Self::Counts => Scope::All,
        }
    }

    /// The question for the relay that answers the request, for a [scope](Self::scope) of the
    /// relay.
    #[allow(clippy::wildcard_enum_match_arm)] // the others ask for nothing of the relay
    pub fn read(&self) -> Option<Read> {
        use core::ops::Bound::{Excluded, Included, Unbounded};
        let (room, offsets, limit) = match self {
            Self::Position { room } => (room, &(Unbounded, Unbounded), 0),
            Self::History {
                room,
                offsets,
                limit,
            } => (room, offsets, *limit),
            _ => return None,
        };
        Some(Read {
            token: 0,
            topic: Topic::room(room),
            after: match offsets.0 {
                Included(first) => Some(first.saturating_sub(1)),
                Excluded(before) => Some(before),
                Unbounded => None,
            },
            before: match offsets.1 {
                Included(last) => Some(last.saturating_add(1)),
                Excluded(end) => Some(end),
                Unbounded => None,
            },
            limit,
        })
    }

    /// The answer that follows from what the relay has.
    ///
    /// # Errors
    ///
    /// When the room keeps no history.
    pub fn answer_read(&self, hub: &Hub, page: &TopicPage) -> Result<Answer, AskError> {
        let room = page.topic.as_room().unwrap_or_default();
        let page = hub.relayed_page(room, page);
        if matches!(self, Self::Position { .. }) {
            return Ok(Answer::Position(page.0));
        }
        Ok(Answer::History(page.1.ok_or(PageError::NoHistory)?))
    }

    /// The largest number of entries of its answer.
    const fn limit(&self) -> usize {
        if let Self::Rooms { limit, .. } | Self::Connections { limit, .. } = self {
            return *limit;
        }
        usize::MAX
    }
}

/// The answers of several nodes to one request.
///
/// A host [begins](Self::new) with the nodes that it sent the request to over the bus, itself
/// included, [adds](Self::add) answers until there are enough or [the time](Self::WAIT) is over,
/// and then [ends](Self::end).
#[derive(Debug)]
pub struct Gathering {
    ask: Ask,
    answers: BTreeMap<Box<str>, Option<Result<Answer, AskError>>>,
}

/// An answer made from those of several nodes.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gathered {
    /// The answer; that of the nodes that gave one.
    pub answer: Result<Answer, AskError>,
    /// Nodes that did not answer, sorted. When there is any, the answer is a part: of the rooms, of
    /// the connections, of what was to be done.
    pub missing: Vec<Box<str>>,
}

impl Gathering {
    /// The time after which a node that has not answered is missing.
    pub const WAIT: Duration = Duration::from_secs(1);

    /// Answers of these nodes.
    pub fn new(ask: Ask, nodes: impl IntoIterator<Item = Box<str>>) -> Self {
        let answers = nodes.into_iter().map(|node| (node, None)).collect();
        Self { ask, answers }
    }

    /// Takes the answer of a node, the first of each. True is returned when no other is needed.
    pub fn add(&mut self, node: &str, answer: Result<Answer, AskError>) -> bool {
        if let Some(waiting @ None) = self.answers.get_mut(node) {
            *waiting = Some(answer);
        }
        let mut answers = self.answers.values();
        let is_only = |answer: &Option<_>| answer.as_ref().is_some_and(|it| self.suffices(it));
        answers.clone().all(Option::is_some) || answers.any(is_only)
    }

    /// True when one node alone can give this answer.
    fn suffices(&self, answer: &Result<Answer, AskError>) -> bool {
        let is_of_holder = !matches!(
            answer,
            Err(AskError::UnknownConn(_) | AskError::Unavailable(_))
                | Ok(Answer::RoomsOf(None) | Answer::Connection(None))
        );
        match self.ask.scope() {
            Scope::Holder(_) => is_of_holder && !is_unknown(answer),
            Scope::Member => answer.is_ok(),
            Scope::Here | Scope::Relay => true,
            Scope::All => false,
        }
    }

    /// Makes one answer.
    ///
    /// Work: the entries of all answers.
    pub fn end(self) -> Gathered {
        let mut missing = Vec::new();
        let (mut found, mut answer) = (None, None);
        let only = !matches!(self.ask.scope(), Scope::All);
        for (node, part) in &self.answers {
            let Some(part) = part else {
                missing.push(node.clone());
                continue;
            };
            if only && self.suffices(part) {
                found = Some(part.clone());
            }
            answer = Some(match answer {
                None => part.clone(),
                Some(before) => merge(before, part.clone()),
            });
        }
        if found.is_some() {
            // The others could not have added to it.
            missing.clear();
        }
        let nobody = || Err(AskError::Unavailable(unanswered(&missing)));
        let answer = match found.or(answer) {
            // It may be on one that did not answer.
            Some(_) if only && !missing.is_empty() => nobody(),
            Some(answer) => answer.map(|answer| cut(answer, self.ask.limit())),
            None => nobody(),
        };
        Gathered { answer, missing }
    }
}

/// True when a node says that it has no such connection.
fn is_unknown(answer: &Result<Answer, AskError>) -> bool {
    use crate::explain::Reason;
    match answer {
        Err(AskError::Join(error)) => {
            matches!(error, crate::hub::JoinError::UnknownConn(_))
        }
        Ok(Answer::Explanation(explained)) => matches!(explained.reason, Reason::NotConnected),
        _ => false,
    }
}

fn unanswered(missing: &[Box<str>]) -> String {
    if missing.is_empty() {
        return "no other node has the namespace open".into();
    }
    format!("no answer of {}: ask again", missing.join(", "))
}

/// Makes one answer from two. An error of a node does not hide what another did.
fn merge(
    one: Result<Answer, AskError>,
    other: Result<Answer, AskError>,
) -> Result<Answer, AskError> {
    let (one, other) = match (one, other) {
        (Ok(one), Ok(other)) => (one, other),
        (Ok(answer), Err(_)) | (Err(_), Ok(answer)) => return Ok(answer),
        (Err(error), Err(_)) => return Err(error),
    };
    Ok(match (one, other) {
        (Answer::Disconnected(one), Answer::Disconnected(other)) => {
            Answer::Disconnected(one + other)
        }
        (Answer::Rooms(one), Answer::Rooms(other)) => Answer::Rooms(merge_rooms(one, other)),
        (Answer::Room(one), Answer::Room(other)) => {
            let both = merge_rooms(one.into_iter().collect(), other.into_iter().collect());
            Answer::Room(both.into_iter().next())
        }
        (Answer::Members(one), Answer::Members(other)) => Answer::Members(sorted(one, other)),
        (Answer::RoomsOfUser(one), Answer::RoomsOfUser(other)) => {
            Answer::RoomsOfUser(sorted(one, other))
        }
        (Answer::Connections(mut one), Answer::Connections(other)) => {
            one.extend(other);
            one.sort_unstable_by_key(|summary: &ConnectionSummary| summary.id);
            Answer::Connections(one)
        }
        (Answer::Counts(one), Answer::Counts(other)) => Answer::Counts(Counts {
            connections: one.connections + other.connections,
            // A room with members on both counts twice.
            rooms: one.rooms + other.rooms,
            memberships: one.memberships + other.memberships,
            history_bytes: one.history_bytes + other.history_bytes,
        }),
        // Of one node alone.
        (one, _) => one,
    })
}

fn merge_rooms(one: Vec<RoomSummary>, other: Vec<RoomSummary>) -> Vec<RoomSummary> {
    let mut members: BTreeMap<String, usize> = BTreeMap::new();
    for room in one.into_iter().chain(other) {
        *members.entry(room.name).or_default() += room.members;
    }
    let summary = |(name, members)| RoomSummary { name, members };
    members.into_iter().map(summary).collect()
}

fn sorted<T: Ord>(mut one: Vec<T>, other: Vec<T>) -> Vec<T> {
    one.extend(other);
    one.sort_unstable();
    one.dedup();
    one
}

/// The first entries of an answer: each node gave as many of its own.
#[allow(clippy::wildcard_enum_match_arm)] // the others have no limit
fn cut(mut answer: Answer, limit: usize) -> Answer {
    match &mut answer {
        Answer::Rooms(rooms) => rooms.truncate(limit),
        Answer::Connections(connections) => connections.truncate(limit),
        _ => {}
    }
    answer
}

/// A request on its way to other nodes, or the answer on its way back.
#[derive(Debug)]
pub enum BusMessage {
    /// A request.
    Ask {
        /// A number that the node which asks has given out once.
        number: u64,
        /// The request.
        ask: Box<Ask>,
    },
    /// The answer to the node that asked.
    Answer {
        /// The number of the request.
        number: u64,
        /// The answer, or why there is none.
        answer: Result<Answer, AskError>,
    },
}

/// The version of the form. A node drops what has another.
const VERSION: u8 = b'1';

#[derive(Serialize, Deserialize)]
struct Asking {
    number: u64,
    ask: Box<Ask>,
}

impl BusMessage {
    /// Bytes of a message, at most: as many as a body of the HTTP API.
    pub const BYTES_MAX: usize = 1 << 20;

    /// Writes it. An answer that is too long becomes an error that says so.
    ///
    /// # Errors
    ///
    /// When a request is too long.
    pub fn write(&self) -> Result<Vec<u8>, AskError> {
        let (kind, text) = match self {
            Self::Ask { number, ask } => {
                let (number, ask) = (*number, ask.clone());
                let text = serde_json::to_string(&Asking { number, ask });
                (b'q', text.map_err(|_| too_long())?)
            }
            Self::Answer { number, answer } => {
                let text = wire::write(answer.clone()).unwrap_or_default();
                let text = match text.len() < Self::BYTES_MAX - 32 {
                    true => text,
                    false => wire::write(Err(too_long())).unwrap_or_default(),
                };
                (b'a', format!("{number} {text}"))
            }
        };
        let mut bytes = Vec::with_capacity(text.len() + 2);
        bytes.extend([VERSION, kind]);
        bytes.extend(text.as_bytes());
        if bytes.len() > Self::BYTES_MAX {
            return Err(too_long());
        }
        Ok(bytes)
    }

    /// Reads it; `None` for anything that no node of this version wrote.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > Self::BYTES_MAX {
            return None;
        }
        let [VERSION, kind, text @ ..] = bytes else {
            return None;
        };
        let text = core::str::from_utf8(text).ok()?;
        match kind {
            b'q' => {
                let Asking { number, ask } = serde_json::from_str(text).ok()?;
                Some(Self::Ask { number, ask })
            }
            b'a' => {
                let (number, text) = text.split_once(' ')?;
                let (number, answer) = (number.parse().ok()?, wire::read(text));
                Some(Self::Answer { number, answer })
            }
            _ => None,
        }
    }
}

fn too_long() -> AskError {
    let limit = BusMessage::BYTES_MAX;
    AskError::Unavailable(format!(
        "it takes more than {limit} bytes between nodes: ask for fewer"
    ))
}

#[cfg(test)]
mod tests;
