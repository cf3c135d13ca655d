//! State that all shards share.

pub(crate) mod ask;
pub(crate) mod call_failure;
pub(crate) mod hooks;
pub(crate) mod keys;
pub(crate) mod meters;
pub(crate) mod permits;
mod post;
pub(crate) mod relay;
pub(crate) mod spans;
pub(crate) mod tokens;
pub(crate) mod wire;

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicUsize},
    },
};

use roomcast_http::{Access, RefusalNotices};
use tokio::sync::watch;

use self::{
    ask::AskGate,
    hooks::{HookThread, Hooks},
    permits::{Connections, Permits},
    relay::RelayLink,
    spans::Spans,
    tokens::TokenGate,
};
use crate::{
    clock::Clock,
    metrics::Metrics,
    namespace::{gateways::Gateways, recorder::Recorder},
    settings::Settings,
    store::Store,
    tls::TlsGate,
};

/// State that all shards share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    pub(crate) metrics: Vec<Metrics>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) namespaces: Permits,
    /// The access rules in force.
    pub(crate) access: RwLock<Arc<Access>>,
    /// Verifies tokens.
    pub(crate) tokens: TokenGate,
    /// Backends that are notified of events.
    pub(crate) hooks: Arc<Hooks>,
    pub(crate) hook_thread: HookThread,
    /// The backend that identifies connections and decides what they may join.
    pub(crate) ask: AskGate,
    /// Spans for the collector, if there is one.
    pub(crate) spans: Arc<Spans>,
    /// The certificate, when the listener speaks TLS.
    pub(crate) tls: Option<Arc<TlsGate>>,
    /// The number of accepted TCP connections, which selects the next one's thread.
    pub(crate) accepted: AtomicUsize,
    /// True from the stop signal on, before the server drains.
    pub(crate) ending: AtomicBool,
    /// The memory of all histories of all threads, in bytes.
    pub(crate) history_bytes: AtomicUsize,
    /// The number of client idempotency keys in all namespaces of all threads.
    pub(crate) client_keys: AtomicUsize,
    /// True when the server drains.
    pub(crate) draining: watch::Sender<bool>,
    /// Set when a request has shown that the server is behind a proxy.
    pub(crate) proxied: AtomicBool,
    /// Warnings of refused origins, hosts and tokens.
    pub(crate) notices: Mutex<RefusalNotices>,
    /// The first serial of connection ids: random in the lower half of the range, so that an id
    /// from before a restart names no connection.
    pub(crate) first_serial: u64,
    pub(crate) recorder: Option<Arc<Recorder>>,
    pub(crate) store: Option<Store>,
    /// The relay between servers, if there is one.
    pub(crate) relay: Option<Arc<RelayLink>>,
    /// The namespaces in the store.
    pub(crate) stored: Vec<Arc<str>>,
    pub(crate) gateways: Gateways,
}

impl Shared {
    /// A new random epoch, so that no position of an earlier run looks valid.
    pub(crate) fn epoch(&self) -> String {
        // The time is the fallback without randomness.
        let random = getrandom::u64();
        let epoch = random.unwrap_or_else(|_| self.clock.unix_ms(self.clock.now()));
        format!("{epoch:016x}")
    }

    /// Starts to notify backends, unless started already.
    ///
    /// # Errors
    ///
    /// When the thread cannot start.
    pub(crate) fn start_hooks(&self) -> io::Result<()> {
        let (hooks, spans) = (self.hooks.clone(), self.spans.clone());
        self.hook_thread.start(|ending| hooks.run(ending, spans))
    }

    /// True while the server drains, and accepts no connections and no API calls.
    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Waits until the server drains.
    pub(crate) async fn drains(&self) {
        // An error would mean that the sender is gone.
        let _ = self.draining.subscribe().wait_for(|&drains| drains).await;
    }

    pub(crate) fn notices(&self) -> MutexGuard<'_, RefusalNotices> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The access rules in force.
    pub(crate) fn access(&self) -> Arc<Access> {
        let access = self.access.read().unwrap_or_else(PoisonError::into_inner);
        access.clone()
    }

    pub(crate) fn set_access(&self, access: Access) {
        let access = Arc::new(access);
        *self.access.write().unwrap_or_else(PoisonError::into_inner) = access;
    }

    pub(crate) fn flush_record(&self) {
        if let Some(recorder) = &self.recorder {
            recorder.flush();
        }
    }
}
