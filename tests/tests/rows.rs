//! What the systems before this one offer, and the examples: every story holds in the core, also
//! when the application is restored from text before every step, and on the native host.

use std::collections::BTreeMap;

use roomcast_tests::{Core, Driver, Sleep};

mod applications;
mod served;

use self::{applications::Report, served::Served};

fn on_the_core(sleep: Sleep) {
    let report = Report::of(|application, trace| {
        let (limits, gateway) = (trace.settings().limits(), application.gateway);
        Core::with_gateways(&limits, move |_| gateway()).with_sleep(sleep)
    });
    report.check(&[]);
}

#[test]
fn on_the_core_awake() {
    on_the_core(Sleep::Never);
}

#[test]
fn on_the_core_restored_before_every_step() {
    on_the_core(Sleep::Saved);
}

#[test]
fn on_the_core_restored_from_what_it_persisted() {
    on_the_core(Sleep::Persisted);
}

/// Time passes in these, and a server's clock cannot be moved.
const CLOCK: [&str; 2] = [
    "heartbeat/nest_rs_a_schedule_pushes_to_all",
    "rows/nest_rs_a_schedule_pushes",
];

/// Each application has a server, and each story a namespace of its own.
fn on_the_native_host<D: Driver>(threads: usize, driver: impl Fn(&Served, &str) -> D) {
    let mut servers = BTreeMap::new();
    let report = Report::of(|application, trace| {
        let settings = trace.settings();
        let key = (application.name, format!("{settings:?}"));
        let served = servers
            .entry(key)
            .or_insert_with(|| Served::start(application, settings, threads));
        driver(served, trace.name())
    });
    report.check(&CLOCK);
}

#[test]
fn on_the_native_host_with_one_thread() {
    on_the_native_host(1, Served::url);
}

#[test]
fn on_the_native_host_with_two_threads() {
    on_the_native_host(2, Served::url);
}

/// What comes from outside comes from a task in the server's process, and not through HTTP.
#[test]
fn on_the_native_host_from_another_task() {
    on_the_native_host(2, Served::beside);
}
