//! An endpoint of hooks: its line, and the task that tells it.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use roomcast_core::policy::Subscription;
use roomcast_hooks::{
    Hook, Keys, Line, LineLimits, Outcome, Poll, Report, Request, limits::ANSWER_TIME,
};
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use super::told::Told;
use crate::{
    clock::Clock,
    shared::{keys, post::Client},
    store::{LineStore, StoreError},
};

/// An endpoint.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// The URL without its query, which may hold a secret.
    pub(super) name: String,
    hook: Hook,
    keys: Keys,
    clock: Clock,
    line: Mutex<Line>,
    /// Rung when there are more events.
    more: Notify,
    pub(super) counts: Counts,
    /// The place where the line outlives the process, and its name there.
    store: Option<(String, Arc<LineStore>)>,
}

/// Counts of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) accepted: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) gave_up: AtomicU64,
    pub(super) gone: AtomicU64,
    pub(super) time_us: AtomicU64,
}

impl Endpoint {
    /// An endpoint with an empty line.
    ///
    /// # Errors
    ///
    /// When a key cannot be read.
    pub(super) fn new(hook: &Hook, clock: Clock) -> Result<Self, String> {
        let url = hook.url.as_str();
        let name = url.split('?').next().unwrap_or(url).to_owned();
        let keys = keys::read(&hook.keys).map_err(|fault| format!("{name}: {fault}"))?;
        // Without randomness the time is the next best.
        let epoch = getrandom::u64().unwrap_or_else(|_| clock.unix_ms(clock.now()));
        let line = Line::new(&format!("{epoch:016x}"), LineLimits::default());
        Ok(Self {
            name,
            hook: hook.clone(),
            keys,
            clock,
            line: Mutex::new(line),
            more: Notify::new(),
            counts: Counts::default(),
            store: None,
        })
    }

    /// Keeps the line in a store from here on, with what is there.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(super) fn keep(&mut self, name: String, store: Arc<LineStore>) -> Result<(), StoreError> {
        let mut line = self.line();
        if let Some(stored) = store.load(&name)? {
            *line = Line::new(&stored.epoch, LineLimits::default());
            line.restore(self.clock.now(), stored.events);
        }
        *line = line.clone().with_changes();
        drop(line);
        self.store = Some((name, store));
        Ok(())
    }

    /// Stores what changed, before anybody else changes the line.
    fn save(&self, line: &mut Line) -> Result<(), StoreError> {
        let Some((name, store)) = &self.store else {
            return Ok(());
        };
        let changes = line.take_changes();
        if changes.is_empty() {
            return Ok(());
        }
        store.save(name, line.epoch(), &changes)
    }

    pub(super) fn subscription(&self) -> &Subscription {
        &self.hook.subscription
    }

    pub(super) fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends what it is subscribed to.
    ///
    /// # Errors
    ///
    /// When it cannot be stored.
    pub(super) fn push(&self, told: &[Told]) -> Result<(), StoreError> {
        let wanted = |one: &&Told| self.subscription().wants(one.kind, one.room.as_deref());
        let mut wanted = told.iter().filter(wanted).peekable();
        if wanted.peek().is_none() {
            return Ok(());
        }
        let (mut line, now) = (self.line(), self.clock.now());
        for one in wanted {
            line.push(now, one.unix_ms, &one.namespace, &one.event);
        }
        let saved = self.save(&mut line);
        drop(line);
        self.more.notify_one();
        saved
    }

    /// Tells the endpoint, until it is the end and nothing waits.
    pub(super) async fn run(&self, mut ending: watch::Receiver<bool>) {
        let client = Client::new(self.hook.url.clone());
        loop {
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
        let post = client.tell(request, &self.keys, self.clock.unix_ms(sent) / 1000, None);
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
            // They are told again after the next start.
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
                // The first one, then ever less often.
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
                    "the endpoint of a hook answered 410: it is told nothing until the next start"
                );
            }
            Report::Nothing | _ => {}
        }
    }
}
