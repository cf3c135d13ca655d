//! Every trace holds through a relay, with publishers and members on different servers.

use std::{collections::BTreeSet, fs};

use roomcast_tests::{Server, Settings, Trace, Url};
use tempfile::TempDir;

use super::redis::Redis;
use crate::stories::{for_servers, tell};

/// The header field in which the proxy names users; the driver is that proxy.
const USER: &str = "X-User";

/// Traces that do not hold with a relay, and why.
const EXCEPTIONS: [(&str, &str); 4] = [
    (
        "presence_waits_for_a_reconnect",
        "who is waited for counts as a connection",
    ),
    (
        "publish_key_of_a_refused_publish",
        "rights come before the relay, which has the keys",
    ),
    (
        "publish_keys_have_a_limit",
        "the relay limits the time of keys, not their number",
    ),
    (
        "room_with_a_history_begins_anew",
        "the relay lists no rooms without members",
    ),
];

/// Further traces that do not hold on several servers, and why.
const SEVERAL: [(&str, &str); 3] = [
    (
        "connections_are_listed",
        "in the order of ids, of which each server takes many at once",
    ),
    ("connections_have_a_limit", "each server counts its own"),
    ("join_over_the_member_limit", "each server counts its own"),
];

#[test]
fn on_one_server_with_a_relay() {
    on_servers(1, &[]);
}

/// Each connection goes to the next server, and calls of the API to another one.
#[test]
fn on_three_servers() {
    on_servers(3, &SEVERAL);
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
        trace.run(&mut url).map_err(|fault| fault.to_string())
    }
}

/// Runs all traces. The exceptions fail, so that one that holds again is noticed.
fn on_servers(count: usize, more: &[(&str, &str)]) {
    let shared = Servers::start(count, &Settings::default());
    let (traces, excepted): (Vec<_>, Vec<_>) = for_servers().into_iter().partition(|trace| {
        EXCEPTIONS
            .iter()
            .chain(more)
            .all(|(name, _)| *name != trace.name())
    });
    let names: BTreeSet<_> = excepted.iter().map(Trace::name).collect();
    for (name, reason) in EXCEPTIONS.iter().chain(more) {
        assert!(names.contains(name), "no trace is called {name}: {reason}");
    }
    let run = |trace: &Trace| {
        if trace.settings().is_empty() {
            shared.run(trace)
        } else {
            Servers::start(count, trace.settings()).run(trace)
        }
    };
    tell(&traces, run);
    tell(&excepted, |trace| match run(trace) {
        Ok(()) => Err(format!("{}: an exception that holds", trace.name())),
        Err(_) => Ok(()),
    });
}
