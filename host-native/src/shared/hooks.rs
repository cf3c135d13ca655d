//! Hooks: backends that are told of events.

mod endpoint;
mod told;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use roomcast_core::policy::Subscriptions;
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{oneshot, watch},
    time::sleep,
};

use self::endpoint::Endpoint;
pub(crate) use self::told::Told;
use crate::{
    clock::Clock,
    settings::Settings,
    store::{LineStore, StoreError},
};

/// The time that a server which ends still tells what waits.
const END_TIME: Duration = Duration::from_secs(5);

/// The endpoints that are told of events.
///
/// Shards push what a turn has brought, [`Hooks::start`] begins a thread that sends it: neither
/// signatures nor TLS take time of a shard.
#[derive(Debug)]
pub(crate) struct Hooks {
    endpoints: Vec<Endpoint>,
    /// True when lines outlive the process.
    is_stored: bool,
}

/// Hooks that cannot begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// A key cannot be read.
    #[error("{0}")]
    Key(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Counts of all endpoints.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HookCounts {
    /// Requests by outcome.
    pub(crate) outcomes: [(&'static str, u64); 4],
    pub(crate) seconds: f64,
    pub(crate) waiting: usize,
    pub(crate) dropped: u64,
}

impl Hooks {
    /// Endpoints, with what waits for them in the store; `None` when there is none.
    ///
    /// # Errors
    ///
    /// When a key cannot be read, or the store.
    pub(crate) fn open(settings: &Settings, clock: Clock) -> Result<Option<Arc<Self>>, OpenError> {
        let hooks = &settings.hooks;
        if hooks.is_empty() {
            return Ok(None);
        }
        let store = match &settings.store {
            Some(folder) => Some(Arc::new(LineStore::open(folder, settings.store_sync)?)),
            None => None,
        };
        // Endpoints with the same URL are told apart by their order.
        let mut names: Vec<String> = Vec::new();
        for hook in hooks {
            let same = |name: &&String| name.split(' ').next() == Some(hook.url.as_str());
            let number = names.iter().filter(same).count();
            names.push(format!("{} {number}", hook.url));
        }
        if let Some(store) = &store {
            let events = store.forget_others(&names)?;
            if events > 0 {
                tracing::warn!(
                    events,
                    "events of hooks that there are no more were dropped"
                );
            }
        }
        let endpoints = hooks.iter().zip(names).map(|(hook, name)| {
            let mut endpoint = Endpoint::new(hook, clock).map_err(OpenError::Key)?;
            if let Some(store) = &store {
                endpoint.keep(name, store.clone())?;
            }
            Ok(endpoint)
        });
        let endpoints = endpoints.collect::<Result<_, OpenError>>()?;
        let is_stored = store.is_some();
        Ok(Some(Arc::new(Self {
            endpoints,
            is_stored,
        })))
    }

    /// The events that any endpoint wants.
    pub(crate) fn subscriptions(&self) -> Subscriptions {
        let all = self.endpoints.iter().map(Endpoint::subscription);
        all.cloned().collect()
    }

    /// Appends events to the lines of those who want them. Takes a lock for each endpoint: once a
    /// turn.
    ///
    /// # Errors
    ///
    /// When they cannot be stored.
    pub(crate) fn push(&self, told: &[Told]) -> Result<(), StoreError> {
        let mut endpoints = self.endpoints.iter();
        endpoints.try_for_each(|endpoint| endpoint.push(told))
    }

    /// Counts of all endpoints.
    pub(crate) fn counts(&self) -> HookCounts {
        let mut counts = HookCounts::default();
        let sum = |of: fn(&endpoint::Counts) -> &AtomicU64| {
            let all = self.endpoints.iter();
            all.map(|it| of(&it.counts).load(Relaxed)).sum::<u64>()
        };
        counts.outcomes = [
            ("accepted", sum(|it| &it.accepted)),
            ("failed", sum(|it| &it.failed)),
            ("gave_up", sum(|it| &it.gave_up)),
            ("gone", sum(|it| &it.gone)),
        ];
        #[allow(clippy::cast_precision_loss)] // Prometheus has floats
        let seconds = sum(|it| &it.time_us) as f64 / 1e6;
        counts.seconds = seconds;
        for endpoint in &self.endpoints {
            let line = endpoint.line();
            counts.waiting += line.len();
            counts.dropped += line.dropped();
        }
        counts
    }

    /// Begins to tell, on a thread of its own.
    ///
    /// # Errors
    ///
    /// When the thread or its runtime cannot start.
    pub(crate) fn start(self: &Arc<Self>) -> io::Result<HookThread> {
        let (hooks, (end, ending)) = (self.clone(), watch::channel(false));
        let (done, ended) = oneshot::channel();
        let runtime = Builder::new_current_thread();
        thread::Builder::new()
            .name("roomcast-hooks".into())
            .spawn(move || {
                let mut runtime = runtime;
                match runtime.enable_all().build_local(LocalOptions::default()) {
                    Ok(runtime) => runtime.block_on(hooks.run(ending)),
                    Err(fault) => tracing::error!(%fault, "hooks cannot start: nothing is told"),
                }
                let _ = done.send(()); // nobody waits any more
            })?;
        Ok(HookThread { end, ended })
    }

    async fn run(&self, ending: watch::Receiver<bool>) {
        let runs = self.endpoints.iter();
        let runs = runs.map(|endpoint| endpoint.run(ending.clone()));
        let mut end = ending.clone();
        let late = async {
            let _ = end.wait_for(|ends| *ends).await; // or the server is gone
            sleep(END_TIME).await;
        };
        tokio::select! {
            _ = futures_util::future::join_all(runs) => {}
            () = late => {}
        }
        for endpoint in &self.endpoints {
            let (name, events) = (&endpoint.name, endpoint.line().len());
            if events > 0 && self.is_stored {
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

/// The thread that tells.
#[derive(Debug)]
pub(crate) struct HookThread {
    end: watch::Sender<bool>,
    ended: oneshot::Receiver<()>,
}

impl HookThread {
    /// Waits until all is told, for some seconds at most. To be called when no shard has more.
    pub(crate) async fn finish(self) {
        self.end.send_replace(true);
        let _ = self.ended.await; // or it panicked
    }
}
