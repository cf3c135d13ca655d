//! The circuit breaker of a backend.

use alloc::collections::BTreeSet;
use core::time::Duration;

use roomcast_core::Timestamp;

use crate::limits::ASK_PROBES_MAX;

/// A circuit breaker, which stops requests to a backend that cannot be reached. It opens after
/// failures in a row, lets a few probes through after a pause, and closes with the first answer.
/// Faults that a client can cause by its question do not count as failures: it could otherwise lock
/// out everyone.
#[derive(Debug, Clone, Default)]
pub(super) struct Breaker {
    /// Failures in a row.
    failures: u32,
    /// The time until which no request is sent; `None` when the breaker is closed.
    open_until: Option<Timestamp>,
    /// Requests in flight that find out whether the backend can be reached again.
    probes: BTreeSet<u64>,
    /// The number of probes that have failed since the pause.
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

    /// Notes that a request was sent.
    pub(super) fn sent(&mut self, request: u64) {
        if self.open_until.is_some() {
            self.probes.insert(request);
        }
    }

    /// Notes that an answer came; true when it closes the breaker.
    pub(super) fn answered(&mut self) -> bool {
        core::mem::take(self).open_until.is_some()
    }

    /// Notes that a request reached the backend and ended without an answer, which says little
    /// about the next one. Returns the time for which the breaker opens again, if no other probe is
    /// in flight and some have failed.
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

    /// Notes that a request failed. Returns the time for which the breaker opens, if it does. Of
    /// several probes the last one decides.
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

    /// True from the first opening until an answer comes.
    pub(super) const fn is_open(&self) -> bool {
        self.open_until.is_some()
    }
}
