//! State of the way out of a shard.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use roomcast_core::Timestamp;
use roomcast_http::{Reason, TokenRefusal};
use slab::Slab;
use tokio::sync::Notify;

use super::{
    cork::Cork,
    flow::{Backlog, Flow},
    letter::{Mail, Posts},
};
use crate::{
    metrics::Metrics,
    shared::{Shared, hooks::Told, relay::HubCommand},
    socket::Socket,
    store::{self, StoreError},
};

/// The way out of a shard. Mail is for shards of the type `S`.
pub(crate) struct Egress<S> {
    pub(super) index: usize,
    pub(in crate::shard) shared: Arc<Shared>,
    /// The way to each shard.
    pub(super) posts: Posts<S>,
    pub(in crate::shard) sockets: RefCell<Slab<Rc<Socket>>>,
    /// Keys of sockets for which something may become due. Keys, so that a socket whose task has
    /// ended is closed at once.
    pub(in crate::shard) watched: RefCell<Vec<u32>>,
    /// Sockets that are written when the turn ends.
    pub(in crate::shard) dirty: RefCell<Vec<Rc<Socket>>>,
    pub(in crate::shard) backlog: Backlog,
    pub(super) corked: RefCell<Cork>,
    pub(super) outgoing: RefCell<Vec<Vec<Mail<S>>>>,
    pub(in crate::shard) has_mail: Cell<bool>,
    /// Commands for the relay.
    pub(super) relayed: RefCell<Vec<HubCommand>>,
    pub(in crate::shard) flow: Flow,
    pub(super) durable: Durable,
    /// Events of the turn that backends are told of.
    pub(in crate::shard) told: RefCell<Vec<Told>>,
    /// Rung when there is something to do at the end of the turn.
    pub(in crate::shard) bell: Notify,
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

impl<S> Egress<S> {
    pub(in crate::shard) fn new(index: usize, shared: Arc<Shared>, posts: Posts<S>) -> Self {
        let shards = posts.len();
        Self {
            index,
            shared,
            posts,
            sockets: RefCell::default(),
            watched: RefCell::default(),
            dirty: RefCell::default(),
            backlog: Backlog::default(),
            corked: RefCell::default(),
            outgoing: RefCell::new((0..shards).map(|_| Vec::new()).collect()),
            has_mail: Cell::default(),
            relayed: RefCell::default(),
            flow: Flow::new(shards),
            durable: Durable::default(),
            told: RefCell::default(),
            bell: Notify::new(),
        }
    }

    pub(in crate::shard) fn shards(&self) -> usize {
        self.posts.len()
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

    /// Counts a refusal, and warns of it once a minute where a setting is the remedy.
    pub(crate) fn tell_refusal(&self, reason: Reason) {
        self.metrics().count_refusal(reason);
        let notice = self.shared.notices().reason_notice(reason, self.now());
        if let Some(notice) = notice {
            tracing::warn!("{notice}");
        }
    }

    /// Has the turn ended once more.
    pub(in crate::shard) fn ring(&self) {
        self.bell.notify_one();
    }
}
