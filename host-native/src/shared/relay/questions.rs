//! Questions between nodes, and their limits.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use bytes::Bytes;
use roomcast_core::relay::{Read, TopicPage, TopicPosition};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// The limit for questions of this node to other nodes or the relay, and the limit for questions of
/// other nodes to this one. Each may hold a megabyte.
const UNDER_WAY_MAX: usize = 256;

/// A request of a shard about other nodes, or to the relay itself.
#[derive(Debug)]
pub(crate) enum NodesRequest {
    /// A question to all nodes.
    Ask {
        namespace: Arc<str>,
        number: u64,
        body: Bytes,
        replies: mpsc::UnboundedSender<NodesReply>,
    },
    /// The caller of a question is gone.
    Forget { number: u64 },
    /// The answer to the question of a node.
    Answer {
        namespace: Arc<str>,
        to: Arc<str>,
        body: Bytes,
    },
    /// A read of a page of a topic; `None` without an answer of the relay.
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
    /// Rooms that the relay remembers, sorted; `None` if the relay does not answer.
    Rooms {
        namespace: Arc<str>,
        prefix: Box<str>,
        after: Option<Box<str>>,
        limit: usize,
        rooms: oneshot::Sender<Option<Vec<Box<str>>>>,
    },
    /// A withdrawal for the relay to store; true when it has done so.
    Withdraw {
        namespace: Arc<str>,
        user: Box<str>,
        not_before_s: u64,
        users_max: usize,
        done: oneshot::Sender<bool>,
    },
    /// A namespace's request for the withdrawals in the relay, with those that it knows.
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
    /// The existing nodes; `None` without an answer of the relay.
    Nodes(Option<Vec<Box<str>>>),
    /// The answer of a node, not parsed yet.
    Answer { from: Arc<str>, body: Bytes },
}

/// A permit to answer a question of another node.
#[derive(Debug)]
pub(crate) struct AnswerPermit(#[allow(dead_code)] Option<OwnedSemaphorePermit>); // for its drop

impl AnswerPermit {
    /// A permit beyond the limit.
    pub(crate) const fn extra() -> Self {
        Self(None)
    }
}

/// Permits for questions, and counters.
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
    /// A new unique number for a question, and its permit; `None` when too many are in flight.
    pub(crate) fn begin(&self) -> Option<(u64, OwnedSemaphorePermit)> {
        let place = self.place()?;
        Some((self.asked.fetch_add(1, Relaxed) + 1, place))
    }

    /// A permit for a question to the relay itself, under the same limit; `None` when too many are
    /// in flight.
    pub(crate) fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.own.clone().try_acquire_owned().ok()
    }

    /// A permit to answer a question of another node; `None` when too many are in flight.
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

    /// The numbers of questions, of nodes that did not answer, and of foreign messages.
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
