//! Stories about the features of the systems before this one, and of the examples: every story
//! holds on the worker, under the runtime of Cloudflare Workers.

use std::{cell::Cell, iter};

use roomcast_tests::{Build, Edge, Hibernating, Settings, Url};

use crate::{alike, applications::Report};

/// The worker's clock cannot be moved; its schedules have a test of their own.
const CLOCK: [&str; 2] = [
    "heartbeat/nest_rs_a_schedule_pushes_to_all",
    "rows/nest_rs_a_schedule_pushes",
];

/// Each story has a namespace of its own, with the application that its name begins with.
fn on_the_worker(evicting: bool) {
    let edge = Edge::start_build(Build::Gateways, &[&Settings::default()]);
    let number = Cell::new(0);
    let report = Report::of(|application, _| {
        number.set(number.get() + 1);
        let url = Url::new(edge.address(0)).unwrap_or_else(|fault| panic!("{fault}"));
        let url = url.with_api(Some(Edge::API_KEY));
        let url = url.with_namespace(format!("{}-{}", application.name, number.get()));
        let url = if application.is_raw {
            url.with_words()
        } else {
            url.with_welcome()
        };
        Hibernating::new(url, &edge, 0, iter::repeat(evicting))
    });
    report.check(&CLOCK);
}

#[test]
fn on_the_worker_awake() {
    on_the_worker(false);
}

#[test]
fn on_the_worker_evicted_before_every_step() {
    on_the_worker(true);
}

/// Random stories, evicted before every step.
#[test]
fn the_worker_cannot_be_told_from_the_core() {
    let edge = Edge::start_build(Build::Gateways, &[&Settings::default()]);
    let number = Cell::new(0);
    alike::like_the_core(24, || {
        number.set(number.get() + 1);
        let url = Url::new(edge.address(0)).unwrap_or_else(|fault| panic!("{fault}"));
        let url = url.with_api(Some(Edge::API_KEY));
        let url = url.with_namespace(format!("rows-{}", number.get()));
        Hibernating::new(url, &edge, 0, iter::repeat(true))
    });
}
