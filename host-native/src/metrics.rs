//! Counters of shards, and their export to Prometheus.

pub(crate) mod counter;
pub(crate) mod process;
pub(crate) mod scrape;
mod text;
pub(crate) mod turn;

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use roomcast_core::room::RecoveryOutcome;
use roomcast_http::Reason;

use self::{
    counter::{Counter, Peak, Sizes, Times},
    turn::{EndedTurn, Turn},
};

/// The counters of one shard. Each shard has its own, which only it writes, so that threads do not
/// share cache lines. A scrape adds them up.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Metrics {
    pub(crate) opened: Counter,
    /// Inputs to namespaces, of any kind.
    pub(crate) inputs: Counter,
    pub(crate) messages_in: Counter,
    pub(crate) deliveries: Counter,
    pub(crate) fan_out: Sizes,
    /// Queues that exceeded their limits, by the consequence: the connection was closed, the oldest
    /// messages were dropped, or messages with a newer one of the same event were dropped.
    pub(crate) overflows_closed: Counter,
    pub(crate) overflows_dropped: Counter,
    pub(crate) overflows_replaced: Counter,
    pub(crate) messages_dropped: Counter,
    /// The size of the longest queue of a connection, in bytes.
    pub(crate) outbox: Peak,
    pub(crate) store_commit: Times,
    pub(crate) accept_failures: Counter,
    /// Withdrawals that also refused older tokens of all other users, for lack of space.
    pub(crate) withdrawals_folded: Counter,
    pub(crate) turn: Turn,
    pub(crate) turns: Times,
    /// The end of turns: from the last input to the last write.
    pub(crate) writes: Times,
    closed: Mutex<BTreeMap<CloseLabel, u64>>,
    /// Refusals by reason, in the order of [`Reason::ALL`].
    refused: [Counter; Reason::ALL.len()],
    /// Recoveries by outcome, in the order of [`RecoveryOutcome::ALL`].
    recoveries: [Counter; RecoveryOutcome::ALL.len()],
    /// HTTP responses by class of status, from 1xx on.
    responses: [Counter; 5],
    /// TLS handshakes that failed, in the order of [`TlsFailure::ALL`].
    tls_failures: [Counter; TlsFailure::ALL.len()],
}

/// The code under which the end of a connection is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CloseLabel {
    Code(u16),
    /// A code from 3000 on. Clients choose it, so it is unfit for a label.
    Client,
}

/// The way in which a TLS handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsFailure {
    /// The handshake took too long.
    Timeout,
    /// The client sent HTTP without TLS.
    Plain,
    /// The two sides did not agree.
    Handshake,
}

impl TlsFailure {
    pub(crate) const ALL: [Self; 3] = [Self::Timeout, Self::Plain, Self::Handshake];

    const fn as_str(self) -> &'static str {
        ["timeout", "plain", "handshake"][self as usize]
    }
}

impl Metrics {
    /// Creates counters at zero. Turns from `slow_turn` on count as slow.
    pub(crate) fn new(slow_turn: Option<Duration>) -> Self {
        Self {
            opened: Counter::default(),
            inputs: Counter::default(),
            messages_in: Counter::default(),
            deliveries: Counter::default(),
            fan_out: Sizes::default(),
            overflows_closed: Counter::default(),
            overflows_dropped: Counter::default(),
            overflows_replaced: Counter::default(),
            messages_dropped: Counter::default(),
            outbox: Peak::default(),
            store_commit: Times::default(),
            accept_failures: Counter::default(),
            withdrawals_folded: Counter::default(),
            turn: Turn::new(slow_turn),
            turns: Times::default(),
            writes: Times::default(),
            closed: Mutex::default(),
            refused: std::array::from_fn(|_| Counter::default()),
            recoveries: Default::default(),
            responses: Default::default(),
            tls_failures: Default::default(),
        }
    }

    pub(crate) fn count_refusal(&self, reason: Reason) {
        self.count_refusals(reason, 1);
    }

    pub(crate) fn count_refusals(&self, reason: Reason, count: u64) {
        self.refused[reason.index()].add(count);
    }

    pub(crate) fn count_recoveries(&self, outcome: RecoveryOutcome, count: u64) {
        self.recoveries[outcome.index()].add(count);
    }

    pub(crate) fn count_close(&self, label: CloseLabel) {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        *closed.entry(label).or_default() += 1;
    }

    /// Counts an HTTP response.
    pub(crate) fn count_response(&self, status: u16) {
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        self.responses[class].add(1);
    }

    pub(crate) fn count_tls_failure(&self, failure: TlsFailure) {
        self.tls_failures[failure as usize].add(1);
    }
}

/// Turns; only called on the shard's own thread.
impl Metrics {
    /// Called when the thread has woken.
    pub(crate) fn wakes(&self) {
        self.turn.begin();
    }

    /// Called when the thread is about to wait: input since the last turn that caused no writes was
    /// a turn too.
    pub(crate) fn waits(&self) {
        if !self.turn.is_idle(self.inputs.get()) {
            let ended = self.end_turn();
            self.turn.keep(ended);
        }
    }

    /// Ends a turn.
    pub(crate) fn end_turn(&self) -> EndedTurn {
        let ended = self.turn.end([self.inputs.get(), self.deliveries.get()]);
        self.turns.observe(ended.took);
        ended
    }
}
