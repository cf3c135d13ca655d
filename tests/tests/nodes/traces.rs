//! Every trace holds through a relay, with publishers and members on different servers.

use std::fs;

use roomcast_tests::{Server, Settings, Trace, Url};
use tempfile::TempDir;

use super::redis::Redis;
use crate::stories::{for_servers, in_time, tell};

/// The header field in which the proxy names users; the driver is that proxy.
const USER: &str = "X-User";

/// Traces about the connections of one server, and why.
const TOGETHER: [(&str, &str); 3] = [
    (
        "connections_are_listed",
        "each server has its own ids, which are by age there alone",
    ),
    (
        "connections_have_a_limit",
        "it is the capacity of a machine",
    ),
    (
        "join_over_the_member_limit",
        "each server counts the members that it has",
    ),
];

#[test]
fn on_one_server_with_a_relay() {
    on_servers(1);
}

/// Each connection goes to the next server, and calls of the API to another one.
#[test]
fn on_three_servers() {
    on_servers(3);
}

/// Servers with the same settings, and their Redis.
struct Servers {
    // They end before it.
    servers: Vec<Server>,
    _redis: Redis,
    _folder: TempDir,
}

impl Servers {
    fn start(count: usize, settings: &Settings) -> Self {
        let (redis, folder) = (Redis::start(), tempfile::tempdir().expect("a folder"));
        let mut flags = settings.flags();
        flags.push(format!("--relay={}", redis.url()));
        flags.push("--trusted-proxy=127.0.0.1".into());
        flags.push(format!("--user-header={USER}"));
        if let Some(policies) = settings.config_file() {
            let path = folder.path().join("rooms.toml");
            fs::write(&path, policies).expect("written");
            flags.push(format!("--config={}", path.display()));
        }
        Self {
            servers: (0..count).map(|_| Server::start(&flags)).collect(),
            _redis: redis,
            _folder: folder,
        }
    }

    fn run(&self, trace: &Trace) -> Result<(), String> {
        let addresses = self.servers.iter().map(Server::address);
        let mut addresses = addresses.collect::<Vec<_>>().into_iter();
        let first = addresses.next().expect("a server");
        let shared = Url::new(first).and_then(|url| url.with_relay(addresses));
        let url = shared.map_err(|fault| fault.to_string())?;
        let url = url.with_api(Some(Server::API_KEY));
        let url = url.with_namespace(trace.name());
        let mut url = url.with_welcome().with_user_header(USER).with_waits();
        if is_together(trace) {
            url = url.with_connections_together();
        }
        trace.run(&mut url).map_err(|fault| fault.to_string())
    }
}

fn is_together(trace: &Trace) -> bool {
    TOGETHER.iter().any(|(name, _)| *name == trace.name())
}

/// Runs all traces.
fn on_servers(count: usize) {
    let shared = Servers::start(count, &Settings::default());
    let traces = for_servers();
    let together = traces.iter().filter(|trace| is_together(trace)).count();
    assert_eq!(together, TOGETHER.len(), "a trace of the list is gone");
    tell(&traces, |trace| {
        if trace.settings().is_empty() {
            shared.run(trace)
        } else {
            let start = |_| Servers::start(count, trace.settings());
            in_time(trace, start, |servers| servers.run(trace))
        }
    });
}
