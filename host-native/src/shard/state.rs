//! State of a shard: its sockets, its namespaces and the links between them.
//!
//! These types hold each other, so they stand in one file; the others say what they do.

use std::{
    cell::{Cell, Ref, RefCell},
    collections::BTreeMap,
    rc::{Rc, Weak},
    sync::Arc,
    time::Instant,
};

use roomcast_core::{ConnId, Policies, Timestamp, room::Recoveries};
use roomcast_http::TokenRefusal;
use slab::Slab;
use tokio::sync::{Notify, mpsc};

use super::{
    batch::Batch,
    fan_out::{largest::Largest, members::Members},
    flow::{Backlog, Flow},
    sockets::cork::Cork,
    tasks::Tasks,
    trim::HighWater,
    turn::{newcomers::Newcomers, watch::TurnWatch},
};
use crate::{
    clock::patience::Patience,
    metrics::Metrics,
    namespace::Namespace,
    shared::{Shared, hooks::Told},
    store::{self, NamespaceHeader, StoreError},
};

/// A socket of a shard.
pub(crate) type Socket = crate::socket::Socket<Home>;

/// An I/O thread.
pub(crate) struct Shard {
    /// The shard, for tasks that must not keep it alive.
    pub(super) weak: Weak<Self>,
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    /// The way to each shard.
    pub(crate) posts: Posts,
    /// Buffer for all reads of the thread: an idle connection holds none.
    pub(crate) read_buffer: RefCell<Box<[u8]>>,
    pub(super) sockets: RefCell<Slab<Rc<Socket>>>,
    /// Keys of sockets for which something may become due. Keys, so that a socket whose task has
    /// ended is closed at once.
    pub(super) watched: RefCell<Vec<u32>>,
    pub(super) high_water: HighWater,
    pub(super) namespaces: RefCell<BTreeMap<Arc<str>, Rc<Hosted>>>,
    /// Room policies in force.
    pub(super) policies: RefCell<Policies>,
    /// No namespace that begins here gives out a serial number below it: ids are never reused,
    /// not even by a namespace of the same name.
    pub(super) serial: Cell<u64>,
    pub(super) runs: RefCell<Vec<Rc<Hosted>>>,
    pub(super) dirty: RefCell<Vec<Rc<Socket>>>,
    pub(super) backlog: Backlog,
    /// Turns of connections that are no WebSockets.
    pub(crate) newcomers: Rc<Newcomers>,
    pub(super) corked: RefCell<Cork>,
    pub(super) outgoing: RefCell<Vec<Vec<Mail>>>,
    pub(super) has_mail: Cell<bool>,
    pub(super) flow: Flow,
    pub(super) durable: Durable,
    /// Events of the turn that backends are told of.
    pub(super) told: RefCell<Vec<Told>>,
    /// True when histories passed their limit in this turn.
    pub(super) histories_full: Cell<bool>,
    /// True when the keys of clients did.
    pub(super) client_keys_full: Cell<bool>,
    /// True when deadlines may be called passed.
    pub(super) patience: Patience,
    /// Rung when there is something to do at the end of the turn.
    pub(super) bell: Notify,
    /// The wall-clock time of the zero of the clock, as the namespaces know it.
    pub(super) unix_zero_ms: Cell<u64>,
    /// Rung when schedules have begun.
    pub(super) begun: Notify,
    pub(super) turn_watch: TurnWatch<Hosted>,
    /// Slow turns that the log was not told of since the last one that it was, and when that was.
    pub(super) slow_turns: Cell<(u64, Option<Timestamp>)>,
    /// Sweeps so far.
    pub(super) sweeps: Cell<u64>,
}

/// Changes that wait for the store, and callbacks that wait for the commit.
#[derive(Default)]
pub(super) struct Durable {
    pub(super) batch: RefCell<store::Batch>,
    /// Run once the batch is committed; dropped when the commit fails.
    pub(super) waiting: RefCell<Vec<Box<dyn FnOnce()>>>,
    pub(super) failed: Cell<bool>,
    pub(super) fault: RefCell<Option<StoreError>>,
    pub(super) failure: Notify,
}

