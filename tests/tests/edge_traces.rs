//! Every trace holds on the worker, under the runtime of Cloudflare Workers.

use std::{collections::BTreeMap, iter};

use roomcast_tests::{Driver, Edge, Hibernating, Settings, Sockets, Trace, Url};

/// Traces that cannot hold there, and why. They have to fail.
const EXCEPTIONS: &[(&str, &str)] = &[];

const CLOCK: &str = "time passes in it, and a server's clock cannot be moved";
const USERS: &str = "users come with tokens, which there are none of";
/// Traces that no server can be told over sockets, and why.
const SOCKETLESS: [(&str, &str); 14] = [
    ("bytes_over_the_rate", CLOCK),
    ("from_names_the_user", USERS),
    ("heartbeat_can_be_off", CLOCK),
    ("heartbeat_closes_the_silent", CLOCK),
    ("heartbeat_counts_any_sign_of_life", CLOCK),
    ("idempotency_key_expires", CLOCK),
    ("members_in_pages", USERS),
    ("not_recovered_when_aged", CLOCK),
    ("presence_by_user", USERS),
    ("presence_waits_for_a_reconnect", USERS),
    ("rate_limit_refills", CLOCK),
    ("room_with_a_history_begins_anew", CLOCK),
    ("server_send_to_users", USERS),
    ("welcome_names_the_user", USERS),
];

/// One process with a worker for each of the settings that traces ask for; each trace has a
/// namespace of its own.
struct World {
    edge: Edge,
    /// With the index of their worker.
    traces: Vec<(Trace, usize)>,
}

impl World {
    fn start() -> Self {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/traces");
        let traces = Trace::read_dir(directory).unwrap_or_else(|fault| panic!("{fault}"));
        let mut settings: Vec<Settings> = Vec::new();
        let traces = traces.into_iter().map(|trace| {
            let known = settings.iter().position(|known| known == trace.settings());
            let worker = known.unwrap_or_else(|| {
                settings.push(trace.settings().clone());
                settings.len() - 1
            });
            (trace, worker)
        });
        let traces = traces.collect();
        let edge = Edge::start(&settings.iter().collect::<Vec<_>>());
        Self { edge, traces }
    }

    /// Runs all traces, each as `run` does it, and panics with everything that went another way
    /// than it should. `None` is a trace that the driver cannot do.
    fn check(&self, run: impl Fn(&Trace, Url, usize) -> Option<Result<(), String>>) {
        let mut ran = 0;
        let mut skipped = Vec::new();
        let mut faults = Vec::new();
        let mut exceptions: BTreeMap<_, _> = EXCEPTIONS.iter().copied().collect();
        for (trace, worker) in &self.traces {
            let name = trace.name();
            let url = Url::new(self.edge.address(*worker));
            let url = url.unwrap_or_else(|fault| panic!("{fault}"));
            let url = url.with_api(Some(Edge::API_KEY)).with_namespace(name);
            let Some(result) = run(trace, url, *worker) else {
                skipped.push(name);
                continue;
            };
            ran += 1;
            match (result, exceptions.remove(name)) {
                (Ok(()), None) | (Err(_), Some(_)) => {}
                (Err(fault), None) => faults.push(fault),
                (Ok(()), Some(reason)) => {
                    faults.push(format!("{name} holds, so it is no exception: {reason}"));
                }
            }
        }
        let unknown = exceptions.keys();
        faults.extend(unknown.map(|name| format!("{name} is listed, and did not run")));
        assert_eq!(skipped, SOCKETLESS.map(|(name, _)| name));
        let (count, faults) = (faults.len(), faults.join("\n"));
        // What is an error to the workers is none that a story leads to.
        let log = self.edge.log().join("\n");
        assert!(
            count == 0 && log.is_empty(),
            "{count} of {ran} traces failed:\n{faults}\nThe workers logged:\n{log}"
        );
    }
}

fn run(trace: &Trace, driver: &mut dyn Driver) -> Option<Result<(), String>> {
    let possible = trace.unsupported(driver).is_none();
    possible.then(|| trace.run(driver).map_err(|fault| fault.to_string()))
}

#[test]
fn on_the_worker() {
    World::start().check(|trace, mut url, _| run(trace, &mut url));
}

/// Before every step all objects leave memory, and their sockets hibernate.
#[test]
fn on_the_worker_evicted_before_every_step() {
    let world = World::start();
    world.check(|trace, url, worker| {
        let mut driver = Hibernating::new(url, &world.edge, worker, iter::repeat(true));
        let result = run(trace, &mut driver)?;
        Some(result.and_then(|()| {
            // Also of a trace with one step.
            let evicted = driver.evict(Sockets::Hibernate);
            evicted.map_err(|fault| fault.to_string())?;
            let fault = format!("{} was never evicted", trace.name());
            (driver.evictions() > 0).then_some(()).ok_or(fault)
        }))
    });
}
