//! Answers: each message gets one, whatever its handler does.

use std::collections::BTreeMap;

use roomcast_core::{
    Applied, CloseCode, Context, Failure, Frame, Gateway, Input, Message, Outcome, Reply,
    UnknownConn,
    gateway::{CompleteError, Token},
};

use super::stage::Stage;

/// A gateway made of one function.
struct Does<F>(F);

impl<F: FnMut(&mut Context<'_>, &Message<'_>) -> Outcome> Gateway for Does<F> {
    fn message(&mut self, cx: &mut Context<'_>, message: &Message<'_>) -> Outcome {
        (self.0)(cx, message)
    }
}

fn does<F: FnMut(&mut Context<'_>, &Message<'_>) -> Outcome>(does: F) -> Does<F> {
    Does(does)
}

fn reply(value: u32) -> Reply {
    Reply::new(&value).expect("a number")
}

#[test]
fn a_reply_has_the_event_the_id_and_the_room_of_its_request() {
    let gateway = does(|_, _| Outcome::Reply(reply(7)));
    let (mut stage, [a]) = Stage::connected(gateway);
    stage.text(a, r#"{"event":"ask"}"#);
    stage.text(a, r#"{"event":"ask","id":"x","room":"r"}"#);
    stage.expect([
        r#"send a {"event":"ask","data":7}"#,
        r#"send a {"event":"ask","id":"x","room":"r","data":7}"#,
    ]);
}

#[test]
fn nothing_is_an_answer_only_to_who_asked_with_an_id() {
    let (mut stage, [a]) = Stage::connected(does(|_, _| Outcome::Done));
    stage.text(a, r#"{"event":"ask"}"#);
    stage.text(a, r#"{"event":"ask","id":1}"#);
    stage.expect([r#"send a {"event":"ask","id":1,"data":null}"#]);
}

#[test]
fn of_several_replies_the_last_is_the_answer() {
    let other = || Reply::event("other", &[1]).expect("valid");
    let gateway = does(move |_, _| Outcome::Replies(vec![reply(1), other(), reply(2)]));
    let (mut stage, [a]) = Stage::connected(gateway);
    stage.text(a, r#"{"event":"ask","id":1}"#);
    stage.expect([
        r#"send a {"event":"ask","data":1}"#,
        r#"send a {"event":"other","data":[1]}"#,
        r#"send a {"event":"ask","id":1,"data":2}"#,
    ]);
}

#[test]
fn pushes_of_a_handler_precede_its_reply() {
    let gateway = does(|cx, _| {
        cx.emit("first", &1).expect("valid");
        cx.to(cx.others()).emit("news", &2).expect("valid");
        Outcome::Reply(reply(3))
    });
    let (mut stage, [a, _]) = Stage::connected(gateway);
    stage.text(a, r#"{"event":"ask"}"#);
    stage.expect([
        r#"send a {"event":"first","data":1}"#,
        r#"send b {"event":"news","data":2}"#,
        r#"send a {"event":"ask","data":3}"#,
    ]);
}

#[test]
fn what_nobody_claims_is_published_or_unknown() {
    let (mut stage, [a, b]) = Stage::connected(does(|_, _| Outcome::Unclaimed));
    stage.join(b, "r");
    stage.text(a, r#"{"event":"said","room":"r","data":1}"#);
    stage.text(a, r#"{"event":"said"}"#);
    stage.expect([
        r#"send b {"event":"said","room":"r","from":{"conn":"0","user":"ann"},"data":1}"#,
        r#"send a {"event":"said","error":{"code":"unknown_event","message":"no handler for this event: add a `room` to publish to one"}}"#,
    ]);
}

#[test]
fn a_failure_is_told_with_its_details_and_an_internal_one_is_not() {
    let gateway = does(|_, message| {
        Outcome::Fail(match &*message.event {
            "full" => {
                let failure = Failure::new("table_full", "no seat is free");
                failure.with_details(&BTreeMap::from([("seats", 4)]))
            }
            _ => Failure::internal("postgres://user:password@db is down"),
        })
    });
    let (mut stage, [a]) = Stage::connected(gateway);
    stage.text(a, r#"{"event":"full","id":1}"#);
    stage.text(a, r#"{"event":"down"}"#);
    stage.expect([
        r#"send a {"event":"full","id":1,"error":{"code":"table_full","message":"no seat is free","details":{"seats":4}}}"#,
        r#"send a {"event":"down","error":{"code":"internal","message":"internal server error (logged)"}}"#,
    ]);
    assert_eq!(
        stage.faults(),
        ["down of connection 0: postgres://user:password@db is down"]
    );
}

#[test]
fn a_value_without_a_form_in_json_cannot_be_sent() {
    let keys = BTreeMap::from([([1, 2], 3)]);
    let gateway = does(move |cx, _| {
        cx.emit("map", &keys).map_or_else(
            |fault| Outcome::Fail(fault.into()),
            |_| panic!("a map with such keys is no JSON"),
        )
    });
    let (mut stage, [a]) = Stage::connected(gateway);
    stage.text(a, r#"{"event":"ask","id":1}"#);
    let lines = stage.take();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains(r#""code":"internal""#), "{lines:?}");
    assert_eq!(stage.faults().len(), 1);
}

#[test]
fn too_deep_a_value_cannot_be_sent() {
    let deep = (0..65).fold(serde_json::json!(1), |deep, _| serde_json::json!([deep]));
    assert!(Reply::new(&deep).is_err());
    assert!(Reply::event("$own", &1).is_err() && Reply::event("", &1).is_err());
}

#[test]
fn a_handler_that_closes_its_connection_answers_nobody() {
    let gateway = does(|cx, _| {
        cx.close(CloseCode::REMOVED, "enough");
        assert!(cx.join("r").is_err() && !cx.leave("r") && cx.rooms().is_empty());
        assert_eq!(cx.emit("more", &1).map(|sent| sent.matched), Ok(0));
        Outcome::Reply(reply(1))
    });
    let (mut stage, [a]) = Stage::connected(gateway);
    stage.text(a, r#"{"event":"ask","id":1}"#);
    stage.expect([
        r#"send a {"event":"$bye","data":{"code":4410,"reconnect":false,"after_ms":0}}"#,
        "close a 4410 enough",
    ]);
    let text = Frame::Text(r#"{"event":"ask","id":2}"#);
    let received = stage.apply(&Input::message(a, text));
    assert_eq!(received, Applied::UnknownConn(UnknownConn(a)));
}

/// A gateway that defers every answer.
#[derive(Default)]
struct Promises(Vec<Token>);

impl Gateway for Promises {
    fn message(&mut self, cx: &mut Context<'_>, message: &Message<'_>) -> Outcome {
        let token = cx.later();
        self.0.push(token);
        if message.event == "now" {
            return Outcome::Done;
        }
        Outcome::Later(token)
    }
}

#[test]
fn an_answer_comes_later_once() {
    let (mut stage, [a]) = Stage::connected(Promises::default());
    stage.text(a, r#"{"event":"slow","id":1,"room":"r"}"#);
    stage.text(a, r#"{"event":"now","id":2}"#);
    stage.expect([r#"send a {"event":"now","id":2,"data":null}"#]);
    let [slow, now] = stage.app.gateway().0[..] else {
        panic!("two tokens");
    };
    let mut complete = |token, outcome| stage.complete(token, outcome);
    let again = complete(slow, Outcome::Later(slow));
    assert_eq!(again, Err(CompleteError::NotAnAnswer));
    assert_eq!(complete(slow, Outcome::Reply(reply(5))), Ok(()));
    assert_eq!(complete(slow, Outcome::Done), Err(CompleteError::Answered));
    assert_eq!(complete(now, Outcome::Done), Err(CompleteError::Answered));
    stage.expect([r#"send a {"event":"slow","id":1,"room":"r","data":5}"#]);
}

#[test]
fn an_answer_to_who_has_gone_reaches_nobody() {
    let (mut stage, [a, _]) = Stage::connected(Promises::default());
    stage.text(a, r#"{"event":"slow","id":1}"#);
    let token = stage.app.gateway().0[0];
    assert!(stage.app.is_pending(token));
    stage.lost(a);
    assert!(!stage.app.is_pending(token));
    assert_eq!(stage.app.take_cancelled(), [token]);
    assert!(stage.app.take_cancelled().is_empty());
    // The new connection takes the same slot.
    stage.connect("new").expect("room");
    stage.out.clear();
    let completed = stage.complete(token, Outcome::Done);
    assert_eq!(completed, Err(CompleteError::Ended));
    stage.expect([]);
}

#[test]
fn promises_that_nobody_keeps_come_to_an_end() {
    let (mut stage, [a]) = Stage::connected(Promises::default());
    for _ in 0..257 {
        stage.wait(1_000);
        stage.text(a, r#"{"event":"slow"}"#);
    }
    let lines = stage.take();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains(r#""code":"overloaded""#), "{lines:?}");
}
