//! The line of events that wait for one endpoint.

use alloc::{boxed::Box, collections::VecDeque, format, string::String, vec::Vec};

use roomcast_core::Timestamp;

use crate::{
    change::{Change, KeptEvent, Progress},
    limits::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX, BATCH_TIME, GIVE_UP},
    outcome::{Outcome, Report},
    request::Request,
    retry,
};

/// Limits of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LineLimits {
    /// Events that wait; default 100,000. Above that, the oldest are dropped, and a `gap` says so.
    pub events_max: usize,
    /// Bytes of the events that wait; default 16 MiB, hours of a busy chat. Above that, the same.
    pub bytes_max: usize,
}

impl Default for LineLimits {
    fn default() -> Self {
        Self {
            events_max: 100_000,
            bytes_max: 16 << 20,
        }
    }
}

/// The line of one endpoint: [`push`](Self::push) events; [`poll`](Self::poll) for the request to
/// send; report its outcome by [`done`](Self::done), and poll again.
///
/// One request is in flight at a time, so events arrive in the order of their numbers. An event
/// stays in the line until a request with it is answered by 2xx: each event arrives at least once,
/// except those that a `gap` names.
#[derive(Debug, Clone)]
pub struct Line {
    epoch: Box<str>,
    limits: LineLimits,
    next_seq: u64,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Events that were dropped, right after those of the batch.
    gap: Option<Span>,
    batch: Option<Batch>,
    /// The time of the first attempt to send the head of the line.
    tried_since: Option<Timestamp>,
    /// True while the batch is being sent.
    is_sending: bool,
    /// Failures in a row.
    failures: u32,
    not_before: Timestamp,
    is_disabled: bool,
    dropped: u64,
    /// Changes since they were last taken; `None` when no host stores the line.
    changes: Option<Vec<Change>>,
}

/// An event that waits, or a gap from before a restart.
#[derive(Debug, Clone)]
struct Waiting {
    span: Span,
    at: Timestamp,
    json: Box<str>,
}

/// A range of numbers of consecutive events.
#[derive(Debug, Clone, Copy)]
struct Span {
    first: u64,
    last: u64,
}

/// The events of a request, which does not change when it is retried.
#[derive(Debug, Clone)]
struct Batch {
    request: Request,
    events: usize,
    span: Span,
}

/// The next thing to do for a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Poll {
    /// Nothing until the next event.
    Idle,
    /// Poll again at this time, or when there is another event.
    WaitUntil(Timestamp),
    /// Send this request, and report its outcome.
    Send(Request),
}

impl Line {
    /// An empty line. The epoch distinguishes its numbers from those of earlier lines, so it must
    /// be random.
    pub fn new(epoch: &str, limits: LineLimits) -> Self {
        Self {
            epoch: epoch.into(),
            limits,
            next_seq: 1,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            gap: None,
            batch: None,
            tried_since: None,
            is_sending: false,
            failures: 0,
            not_before: Timestamp::ZERO,
            is_disabled: false,
            dropped: 0,
            changes: None,
        }
    }

    /// The same line with the progress of an earlier one of this epoch: for hosts whose clock
    /// continues while nothing is in memory.
    #[must_use]
    pub fn with_progress(mut self, progress: Progress) -> Self {
        self.next_seq = progress.next_seq.max(1);
        self.failures = progress.failures;
        self.not_before = progress.not_before;
        self.tried_since = progress.tried_since;
        self.is_disabled = progress.is_disabled;
        self
    }

    /// The progress, to be stored besides the events.
    pub const fn progress(&self) -> Progress {
        Progress {
            next_seq: self.next_seq,
            failures: self.failures,
            not_before: self.not_before,
            tried_since: self.tried_since,
            is_disabled: self.is_disabled,
        }
    }

    /// The same line with a record of its [changes](Self::take_changes), for a host to store.
    #[must_use]
    pub fn with_changes(mut self) -> Self {
        self.changes = Some(Vec::new());
        self
    }

