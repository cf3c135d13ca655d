//! The state of a shard: its namespaces, and its egress.

use std::{
    cell::{Cell, Ref, RefCell},
    collections::BTreeMap,
    rc::{Rc, Weak},
    sync::Arc,
    time::Instant,
};

use roomcast_core::{Policies, Timestamp};
use tokio::sync::Notify;

use super::{
    egress::{self, Egress},
    hosted::Hosted,
    trim::HighWater,
    turn::{newcomers::Newcomers, watch::TurnWatch},
};
use crate::{clock::patience::Patience, metrics::Metrics, shared::Shared};

/// A shard: one I/O thread.
pub(crate) struct Shard {
    /// The shard, for tasks that must not keep it alive.
    pub(super) weak: Weak<Self>,
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) egress: Egress<Self>,
    /// A buffer for all reads of the thread, so that idle connections hold none.
    pub(crate) read_buffer: RefCell<Box<[u8]>>,
    pub(super) high_water: HighWater,
    pub(super) namespaces: RefCell<BTreeMap<Arc<str>, Rc<Hosted>>>,
    /// Room policies in force.
    pub(super) policies: RefCell<Policies>,
    /// The lowest serial that a namespace may give out that starts here: ids are never reused, not
    /// even by a namespace of the same name.
    pub(super) serial: Cell<u64>,
    /// Namespaces with a batch to be ended with the turn.
    pub(super) batches: RefCell<Vec<Rc<Hosted>>>,
    /// Turns of connections that are not WebSockets yet.
    pub(crate) newcomers: Rc<Newcomers>,
    /// True when histories exceeded their limit in this turn.
    pub(super) histories_full: Cell<bool>,
    /// True when client idempotency keys exceeded their limit in this turn.
    pub(super) client_keys_full: Cell<bool>,
    /// Tells whether passed deadlines may be trusted.
    pub(super) patience: Patience,
    /// The wall-clock time of timestamp zero, as known to the namespaces.
    pub(super) unix_zero_ms: Cell<u64>,
    /// Notified when schedules have started.
    pub(super) begun: Notify,
    pub(super) turn_watch: TurnWatch<Hosted>,
    /// The number of slow turns since the last logged one, and the time of that one.
    pub(super) slow_turns: Cell<(u64, Option<Timestamp>)>,
    /// The number of sweeps so far.
    pub(super) sweeps: Cell<u64>,
}

/// Mail from one shard to another.
pub(crate) type Mail = egress::Mail<Shard>;
/// Mail from one turn of a shard to another shard.
pub(crate) type MailBatch = egress::MailBatch<Shard>;
/// The mailboxes of all shards.
pub(crate) type Posts = egress::Posts<Shard>;

impl Shard {
    pub(crate) fn new(index: usize, shared: Arc<Shared>, posts: Posts) -> Rc<Self> {
        let serial = Cell::new(shared.first_serial);
        let unix_zero_ms = Cell::new(shared.clock.unix_zero_ms());
        let policies = RefCell::new(shared.settings.policies.clone());
        Rc::new_cyclic(|weak| Self {
            weak: weak.clone(),
            index,
            egress: Egress::new(index, shared.clone(), posts),
            shared,
            read_buffer: RefCell::new(vec![0; 64 * 1024].into()),
            high_water: HighWater::default(),
            namespaces: RefCell::default(),
            policies,
            serial,
            batches: RefCell::default(),
            newcomers: Rc::default(),
            histories_full: Cell::default(),
            client_keys_full: Cell::default(),
            patience: Patience::new(Instant::now()),
            unix_zero_ms,
            begun: Notify::new(),
            turn_watch: TurnWatch::default(),
            slow_turns: Cell::default(),
            sweeps: Cell::default(),
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.egress.now()
    }

    /// The number of all shards.
    pub(crate) fn shards(&self) -> usize {
        self.egress.shards()
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        self.egress.metrics()
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
}
