//! Deferred answers, and the messages that wait for them.

use std::{
    future::ready,
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context as Task, Poll, Waker},
};

use roomcast_core::{
    CloseCode, Context, Failure, Frame, Gateway, Input, Message, Outcome, Reply, Router,
    gateway::{CompleteError, Token, Work},
};

use super::stage::Stage;

fn shop() -> Router {
    Router::default()
        .on("buy", |_: &mut Context, what: String| async move {
            Ok::<_, Failure>(what)
        })
        .on("look", |cx: &mut Context, what: String| {
            cx.spawn_concurrent(ready(what))
        })
        .on("say", |_: &mut Context, text: String| text)
        .on("panic", |_: &mut Context| -> u32 { panic!("planted") })
        .on("out", |cx: &mut Context| {
            cx.close(CloseCode::REMOVED, "out");
        })
}

fn asks(event: &str, number: usize) -> String {
    format!(r#"{{"event":"{event}","data":"{number}","id":{number}}}"#)
}

/// Returns the outcome of a future that never waits.
pub(crate) fn outcome(mut work: Work) -> Outcome {
    match work.as_mut().poll(&mut Task::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("it waits"),
    }
}

impl<G: Gateway> Stage<G> {
    pub(crate) fn one_work(&mut self) -> (Token, Work) {
        let mut work = self.app.take_work();
        assert_eq!(work.len(), 1);
        work.remove(0)
    }

    pub(crate) fn finish(&mut self, (token, work): (Token, Work)) {
        let outcome = outcome(work);
        assert_eq!(self.complete(token, outcome), Ok(()));
    }
}

#[test]
fn later_messages_of_a_connection_wait_for_the_answer() {
    let (mut stage, [a, b]) = Stage::connected(shop());
    stage.text(a, &asks("buy", 1));
    stage.text(a, &asks("say", 2));
    stage.text(a, r#"{"event":"$join","room":"r","id":3}"#);
    stage.text(a, r#"{"event":7}"#);
    stage.text(a, &asks("buy", 4));
    stage.text(a, &asks("say", 5));
    stage.expect([]);
    assert!(!stage.app.is_idle());

    // Other connections do not wait, nor does the heartbeat.
    stage.text(b, &asks("say", 1));
    stage.text(a, r#"{"event":"$ping"}"#);
    stage.expect([
        r#"send b {"event":"say","id":1,"data":"1"}"#,
        r#"send a {"event":"$pong"}"#,
    ]);

    let work = stage.one_work();
    stage.finish(work);
    stage.expect([
        r#"send a {"event":"buy","id":1,"data":"1"}"#,
        r#"send a {"event":"say","id":2,"data":"2"}"#,
        r#"send a {"event":"$join","id":3,"room":"r","data":{"epoch":"e","offset":0,"already":false}}"#,
        r#"send a {"event":"$error","error":{"code":"bad_envelope","message":"`event` must be a string of 1 to 128 bytes","details":{"limit":128}}}"#,
    ]);
    let work = stage.one_work();
    stage.finish(work);
    stage.expect([
        r#"send a {"event":"buy","id":4,"data":"4"}"#,
        r#"send a {"event":"say","id":5,"data":"5"}"#,
    ]);
    assert!(stage.app.is_idle());
    stage.text(a, &asks("say", 6));
    stage.expect([r#"send a {"event":"say","id":6,"data":"6"}"#]);
}

#[test]
fn nothing_waits_for_concurrent_work() {
    let (mut stage, [a]) = Stage::connected(shop());
    for number in 1..4 {
        stage.text(a, &asks("look", number));
    }
    stage.text(a, &asks("say", 4));
    stage.expect([r#"send a {"event":"say","id":4,"data":"4"}"#]);
    let mut work = stage.app.take_work();
    while let Some(last) = work.pop() {
        stage.finish(last);
    }
    stage.expect([
        r#"send a {"event":"look","id":3,"data":"3"}"#,
        r#"send a {"event":"look","id":2,"data":"2"}"#,
        r#"send a {"event":"look","id":1,"data":"1"}"#,
    ]);
}

#[test]
fn what_waits_is_bounded_by_number_and_by_bytes() {
    let overloaded = |event: &str, id: usize, most: &str, limit: usize| {
        format!(
            r#"send a {{"event":"{event}","id":{id},"error":{{"code":"overloaded","message":"at most {most} may wait for the answer to an earlier message: wait for that answer; this message was not processed","details":{{"limit":{limit}}}}}}}"#
        )
    };
    let (mut stage, [a]) = Stage::connected(shop());
    stage.text(a, &asks("buy", 0));
    for number in 1..=64 {
        stage.text(a, &asks("say", number));
    }
    stage.expect([]);
    stage.text(a, &asks("say", 65));
    stage.expect([&overloaded("say", 65, "64 messages", 64)]);
    let work = stage.one_work();
    stage.finish(work);
    assert_eq!(stage.take().len(), 65);

    stage.text(a, &asks("buy", 0));
    let large = format!(
        r#"{{"event":"say","data":"{}","id":1}}"#,
        "x".repeat(60 * 1024)
    );
    for _ in 0..4 {
        stage.wait(2_000);
        stage.text(a, &large);
    }
    stage.expect([]);
    stage.wait(2_000);
    stage.text(a, &large);
    stage.expect([&overloaded("say", 1, "262144 bytes", 262_144)]);
}

#[test]
fn the_rate_counts_when_a_message_arrives() {
    let (mut stage, [a]) = Stage::connected(shop());
    stage.text(a, &asks("buy", 0));
    let mut limited = 0;
    for number in 1..2_000 {
        stage.text(a, &asks("say", number));
        let lines = stage.take();
        if lines.iter().any(|line| line.contains("rate_limited")) {
            limited += 1;
        }
        if lines.iter().any(|line| line.starts_with("close a 4429")) {
            assert!(limited > 0);
            return;
        }
    }
    panic!("never closed");
}

#[test]
fn it_ends_with_the_connection() {
    let (mut stage, [a, b]) = Stage::connected(shop());
    stage.text(a, &asks("buy", 1));
    stage.text(a, &asks("say", 2));
    stage.text(b, &asks("buy", 1));
    stage.text(b, &asks("out", 2));
    stage.text(b, &asks("say", 3));
    let mut work = stage.app.take_work();
    let (of_b, of_a) = (work.remove(1), work.remove(0));
    stage.lost(a);
    assert_eq!(stage.app.take_cancelled(), [of_a.0]);
    let answer = Outcome::Done;
    let ended = stage.complete(of_a.0, answer);
    assert_eq!(ended, Err(CompleteError::Ended));
    stage.expect([]);
    // The second message closes the connection: the third is never handled.
    stage.finish(of_b);
    stage.expect([
        r#"send b {"event":"buy","id":1,"data":"1"}"#,
        r#"send b {"event":"$bye","data":{"code":4410,"reconnect":false,"after_ms":0}}"#,
        "close b 4410 out",
    ]);
    assert!(stage.app.is_idle());
}

#[test]
fn work_whose_token_is_not_returned_is_not_waited_for() {
    let gateway = Router::default()
        .on("start", |cx: &mut Context| {
            let _ = cx.spawn(ready(1));
        })
        .on("say", |_: &mut Context, text: String| text);
    let (mut stage, [a]) = Stage::connected(gateway);
    stage.text(a, &asks("start", 1));
    stage.text(a, &asks("say", 2));
    stage.expect([
        r#"send a {"event":"start","id":1,"data":null}"#,
        r#"send a {"event":"say","id":2,"data":"2"}"#,
    ]);
    let (token, work) = stage.one_work();
    let late = stage.complete(token, outcome(work));
    assert_eq!(late, Err(CompleteError::Answered));
    stage.expect([]);
    // The work still ends with its connection.
    stage.text(a, &asks("start", 3));
    let (token, _) = stage.one_work();
    assert!(!stage.app.is_idle());
    stage.lost(a);
    assert_eq!(stage.app.take_cancelled(), [token]);
    assert!(stage.app.is_idle());
}

#[test]
fn work_of_one_connection_is_bounded() {
    let gateway = Router::default()
        .on("start", |cx: &mut Context| {
            let _ = cx.spawn(ready(1));
        })
        .on("look", |cx: &mut Context| cx.spawn_concurrent(ready(1)));
    let (mut stage, [a, b]) = Stage::connected(gateway);
    for number in 0..256 {
        stage.wait(100);
        stage.text(a, &asks("start", number));
    }
    assert_eq!(stage.take().len(), 256);
    stage.text(a, &asks("start", 256));
    stage.expect([r#"send a {"event":"start","id":256,"data":null}"#]);
    stage.text(a, &asks("look", 257));
    let refused = &stage.take()[0];
    assert!(refused.contains(r#""id":257,"error":{"code":"overloaded""#));
    assert!(refused.ends_with(r#","details":{"limit":256}}}"#));
    assert_eq!(stage.app.take_work().len(), 256);
    let dropped = "spawn of connection 0: too many tasks of one connection are running: this one was not started";
    assert_eq!(stage.faults(), [dropped, dropped]);
    stage.text(b, &asks("look", 1));
    assert_eq!(stage.app.take_work().len(), 1);
}

#[test]
fn a_future_may_come_from_a_handler_with_state() {
    let gateway = Router::new(1).on("next", |_: &mut Context, number: &mut u32, by: u32| {
        *number += by;
        let number = *number;
        async move { number }
    });
    let (mut stage, [a]) = Stage::connected(gateway);
    stage.text(a, r#"{"event":"next","data":2}"#);
    let work = stage.one_work();
    stage.finish(work);
    stage.expect([r#"send a {"event":"next","data":3}"#]);
}

#[test]
fn what_it_gives_is_what_a_handler_may_return() {
    /// A value that JSON cannot represent.
    #[derive(serde::Serialize)]
    struct Keyed(std::collections::BTreeMap<(u8, u8), u8>);

    let nothing = || Failure::new("nothing", "nothing there");
    let gateway = Router::default()
        .on("fails", move |cx: &mut Context| {
            cx.spawn(ready(Err::<u32, _>(nothing())))
        })
        .on("several", |cx: &mut Context| {
            let replies = [1, 2].map(|value| Reply::new(&value).expect("a number"));
            cx.spawn(ready(replies.to_vec()))
        })
        .on("keyed", |cx: &mut Context| {
            cx.spawn(ready(Keyed([((1, 2), 3)].into())))
        });
    let (mut stage, [a]) = Stage::connected(gateway);
    for (at, event) in ["fails", "several", "keyed"].into_iter().enumerate() {
        stage.text(a, &asks(event, at));
        let work = stage.one_work();
        stage.finish(work);
    }
    stage.expect([
        r#"send a {"event":"fails","id":0,"error":{"code":"nothing","message":"nothing there"}}"#,
        r#"send a {"event":"several","data":1}"#,
        r#"send a {"event":"several","id":1,"data":2}"#,
        r#"send a {"event":"keyed","id":2,"error":{"code":"internal","message":"internal server error (logged)"}}"#,
    ]);
    let faults = stage.faults();
    assert!(faults[0].contains("keyed") && faults[0].contains("key must be a string"));
}

#[test]
fn a_message_that_waited_and_panics_is_answered_and_the_next_go_on() {
    let (mut stage, [a]) = Stage::connected(shop());
    stage.text(a, &asks("buy", 1));
    stage.text(a, &asks("panic", 2));
    stage.text(a, &asks("panic", 3));
    stage.text(a, &asks("say", 4));
    let (token, work) = stage.one_work();
    let mut input = Input::Complete {
        token,
        outcome: outcome(work),
    };
    let (app, now, out) = (&mut stage.app, stage.now, &mut stage.out);
    let mut caught = catch_unwind(AssertUnwindSafe(|| drop(app.apply(now, &input, out)))).is_err();
    let mut times = 0;
    while caught {
        times += 1;
        let unwound = AssertUnwindSafe(|| app.unwound(now, &input, "planted", out));
        caught = catch_unwind(unwound).is_err();
        input = Input::Timeout;
    }
    assert_eq!(times, 2);
    let internal = r#""error":{"code":"internal","message":"internal server error (logged)"}}"#;
    stage.expect([
        r#"send a {"event":"buy","id":1,"data":"1"}"#,
        &format!(r#"send a {{"event":"panic","id":2,{internal}"#),
        &format!(r#"send a {{"event":"panic","id":3,{internal}"#),
        r#"send a {"event":"say","id":4,"data":"4"}"#,
    ]);
    stage.text(a, &asks("say", 5));
    stage.expect([r#"send a {"event":"say","id":5,"data":"5"}"#]);
}

#[test]
fn a_clone_begins_nothing() {
    #[derive(Clone)]
    struct Waits;

    impl Gateway for Waits {
        fn message(&mut self, cx: &mut Context<'_>, _: &Message<'_>) -> Outcome {
            Outcome::Later(cx.spawn(ready(1)))
        }
    }

    let (mut stage, [a]) = Stage::connected(Waits);
    stage.frame(a, Frame::Text(&asks("wait", 1)));
    assert_eq!(stage.app.clone().take_work().len(), 0);
    assert_eq!(stage.app.take_work().len(), 1);
}

/// A host that loses its work knows the error answers beforehand.
#[test]
fn what_a_lost_answer_would_have_to_be_is_known() {
    let (mut stage, [a, b]) = Stage::connected(shop());
    stage.text(a, r#"{"event":"buy","id":"x","room":"r","data":"1"}"#);
    let (token, work) = stage.one_work();
    assert_eq!(
        stage.app.lost_answer(token).as_deref(),
        Some(
            r#"{"event":"buy","id":"x","room":"r","error":{"code":"internal","message":"internal server error (logged)"}}"#
        )
    );
    assert!(!stage.app.is_waiting(a));
    stage.text(a, &asks("say", 2));
    assert!(stage.app.is_waiting(a) && !stage.app.is_waiting(b));
    stage.finish((token, work));
    assert!(!stage.app.is_waiting(a));
    assert_eq!(stage.app.lost_answer(token), None);
}

/// Lets a host that cannot run schedules skip them.
#[test]
fn schedules_that_are_due_can_be_passed_over() {
    let second = std::time::Duration::from_secs(1);
    let router = Router::default().every(second, |namespace, ()| {
        namespace.report("beat", "it ran");
    });
    let (mut stage, [_]) = Stage::connected(router);
    stage.app.take_unsaved();
    stage.now = stage.now + second * 2;
    stage.apply(&Input::SkipDue);
    assert!(stage.app.take_unsaved());
    stage.apply(&Input::Timeout);
    assert_eq!(stage.app.take_errors(), []);
    assert_eq!(stage.app.next_timeout(), Some(stage.now + second));
    stage.apply(&Input::SkipDue);
    assert!(!stage.app.take_unsaved());
}
