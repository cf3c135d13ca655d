//! Hooks and guards that take too long.

use std::{future::pending, time::Duration};

use roomcast_core::{
    ConnId, Context, Failure, Handshake, Identity, Input, Router, gateway::CompleteError, later, ok,
};

use crate::gateway::{stage::Stage, work::outcome};

const LATE: &str = r#""error":{"code":"unavailable","message":"the application did not decide in time: try again later"}}"#;
const CLOSE: &str = "close a 1013 the application did not decide in time: try again later";

/// Logs what continued after a wait. The lookup of session `never` never ends; that of `twice`
/// takes a second lookup.
fn slow() -> Router<Vec<&'static str>> {
    Router::new(Vec::new())
        .on_connect(|cx, log| {
            log.push("asked");
            let session = cx.session::<String>();
            let said = cx.emit("hello", &());
            let found = later(async move {
                said?;
                let session = session?.unwrap_or_default();
                if session == "never" {
                    return pending().await;
                }
                ok(session)
            });
            found.and_then(|_: &mut Context, log: &mut Vec<_>, session: String| {
                log.push("found");
                later(async move {
                    if session == "twice" {
                        return pending().await;
                    }
                    ok(())
                })
                .and_then(|_: &mut Context, log: &mut Vec<_>, ()| log.push("there"))
            })
        })
        .on_disconnect(|_, log, _| log.push("gone"))
        .guard_event("say", |_, _, message| {
            let says = message.data.as_str() == "1";
            later(async move {
                match says {
                    true => Ok::<_, Failure>(()),
                    false => pending().await,
                }
            })
        })
        .on("say", |_: &mut Context, number: u32| number)
}

fn guest(session: &str) -> Handshake {
    Handshake::new().with_session(format!("\"{session}\""))
}

fn comes(stage: &mut Stage<Router<Vec<&'static str>>>, session: &str) -> ConnId {
    stage.connect_with(guest(session)).expect("admitted")
}

/// Opens a connection after both waits.
fn is_there(stage: &mut Stage<Router<Vec<&'static str>>>) -> ConnId {
    let conn = comes(stage, "ann");
    for _ in 0..2 {
        let work = stage.one_work();
        stage.finish(work);
    }
    stage.take();
    conn
}

