//! The server's description of itself.

use alloc::vec::Vec;

use serde::Serialize;

/// The answer to `GET /server`: the kind of server, and how it is set up. It names no path and no
/// secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ServerFacts {
    /// The version of the server.
    version: &'static str,
    host: Host,
    threads: usize,
    store: Store,
    /// True when there is `GET /metrics`.
    metrics: bool,
}

/// The kind of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Host {
    Native,
    Worker,
}

/// The place of the histories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Store {
    Memory,
    Disk,
    Relay,
    DurableObject,
}

impl ServerFacts {
    /// The facts of a server with this number of I/O threads. With a store its histories outlive
    /// the process.
    pub const fn native(threads: usize, has_store: bool, has_metrics: bool) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            host: Host::Native,
            threads,
            store: if has_store {
                Store::Disk
            } else {
                Store::Memory
            },
            metrics: has_metrics,
        }
    }

    /// The same of a server whose histories are with its relay.
    #[must_use]
    pub const fn with_relay(self) -> Self {
        Self {
            store: Store::Relay,
            ..self
        }
    }

    /// The facts of a worker, whose namespaces are Durable Objects: each has a thread, and a
    /// storage for its histories.
    pub const fn worker() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            host: Host::Worker,
            threads: 1,
            store: Store::DurableObject,
            metrics: false,
        }
    }

    /// The facts as JSON.
    pub(crate) fn to_json(self) -> Vec<u8> {
        // Names and numbers always have a JSON form.
        serde_json::to_vec(&self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::String};

    use super::*;

    #[test]
    fn facts_name_the_host_its_threads_and_its_store() {
        let text = |facts: ServerFacts| String::from_utf8(facts.to_json()).expect("text");
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            text(ServerFacts::native(4, true, false)),
            format!(
                r#"{{"version":"{version}","host":"native","threads":4,"store":"disk","metrics":false}}"#
            )
        );
        let memory = text(ServerFacts::native(1, false, true));
        assert!(
            memory.contains(r#""threads":1,"store":"memory","metrics":true"#),
            "{memory}"
        );
        let relay = text(ServerFacts::native(1, false, true).with_relay());
        assert!(relay.contains(r#""store":"relay""#), "{relay}");
        let worker = text(ServerFacts::worker());
        let rest = r#""host":"worker","threads":1,"store":"durable_object","metrics":false"#;
        assert!(worker.contains(rest), "{worker}");
    }
}
