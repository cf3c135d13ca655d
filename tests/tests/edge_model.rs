//! The worker does over its sockets what the model says, wherever in a story it leaves memory.

use std::{
    iter,
    sync::atomic::{AtomicU32, Ordering},
};

use proptest::{bool, collection, prelude::TestCaseError, test_runner::TestRunner};
use roomcast_tests::{Cast, Edge, Hibernating, Lockstep, Op, Settings, Sockets, Url};

use crate::stories::config_over_sockets;

const OPS_MAX: usize = 60;

fn settings() -> Settings {
    "rooms_per_connection=2".parse().expect("known settings")
}

/// A worker beside the model, in a namespace of its own.
fn world<'e>(
    edge: &'e Edge,
    settings: &Settings,
    namespace: &str,
    evictions: impl IntoIterator<Item = bool, IntoIter: 'e>,
) -> Lockstep<Hibernating<'e>> {
    let url = Url::new(edge.address(0)).expect("an address of the form that is asked for");
    let url = url.with_api(Some(Edge::API_KEY)).with_namespace(namespace);
    let driver = Hibernating::new(url, edge, 0, evictions);
    Lockstep::new(driver, &settings.limits()).with_policies(&settings.policies())
}

#[test]
fn the_worker_equals_the_model_wherever_it_is_evicted() {
    let cast = Cast::default()
        .with_namespaces(["red"])
        .with_welcome()
        .with_raw_texts();
    tell(&settings(), &cast);
}

/// Rooms that keep histories and show who is there.
#[test]
fn the_worker_equals_the_model_in_rooms_that_are_kept() {
    let settings: Settings = "rooms_per_connection=3 presence_list=2 page_entries=3 \
                              recovery_messages=3 meta_bytes=20"
        .parse()
        .expect("known settings");
    let rooms = "log history.messages=4\n\
                 den history.messages=300 presence=members presence_grace_s=0 echo=true\n\
                 hall presence=members presence_grace_s=0 members=2 overflow=drop-oldest\n\
                 sta* history.messages=2 presence=counts publish=false overflow=latest";
    let settings = settings.with_rooms(rooms).expect("policies");
    let cast = Cast::new(
        ["alice", "bob", "carol", "dave"],
        ["log", "den", "hall", "stage"],
    );
    // One namespace: the same id names another connection in each, and positions name connections.
    tell(&settings, &cast.with_welcome().with_histories().with_keys());
}

/// Random stories of a cast, on the worker and on the model.
fn tell(settings: &Settings, cast: &Cast) {
    let edge = Edge::start(&[settings]);
    let evictions = collection::vec(bool::weighted(0.3), OPS_MAX);
    let stories = (cast.ops(1..=OPS_MAX), evictions);
    let namespaces = AtomicU32::new(0);
    let evicted = AtomicU32::new(0);
    let result = TestRunner::new(config_over_sockets(2)).run(&stories, |(story, evictions)| {
        let namespace = format!("story-{}", namespaces.fetch_add(1, Ordering::Relaxed));
        let mut world = world(&edge, settings, &namespace, evictions.iter().copied());
        for op in &story {
            world.perform(op).map_err(|fault| {
                let evicted = evictions.iter().zip(1..).filter(|(evicted, _)| **evicted);
                let evicted: Vec<_> = evicted.map(|(_, line)| line).collect();
                TestCaseError::fail(format!("{fault}evicted before the lines {evicted:?}"))
            })?;
        }
        let count = world.driver().evictions().try_into().unwrap_or(u32::MAX);
        evicted.fetch_add(count, Ordering::Relaxed);
        Ok::<(), TestCaseError>(())
    });
    let log = edge.log().join("\n");
    result.unwrap_or_else(|fault| panic!("{fault}\nThe worker logged:\n{log}"));
    assert_eq!(
        log, "",
        "no story leads to what the worker takes for an error"
    );
    let (stories, evicted) = (namespaces.into_inner(), evicted.into_inner());
    assert!(
        evicted > stories,
        "only {evicted} evictions in {stories} stories"
    );
}

/// Checks that the tests of this file fail if evictions lose connections.
#[test]
fn an_eviction_that_closes_the_sockets_is_noticed() {
    let edge = Edge::start(&[&settings()]);
    let mut world = world(&edge, &settings(), "closed", iter::empty());
    for line in [
        "alice connects",
        r#"alice sends {"event":"$join","room":"lobby"}"#,
    ] {
        let op: Op = line.parse().expect("an op");
        world.perform(&op).unwrap_or_else(|fault| panic!("{fault}"));
    }
    let evicted = world.driver_mut().evict(Sockets::Close);
    evicted.unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(world.driver().evictions(), 1);
    let rooms: Op = r#"alice sends {"event":"$rooms"}"#.parse().expect("an op");
    let mismatch = world.perform(&rooms).expect_err("the connection is gone");
    assert_eq!(
        mismatch.expected,
        [r#"alice gets {"event":"$rooms","data":["lobby"]}"#]
    );
}
