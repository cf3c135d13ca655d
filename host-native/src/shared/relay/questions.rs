//! Questions between nodes that are under way.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use bytes::Bytes;
use roomcast_core::relay::{Read, TopicPage, TopicPosition};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Questions of this node that may wait for answers of others or of the relay, and those of others
/// that may wait for one of this node: each may hold a megabyte.
const UNDER_WAY_MAX: usize = 256;

/// A request of a shard about other nodes, or to the relay itself.
#[derive(Debug)]
pub(crate) enum NodesRequest {
    /// All nodes are asked something.
    Ask {
        namespace: Arc<str>,
        number: u64,
        body: Bytes,
        replies: mpsc::UnboundedSender<NodesReply>,
    },
    /// Nobody waits for answers to a question any more.
    Forget { number: u64 },
    /// The answer to the question of a node.
    Answer {
        namespace: Arc<str>,
        to: Arc<str>,
        body: Bytes,
    },
    /// A page of a topic; `None` without an answer of the relay.
    Read {
        namespace: Arc<str>,
        read: Read,
        page: oneshot::Sender<Option<TopicPage>>,
    },
    /// The positions of rooms, in their order; `None` without an answer of the relay.
    Positions {
        namespace: Arc<str>,
        rooms: Vec<Box<str>>,
        positions: oneshot::Sender<Option<Vec<TopicPosition>>>,
    },
    /// Rooms that the relay remembers, sorted; `None` without an answer of it.
    Rooms {
        namespace: Arc<str>,
        prefix: Box<str>,
        after: Option<Box<str>>,
        limit: usize,
        rooms: oneshot::Sender<Option<Vec<Box<str>>>>,
    },
    /// The relay is to remember that a user is withdrawn; true when it does.
    Withdraw {
        namespace: Arc<str>,
        user: Box<str>,
        not_before_s: u64,
        users_max: usize,
        done: oneshot::Sender<bool>,
    },
    /// A namespace wants to know who is withdrawn, and says whom it knows of.
    Withdrawn {
        namespace: Arc<str>,
        instance: u64,
        users: Vec<(Box<str>, u64)>,
        everyone_s: u64,
        users_max: usize,
    },
}

/// A reply to a question to all nodes.
#[derive(Debug)]
pub(crate) enum NodesReply {
    /// The nodes that there are; `None` without an answer of the relay.
    Nodes(Option<Vec<Box<str>>>),
    /// The answer of a node, not yet read.
    Answer { from: Arc<str>, body: Bytes },
}

/// The place of a question of another node among those that are answered.
#[derive(Debug)]
pub(crate) struct AnswerPermit(#[allow(dead_code)] Option<OwnedSemaphorePermit>); // for its drop

impl AnswerPermit {
    /// A place beyond those.
    pub(crate) const fn extra() -> Self {
        Self(None)
    }
}

/// Places of questions, and counters.
#[derive(Debug)]
pub(crate) struct Questions {
    own: Arc<Semaphore>,
    others: Arc<Semaphore>,
    asked: AtomicU64,
    missing: AtomicU64,
    foreign: AtomicU64,
}

impl Default for Questions {
    fn default() -> Self {
        Self {
            own: Arc::new(Semaphore::new(UNDER_WAY_MAX)),
            others: Arc::new(Semaphore::new(UNDER_WAY_MAX)),
            asked: AtomicU64::new(0),
            missing: AtomicU64::new(0),
            foreign: AtomicU64::new(0),
        }
    }
}

impl Questions {
    /// A number that no other question has, and its place; `None` when too many are under way.
    pub(crate) fn begin(&self) -> Option<(u64, OwnedSemaphorePermit)> {
        let place = self.place()?;
        Some((self.asked.fetch_add(1, Relaxed) + 1, place))
    }

    /// The place of a question to the relay itself among them; `None` when too many are under way.
    pub(crate) fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.own.clone().try_acquire_owned().ok()
    }

    /// The place of a question of another node; `None` when too many are under way.
    pub(crate) fn answer(&self) -> Option<AnswerPermit> {
        let permit = self.others.clone().try_acquire_owned();
        Some(AnswerPermit(Some(permit.ok()?)))
    }

    /// Counts nodes that did not answer.
    pub(crate) fn count_missing(&self, nodes: usize) {
        self.missing.fetch_add(nodes as u64, Relaxed);
    }

    /// Counts a message that no node of this version wrote.
    pub(crate) fn count_foreign(&self) {
        self.foreign.fetch_add(1, Relaxed);
    }

    /// Questions, nodes that did not answer, and foreign messages.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        let counters = [&self.asked, &self.missing, &self.foreign];
        let [asked, missing, foreign] = counters.map(|counter| counter.load(Relaxed));
        (asked, missing, foreign)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_under_way_are_bounded() {
        let questions = Questions::default();
        let mut own: Vec<_> = std::iter::from_fn(|| questions.begin()).collect();
        let numbers: Vec<_> = own.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, (1..=UNDER_WAY_MAX as u64).collect::<Vec<_>>());
        let others: Vec<_> = std::iter::from_fn(|| questions.answer()).collect();
        assert_eq!(others.len(), UNDER_WAY_MAX, "a bound of its own");
        assert!(questions.place().is_none(), "the relay is asked within it");
        own.pop();
        let place = questions.place();
        assert!(place.is_some() && questions.begin().is_none());
        drop(place);
        assert!(questions.begin().is_some());
    }
}
