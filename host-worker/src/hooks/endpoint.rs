//! An endpoint of hooks, and its line.

use std::time::Duration;

use roomcast_core::{Timestamp, policy::EventKind};
use roomcast_hooks::{
    Change, Hook, Keys, Line, LineLimits, Outcome, Poll, Progress, Report, limits::ANSWER_TIME,
};

use super::{
    post::{Post, PostKind},
    stored::{LineChanges, StoredLine},
};

/// The most pending events of an endpoint in one namespace. Objects share 128 MB, and read all
/// pending events when they wake.
const EVENTS_MAX: usize = 10_000;
/// The most bytes of pending events.
const BYTES_MAX: usize = 4 << 20;
/// The time after which a request without an outcome counts as lost with its object.
const LOST_TIME: Duration = Duration::from_secs(30);
const _: () = assert!(LOST_TIME.as_secs() > ANSWER_TIME.as_secs());

/// An endpoint.
#[derive(Debug)]
pub(super) struct Endpoint {
    name: String,
    hook: Hook,
    keys: Keys,
    line: Line,
    /// The number of the request in flight, and when it was sent.
    sending: Option<(u32, Timestamp)>,
    /// The progress as it is stored; `None` when there is none yet.
    stored: Option<Progress>,
}

/// The next step of an endpoint.
#[derive(Debug)]
pub(super) enum Step {
    Idle,
    /// Poll again at this time, even with a request in flight: an object that is evicted loses its
    /// requests.
    WaitUntil(Timestamp),
    Send(Post),
}

fn limits() -> LineLimits {
    let mut limits = LineLimits::default();
    (limits.events_max, limits.bytes_max) = (EVENTS_MAX, BYTES_MAX);
    limits
}

impl Endpoint {
    /// Creates an endpoint with the stored state of its line. An endpoint that wanted no more
    /// events is tried again after a day, because settings are not reloaded here.
    pub(super) fn new(
        name: String,
        hook: &Hook,
        keys: &Keys,
        stored: Option<StoredLine>,
        now: Timestamp,
        random: impl FnOnce() -> u64,
    ) -> Self {
        let (hook, keys) = (hook.clone(), keys.clone());
        let (line, stored) = match stored {
            Some(stored) => {
                let mut progress = stored.progress;
                progress.is_disabled &= now < progress.not_before;
                let line = Line::new(&stored.epoch, limits());
                let mut line = line.with_progress(progress).with_changes();
                for (at, event) in stored.events {
                    line.restore(at, [event]);
                }
                (line, Some(stored.progress))
            }
            None => {
                let epoch = format!("{:016x}", random());
                (Line::new(&epoch, limits()).with_changes(), None)
            }
        };
        Self {
            name,
            hook,
            keys,
            line,
            sending: None,
            stored,
        }
    }

    pub(super) fn push(
        &mut self,
        now: Timestamp,
        namespace: &str,
        kind: EventKind,
        room: Option<&str>,
        event: &str,
    ) {
        if self.hook.subscription.wants(kind, room) {
            self.line.push(now, now.as_millis(), namespace, event);
        }
    }

    /// Takes the changes since the last call. The number of the next event follows from the pending
    /// ones, so a single event needs only one row.
    pub(super) fn take_changes(&mut self) -> Option<LineChanges<'_>> {
        let mut changes = self.line.take_changes();
        let progress = self.line.progress();
        let is_known = |stored: Progress| {
            let next_seq = stored.next_seq;
            let waits = !self.line.is_empty();
            stored
                == Progress {
                    next_seq,
                    ..progress
                }
                && (waits || next_seq == progress.next_seq)
        };
        if changes.is_empty() && self.stored.is_none_or(is_known) {
            return None;
        }
        if self.stored.replace(progress).is_none() {
            // Left from a line with this name whose row could not be read.
            let (first_seq, last_seq) = (0, u64::MAX);
            changes.insert(
                0,
                Change::Forget {
                    first_seq,
                    last_seq,
                },
            );
        }
        Some(LineChanges {
            name: &self.name,
            state: Some((self.line.epoch(), progress)),
            changes,
        })
    }

    /// The next step. `number` is that of a request to send.
    pub(super) fn poll(&mut self, now: Timestamp, number: u32) -> Step {
        if let Some((_, sent)) = self.sending
            && now >= sent + LOST_TIME
        {
            self.sending = None;
            self.line.done(now, Outcome::Failed, 0);
        }
        match self.line.poll(now) {
            Poll::Send(request) => {
                self.sending = Some((number, now));
                let (kind, url) = (PostKind::Tell(number), &self.hook.url);
                Step::Send(Post::new(kind, url, &request, &self.keys, now))
            }
            Poll::WaitUntil(at) => Step::WaitUntil(at),
            Poll::Idle => match self.sending {
                Some((_, sent)) => Step::WaitUntil(sent + LOST_TIME),
                None => Step::Idle,
            },
        }
    }

    pub(super) fn is_sending(&self, number: u32) -> bool {
        self.sending.is_some_and(|(sending, _)| sending == number)
    }

    /// Takes the outcome of the request in flight; returns a notice for the operator, if any.
    pub(super) fn posted(
        &mut self,
        now: Timestamp,
        outcome: Result<Outcome<'_>, &str>,
        random: u64,
    ) -> Option<String> {
        self.sending = None;
        let fault = match outcome {
            Ok(Outcome::Answered { status, .. }) => format!("status {status}"),
            Ok(Outcome::Failed) => "no answer".to_owned(),
            Err(fault) => fault.to_owned(),
        };
        let report = self
            .line
            .done(now, outcome.unwrap_or(Outcome::Failed), random);
        let url = self.hook.url.shown();
        match report {
            // Logs the first one, then ever fewer.
            Report::Retry { failures, .. } if failures.is_power_of_two() => Some(format!(
                "the hook {url} failed, {failures} in a row, and is tried again: {fault}"
            )),
            Report::GaveUp { events } => Some(format!(
                "{events} events of the hook {url} were dropped: {fault}"
            )),
            Report::Disabled => Some(format!(
                "the hook {url} answered 410: it is told nothing for a day"
            )),
            Report::Accepted { .. } | Report::Retry { .. } | Report::Nothing | _ => None,
        }
    }
}
