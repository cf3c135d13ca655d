//! The circuit breaker of a backend.

use core::time::Duration;

use roomcast_core::Timestamp;

/// Keeps requests away from a backend that fails: it opens after failures in a row, lets one
/// request through after a pause, and closes with the first success.
#[derive(Debug, Clone, Default)]
pub(super) struct Breaker {
    /// Failures in a row.
    failures: u32,
    /// The time until which nothing is asked; `None` when it is closed.
    open_until: Option<Timestamp>,
    /// The request that finds out whether the backend is there again.
    probe: Option<u64>,
}

impl Breaker {
    /// True when a question is answered without a request.
    pub(super) fn refuses(&self, now: Timestamp) -> bool {
        self.open_until.is_some_and(|until| now < until)
    }

    /// True when a request may be sent.
    pub(super) fn may_send(&self, now: Timestamp) -> bool {
        !self.refuses(now) && (self.open_until.is_none() || self.probe.is_none())
    }

    /// A request was sent.
    pub(super) const fn sent(&mut self, request: u64) {
        if self.open_until.is_some() {
            self.probe = Some(request);
        }
    }

    /// An answer came; true when it closes the breaker.
    pub(super) fn succeeded(&mut self) -> bool {
        core::mem::take(self).open_until.is_some()
    }

    /// A request failed; true when the breaker opens for a pause.
    pub(super) fn failed(
        &mut self,
        now: Timestamp,
        request: u64,
        failures_max: u32,
        pause: Duration,
    ) -> bool {
        self.failures = self.failures.saturating_add(1);
        let opens = match self.open_until {
            Some(_) => self.probe == Some(request),
            None => self.failures >= failures_max,
        };
        if opens {
            self.open_until = Some(now + pause);
            self.probe = None;
        }
        opens
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
