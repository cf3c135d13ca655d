//! The way of the shards to the relay between servers, while there is one.

// A library without the feature has the way, and nobody at its end.
#![cfg_attr(not(feature = "relay"), allow(dead_code, unused_imports))]

mod counts;
mod numbers;
mod questions;

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{
            AtomicU64, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use roomcast_core::{hub::Cluster, relay::RelayCommand};
use tokio::sync::{Notify, mpsc};

pub(crate) use self::{
    counts::RelayCounts,
    numbers::BLOCK,
    questions::{AnswerPermit, NodesReply, NodesRequest},
};
use self::{numbers::Numbers, questions::Questions};

/// Bytes of messages that may be under way from the relay to one shard. Past it messages wait in
/// the ring of the relay, whose overflow is a loss that members are told of.
const UNDER_WAY_BYTES_MAX: usize = 16 << 20;

/// Numbers that a namespace is given at a time, and those left at which it gets more.
const NUMBERS_GIVEN: u64 = 32;
const NUMBERS_LEFT: u64 = 8;

/// A request of a shard to the task of the relay.
#[derive(Debug)]
pub(crate) enum RelayRequest {
    /// A namespace begins. It knows that the relay can be reached where the generation is odd.
    Open {
        namespace: Arc<str>,
        instance: u64,
        generation: u64,
    },
    /// A namespace has ended.
    Close { namespace: Arc<str> },
    /// A command of a namespace.
    Command {
        namespace: Arc<str>,
        command: RelayCommand,
    },
    /// Numbers for connections are wanted.
    Numbers,
    /// Other nodes, or the relay itself, are asked something.
    Nodes(NodesRequest),
}

/// The state that shards share with the task of the relay.
pub(crate) struct RelayLink {
    node: Box<str>,
    requests: mpsc::UnboundedSender<RelayRequest>,
    /// Odd while the relay can be reached; each change is one more.
    generation: AtomicU64,
    numbers: Mutex<Numbers>,
    /// Namespaces that have begun.
    instances: AtomicU64,
    /// Bytes of messages under way to each shard.
    under_way: Box<[AtomicUsize]>,
    /// Rung when a shard has caught up.
    pub(crate) caught_up: Notify,
    /// Gaps that members were told of.
    gaps: AtomicU64,
    questions: Arc<Questions>,
    /// Milliseconds for which users may be back on another node, at the end of this one.
    users_wait_ms: AtomicU64,
    counts: Box<dyn Fn() -> RelayCounts + Send + Sync>,
    load: OnceLock<Box<dyn Fn() -> NodeLoad + Send + Sync>>,
}

/// Facts about this server that others read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct NodeLoad {
    /// The address of its listener.
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) connections: usize,
    pub(crate) is_draining: bool,
}

impl fmt::Debug for RelayLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayLink")
            .field("node", &self.node)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl RelayLink {
    /// The way to a relay that knows this node by that name, for so many shards.
    pub(crate) fn new(
        node: &str,
        shards: usize,
        counts: impl Fn() -> RelayCounts + Send + Sync + 'static,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<RelayRequest>) {
        let (requests, receiver) = mpsc::unbounded_channel();
        let link = Self {
            node: node.into(),
            requests,
            generation: AtomicU64::new(0),
            numbers: Mutex::default(),
            instances: AtomicU64::new(0),
            under_way: (0..shards).map(|_| AtomicUsize::new(0)).collect(),
            caught_up: Notify::new(),
            gaps: AtomicU64::new(0),
            questions: Arc::default(),
            users_wait_ms: AtomicU64::new(0),
            counts: Box::new(counts),
            load: OnceLock::new(),
        };
        (Arc::new(link), receiver)
    }

    /// True while a probe goes through the relay.
    pub(crate) fn is_up(&self) -> bool {
        is_up(self.generation())
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Acquire)
    }

    /// Notes that the relay can be reached, or not any more. For its task alone.
    pub(crate) fn set_up(&self, up: bool) {
        if self.is_up() != up {
            self.generation.fetch_add(1, Release);
        }
    }

    /// The name of this node.
    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    /// Questions between nodes.
    pub(crate) fn questions(&self) -> &Arc<Questions> {
        &self.questions
    }

    /// Hands a request over. After the end of the relay nobody takes it.
    pub(crate) fn send(&self, request: RelayRequest) {
        let _ = self.requests.send(request); // the server ends
    }

    /// Notes at the end of the node how long its last users may take to be back on another one.
    pub(crate) fn wait_for_users(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.users_wait_ms.fetch_max(millis, Relaxed);
    }

    pub(crate) fn users_wait(&self) -> Duration {
        Duration::from_millis(self.users_wait_ms.load(Relaxed))
    }

    pub(crate) fn count_gaps(&self, more: u64) {
        self.gaps.fetch_add(more, Relaxed);
    }

    /// Says where facts about this server are, once it has started.
    pub(crate) fn set_load(&self, load: impl Fn() -> NodeLoad + Send + Sync + 'static) {
        let _ = self.load.set(Box::new(load)); // a server starts once
    }

    pub(crate) fn load(&self) -> NodeLoad {
        self.load
            .get()
            .map_or_else(NodeLoad::default, |load| load())
    }

    /// Numbers for metrics.
    pub(crate) fn counts(&self) -> RelayCounts {
        let counts = (self.counts)();
        let (questions, missing, foreign) = self.questions.counts();
        RelayCounts {
            is_up: self.is_up(),
            gaps: self.gaps.load(Relaxed),
            under_way_bytes: self.under_way.iter().map(|bytes| bytes.load(Relaxed)).sum(),
            questions,
            missing,
            foreign: counts.foreign + foreign,
            ..counts
        }
    }
}

