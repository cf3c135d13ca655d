//! What the systems before this one offer, and the examples: every story holds in the core, also
//! when the application is restored from text before every step, and on the native host.

use std::collections::BTreeMap;

use proptest::{
    prop_assert_eq,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use roomcast_tests::{Cast, Core, Driver, Sleep, World};

mod applications;
mod served;

use self::{
    applications::{Report, rows::rows},
    served::Served,
};

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

/// Random stories with every verb: nobody can tell whether the application was restored from text
/// before each step.
#[test]
fn an_application_that_sleeps_cannot_be_told_from_one_that_does_not() {
    let messages = [
        r#"{"event":"join","data":"<room>"}"#,
        r#"{"event":"leave","data":"<room>"}"#,
        r#"{"event":"join","data":"watch"}"#,
        r#"{"event":"join","room":"/chat/rust","id":1}"#,
        r#"{"event":"$join","room":"staff"}"#,
        r#"{"event":"emit","data":"a"}"#,
        r#"{"event":"broadcast","data":"b"}"#,
        r#"{"event":"others","data":"c"}"#,
        r#"{"event":"room","data":["<room>","d"]}"#,
        r#"{"event":"room_except_self","data":["<room>","e"]}"#,
        r#"{"event":"my_rooms","data":"f"}"#,
        r#"{"event":"my_rooms_except_self","data":"g"}"#,
        r#"{"event":"conn","data":["<bob>","h"]}"#,
        r#"{"event":"join_conn","data":["<bob>","<room>"]}"#,
        r#"{"event":"leave_conn","data":["<bob>","<room>"]}"#,
        r#"{"event":"disconnect","data":"<carol>"}"#,
        r#"{"event":"disconnect_and_broadcast","data":"<bob>"}"#,
        r#"{"event":"close","data":4000}"#,
        r#"{"event":"rooms","data":""}"#,
        r#"{"event":"members","data":"<room>"}"#,
        r#"{"event":"rooms_of","id":2,"data":"<alice>"}"#,
        r#"{"event":"connections"}"#,
        r#"{"event":"counts"}"#,
        r#"{"event":"several","id":3}"#,
        r#"{"event":"later","id":4,"data":"i"}"#,
        r#"{"event":"fail"}"#,
        r#"{"event":"remember","data":"j"}"#,
        r#"{"event":"recall","id":5}"#,
        r#"{"event":"said","room":"<room>","data":1}"#,
    ];
    let stories = Cast::new(["alice", "bob", "carol"], ["den!", "hall"]).stories(messages, 1..=60);
    let config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let result = TestRunner::new_with_rng(config, rng).run(&stories, |story| {
        let mut awake = World::new(rows);
        let mut sleepers = [Sleep::Saved, Sleep::Persisted].map(|s| World::new(rows).with_sleep(s));
        for op in &story {
            let heard = awake.perform(op)?;
            for sleeper in &mut sleepers {
                prop_assert_eq!(heard, sleeper.perform(op)?);
            }
        }
        Ok(())
    });
    assert!(result.is_ok(), "{result:#?}");
}
