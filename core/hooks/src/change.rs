//! Changes of a line, for hosts that keep it.

use alloc::boxed::Box;

use roomcast_core::Timestamp;

/// An event as it is kept, or a gap in the place of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptEvent {
    /// The first number that it stands for; of an event, its own.
    pub first_seq: u64,
    /// The number.
    pub seq: u64,
    /// The event, a JSON object.
    pub json: Box<str>,
}

/// A change of what a line holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Keep an event.
    Keep(KeptEvent),
    /// Forget the events with these numbers.
    Forget {
        /// The first number.
        first_seq: u64,
        /// The last number.
        last_seq: u64,
    },
}

/// The progress of a line, beside its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The number of the next event, where none that is kept has it or a later one.
    pub next_seq: u64,
    /// Failures in a row.
    pub failures: u32,
    /// The time of the next attempt, at the earliest.
    pub not_before: Timestamp,
    /// The first attempt at what is first in the line; `None` when there was none.
    pub tried_since: Option<Timestamp>,
    /// True when the receiver wants no more; a host may try again at `not_before`, a day later.
    pub is_disabled: bool,
}
