//! Changes of a line, for hosts that store it.

use alloc::boxed::Box;

use roomcast_core::Timestamp;

/// A stored event, or a gap that replaces several events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptEvent {
    /// The first number that a gap stands for; for an event, its own number.
    pub first_seq: u64,
    /// The number.
    pub seq: u64,
    /// The event, a JSON object.
    pub json: Box<str>,
}

/// A change of the stored contents of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Store an event.
    Keep(KeptEvent),
    /// Delete the events with these numbers.
    Forget {
        /// The first number.
        first_seq: u64,
        /// The last number.
        last_seq: u64,
    },
}

/// The progress of a line, stored besides its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The number of the next event, unless a stored event has this number or a later one.
    pub next_seq: u64,
    /// Failures in a row.
    pub failures: u32,
    /// The time of the next attempt, at the earliest.
    pub not_before: Timestamp,
    /// The time of the first attempt to send the head of the line; `None` when there was none.
    pub tried_since: Option<Timestamp>,
    /// True when the receiver wants no more events; a host may try again at `not_before`, a day
    /// later.
    pub is_disabled: bool,
}
