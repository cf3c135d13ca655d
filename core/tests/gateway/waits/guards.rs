//! Guards of messages, of rooms and of upgrades.

use std::{cell::RefCell, future::ready, rc::Rc};

use roomcast_core::{
    Context, Failure, Rejection, Router,
    gateway::{Admission, CompleteError, UpgradeRequest},
    later,
};

use crate::gateway::{stage::Stage, work::outcome};

/// Guards of messages and of rooms, some of which wait; each logs when it is called.
fn guarded(asked: &Rc<dyn Fn(&'static str)>) -> Router<u32> {
    let asks = || asked.clone();
    let (first, second, third, rooms) = (asks(), asks(), asks(), asks());
    Router::new(0)
        .guard(move |_, _, _| {
            first("first");
            Ok(())
        })
        .guard(move |_, _, message| {
            second("second");
            let text = message.data.as_str().to_owned();
            later(async move {
                match &*text {
                    r#""no""# => Err(Failure::forbidden("not this")),
                    _ => Ok(()),
                }
            })
        })
        .guard_event("say", move |_, _, _| {
            third("third");
            later(ready(Ok(())))
        })
        .guard_rooms(move |cx, _, action, room| {
            rooms("rooms");
            let may = room != "vault" || cx.user() == Some("ben");
            let action = format!("{action:?}");
            later(async move { may.then_some(()).ok_or(Failure::forbidden(action)) })
        })
        .on("say", |_: &mut Context, said: &mut u32, text: String| {
            *said += 1;
            (text, *said)
        })
}

/// Guards in the order of their calls.
type Log = Rc<RefCell<Vec<&'static str>>>;

fn logged() -> (Rc<dyn Fn(&'static str)>, Log) {
    let log = Rc::new(RefCell::new(Vec::new()));
    let logged = log.clone();
    (Rc::new(move |guard| logged.borrow_mut().push(guard)), log)
}

#[test]
fn a_message_goes_on_behind_each_guard_that_waits_and_passes_none_twice() {
    let (asked, log) = logged();
    let (mut stage, [a, b]) = Stage::connected(guarded(&asked));
    stage.text(a, r#"{"event":"say","id":1,"data":"hi"}"#);
    stage.text(a, r#"{"event":"$rooms","id":2}"#);
    stage.expect([]);
    assert_eq!(log.take(), ["first", "second"]);
    let work = stage.one_work();
    stage.finish(work);
    stage.expect([]);
    assert_eq!(log.take(), ["third"]);
    // Other connections do not wait.
    stage.text(b, r#"{"event":"$rooms","id":1}"#);
    stage.expect([r#"send b {"event":"$rooms","id":1,"data":[]}"#]);
    let work = stage.one_work();
    stage.finish(work);
    stage.expect([
        r#"send a {"event":"say","id":1,"data":["hi",1]}"#,
        r#"send a {"event":"$rooms","id":2,"data":[]}"#,
    ]);
    assert!(log.take().is_empty() && stage.app.is_idle());
}

#[test]
fn a_guard_that_has_waited_refuses_as_one_that_has_not() {
    let (asked, _) = logged();
    let (mut stage, [a]) = Stage::connected(guarded(&asked));
    stage.text(a, r#"{"event":"say","id":1,"data":"no"}"#);
    stage.text(a, r#"{"event":"$rooms","id":2}"#);
    let work = stage.one_work();
    stage.finish(work);
    stage.expect([
        r#"send a {"event":"say","id":1,"error":{"code":"forbidden","message":"not this"}}"#,
        r#"send a {"event":"$rooms","id":2,"data":[]}"#,
    ]);
    assert_eq!(*stage.app.gateway().state(), 0);
}

#[test]
fn rooms_are_joined_and_published_to_behind_a_guard_that_waits() {
    let (asked, log) = logged();
    let (mut stage, [a]) = Stage::connected(guarded(&asked));
    let room = |event: &str, room: &str| {
        format!(r#"{{"event":"{event}","room":"{room}","id":1,"echo":true,"data":5}}"#)
    };
    stage.text(a, r#"{"event":"$join","room":"r","id":1}"#);
    stage.text(a, &room("shout", "r"));
    let work = stage.one_work();
    stage.finish(work);
    stage.expect([
        r#"send a {"event":"$join","id":1,"room":"r","data":{"epoch":"e","offset":0,"already":false}}"#,
    ]);
    // The publish passes the guard of messages, then the guard of rooms.
    for _ in 0..2 {
        let work = stage.one_work();
        stage.finish(work);
    }
    stage.expect([
        r#"send a {"event":"shout","room":"r","from":{"conn":"0","user":"ann"},"data":5}"#,
        r#"send a {"event":"shout","id":1,"room":"r","data":{"reached":1}}"#,
    ]);
    assert_eq!(log.take(), ["rooms", "first", "second", "rooms"]);
    stage.text(a, r#"{"event":"$join","room":"vault","id":2}"#);
    let work = stage.one_work();
    stage.finish(work);
    stage.expect([
        r#"send a {"event":"$join","id":2,"room":"vault","error":{"code":"forbidden","message":"Join"}}"#,
    ]);
}

#[test]
fn a_message_that_waits_for_a_guard_goes_with_its_connection() {
    let (asked, _) = logged();
    let (mut stage, [a]) = Stage::connected(guarded(&asked));
    stage.text(a, r#"{"event":"say","id":1,"data":"hi"}"#);
    let (token, work) = stage.one_work();
    // If the host loses its work, no part of the message has been carried out.
    let lost = stage.app.lost_answer(token).expect("somebody waits");
    assert!(lost.contains(r#""code":"unavailable""#), "{lost}");
    stage.lost(a);
    assert_eq!(stage.app.take_cancelled(), [token]);
    assert_eq!(
        stage.complete(token, outcome(work)),
        Err(CompleteError::Ended)
    );
    stage.expect([]);
    assert!(stage.app.is_idle());
}

#[test]
fn upgrade_guards_that_wait_are_heard_in_their_order() {
    let router = Router::default()
        .guard_upgrade(|request, ()| {
            let late = request.query == "late";
            later(async move {
                match late {
                    true => Err(Rejection::forbidden("first")),
                    false => Ok(()),
                }
            })
        })
        .guard_upgrade(|request, ()| match request.query {
            "late" | "at-once" => Err(Rejection::forbidden("second")),
            _ => Ok(()),
        })
        .on_upgrade(|request, ()| {
            let user = request.query.to_owned();
            later(async move {
                let admission = Admission::new().with_user(user).with_session(&1)?;
                Ok(admission.with_subprotocol("never.offered"))
            })
        });
    let stage = Stage::new(router);
    let said = |query| {
        let mut said = match stage.app.upgrade(&UpgradeRequest::new("/ws", query)) {
            roomcast_core::gateway::NowOrLater::Later(said) => said,
            other => panic!("{other:?}"),
        };
        let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::Pin::new(&mut said).poll(cx) {
            std::task::Poll::Ready(said) => said,
            std::task::Poll::Pending => panic!("it waits"),
        }
    };
    let reason = |query| said(query).expect_err("refused").reason().to_owned();
    assert_eq!(
        (reason("late"), reason("at-once")),
        ("first".into(), "second".into())
    );
    let admission = Admission::new().with_user("ann").with_session(&1);
    assert_eq!(said("ann"), Ok(admission.expect("JSON")));
    // Over the byte limit for user names.
    assert_eq!(reason(&"x".repeat(201)), "internal server error (logged)");
}
