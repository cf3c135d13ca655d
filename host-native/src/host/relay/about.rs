//! Facts that this node tells about itself, for `roomcast cluster`.

use std::{
    net::SocketAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use rustix::system::uname;
use serde::Serialize;

use crate::shared::relay::NodeLoad;

/// The node: what does not change while it runs.
#[derive(Debug)]
pub(super) struct About {
    host: String,
    since_ms: u64,
}

/// The text of a lease, in JSON. Readers take every field for optional.
#[derive(Serialize)]
struct Facts<'a> {
    host: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<SocketAddr>,
    version: &'static str,
    since_ms: u64,
    connections: usize,
    namespaces: usize,
    lag_ms: u64,
    draining: bool,
}

impl About {
    /// This process, which has just begun.
    pub(super) fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let since_ms = since.map_or(0, |since| since.as_millis());
        Self {
            host: uname().nodename().to_string_lossy().into_owned(),
            since_ms: u64::try_from(since_ms).unwrap_or(u64::MAX),
        }
    }

    /// The facts of a moment.
    pub(super) fn text(&self, load: NodeLoad, namespaces: usize, lag_ms: u64) -> Bytes {
        let facts = Facts {
            host: &self.host,
            listen: load.listen,
            version: env!("CARGO_PKG_VERSION"),
            since_ms: self.since_ms,
            connections: load.connections,
            namespaces,
            lag_ms,
            draining: load.is_draining,
        };
        serde_json::to_vec(&facts).unwrap_or_default().into()
    }
}
