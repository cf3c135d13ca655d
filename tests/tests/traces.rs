//! Every trace holds on the core in process, on the server of this repository, and on one that you
//! name.

use std::{
    cell::Cell,
    env, fs,
    time::{SystemTime, UNIX_EPOCH},
};

use roomcast_tests::{Driver, Server, Settings, Sleep, Trace, TraceError, Url};

fn traces() -> Vec<Trace> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/traces");
    Trace::read_dir(directory).unwrap_or_else(|fault| panic!("{fault}"))
}

/// What came of a number of traces.
#[derive(Default)]
struct Outcome {
    ran: usize,
    faults: Vec<TraceError>,
}

impl Outcome {
    /// Runs a trace, when the driver can.
    fn run(&mut self, trace: &Trace, mut driver: impl Driver) {
        if trace.unsupported(&driver).is_none() {
            self.ran += 1;
            self.faults.extend(trace.run(&mut driver).err());
        }
    }

    /// Panics with all failures.
    fn check(self) {
        let Self { ran, faults } = self;
        assert!(ran > 0, "no trace ran");
        let report: String = faults.iter().map(|fault| format!("\n{fault}")).collect();
        let count = faults.len();
        assert!(
            faults.is_empty(),
            "{count} of {ran} traces failed:\n{report}"
        );
    }
}

fn url(address: impl Into<String>) -> Url {
    Url::new(address).unwrap_or_else(|fault| panic!("{fault}"))
}

#[test]
fn on_the_core() {
    let mut outcome = Outcome::default();
    for trace in traces() {
        let settings = trace.settings();
        let core = || settings.core();
        outcome.run(&trace, core());
        // No trace may go another way when the core forgets everything after each step.
        outcome.run(&trace, core().with_sleep(Sleep::Saved));
    }
    outcome.check();
}

#[test]
fn on_the_native_server() {
    on_native(&[]);
}

/// Histories are on disk, and what is told waits for it; nobody may notice.
#[test]
fn on_the_native_server_with_a_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let stores = Cell::new(0);
    on_native_with(|| {
        // Each server has its own.
        stores.set(stores.get() + 1);
        let store = folder.path().join(stores.get().to_string());
        vec![format!("--store={}", store.display())]
    });
}

/// Connections and namespaces are spread over threads; nobody may notice.
#[test]
fn on_the_native_server_with_two_threads() {
    on_native(&["--threads=2"]);
}

#[test]
fn on_the_native_server_with_four_threads() {
    on_native(&["--threads=4"]);
}

/// Traces without settings share a server, in a namespace of their own each.
fn on_native(flags: &[&str]) {
    on_native_with(|| flags.iter().map(|&flag| flag.into()).collect());
}

fn on_native_with(flags: impl Fn() -> Vec<String>) {
    let folder = tempfile::tempdir().expect("a folder");
    let start = |settings: &Settings| {
        let mut all = settings.flags();
        all.extend(flags());
        if let Some(policies) = settings.config_file() {
            // Read by the time that the server listens.
            let path = folder.path().join("rooms.toml");
            fs::write(&path, policies).expect("written");
            all.push(format!("--config={}", path.display()));
        }
        Server::start(&all)
    };
    let mut outcome = Outcome::default();
    let shared = start(&Settings::default());
    for trace in &traces() {
        let on = |server: &Server| {
            let url = url(server.address()).with_api(Some(Server::API_KEY));
            url.with_namespace(trace.name())
        };
        if trace.settings().is_empty() || trace.unsupported(&on(&shared)).is_some() {
            outcome.run(trace, on(&shared));
        } else {
            let own = start(trace.settings());
            outcome.run(trace, on(&own));
        }
    }
    outcome.check();
}

/// `ROOMCAST_TEST_URL=ws://host:port/ws`, and `ROOMCAST_TEST_KEY` for the traces that use the HTTP
/// API. The server may be at work: each trace has a namespace of its own. It has to have the
/// default limits and to accept any namespace.
#[test]
fn on_the_server_of_your_choice() {
    let Ok(address) = env::var("ROOMCAST_TEST_URL") else {
        return;
    };
    let key = env::var("ROOMCAST_TEST_KEY").ok();
    // Idempotency keys of an earlier run may still be remembered.
    let run = SystemTime::now().duration_since(UNIX_EPOCH);
    let run = run.unwrap_or_default().as_millis();
    let mut outcome = Outcome::default();
    for trace in traces() {
        let url = url(address.clone()).with_namespace(format!("{}-{run}", trace.name()));
        let url = match &key {
            Some(key) => url.with_api(Some(key)),
            None => url,
        };
        if trace.settings().is_empty() {
            outcome.run(&trace, url);
        }
    }
    outcome.check();
}