#[test]
fn a_connection_whose_hook_takes_too_long_was_never_there() {
    let mut stage = Stage::new(slow());
    let a = comes(&mut stage, "never");
    stage.text(a, r#"{"event":"say","id":1,"data":1}"#);
    let (token, _work) = stage.one_work();
    stage.wait(6_999);
    stage.expect([]);
    stage.wait(1);
    stage.expect([&*format!(r#"send a {{"event":"$error",{LATE}"#), CLOSE]);
    let late = "connect of connection 0: not decided within 7000 ms";
    assert_eq!(stage.faults(), [late]);
    // The host drops the work; a late result goes nowhere.
    assert_eq!(stage.app.take_cancelled(), [token]);
    let done = roomcast_core::Outcome::Resume("\"ann\"".into());
    assert_eq!(stage.complete(token, done), Err(CompleteError::Ended));
    stage.expect([]);
    assert_eq!(stage.app.gateway().state()[..], ["asked"]);
    assert!(stage.app.is_idle() && stage.app.next_timeout().is_none());
}

#[test]
fn all_waits_of_a_connection_have_one_limit() {
    let mut stage = Stage::new(slow());
    let a = comes(&mut stage, "twice");
    let work = stage.one_work();
    stage.wait(6_000);
    stage.finish(work);
    let (token, _work) = stage.one_work();
    stage.expect([]);
    stage.wait(1_000);
    stage.expect([&*format!(r#"send a {{"event":"$error",{LATE}"#), CLOSE]);
    assert_eq!(stage.app.take_cancelled(), [token]);
    assert_eq!(stage.app.gateway().state()[..], ["asked", "found"]);
    assert!(stage.app.hub().connection(a).is_none() && stage.app.is_idle());
}

#[test]
fn a_decision_in_time_leaves_no_deadline() {
    let mut stage = Stage::new(slow());
    let a = is_there(&mut stage);
    assert_eq!(stage.app.next_timeout(), None);
    stage.text(a, r#"{"event":"say","id":1,"data":1}"#);
    assert!(stage.app.next_timeout().is_some());
    let work = stage.one_work();
    stage.finish(work);
    stage.expect([r#"send a {"event":"say","id":1,"data":1}"#]);
    stage.text(a, r#"{"event":"say","id":2,"data":2}"#);
    stage.lost(a);
    assert_eq!(stage.app.next_timeout(), None);
    stage.wait(20_000);
    stage.expect([]);
    let log = ["asked", "found", "there", "gone"];
    assert_eq!(stage.app.gateway().state()[..], log);
}

#[test]
fn a_guard_that_takes_too_long_refuses_its_message_alone() {
    let mut stage = Stage::new(slow());
    let a = is_there(&mut stage);
    stage.text(a, r#"{"event":"say","id":1,"data":2}"#);
    stage.text(a, r#"{"event":"$rooms","id":2}"#);
    stage.text(a, r#"{"event":"say","id":3,"data":3}"#);
    stage.text(a, r#"{"event":"say","id":4,"data":1}"#);
    let (first, _work) = stage.one_work();
    stage.wait(7_000);
    stage.expect([
        &*format!(r#"send a {{"event":"say","id":1,{LATE}"#),
        r#"send a {"event":"$rooms","id":2,"data":[]}"#,
    ]);
    // The deadline of the next message starts here.
    let (second, _work) = stage.one_work();
    stage.wait(6_999);
    stage.expect([]);
    stage.wait(1);
    stage.expect([&*format!(r#"send a {{"event":"say","id":3,{LATE}"#)]);
    assert_eq!(stage.app.take_cancelled(), [first, second]);
    let work = stage.one_work();
    stage.finish(work);
    stage.expect([r#"send a {"event":"say","id":4,"data":1}"#]);
    let faults = stage.faults();
    assert_eq!(
        faults,
        ["say of connection 0: not decided within 7000 ms"; 2]
    );
}

#[test]
fn a_client_that_said_late_who_it_is_is_refused_too() {
    let mut stage = Stage::new(slow());
    let handshake = guest("never").with_unidentified(true);
    let a = stage.connect_with(handshake).expect("admitted");
    stage.apply(&Input::Authenticate {
        conn: a,
        text: r#"{"event":"$auth","id":1,"data":{}}"#.into(),
        identity: Some(Box::new(Identity::user("ann"))),
        unavailable: false,
    });
    stage.expect([r#"send a {"event":"$auth","id":1,"data":{"user":"ann"}}"#]);
    stage.wait(7_000);
    stage.expect([
        &*format!(r#"send a {{"event":"$error",{LATE}"#),
        r#"send a {"event":"$bye","data":{"code":1013,"reconnect":true,"after_ms":0}}"#,
        CLOSE,
    ]);
    assert!(stage.app.hub().connection(a).is_none() && stage.app.is_idle());
}

#[test]
fn a_journal_replays_what_was_given_up() {
    let (mut stage, mut replayed) = (Stage::new(slow()), Stage::new(slow()));
    let mut lines = Vec::new();
    let mut put = |stage: &mut Stage<_>, input: Input<'static>| {
        lines.push((stage.now, serde_json::to_string(&input).expect("JSON")));
        stage.apply(&input);
    };
    put(&mut stage, Input::Connect(guest("ann")));
    put(&mut stage, Input::Connect(guest("never")));
    for _ in 0..2 {
        let mut works = stage.app.take_work();
        let (token, work) = works.remove(0);
        let outcome = outcome(work);
        put(&mut stage, Input::Complete { token, outcome });
    }
    let due = stage.app.next_timeout().expect("a deadline");
    stage.now = due;
    put(&mut stage, Input::Timeout);
    for (at, line) in lines {
        replayed.now = at;
        let input: Input<'_> = serde_json::from_str(&line).expect("an input");
        replayed.apply(&input);
    }
    let told = stage.take();
    assert!(
        told.iter().any(|line| line.contains("unavailable")),
        "{told:?}"
    );
    assert_eq!(replayed.take(), told);
    assert_eq!(replayed.app.gateway().state(), stage.app.gateway().state());
}

/// A client cannot renew an identity before it knows its connection.
#[test]
fn an_identity_that_ends_soon_is_told_of_behind_the_greeting() {
    let mut stage = Stage::new(slow());
    let deadline = stage.now + Duration::from_secs(8);
    let identity = Identity::user("ann").with_deadline(deadline);
    let handshake = guest("ann").with_welcome(true).with_identity(identity);
    stage.connect_with(handshake).expect("admitted");
    stage.wait(5_000);
    stage.expect([]);
    for _ in 0..2 {
        let work = stage.one_work();
        stage.finish(work);
    }
    let lines = stage.take().into_iter();
    let mut lines = lines.filter(|line| !line.starts_with("persist"));
    let welcome = lines.next().expect("a greeting");
    assert!(welcome.contains(r#","expires_in_ms":3000"#), "{welcome}");
    assert_eq!(
        lines.collect::<Vec<_>>(),
        [
            r#"send a {"event":"hello","data":null}"#,
            r#"send a {"event":"$expiring","data":{"expires_in_ms":3000}}"#,
        ]
    );
}
