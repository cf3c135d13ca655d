//! Handlers that continue after work.

use std::future::ready;

use roomcast_core::{Applied, Context, Input, Outcome, Router, gateway::CompleteError, later, ok};

use super::INTERNAL;
use crate::gateway::{
    stage::{Stage, caught},
    work::outcome,
};

fn till() -> Router<u32> {
    Router::new(0)
        .on("buy", |_: &mut Context, _: &mut u32, price: u32| {
            later(ready(price)).then(|cx: &mut Context, total: &mut u32, price: u32| {
                assert_ne!(price, 13, "planted");
                *total += price;
                cx.join("buyers")?;
                cx.to(cx.room("buyers")).emit("total", total)?;
                ok(*total)
            })
        })
        .on("twice", |_: &mut Context, price: u32| {
            later(ready(price)).then(|_: &mut Context, total: &mut u32, price: u32| {
                *total += price;
                later(ready(price)).then(|_: &mut Context, total: &mut u32, price: u32| {
                    *total += price;
                    *total
                })
            })
        })
        .on("try", |_: &mut Context, text: String| {
            later(async move { ok(text.parse::<u32>()?) }).and_then(
                |_: &mut Context, total: &mut u32, price: u32| {
                    *total += price;
                },
            )
        })
        .on("total", |_: &mut Context, total: &mut u32| *total)
}

#[test]
fn a_handler_goes_on_with_the_state_of_then() {
    let (mut stage, [a, b]) = Stage::connected(till());
    stage.text(a, r#"{"event":"buy","id":1,"data":2}"#);
    stage.text(a, r#"{"event":"total","id":2}"#);
    let first = stage.one_work();
    stage.text(b, r#"{"event":"buy","id":1,"data":3}"#);
    let second = stage.one_work();
    stage.finish(second);
    stage.expect([
        r#"send b {"event":"total","room":"buyers","data":3}"#,
        r#"send b {"event":"buy","id":1,"data":3}"#,
    ]);
    stage.finish(first);
    stage.expect([
        r#"send a,b {"event":"total","room":"buyers","data":5}"#,
        r#"send a {"event":"buy","id":1,"data":5}"#,
        r#"send a {"event":"total","id":2,"data":5}"#,
    ]);
    stage.text(a, r#"{"event":"twice","id":3,"data":1}"#);
    for _ in 0..2 {
        stage.expect([]);
        let work = stage.one_work();
        stage.finish(work);
    }
    stage.expect([r#"send a {"event":"twice","id":3,"data":7}"#]);
    stage.text(a, r#"{"event":"try","id":4,"data":"x"}"#);
    let work = stage.one_work();
    stage.finish(work);
    stage.expect([&*format!(r#"send a {{"event":"try","id":4,{INTERNAL}"#)]);
    assert_eq!(*stage.app.gateway().state(), 7);
}

#[test]
fn a_panic_behind_work_is_answered() {
    let (mut stage, [a]) = Stage::connected(till());
    stage.text(a, r#"{"event":"buy","id":1,"data":13}"#);
    stage.text(a, r#"{"event":"total","id":2}"#);
    let (token, work) = stage.one_work();
    let outcome = outcome(work);
    caught(&mut stage, &Input::Complete { token, outcome });
    stage.expect([
        &*format!(r#"send a {{"event":"buy","id":1,{INTERNAL}"#),
        r#"send a {"event":"total","id":2,"data":0}"#,
    ]);
}

#[test]
fn work_without_an_answer_has_failed_in_a_replay_too() {
    let silent = || {
        Router::default()
            .on("silent", |cx: &mut Context| {
                cx.spawn(ready(Outcome::Unclaimed))
            })
            .on("start", |cx: &mut Context| {
                let _ = cx.spawn(ready(Outcome::Unclaimed));
            })
            .on("say", |_: &mut Context, text: String| text)
    };
    let (mut stage, [a]) = Stage::connected(silent());
    let (mut replayed, [_]) = Stage::connected(silent());
    for stage in [&mut stage, &mut replayed] {
        stage.text(a, r#"{"event":"silent","id":1}"#);
        stage.text(a, r#"{"event":"say","id":2,"data":"hi"}"#);
    }
    let (token, work) = stage.one_work();
    let outcome = outcome(work);
    let input = Input::Complete { token, outcome };
    let line = serde_json::to_string(&input).expect("JSON");
    let read = serde_json::from_str(&line).expect("an input");
    for (stage, input) in [(&mut stage, input), (&mut replayed, read)] {
        assert_eq!(stage.apply(&input), Applied::Completed(Ok(())));
        stage.expect([
            &*format!(r#"send a {{"event":"silent","id":1,{INTERNAL}"#),
            r#"send a {"event":"say","id":2,"data":"hi"}"#,
        ]);
        let failed = "silent of connection 0: the work ended without an answer";
        assert_eq!(stage.faults(), [failed]);
    }
    // No request id: the handler ends without an answer.
    stage.text(a, r#"{"event":"start"}"#);
    let (token, _) = stage.one_work();
    let answered = stage.complete(token, Outcome::Unclaimed);
    assert_eq!(answered, Err(CompleteError::Answered));
    assert!(stage.app.is_idle());
}
