//! The state of a shard's egress.

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

/// The egress of a shard. Mail is for shards of the type `S`.
pub(crate) struct Egress<S> {
    pub(super) index: usize,
    pub(in crate::shard) shared: Arc<Shared>,
    /// The mailboxes of all shards.
    pub(super) posts: Posts<S>,
    pub(in crate::shard) sockets: RefCell<Slab<Rc<Socket>>>,
    /// Keys of sockets with a deadline that may pass. They are keys, so that a socket is closed at
    /// once when its task has ended.
    pub(in crate::shard) watched: RefCell<Vec<u32>>,
    /// Sockets to be flushed at the end of the turn.
    pub(in crate::shard) dirty: RefCell<Vec<Rc<Socket>>>,
    pub(in crate::shard) backlog: Backlog,
    pub(super) corked: RefCell<Cork>,
    pub(super) outgoing: RefCell<Vec<Vec<Mail<S>>>>,
    pub(in crate::shard) has_mail: Cell<bool>,
    /// Commands for the relay.
    pub(super) relayed: RefCell<Vec<HubCommand>>,
    pub(in crate::shard) flow: Flow,
    pub(super) durable: Durable,
    /// Events of the turn for backends.
    pub(in crate::shard) told: RefCell<Vec<Told>>,
    /// Notified when there is work at the end of the turn.
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

    /// Counts a refused token, and logs the cause, which the client does not see.
    pub(crate) fn tell_token(&self, refusal: &TokenRefusal) {
        let reason = refusal.reason();
        self.metrics().count_refusal(reason);
        tracing::debug!(reason = reason.as_str(), cause = %refusal, "refused a token");
        let notice = self.shared.notices().token_notice(refusal, self.now());
        if let Some(notice) = notice {
            tracing::warn!("{notice}");
        }
    }

    /// Counts a refusal, and warns once a minute where a setting is the remedy.
    pub(crate) fn tell_refusal(&self, reason: Reason) {
        self.metrics().count_refusal(reason);
        let notice = self.shared.notices().reason_notice(reason, self.now());
        if let Some(notice) = notice {
            tracing::warn!("{notice}");
        }
    }

    /// Requests another end of the turn.
    pub(in crate::shard) fn ring(&self) {
        self.bell.notify_one();
    }
}