/// A namespace, on the one shard that is its home.
///
/// Nothing that it calls calls it back: requests of an application to its own namespace, from
/// outside of its hooks, wait in the mail of the shard.
#[derive(Debug)]
pub(crate) struct Hosted {
    pub(crate) name: Arc<str>,
    pub(super) drained: Cell<bool>,
    pub(super) inner: RefCell<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) namespace: Namespace,
    pub(super) fan_out: FanOut,
    pub(super) tasks: Tasks,
    /// True when the run is to be ended with the turn.
    pub(super) listed: bool,
    /// Header of the namespace in the store; `None` when it is not stored.
    pub(super) header: Option<NamespaceHeader>,
    /// Bytes that its histories count for among those of all namespaces.
    pub(super) history_bytes: usize,
    /// Keys that its clients count for among those of all namespaces.
    pub(super) client_keys: usize,
    /// Messages refused for their rate, as far as they are in the metrics.
    pub(super) rate_refusals: u64,
    /// Recoveries, likewise.
    pub(super) recoveries: Recoveries,
}

/// Carries out what the hub commands.
#[derive(Debug, Default)]
pub(super) struct FanOut {
    pub(super) members: Members<Link>,
    pub(super) batch: Batch,
    /// Connections whose queue passed its limit while commands were carried out; the hub is still
    /// to close them.
    pub(super) overflowed: Vec<ConnId>,
    pub(super) largest: Largest,
}

/// The way to a connection.
#[derive(Debug, Clone)]
pub(crate) enum Link {
    /// The socket is on this shard.
    Local(Rc<Socket>),
    /// The socket is on another shard, under this key.
    Remote { shard: usize, key: u32 },
}

/// The place where the hub of a connection lives.
#[derive(Debug)]
pub(crate) enum Home {
    /// A hub on this shard.
    Local(Rc<Hosted>),
    /// A hub on another shard.
    Remote { shard: usize, namespace: Arc<str> },
}

/// Mail from one shard to another.
pub(crate) type Mail = super::mail::letter::Mail<Shard>;
/// Mail from one turn of a shard to another shard.
pub(crate) type MailBatch = super::mail::letter::MailBatch<Shard>;
/// The way to each shard.
pub(crate) type Posts = Arc<[mpsc::UnboundedSender<MailBatch>]>;

impl Shard {
    pub(crate) fn new(index: usize, shared: Arc<Shared>, posts: Posts) -> Rc<Self> {
        let shards = posts.len();
        let serial = Cell::new(shared.first_serial);
        let unix_zero_ms = Cell::new(shared.clock.unix_zero_ms());
        let policies = RefCell::new(shared.settings.policies.clone());
        Rc::new_cyclic(|weak| Self {
            weak: weak.clone(),
            index,
            shared,
            posts,
            read_buffer: RefCell::new(vec![0; 64 * 1024].into()),
            sockets: RefCell::default(),
            watched: RefCell::default(),
            high_water: HighWater::default(),
            namespaces: RefCell::default(),
            policies,
            serial,
            runs: RefCell::default(),
            dirty: RefCell::default(),
            backlog: Backlog::default(),
            newcomers: Rc::default(),
            corked: RefCell::default(),
            outgoing: RefCell::new((0..shards).map(|_| Vec::new()).collect()),
            has_mail: Cell::default(),
            flow: Flow::new(shards),
            durable: Durable::default(),
            told: RefCell::default(),
            histories_full: Cell::default(),
            client_keys_full: Cell::default(),
            patience: Patience::new(Instant::now()),
            bell: Notify::new(),
            unix_zero_ms,
            begun: Notify::new(),
            turn_watch: TurnWatch::default(),
            slow_turns: Cell::default(),
            sweeps: Cell::default(),
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.shared.metrics[self.index]
    }

    /// Counts a token that is not taken, and logs the cause, which its client does not read.
    pub(crate) fn tell_token(&self, refusal: &TokenRefusal) {
        let reason = refusal.reason();
        self.metrics().count_refusal(reason);
        tracing::debug!(reason = reason.as_str(), cause = %refusal, "refused a token");
        let notice = self.shared.notices().token_notice(refusal, self.now());
        if let Some(notice) = notice {
            tracing::warn!("{notice}");
        }
    }

    /// Room policies.
    pub(crate) fn policies(&self) -> Ref<'_, Policies> {
        self.policies.borrow()
    }

    pub(crate) fn namespace(&self, name: &str) -> Option<Rc<Hosted>> {
        self.namespaces.borrow().get(name).cloned()
    }

    pub(crate) fn namespaces(&self) -> Vec<Rc<Hosted>> {
        self.namespaces.borrow().values().cloned().collect()
    }

    /// Has the turn ended once more.
    pub(super) fn ring(&self) {
        self.bell.notify_one();
    }
}
