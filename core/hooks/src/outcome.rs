//! Outcomes of requests, and their consequences.

use core::time::Duration;

use roomcast_core::Timestamp;

use crate::limits::RETRY_AFTER_MAX;

/// The outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// An answer came. A redirect is an answer like any other: it is not followed.
    Answered {
        /// The status.
        status: u16,
        /// The value of the header `Retry-After`; only seconds are understood.
        retry_after: Option<&'a str>,
    },
    /// No answer came in time.
    Failed,
}

impl Outcome<'_> {
    /// The pause that the receiver asks for.
    pub(crate) fn pause(&self) -> Option<Duration> {
        let Self::Answered {
            status: 429 | 503,
            retry_after: Some(text),
        } = self
        else {
            return None;
        };
        let pause = Duration::from_secs(text.trim().parse().ok()?);
        Some(pause.min(RETRY_AFTER_MAX))
    }
}

/// The consequence of an outcome, for logs and counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Report {
    /// The receiver has the events.
    Accepted {
        /// Their number.
        events: usize,
    },
    /// The request is repeated.
    Retry {
        /// The time of the next attempt.
        at: Timestamp,
        /// Failures in a row.
        failures: u32,
    },
    /// The events were tried for [`GIVE_UP`](crate::limits::GIVE_UP) and are dropped: a gap.
    GaveUp {
        /// Their number.
        events: u64,
    },
    /// The receiver wants no more events: nothing is sent to it.
    Disabled,
    /// There was no request in flight.
    Nothing,
}
