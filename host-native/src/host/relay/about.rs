//! Facts that this node reports about itself, for `roomcast cluster`.

use std::net::SocketAddr;

use bytes::Bytes;
use rustix::system::uname;
use serde::Serialize;

use crate::{clock::unix_now_ms, shared::relay::NodeLoad};

/// The facts about the node that do not change while it runs.
#[derive(Debug)]
pub(super) struct About {
    host: String,
    since_ms: u64,
}

/// The text of a lease, in JSON. Readers treat every field as optional.
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
    /// The facts about this process, which has just started.
    pub(super) fn now() -> Self {
        Self {
            host: uname().nodename().to_string_lossy().into_owned(),
            since_ms: unix_now_ms(),
        }
    }

    /// The text of a lease, with the current figures.
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