    /// Restores stored events, in the order of their numbers, before any other event; further
    /// numbers follow theirs. The line must have the epoch of the line that they were in. `at` is
    /// the time at which they came, or that of the restart if the clock does not continue.
    pub fn restore(&mut self, at: Timestamp, events: impl IntoIterator<Item = KeptEvent>) {
        for event in events {
            let span = Span {
                first: event.first_seq,
                last: event.seq,
            };
            self.next_seq = self.next_seq.max(event.seq.saturating_add(1));
            self.waiting_bytes += event.json.len();
            self.waiting.push_back(Waiting {
                span,
                at,
                json: event.json,
            });
        }
    }

    /// Takes the changes since the last call, to be stored in their order.
    pub fn take_changes(&mut self) -> Vec<Change> {
        self.changes
            .as_mut()
            .map(core::mem::take)
            .unwrap_or_default()
    }

    /// The epoch, which distinguishes this line from earlier ones.
    pub const fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Appends an event of a namespace, a JSON object with at least one member. `unix_ms` is its
    /// time in milliseconds since 1970.
    ///
    /// Work: constant, except for events that are dropped.
    pub fn push(&mut self, now: Timestamp, unix_ms: u64, namespace: &str, event: &str) {
        if self.is_disabled {
            self.dropped += 1;
            return;
        }
        let seq = self.next_seq;
        self.next_seq += 1;
        let members = event.strip_prefix('{').unwrap_or(event);
        let json =
            format!(r#"{{"seq":{seq},"at_ms":{unix_ms},"namespace":"{namespace}",{members}"#);
        self.waiting_bytes += json.len();
        let (json, span): (Box<str>, _) = (json.into(), Span::of(seq));
        self.keep(span, &json);
        self.waiting.push_back(Waiting {
            span,
            at: now,
            json,
        });
        while self.waiting.len() > self.limits.events_max
            || self.waiting_bytes > self.limits.bytes_max
        {
            self.drop_first();
        }
    }

    /// The next thing to do. Work: the events of a request.
    pub fn poll(&mut self, now: Timestamp) -> Poll {
        if self.is_sending {
            return Poll::Idle;
        }
        let due = match (&self.batch, self.waiting.front()) {
            (Some(_), _) => now,
            (None, None) if self.gap.is_none() => return Poll::Idle,
            (None, Some(first)) if !self.is_full() => first.at + BATCH_TIME,
            (None, _) => now,
        };
        let due = due.max(self.not_before);
        if due > now {
            return Poll::WaitUntil(due);
        }
        let batch = match self.batch.take() {
            Some(batch) => batch,
            None => self.next_batch(now),
        };
        let request = batch.request.clone();
        self.batch = Some(batch);
        self.is_sending = true;
        Poll::Send(request)
    }

    /// Reports the outcome of the request in flight. `random` is for the jitter.
    pub fn done(&mut self, now: Timestamp, outcome: Outcome<'_>, random: u64) -> Report {
        if !core::mem::take(&mut self.is_sending) {
            return Report::Nothing;
        }
        match outcome {
            Outcome::Answered {
                status: 200..=299, ..
            } => {
                (self.failures, self.not_before) = (0, now);
                self.tried_since = None;
                let Some(batch) = self.batch.take() else {
                    return Report::Nothing;
                };
                self.forget(batch.span);
                return Report::Accepted {
                    events: batch.events,
                };
            }
            Outcome::Answered { status: 410, .. } => {
                self.disable();
                self.not_before = now + GIVE_UP;
                return Report::Disabled;
            }
            Outcome::Answered { .. } | Outcome::Failed => {}
        }
        self.failures = self.failures.saturating_add(1);
        let pause = retry::pause(self.failures, random);
        self.not_before = now + pause.max(outcome.pause().unwrap_or_default());
        let tried_since = self.tried_since;
        if tried_since.is_some_and(|since| now >= since + GIVE_UP) {
            let events = self.give_up(now);
            return Report::GaveUp { events };
        }
        Report::Retry {
            at: self.not_before,
            failures: self.failures,
        }
    }

    /// Bytes of the events that wait, without those of the request in flight.
    pub const fn bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Events that wait, those in flight included.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.batch.as_ref().map_or(0, |batch| batch.events)
    }

