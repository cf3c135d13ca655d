//! An endpoint of hooks: its queue, and the task that sends to it.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use roomcast_hooks::{
    Hook, Keys, Line, LineLimits, Outcome, Poll, Report, Request, limits::ANSWER_TIME,
};
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use super::{counts::Counts, told::Told};
use crate::{
    clock::Clock,
    shared::{keys, post::Client, spans::Spans},
    store::{LineStore, StoreError},
};

/// An endpoint.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// The URL without its query, which may contain a secret.
    pub(super) name: String,
    /// The name of its queue: the URL, and a number among endpoints with the same URL.
    line_name: String,
    rules: RwLock<Arc<Rules>>,
    /// True when the endpoint was removed.
    retired: AtomicBool,
    clock: Clock,
    line: Mutex<Line>,
    /// Notified when there are more events.
    more: Notify,
    counts: Arc<Counts>,
    /// The store in which the queue outlives the process.
    store: Option<Arc<LineStore>>,
}

/// The settings of an endpoint, with its keys. They may change while events are sent.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) hook: Hook,
    keys: Keys,
}

impl Rules {
    /// Reads the keys of the settings from their sources.
    ///
    /// # Errors
    ///
    /// When a key cannot be read.
    pub(super) fn read(hook: &Hook) -> Result<Self, String> {
        let keys = keys::read(&hook.keys);
        let keys = keys.map_err(|fault| format!("{}: {fault}", hook.url.shown()))?;
        let hook = hook.clone();
        Ok(Self { hook, keys })
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.hook == other.hook && self.keys.is_same(&other.keys)
    }
}

impl Endpoint {
    /// Creates an endpoint with an empty queue.
    pub(super) fn new(line_name: String, rules: Rules, clock: Clock, counts: Arc<Counts>) -> Self {
        // The time is the fallback without randomness.
        let epoch = getrandom::u64().unwrap_or_else(|_| clock.unix_ms(clock.now()));
        let line = Line::new(&format!("{epoch:016x}"), LineLimits::default());
        Self {
            name: rules.hook.url.shown().to_owned(),
            line_name,
            rules: RwLock::new(Arc::new(rules)),
            retired: AtomicBool::new(false),
            clock,
            line: Mutex::new(line),
            more: Notify::new(),
            counts,
            store: None,
        }
    }

