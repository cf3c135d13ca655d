//! The relay of a library that is built without the feature `relay`: there is none.

use std::sync::Arc;

use crate::{settings::Settings, shard::Posts, shared::relay::RelayLink};

/// No thread.
#[derive(Debug)]
pub(crate) struct RelayThread;

/// Begins nothing. Settings are checked before, so that none names a relay.
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
