//! Hooks: backends that are notified of events.

mod counts;
mod endpoint;
mod prepared;
mod thread;
mod told;

use std::{
    mem,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use roomcast_core::policy::Subscriptions;
use roomcast_hooks::Hook;
use tokio::{sync::watch, task::JoinSet, time::timeout};

use self::{counts::Counts, endpoint::Endpoint};
pub(crate) use self::{
    counts::HookCounts,
    prepared::{OpenError, Prepared},
    thread::HookThread,
    told::Told,
};
use crate::{
    clock::Clock,
    settings::Settings,
    shared::spans::Spans,
    store::{LineStore, StoreError, StoreSync},
};

/// The time in which waiting events are still sent at the end of a server.
const END_TIME: Duration = Duration::from_secs(5);

/// The endpoints that are notified of events.
///
/// Shards push the events of a turn, and [`HookThread`] sends them, so that signatures and TLS take
/// no time of a shard.
#[derive(Debug)]
pub(crate) struct Hooks {
    clock: Clock,
    /// The folder in which queues outlive the process.
    folder: Option<(PathBuf, StoreSync)>,
    /// The stored queues, opened with the first endpoint.
    store: Mutex<Option<Arc<LineStore>>>,
    /// True when there is an endpoint.
    is_on: AtomicBool,
    endpoints: RwLock<Endpoints>,
    /// The number of changes of the endpoints.
    changes: watch::Sender<u64>,
    counts: Arc<Counts>,
}

type Endpoints = Arc<[Arc<Endpoint>]>;

impl Hooks {
    /// Opens the endpoints, with their stored events.
    ///
    /// # Errors
    ///
    /// When a key or the store cannot be read.
    pub(crate) fn open(settings: &Settings, clock: Clock) -> Result<Self, OpenError> {
        let folder = settings.store.clone();
        let hooks = Self {
            clock,
            folder: folder.map(|folder| (folder, settings.store_sync)),
            store: Mutex::default(),
            is_on: AtomicBool::new(false),
            endpoints: RwLock::default(),
            changes: watch::Sender::default(),
            counts: Arc::default(),
        };
        hooks.set(hooks.prepare(&settings.hooks)?)?;
        Ok(hooks)
    }

    /// Prepares endpoints: those in force, and new ones with their stored events. The endpoints in
    /// force stay unchanged. Reads files.
    ///
    /// # Errors
    ///
    /// When a key or the store cannot be read.
    pub(crate) fn prepare(&self, hooks: &[Hook]) -> Result<Prepared, OpenError> {
        let store = if hooks.is_empty() {
            None
        } else {
            self.store()?
        };
        let stored = store.as_ref().map(|store| store.names()).transpose()?;
        let open = |name, rules| {
            let endpoint = Endpoint::new(name, rules, self.clock, self.counts.clone());
            match &store {
                Some(store) => endpoint.kept_in(store.clone()),
                None => Ok(endpoint),
            }
        };
        let stored = stored.unwrap_or_default();
        Prepared::new(hooks, &self.endpoints(), &stored, open)
    }

    /// Puts endpoints in force. Remaining endpoints keep their queues, also under other rules; the
    /// events of removed ones are dropped, in the store too.
    ///
    /// # Errors
    ///
    /// When dropped events cannot be removed from the store; everything else is done.
    pub(crate) fn set(&self, prepared: Prepared) -> Result<(), StoreError> {
        let prepared = prepared.endpoints;
        let endpoints: Endpoints = prepared.iter().map(|(it, _)| it.clone()).collect();
        let mut ended = Vec::new();
        let before = {
            // Locked for the whole change, so that nothing is counted twice or not at all.
            let mut in_force = self.endpoints.write();
            let in_force = in_force.as_mut().unwrap_or_else(PoisonError::get_mut);
            for (endpoint, rules) in prepared {
                endpoint.set_rules(rules);
            }
            for gone in in_force.iter() {
                if !endpoints.iter().any(|it| Arc::ptr_eq(it, gone)) {
                    ended.push((gone.clone(), gone.retire()));
                }
            }
            self.is_on.store(!endpoints.is_empty(), Relaxed);
            mem::replace(&mut **in_force, endpoints.clone())
        };
        for (endpoint, events) in ended.iter().filter(|(_, events)| *events > 0) {
            let endpoint = &endpoint.name;
            tracing::warn!(
                endpoint,
                events,
                "events of a hook that is gone were dropped"
            );
        }
        self.changes.send_modify(|changes| *changes += 1);
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = &*store {
            let names = endpoints.iter().map(|it| it.line_name().to_owned());
            let events = store.forget_others(&names.collect::<Vec<_>>())?;
            if events > 0 && before.is_empty() {
                tracing::warn!(
                    events,
                    "events of hooks that there are no more were dropped"
                );
            }
        }
        Ok(())
    }

    /// The stored queues, if there is a store.
    fn store(&self) -> Result<Option<Arc<LineStore>>, StoreError> {
        let Some((folder, sync)) = &self.folder else {
            return Ok(None);
        };
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        if store.is_none() {
            *store = Some(Arc::new(LineStore::open(folder, *sync)?));
        }
        Ok(store.clone())
    }

    /// True when there is an endpoint.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Relaxed)
    }

    fn endpoints(&self) -> Endpoints {
        let endpoints = self.endpoints.read();
        endpoints.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The events that any endpoint wants.
    pub(crate) fn subscriptions(&self) -> Subscriptions {
        let endpoints = self.endpoints();
        let all = endpoints.iter().map(|it| it.rules());
        all.map(|rules| rules.hook.subscription.clone()).collect()
    }

    /// Appends events to the queues of endpoints that want them. Takes two locks for each endpoint;
    /// called once a turn.
    ///
    /// # Errors
    ///
    /// When the events cannot be stored.
    pub(crate) fn push(&self, told: &[Told]) -> Result<(), StoreError> {
        let endpoints = self.endpoints();
        let mut endpoints = endpoints.iter();
        endpoints.try_for_each(|endpoint| endpoint.push(told))
    }

    /// The counts of all endpoints, including removed ones.
    pub(crate) fn counts(&self) -> HookCounts {
        let endpoints = self.endpoints.read();
        let endpoints = endpoints.unwrap_or_else(PoisonError::into_inner);
        let (mut waiting, mut dropped) = (0, 0);
        for endpoint in endpoints.iter() {
            let line = endpoint.line();
            waiting += line.len();
            dropped += line.dropped();
        }
        self.counts.with_lines(waiting, dropped)
    }

    /// Sends events to the endpoints, also to those added later, until `ending` is true or its
    /// sender is gone, and nothing waits.
    pub(crate) async fn run(self: Arc<Self>, mut ending: watch::Receiver<bool>, spans: Arc<Spans>) {
        let mut running = JoinSet::new();
        let mut told: Vec<Arc<Endpoint>> = Vec::new();
        let mut changes = self.changes.subscribe();
        loop {
            changes.borrow_and_update();
            told.retain(|endpoint| !endpoint.is_retired());
            for endpoint in self.endpoints().iter() {
                if !told.iter().any(|it| Arc::ptr_eq(it, endpoint)) {
                    told.push(endpoint.clone());
                    running.spawn_local(endpoint.clone().run(ending.clone(), spans.clone()));
                }
            }
            tokio::select! {
                _ = changes.changed() => {}
                Some(ended) = running.join_next() => if let Err(fault) = ended {
                    tracing::error!(%fault, "a hook is told nothing until the next start");
                },
                _ = ending.wait_for(|ends| *ends) => break, // or the server is gone
            }
        }
        let rest = async { while running.join_next().await.is_some() {} };
        let _ = timeout(END_TIME, rest).await; // the rest is logged below
        for endpoint in self.endpoints().iter() {
            let (name, events) = (&endpoint.name, endpoint.line().len());
            if events > 0 && self.folder.is_some() {
                tracing::info!(
                    endpoint = name,
                    events,
                    "events of a hook wait for the next start"
                );
            } else if events > 0 {
                tracing::error!(endpoint = name, events, "events of a hook are lost");
            }
        }
    }
}
