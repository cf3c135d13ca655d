//! What the systems before this one offer, and the examples: every story holds in the core, also
//! when the application is restored from text before every step.

use roomcast_tests::{Core, Sleep};

mod applications;

use self::applications::Report;

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
