//! The link from the shards to the relay between servers, if there is one.

// Without the feature the link exists, but nothing is at its other end.
#![cfg_attr(not(feature = "relay"), allow(dead_code, unused_imports))]

mod counts;
mod questions;
mod serials;
mod under_way;

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::{Duration, Instant},
};

use roomcast_core::{hub::Cluster, relay::RelayCommand};
use tokio::sync::{Notify, mpsc};

pub(crate) use self::{
    counts::RelayCounts,
    questions::{AnswerPermit, NodesReply, NodesRequest, Questions},
    serials::SERIAL_BLOCK,
};
use self::{serials::Serials, under_way::UnderWay};
use crate::clock::millis;

/// The number of connection serials that a namespace starts with. Each further block is twice as
/// large, so that small namespaces leave few unused.
const SERIALS_FIRST: u64 = 4;
/// The maximum number of serials in a block.
const SERIALS_MAX: u64 = 32;

/// A command of a namespace, with the number of `Down` events that the namespace had received. A
/// command from before the last one is not carried out: the hub already treats it as failed.
#[derive(Debug)]
pub(crate) struct HubCommand {
    pub(crate) namespace: Arc<str>,
    pub(crate) downs: u64,
    pub(crate) command: RelayCommand,
}

/// A request of a shard to the relay task.
#[derive(Debug)]
pub(crate) enum RelayRequest {
    /// A namespace has started. It knows the relay to be up if the generation is odd.
    Open {
        namespace: Arc<str>,
        instance: u64,
        generation: u64,
    },
    /// A namespace has ended.
    Close { namespace: Arc<str> },
    /// Commands of namespaces, from one turn of a shard.
    Commands(Vec<HubCommand>),
    /// A block of connection serials is needed.
    Serials,
    /// A request to other nodes, or to the relay itself.
    Nodes(NodesRequest),
}

/// The state that shards share with the relay task.
pub(crate) struct RelayLink {
    node: Box<str>,
    /// True when replicas must confirm each publish.
    is_replicated: bool,
    requests: mpsc::UnboundedSender<RelayRequest>,
    /// Odd while the relay is up; incremented with each change.
    generation: AtomicU64,
    serials: Mutex<Serials>,
    /// The number of namespaces that have started.
    instances: AtomicU64,
    /// Messages in flight to each shard.
    under_way: Box<[UnderWay]>,
    /// Notified when a shard has caught up.
    pub(crate) caught_up: Notify,
    /// The number of gaps that members were told of, and of refused publishes.
    gaps: AtomicU64,
    refused: AtomicU64,
    questions: Arc<Questions>,
    /// The time for which users may reconnect to another node, at the end of this one, in
    /// milliseconds.
    users_wait_ms: AtomicU64,
    counts: Box<dyn Fn() -> RelayCounts + Send + Sync>,
    load: OnceLock<Box<dyn Fn() -> NodeLoad + Send + Sync>>,
}

/// Facts about this server for other nodes.
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
    /// Creates the link to a relay that knows this node by the given name. `is_replicated` tells
    /// whether replicas must confirm each publish.
    pub(crate) fn new(
        (node, is_replicated): (&str, bool),
        shards: usize,
        counts: impl Fn() -> RelayCounts + Send + Sync + 'static,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<RelayRequest>) {
        let (requests, receiver) = mpsc::unbounded_channel();
        let link = Self {
            node: node.into(),
            is_replicated,
            requests,
            generation: AtomicU64::new(0),
            serials: Mutex::default(),
            instances: AtomicU64::new(0),
            under_way: (0..shards).map(|_| UnderWay::default()).collect(),
            caught_up: Notify::new(),
            gaps: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            questions: Arc::default(),
            users_wait_ms: AtomicU64::new(0),
            counts: Box::new(counts),
            load: OnceLock::new(),
        };
        (Arc::new(link), receiver)
    }

    /// True while probes pass through the relay.
    pub(crate) fn is_up(&self) -> bool {
        is_up(self.generation())
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Acquire)
    }

    /// Records whether the relay is up. Only for the relay task.
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

    /// Sends a request to the relay task. After the end of that it is dropped.
    pub(crate) fn send(&self, request: RelayRequest) {
        let _ = self.requests.send(request); // the server is ending
    }

    /// Records, at the end of the node, how long its last users may take to reconnect to another
    /// one.
    pub(crate) fn wait_for_users(&self, time: Duration) {
        self.users_wait_ms.fetch_max(millis(time), Relaxed);
    }

    pub(crate) fn users_wait(&self) -> Duration {
        Duration::from_millis(self.users_wait_ms.load(Relaxed))
    }

    /// Adds gaps that members were told of, and refused publishes.
    pub(crate) fn count(&self, gaps: u64, refused: u64) {
        if gaps > 0 {
            self.gaps.fetch_add(gaps, Relaxed);
        }
        if refused > 0 {
            self.refused.fetch_add(refused, Relaxed);
        }
    }

    /// Sets the source of facts about this server, once it has started.
    pub(crate) fn set_load(&self, load: impl Fn() -> NodeLoad + Send + Sync + 'static) {
        let _ = self.load.set(Box::new(load)); // a server starts once
    }

    pub(crate) fn load(&self) -> NodeLoad {
        self.load
            .get()
            .map_or_else(NodeLoad::default, |load| load())
    }

    /// The counts for metrics.
    pub(crate) fn counts(&self) -> RelayCounts {
        let counts = (self.counts)();
        let (questions, missing, foreign) = self.questions.counts();
        RelayCounts {
            is_up: self.is_up(),
            gaps: self.gaps.load(Relaxed),
            refused: self.refused.load(Relaxed),
            under_way_bytes: self.under_way.iter().map(UnderWay::bytes).sum(),
            lag: counts.lag + self.under_way_age(),
            questions,
            missing,
            foreign: counts.foreign + foreign,
            ..counts
        }
    }
}

