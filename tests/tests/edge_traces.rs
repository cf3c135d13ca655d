//! Every trace holds on the worker, under the runtime of Cloudflare Workers.

use std::iter;

use roomcast_tests::{Build, Edge, Hibernating, Settings, Sockets, Trace, Url};

use crate::stories::{for_servers, in_time, namespace, tell};

/// A process with a worker for each of the settings that some traces ask for; each trace has a
/// namespace of its own.
struct World {
    edge: Edge,
    /// The settings of each worker.
    settings: Vec<Settings>,
    /// Text in front of the name of a trace; together they name its namespace.
    prefix: &'static str,
}

impl World {
    fn start(build: Build, prefix: &'static str, traces: &[Trace]) -> Self {
        let mut settings: Vec<Settings> = Vec::new();
        for trace in traces {
            if !settings.contains(trace.settings()) {
                settings.push(trace.settings().clone());
            }
        }
        let edge = Edge::start_build(build, &settings.iter().collect::<Vec<_>>());
        Self {
            edge,
            settings,
            prefix,
        }
    }

    fn worker(&self, trace: &Trace) -> usize {
        let worker = |settings| settings == trace.settings();
        let worker = self.settings.iter().position(worker);
        worker.expect("a worker has its settings")
    }

    fn url(&self, trace: &Trace, attempt: u32) -> Url {
        let url = Url::new(self.edge.address(self.worker(trace)));
        let url = url.unwrap_or_else(|fault| panic!("{fault}"));
        let url = url.with_api(Some(Edge::API_KEY)).with_waits();
        url.with_namespace(format!("{}{}", self.prefix, namespace(trace, attempt)))
    }
}

/// Runs all traces with an application that names the users and changes nothing else; runs the
/// traces that name no user without an application too.
fn tell_all(run: impl Fn(&Trace, Url, &World) -> Result<(), String> + Sync) {
    let traces = for_servers();
    let users = World::start(Build::Gateways, "users-", &traces);
    let mut nameless = traces.clone();
    nameless.retain(|trace| trace.unsupported(&users.url(trace, 0)).is_none());
    let plain = World::start(Build::Plain, "", &nameless);
    tell(&nameless, |trace| {
        let start = |attempt| plain.url(trace, attempt);
        in_time(trace, start, |url| run(trace, url, &plain))
    });
    tell(&traces, |trace| {
        let start = |attempt| users.url(trace, attempt).with_users();
        in_time(trace, start, |url| run(trace, url, &users))
    });
    for world in [plain, users] {
        // No story causes an error in the workers' log.
        let log = world.edge.log().join("\n");
        assert!(log.is_empty(), "the workers logged:\n{log}");
    }
}

#[test]
fn on_the_worker() {
    tell_all(|trace, mut url, _| trace.run(&mut url).map_err(|fault| fault.to_string()));
}

/// Before every step all objects leave memory, and their sockets hibernate.
#[test]
fn on_the_worker_evicted_before_every_step() {
    tell_all(|trace, url, world| {
        let worker = world.worker(trace);
        let mut driver = Hibernating::new(url, &world.edge, worker, iter::repeat(true));
        let result = trace.run(&mut driver);
        result.map_err(|fault| fault.to_string())?;
        // Also of a trace with one step.
        let evicted = driver.evict(Sockets::Hibernate);
        evicted.map_err(|fault| fault.to_string())?;
        let fault = format!("{} was never evicted", trace.name());
        (driver.evictions() > 0).then_some(()).ok_or(fault)
    });
}
