//! Requests that concern several nodes of a namespace, and one answer made from theirs.

use alloc::{boxed::Box, collections::BTreeMap, format, string::String, vec::Vec};
use core::time::Duration;

use super::{Answer, Ask, AskError, ConnectionDetails, NodeAnswer};
use crate::hub::{ConnId, ConnectionSummary, Counts, Hub, RoomSummary};
use crate::relay::{Read, Topic, TopicPage};
use crate::room::{PageError, PresencePage};

/// The nodes that can answer a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// The node that was asked: the relay distributes its effects.
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
    /// relay. The hub knows for how long messages are kept.
    #[allow(clippy::wildcard_enum_match_arm)] // the others ask for nothing of the relay
    pub fn read(&self, hub: &Hub) -> Option<Read> {
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
            bytes: hub.limits().page_bytes,
            age_ms: hub.kept_ms(room),
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

    /// True when the answers of other nodes could not add to this answer.
    pub fn is_answered_by(&self, answer: &Result<Answer, AskError>) -> bool {
        let is_of_holder = !matches!(
            answer,
            Err(AskError::UnknownConn(_) | AskError::Unavailable(_))
                | Ok(Answer::RoomsOf(None) | Answer::Connection(None))
        );
        match self.scope() {
            Scope::Holder(_) => is_of_holder && !is_unknown(answer),
            // All other errors are caused by the request itself.
            Scope::Member => !matches!(
                answer,
                Err(AskError::Page(PageError::Unfollowed) | AskError::Unavailable(_))
            ),
            Scope::Here | Scope::Relay => true,
            Scope::All => false,
        }
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
    answers: BTreeMap<Box<str>, Option<NodeAnswer>>,
}

/// An answer made from those of several nodes.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gathered {
    /// The answer, made from those of the nodes that answered.
    pub answer: Result<Answer, AskError>,
    /// Details of the connections in it, sorted, if they were asked for.
    pub connections: Vec<ConnectionDetails>,
    /// Nodes that did not answer, or could not, sorted. If there are any, the answer is partial:
    /// some rooms or connections are missing, or a change was made only in part.
    pub missing: Vec<Box<str>>,
}

impl Gathering {
    /// The time after which a node that has not answered is missing.
    pub const WAIT: Duration = Duration::from_secs(1);

    /// Starts to gather the answers of these nodes.
    pub fn new(ask: Ask, nodes: impl IntoIterator<Item = Box<str>>) -> Self {
        let answers = nodes.into_iter().map(|node| (node, None)).collect();
        Self { ask, answers }
    }

    /// Adds the first answer of each of these nodes; others are ignored.
    pub fn add(&mut self, node: &str, answer: NodeAnswer) {
        if let Some(waiting @ None) = self.answers.get_mut(node) {
            *waiting = Some(answer);
        }
    }

    /// True when no other answer is needed.
    pub fn is_done(&self) -> bool {
        let mut answers = self.answers.values();
        let is_only = |answer: &Option<NodeAnswer>| {
            let answer = answer.as_ref();
            answer.is_some_and(|it| self.ask.is_answered_by(&it.answer))
        };
        answers.clone().all(Option::is_some) || answers.any(is_only)
    }

    /// Makes one answer.
    ///
    /// Work: the entries of all answers.
    pub fn end(self) -> Gathered {
        let ask = self.ask;
        let is_only = !matches!(ask.scope(), Scope::All);
        let (mut missing, mut refused) = (Vec::new(), None);
        let (mut answer, mut connections) = (None, Vec::new());
        for (node, part) in self.answers {
            match part {
                None => missing.push(node),
                Some(part) if matches!(part.answer, Err(AskError::Unavailable(_))) => {
                    refused = Some(part.answer);
                    missing.push(node);
                }
                Some(part) if is_only && ask.is_answered_by(&part.answer) => {
                    // The others could not have added to it.
                    return part.into();
                }
                Some(part) => {
                    connections.extend(part.connections);
                    answer = Some(match answer {
                        None => part.answer,
                        Some(before) => merge(before, part.answer),
                    });
                }
            }
        }
        connections.sort_unstable_by_key(|details| details.conn);
        let answer = match answer {
            // It may be on one that did not answer.
            Some(answer) if missing.is_empty() || !is_only => answer,
            _ => {
                let nobody = || Err(AskError::Unavailable(unanswered(&missing)));
                refused.unwrap_or_else(nobody)
            }
        };
        let answer = match answer {
            // It may be on one that did not answer.
            Ok(Answer::Room(None)) if !missing.is_empty() => {
                Err(AskError::Unavailable(unanswered(&missing)))
            }
            // Nobody is there, on any node.
            Err(AskError::Page(PageError::Unfollowed)) => {
                Ok(Answer::Presence(PresencePage::empty()))
            }
            answer => answer.map(|answer| cut(answer, ask.limit())),
        };
        Gathered {
            answer,
            connections,
            missing,
        }
    }
}

impl From<NodeAnswer> for Gathered {
    /// The whole answer, from one node.
    fn from(part: NodeAnswer) -> Self {
        Self {
            answer: part.answer,
            connections: part.connections,
            missing: Vec::new(),
        }
    }
}

impl Gathered {
    /// The answer for the caller, with the missing nodes, if any. A change that was not made on all
    /// nodes is an error, unless the missing nodes catch up.
    ///
    /// # Errors
    ///
    /// That of the answer.
    pub fn into_answer(self, ask: &Ask) -> Result<Answer, AskError> {
        let (answer, missing) = (self.answer?, self.missing);
        if missing.is_empty() {
            return Ok(answer);
        }
        if ask.changes() && !matches!(ask, Ask::Withdraw { .. }) {
            return Err(AskError::Unavailable(unanswered(&missing)));
        }
        let answer = Box::new(answer);
        Ok(Answer::Part { answer, missing })
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

pub(super) fn unanswered(missing: &[Box<str>]) -> String {
    if missing.is_empty() {
        return "no other node has the namespace open".into();
    }
    format!("no answer of {}: ask again", missing.join(", "))
}

/// Merges two answers. An error of one node does not hide the answer of another.
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
        // Other answers come from one node only.
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

/// Limits the entries of an answer, as each node returned up to the limit.
#[allow(clippy::wildcard_enum_match_arm)] // the others have no limit
fn cut(mut answer: Answer, limit: usize) -> Answer {
    match &mut answer {
        Answer::Rooms(rooms) => rooms.truncate(limit),
        Answer::Connections(connections) => connections.truncate(limit),
        _ => {}
    }
    answer
}

#[cfg(test)]
mod tests;
