//! The native server does over its sockets what the model says.

use std::sync::atomic::{AtomicU32, Ordering};

use proptest::{prelude::TestCaseError, test_runner::TestRunner};
use roomcast_tests::{Cast, Lockstep, Op, Server, Settings, Url};

use crate::stories::config_over_sockets;

#[test]
fn the_native_server_equals_the_model() {
    compare(&[]);
}

/// Connections and namespaces are spread over threads; nobody may notice.
#[test]
fn the_native_server_with_two_threads_equals_the_model() {
    compare(&["--threads=2"]);
}

#[test]
fn the_native_server_with_four_threads_equals_the_model() {
    compare(&["--threads=4"]);
}

fn compare(flags: &[&str]) {
    let settings: Settings = "rooms_per_connection=2".parse().expect("known settings");
    let limits = settings.limits();
    // A namespace stays while an idempotency key is remembered, and each story has its own.
    let mut all = settings.flags();
    all.push("--namespaces-max=1000000".into());
    all.extend(flags.iter().map(|&flag| flag.into()));
    let server = Server::start(&all);
    let cast = Cast::default()
        .with_namespaces(["red"])
        .with_welcome()
        .with_raw_texts();
    let stories = cast.ops(1..=60);
    let namespaces = AtomicU32::new(0);
    let result = TestRunner::new(config_over_sockets(2)).run(&stories, |story: Vec<Op>| {
        // A story of its own, beside those that came before and those that run while it shrinks.
        let namespace = format!("story-{}", namespaces.fetch_add(1, Ordering::Relaxed));
        let url = Url::new(server.address())?.with_api(Some(Server::API_KEY));
        let mut world = Lockstep::new(url.with_namespace(namespace), &limits);
        for op in &story {
            world.perform(op)?;
        }
        Ok::<(), TestCaseError>(())
    });
    result.unwrap_or_else(|fault| panic!("{fault}"));
}
