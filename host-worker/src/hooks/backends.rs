//! Backends that a Worker's settings name.

use roomcast_hooks::{AskSettings, Hook, Keys};

/// An endpoint that is told of events, with its keys.
pub(crate) type Told = (Hook, Keys);
/// A backend that is asked, with its keys.
pub(crate) type Asked = (AskSettings, Keys);

/// The backends of all namespaces; default none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backends {
    /// Endpoints that are told of events.
    pub(crate) told: Vec<Told>,
    /// The backend that is asked who a connection is, and what it may join.
    pub(crate) asked: Option<Asked>,
}
