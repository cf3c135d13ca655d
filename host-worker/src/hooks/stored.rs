//! Lines as they are stored.

use roomcast_core::Timestamp;
use roomcast_hooks::{Change, KeptEvent, Progress};

/// A line in the storage.
#[derive(Debug, Clone)]
pub(crate) struct StoredLine {
    pub(crate) name: String,
    pub(crate) epoch: String,
    pub(crate) progress: Progress,
    /// Events, each with the time at which it came; oldest first.
    pub(crate) events: Vec<(Timestamp, KeptEvent)>,
}

/// Changes of a line that are to be stored.
#[derive(Debug)]
pub(crate) struct LineChanges<'a> {
    pub(crate) name: &'a str,
    /// The epoch and the progress of the line; `None` when the line was removed.
    pub(crate) state: Option<(&'a str, Progress)>,
    pub(crate) changes: Vec<Change>,
}