    /// Attaches a store to the endpoint, and loads the queue from it.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(super) fn kept_in(mut self, store: Arc<LineStore>) -> Result<Self, StoreError> {
        let mut line = self.line();
        if let Some(stored) = store.load(&self.line_name)? {
            *line = Line::new(&stored.epoch, LineLimits::default());
            line.restore(self.clock.now(), stored.events);
        }
        *line = line.clone().with_changes();
        drop(line);
        self.store = Some(store);
        Ok(self)
    }

    /// Stores the changes of the queue, under its lock.
    fn save(&self, line: &mut Line) -> Result<(), StoreError> {
        let Some(store) = &self.store else {
            return Ok(());
        };
        let changes = line.take_changes();
        // A successor of a removed endpoint may use the name of the queue.
        if changes.is_empty() || self.is_retired() {
            return Ok(());
        }
        store.save(&self.line_name, line.epoch(), &changes)
    }

    pub(super) fn line_name(&self) -> &str {
        &self.line_name
    }

    /// The settings in force.
    pub(super) fn rules(&self) -> Arc<Rules> {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        rules.clone()
    }

    /// Changes the settings. The queue is kept.
    pub(super) fn set_rules(&self, rules: Rules) {
        let rules = Arc::new(rules);
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
    }

    /// Removes the endpoint: from here on nothing is sent or stored. Returns the number of events
    /// that waited.
    pub(super) fn retire(&self) -> usize {
        let line = self.line();
        self.retired.store(true, Relaxed);
        let waited = line.len();
        let dropped = line.dropped() + waited as u64;
        self.counts.dropped.fetch_add(dropped, Relaxed);
        self.more.notify_one();
        waited
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Relaxed)
    }

    pub(super) fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends the events that it subscribes to.
    ///
    /// # Errors
    ///
    /// When the events cannot be stored.
    pub(super) fn push(&self, told: &[Told]) -> Result<(), StoreError> {
        let rules = self.rules();
        let subscription = &rules.hook.subscription;
        let wanted = |one: &&Told| subscription.wants(one.kind, one.room.as_deref());
        let mut wanted = told.iter().filter(wanted).peekable();
        if wanted.peek().is_none() {
            return Ok(());
        }
        let (mut line, now) = (self.line(), self.clock.now());
        if self.is_retired() {
            return Ok(()); // it was just removed
        }
        for one in wanted {
            line.push(now, one.unix_ms, &one.namespace, &one.event);
        }
        let saved = self.save(&mut line);
        drop(line);
        self.more.notify_one();
        saved
    }

    /// Sends events to the endpoint, until the server ends and nothing waits.
    pub(super) async fn run(self: Arc<Self>, mut ending: watch::Receiver<bool>, spans: Arc<Spans>) {
        let client = Client::new(self.rules().hook.url.clone(), spans);
        while !self.is_retired() {
            let now = self.clock.now();
            let poll = self.line().poll(now);
            let until = match poll {
                Poll::Send(request) => {
                    self.send(&client, &request).await;
                    continue;
                }
                Poll::Idle if *ending.borrow() => return,
                Poll::Idle => Duration::from_secs(3600),
                Poll::WaitUntil(at) => at.saturating_since(now),
            };
            tokio::select! {
                () = sleep(until.max(Duration::from_millis(1))) => {}
                () = self.more.notified() => {}
                changed = ending.changed() => if changed.is_err() {
                    return;
                }
            }
        }
    }

    async fn send(&self, client: &Client, request: &Request) {
        let (begun, sent) = (Instant::now(), self.clock.now());
        let rules = self.rules();
        let post = client.tell(request, &rules.keys, self.clock.unix_ms(sent) / 1000);
        let answered = match timeout(ANSWER_TIME, post).await {
            Ok(Ok(answered)) => Ok(answered),
            Ok(Err(fault)) => Err(fault.to_string()),
            Err(_) => Err(format!("no answer within {ANSWER_TIME:?}")),
        };
        let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.counts.time_us.fetch_add(took, Relaxed);
        let outcome = match &answered {
            Ok((status, retry_after)) => Outcome::Answered {
                status: *status,
                retry_after: retry_after.as_deref(),
            },
            Err(_) => Outcome::Failed,
        };
        // Without randomness there is no jitter.
        let random = getrandom::u64().unwrap_or_default();
        let mut line = self.line();
        let report = line.done(self.clock.now(), outcome, random);
        let saved = self.save(&mut line);
        drop(line);
        if let Err(fault) = saved {
            // They are sent again after the next start.
            tracing::error!(endpoint = self.name, %fault, "told events cannot be forgotten");
        }
        let fault = answered.map_or_else(|fault| fault, |(status, _)| format!("status {status}"));
        self.note(report, &fault);
    }

    /// Counts an outcome, and logs what an operator should see.
    fn note(&self, report: Report, fault: &str) {
        let (endpoint, counts) = (&self.name, &self.counts);
        match report {
            Report::Accepted { .. } => {
                counts.accepted.fetch_add(1, Relaxed);
            }
            Report::Retry { failures, .. } => {
                counts.failed.fetch_add(1, Relaxed);
                // Logs the first failure, then ever fewer.
                if failures.is_power_of_two() {
                    tracing::warn!(
                        endpoint,
                        failures,
                        "a hook failed and is tried again: {fault}"
                    );
                }
            }
            Report::GaveUp { events } => {
                counts.gave_up.fetch_add(1, Relaxed);
                tracing::error!(endpoint, events, "events of a hook were dropped: {fault}");
            }
            Report::Disabled => {
                counts.gone.fetch_add(1, Relaxed);
                tracing::error!(
                    endpoint,
                    "the endpoint of a hook answered 410: it is told nothing until the settings \
                     are read again"
                );
            }
            Report::Nothing | _ => {}
        }
    }
}