/// True for a generation in which the relay can be reached.
pub(crate) const fn is_up(generation: u64) -> bool {
    generation % 2 == 1
}

/// Numbers of connections, which no other node gives out.
impl RelayLink {
    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of a namespace that begins. The next one of its name has another: what is under
    /// way for this one is not for that.
    pub(crate) fn next_instance(&self) -> u64 {
        self.instances.fetch_add(1, Relaxed) + 1
    }

    /// The place of a namespace that begins, with numbers for its first connections. It publishes
    /// under a name of its own: the relay remembers the numbers of the messages of each.
    pub(crate) fn cluster(&self, instance: u64) -> Cluster {
        let (first, count) = self.take_numbers().unwrap_or_default();
        Cluster::new(format!("{}.{instance}", self.node), first, count)
    }

    /// Further numbers for a namespace that has so many left; `None` when it needs none, or the
    /// node has none.
    pub(crate) fn more_numbers(&self, left: u64) -> Option<(u64, u64)> {
        if left > NUMBERS_LEFT {
            return None;
        }
        self.take_numbers()
    }

    fn take_numbers(&self) -> Option<(u64, u64)> {
        let (taken, wants_more) = self.numbers().take(NUMBERS_GIVEN);
        if wants_more {
            self.send(RelayRequest::Numbers);
        }
        taken
    }

    /// Adds numbers that the relay gave.
    pub(crate) fn add_numbers(&self, first: u64, count: u64) {
        self.numbers().add(first, count);
    }

    /// The number above all that this node was given.
    pub(crate) fn numbers_end(&self) -> u64 {
        self.numbers().end()
    }
}

/// Messages under way to the shards.
impl RelayLink {
    pub(crate) fn begins(&self, shard: usize, bytes: usize) {
        self.under_way[shard].fetch_add(bytes, Relaxed);
    }

    /// A shard has dealt with a message.
    pub(crate) fn is_done(&self, shard: usize, bytes: usize) {
        let before = self.under_way[shard].fetch_sub(bytes, Relaxed);
        let was_full = before >= UNDER_WAY_BYTES_MAX;
        if was_full && before - bytes < UNDER_WAY_BYTES_MAX {
            self.caught_up.notify_one();
        }
    }

    /// True when no shard is behind.
    pub(crate) fn has_space(&self) -> bool {
        let mut all = self.under_way.iter();
        all.all(|bytes| bytes.load(Relaxed) < UNDER_WAY_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_wait_for_a_shard_that_is_behind() {
        let (link, _requests) = RelayLink::new("n", 2, RelayCounts::default);
        link.begins(0, UNDER_WAY_BYTES_MAX - 1);
        assert!(link.has_space());
        link.begins(1, UNDER_WAY_BYTES_MAX + 5);
        assert!(!link.has_space());
        link.is_done(1, 5);
        assert!(!link.has_space());
        link.is_done(1, 1);
        assert!(link.has_space());
    }

    #[test]
    fn a_namespace_begins_with_numbers_and_gets_more_in_time() {
        let (link, mut requests) = RelayLink::new("n", 1, RelayCounts::default);
        assert_eq!(link.cluster(1).serials, (0, 0), "none are there");
        assert!(matches!(requests.try_recv(), Ok(RelayRequest::Numbers)));
        link.add_numbers(1_000, 100_000);
        let cluster = link.cluster(2);
        assert_eq!(
            (&*cluster.node, cluster.serials),
            ("n.2", (1_000, NUMBERS_GIVEN))
        );
        assert_eq!(link.more_numbers(NUMBERS_LEFT + 1), None);
        let more = link.more_numbers(NUMBERS_LEFT);
        assert_eq!(more, Some((1_000 + NUMBERS_GIVEN, NUMBERS_GIVEN)));
        assert_eq!(link.numbers_end(), 101_000);
    }

    #[test]
    fn generations_tell_up_from_down() {
        let (link, _requests) = RelayLink::new("n", 1, RelayCounts::default);
        assert!(!link.is_up());
        link.set_up(true);
        link.set_up(true);
        assert_eq!((link.is_up(), link.generation()), (true, 1));
        link.set_up(false);
        assert_eq!((link.is_up(), link.generation()), (false, 2));
    }
}