/// True for a generation in which the relay is up.
pub(crate) const fn is_up(generation: u64) -> bool {
    generation % 2 == 1
}

/// Connection serials, which no other node gives out.
impl RelayLink {
    fn serials(&self) -> MutexGuard<'_, Serials> {
        self.serials.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of a namespace that starts. A later namespace of the same name gets another one,
    /// so that events in flight for this one do not reach it.
    pub(crate) fn next_instance(&self) -> u64 {
        self.instances.fetch_add(1, Relaxed) + 1
    }

    /// The cluster configuration of a namespace that starts, with serials for its first
    /// connections. It publishes under a name of its own: the relay remembers the tokens of
    /// messages by publisher.
    pub(crate) fn cluster(&self, instance: u64) -> Cluster {
        let (first, count) = self.take_serials(SERIALS_FIRST).unwrap_or_default();
        let mut cluster = Cluster::new(format!("{}.{instance}", self.node), first, count);
        cluster.replicated = self.is_replicated;
        cluster
    }

    /// Further serials for a namespace that has `left` ones, and got `given` last time; `None` when
    /// it needs none, or the node has none.
    pub(crate) fn more_serials(&self, left: u64, given: &mut u64) -> Option<(u64, u64)> {
        let before = (*given).max(SERIALS_FIRST);
        if left > before / 4 {
            return None;
        }
        let taken = self.take_serials((2 * before).min(SERIALS_MAX))?;
        *given = taken.1;
        Some(taken)
    }

    fn take_serials(&self, count: u64) -> Option<(u64, u64)> {
        let (taken, wants_more) = self.serials().take(count);
        if wants_more {
            self.send(RelayRequest::Serials);
        }
        taken
    }

    /// Adds serials from the relay.
    pub(crate) fn add_serials(&self, first: u64, count: u64) {
        self.serials().add(first, count);
    }

    /// The first serial above all that this node was given.
    pub(crate) fn serials_end(&self) -> u64 {
        self.serials().end()
    }
}

/// Messages in flight to the shards.
impl RelayLink {
    pub(crate) fn begins(&self, shard: usize, bytes: usize) {
        self.under_way[shard].begins(bytes);
    }

    /// Records the time at which messages are passed to a shard.
    pub(crate) fn hands_over(&self, shard: usize) {
        self.under_way[shard].mark(Instant::now());
    }

    /// Called when a shard has processed a message.
    pub(crate) fn is_done(&self, shard: usize, bytes: usize) {
        if self.under_way[shard].is_done(bytes) {
            self.caught_up.notify_one();
        }
    }

    /// True when no shard is behind.
    pub(crate) fn has_space(&self) -> bool {
        self.under_way.iter().all(UnderWay::has_space)
    }

    /// The age of the oldest message that a shard has received and not processed.
    pub(crate) fn under_way_age(&self) -> Duration {
        let now = Instant::now();
        let ages = self.under_way.iter().map(|of| of.age(now));
        ages.max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_begins_with_serials_and_gets_more_in_time() {
        let (link, mut requests) = RelayLink::new(("n", false), 1, RelayCounts::default);
        assert_eq!(link.cluster(1).serials, (0, 0), "none are there");
        assert!(matches!(requests.try_recv(), Ok(RelayRequest::Serials)));
        link.add_serials(1_000, 100_000);
        let cluster = link.cluster(2);
        assert_eq!(
            (&*cluster.node, cluster.serials),
            ("n.2", (1_000, SERIALS_FIRST))
        );
        let mut given = 0;
        assert_eq!(link.more_serials(SERIALS_FIRST, &mut given), None);
        let mut more = |left| link.more_serials(left, &mut given);
        assert_eq!(more(1), Some((1_004, 8)));
        assert_eq!((more(3), more(2)), (None, Some((1_012, 16))));
        assert_eq!(more(4), Some((1_028, SERIALS_MAX)));
        assert_eq!((more(9), more(8)), (None, Some((1_060, SERIALS_MAX))));
        assert_eq!(link.serials_end(), 101_000);
    }

    #[test]
    fn generations_tell_up_from_down() {
        let (link, _requests) = RelayLink::new(("n", false), 1, RelayCounts::default);
        assert!(!link.is_up());
        link.set_up(true);
        link.set_up(true);
        assert_eq!((link.is_up(), link.generation()), (true, 1));
        link.set_up(false);
        assert_eq!((link.is_up(), link.generation()), (false, 2));
    }
}
