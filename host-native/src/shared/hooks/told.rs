//! Events on their way from a shard to the queues of endpoints.

use std::sync::Arc;

use roomcast_core::policy::EventKind;

/// An event for backends.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) namespace: Arc<str>,
    pub(crate) kind: EventKind,
    pub(crate) room: Option<Box<str>>,
    pub(crate) event: Box<str>,
    pub(crate) unix_ms: u64,
}
