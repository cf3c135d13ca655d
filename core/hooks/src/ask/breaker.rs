//! The circuit breaker of a backend.

use alloc::collections::BTreeSet;
use core::time::Duration;

use roomcast_core::Timestamp;

use crate::limits::ASK_PROBES_MAX;

/// Keeps requests away from a backend that is not there: it opens after failures in a row, lets a
/// few requests through after a pause, and closes with the first answer. Only the backend's absence
/// is a failure. What a client can bring about by its question is none: else it could keep
/// everybody out.
#[derive(Debug, Clone, Default)]
pub(super) struct Breaker {
    /// Failures in a row.
    failures: u32,
    /// The time until which nothing is asked; `None` when it is closed.
    open_until: Option<Timestamp>,
    /// Requests under way that find out whether the backend is there again.
    probes: BTreeSet<u64>,
    /// Probes since the pause that failed.
    failed_probes: usize,
}

impl Breaker {
    /// True when a question is answered without a request.
    pub(super) fn refuses(&self, now: Timestamp) -> bool {
        self.open_until.is_some_and(|until| now < until)
    }

    /// True when a request may be sent.
    pub(super) fn may_send(&self, now: Timestamp) -> bool {
        let probes = self.probes.len() + self.failed_probes;
        !self.refuses(now) && (self.open_until.is_none() || probes < ASK_PROBES_MAX)
    }

    /// A request was sent.
    pub(super) fn sent(&mut self, request: u64) {
        if self.open_until.is_some() {
            self.probes.insert(request);
        }
    }

    /// An answer came; true when it closes the breaker.
    pub(super) fn answered(&mut self) -> bool {
        core::mem::take(self).open_until.is_some()
    }

    /// A request was taken and ended without an answer, which says little about the next one; gives
    /// the time for which the breaker opens again, when no other probe is under way and some
    /// failed.
    pub(super) fn ended(
        &mut self,
        now: Timestamp,
        request: u64,
        pause: Duration,
    ) -> Option<Duration> {
        if self.open_until.is_none() {
            self.failures = 0;
        }
        self.probes.remove(&request);
        let is_over = self.open_until.is_some() && self.probes.is_empty();
        (is_over && self.failed_probes > 0).then(|| self.open(now, pause))
    }

    /// A request failed; gives the time for which the breaker opens, if it does. Of several probes
    /// the last one decides.
    pub(super) fn failed(
        &mut self,
        now: Timestamp,
        request: u64,
        failures_max: u32,
        pause: Duration,
    ) -> Option<Duration> {
        self.failures = self.failures.saturating_add(1);
        if self.open_until.is_none() {
            return (self.failures >= failures_max).then(|| self.open(now, pause));
        }
        if self.probes.contains(&request) {
            self.failed_probes += 1;
        }
        self.ended(now, request, pause)
    }

    fn open(&mut self, now: Timestamp, pause: Duration) -> Duration {
        self.open_until = Some(now + pause);
        self.probes.clear();
        self.failed_probes = 0;
        pause
    }

    /// Failures in a row.
    pub(super) const fn failures(&self) -> u32 {
        self.failures
    }

    /// True from the first opening on until an answer comes.
    pub(super) const fn is_open(&self) -> bool {
        self.open_until.is_some()
    }
}
