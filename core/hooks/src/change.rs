//! Changes of a line, for hosts that keep it.

use alloc::boxed::Box;

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
