//! Stubs of the relay, for builds without the feature `relay`.

use std::sync::Arc;

use crate::{settings::Settings, shard::Posts, shared::relay::RelayLink};

/// A stub: there is no thread.
#[derive(Debug)]
pub(crate) struct RelayThread;

/// Starts nothing. The settings were checked before, so they name no relay.
#[allow(clippy::unused_async)] // as with the feature
pub(crate) async fn start(
    _: &Settings,
    _: &Posts,
) -> Result<(Option<Arc<RelayLink>>, RelayThread), String> {
    Ok((None, RelayThread))
}

impl RelayThread {
    /// Waits for nothing.
    #[allow(clippy::unused_async)] // as with the feature
    pub(crate) async fn finish(self) {}
}