    /// True when nothing waits and nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.gap.is_none()
    }

    /// Events that were dropped so far.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// True when the receiver wants no more events.
    pub const fn is_disabled(&self) -> bool {
        self.is_disabled
    }

    fn is_full(&self) -> bool {
        self.waiting.len() >= BATCH_EVENTS_MAX || self.waiting_bytes >= BATCH_BYTES_MAX
    }

    /// Makes a batch of the first events. There must be a gap or an event.
    fn next_batch(&mut self, now: Timestamp) -> Batch {
        let mut body = format!(r#"{{"epoch":"{}","events":["#, self.epoch);
        let begin = body.len();
        let (mut span, mut events) = (self.gap, 0);
        if let Some(gap) = self.gap.take() {
            body.push_str(&gap.to_json());
        }
        while events < BATCH_EVENTS_MAX
            && let Some(next) = self.waiting.front()
            && (events == 0 || body.len() - begin + next.json.len() < BATCH_BYTES_MAX)
            && let Some(next) = self.waiting.pop_front()
        {
            self.waiting_bytes -= next.json.len();
            if body.len() > begin {
                body.push(',');
            }
            body.push_str(&next.json);
            span = Some(Span {
                first: span.map_or(next.span.first, |span| span.first),
                last: next.span.last,
            });
            events += 1;
        }
        body.push_str("]}");
        let span = span.unwrap_or(Span::of(0));
        self.tried_since.get_or_insert(now);
        Batch {
            request: Request::new(&self.epoch, span.last, body),
            events,
            span,
        }
    }

    fn drop_first(&mut self) {
        let Some(first) = self.waiting.pop_front() else {
            return;
        };
        self.waiting_bytes -= first.json.len();
        self.dropped += 1;
        let gap = self.gap.get_or_insert(first.span);
        gap.last = first.span.last;
        let gap = *gap;
        self.keep_gap(gap);
    }

    /// Drops the batch, and the events that have waited as long; returns the number of events.
    fn give_up(&mut self, now: Timestamp) -> u64 {
        let before = self.dropped;
        self.tried_since = None;
        if let Some(batch) = self.batch.take() {
            self.dropped += batch.events as u64;
            let last = self.gap.map_or(batch.span.last, |gap| gap.last);
            let first = batch.span.first;
            let gap = Span { first, last };
            self.gap = Some(gap);
            self.keep_gap(gap);
        }
        while let Some(first) = self.waiting.front()
            && now >= first.at + GIVE_UP
        {
            self.drop_first();
        }
        self.dropped - before
    }

    fn disable(&mut self) {
        self.dropped += self.len() as u64;
        self.is_disabled = true;
        self.forget(Span {
            first: 0,
            last: u64::MAX,
        });
        (self.waiting, self.waiting_bytes) = (VecDeque::new(), 0);
        (self.batch, self.gap) = (None, None);
    }

    fn keep(&mut self, span: Span, json: &str) {
        if let Some(changes) = &mut self.changes {
            changes.push(Change::Keep(KeptEvent {
                first_seq: span.first,
                seq: span.last,
                json: json.into(),
            }));
        }
    }

    fn forget(&mut self, span: Span) {
        if let Some(changes) = &mut self.changes {
            changes.push(Change::Forget {
                first_seq: span.first,
                last_seq: span.last,
            });
        }
    }

    /// Stores a gap in place of the events that it stands for.
    fn keep_gap(&mut self, gap: Span) {
        if self.changes.is_some() {
            self.forget(gap);
            self.keep(gap, &gap.to_json());
        }
    }
}

impl Span {
    const fn of(seq: u64) -> Self {
        Self {
            first: seq,
            last: seq,
        }
    }

    /// The event that reports a gap.
    fn to_json(self) -> String {
        let Self { first, last } = self;
        format!(r#"{{"seq":{last},"type":"gap","first_seq":{first}}}"#)
    }
}
