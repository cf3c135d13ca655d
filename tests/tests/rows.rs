//! Stories about the features of the systems before this one, and of the examples: every story
//! holds in the core, also when the application is restored from text before every step, and on the
//! native host.

use std::{cell::Cell, collections::BTreeMap};

use proptest::prop_assert_eq;
use roomcast_core::{
    CloseCode, Context, DisconnectReason, Gateway, Rejection, Router, gateway::Admission,
};
use roomcast_tests::{Core, Driver, Settings, Sleep, Trace, World};

use crate::{
    alike,
    applications::{self, APPLICATIONS, Application, Report, rows::rows},
    served::Served,
};

fn on_the_core(sleep: Sleep) {
    let report = Report::of(|application, trace| {
        let (limits, gateway) = (trace.settings().limits(), application.gateway);
        Core::with_gateways(&limits, move |_| gateway()).with_sleep(sleep)
    });
    report.check(&[]);
}

/// With `ROOMCAST_BLESS=1` it writes what happens into the traces first.
#[test]
fn on_the_core_awake() {
    if std::env::var_os("ROOMCAST_BLESS").is_some() {
        for application in &APPLICATIONS {
            for trace in application.traces() {
                let (limits, gateway) = (trace.settings().limits(), application.gateway);
                let mut core = Core::with_gateways(&limits, move |_| gateway());
                let checked = trace.check(&mut core);
                checked.unwrap_or_else(|fault| panic!("{}/{fault}", application.name));
            }
        }
    }
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

/// No client learns from a frame why a connection ended, but the hook does.
#[test]
fn the_raw_example_knows_why_a_connection_ended() {
    let mut world = World::new(applications::raw::raw);
    let last = |world: &World<Router<applications::raw::Gone>>| {
        let app = world.app().expect("somebody was here");
        let (_, reason) = (*app.gateway().state()).expect("somebody is gone");
        reason
    };
    for (ends, reason) in [
        (
            "ann disconnects",
            DisconnectReason::Client(Some(CloseCode::NORMAL)),
        ),
        ("ann vanishes", DisconnectReason::Lost),
        (
            r#"server closes ann 4410 "removed""#,
            DisconnectReason::Closed(CloseCode::REMOVED),
        ),
    ] {
        world.tell("ann connects");
        world.tell("ann sends join:lobby");
        world.tell(ends);
        assert_eq!(last(&world), reason, "{ends}");
        assert!(world.members("lobby").is_empty(), "{ends}");
    }
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

/// Requests of the server side come from a task in the server's process, and not through HTTP.
#[test]
fn on_the_native_host_from_another_task() {
    on_the_native_host(2, Served::beside);
}

/// Random stories: nobody can tell whether the application was restored from text before each step.
#[test]
fn an_application_that_sleeps_cannot_be_told_from_one_that_does_not() {
    alike::for_each_story(256, |story| {
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
}

/// Random stories, over sockets, with namespaces on two threads.
#[test]
fn the_native_host_cannot_be_told_from_the_core() {
    let application = APPLICATIONS.iter().find(|app| app.name == "rows");
    let application = application.expect("rows");
    let served = Served::start(application, &Settings::default(), 2);
    let number = Cell::new(0);
    alike::like_the_core(64, || {
        number.set(number.get() + 1);
        served.url(&format!("story-{}", number.get()))
    });
}

/// Users named by a cookie, a header field or the query.
fn door() -> Box<dyn Gateway> {
    let door = Router::default()
        .guard_upgrade(|request, ()| match request.header("X-Team") {
            Some("a b") | None => Ok(()),
            Some(_) => Err(Rejection::forbidden("another team plays")),
        })
        .on_upgrade(|request, ()| match (request.cookie("sid"), request.query) {
            (Some("1"), _) => Ok(Admission::new().with_user("ann")),
            (_, "token=t") => Ok(Admission::new().with_user("ben")),
            _ => Err(Rejection::unauthorized("sign in first")),
        })
        .on("me", |cx: &mut Context| cx.user().map(str::to_owned));
    Box::new(door)
}

#[test]
fn what_a_request_brings_reaches_an_application_on_each_host() {
    let story = r#"# Who comes in, by what the request has.
eve connects -> 401
eve connects with cookie sid=2 with query token=x -> 401
eve connects with cookie sid=1 with header x-team=red -> 403
ann connects with cookie theme=dark with cookie sid=1
ben connects with query token=t with header x-team=a<U+0020>b
ann sends {"event":"me","id":1}
ann gets {"event":"me","id":1,"data":"ann"}
ben sends {"event":"me","id":1}
ben gets {"event":"me","id":1,"data":"ben"}
"#;
    let trace = Trace::parse("door", story).unwrap_or_else(|fault| panic!("{fault}"));
    let limits = Settings::default().limits();
    let mut core = Core::with_gateways(&limits, |_| door());
    trace
        .run(&mut core)
        .unwrap_or_else(|fault| panic!("{fault}"));
    let application = Application {
        name: "door",
        gateway: door,
        is_raw: false,
    };
    let served = Served::start(&application, &Settings::default(), 2);
    let mut url = served.url("door");
    trace
        .run(&mut url)
        .unwrap_or_else(|fault| panic!("{fault}"));
}
