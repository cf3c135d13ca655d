//! Handlers that misbehave: all other clients are still served.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::Duration,
};

use roomcast_core::{
    CloseCode, ConnId, Context, DisconnectReason, ErrorCode, Failure, Frame, Handshake, Input,
    Outcome, Reply, Router,
    gateway::{Admission, CompleteError, Token, UpgradeRequest},
};

use super::stage::{Stage, caught};

/// The place that is to panic, if any.
type Place = Rc<Cell<Option<&'static str>>>;

/// A router with a panic that can be planted in every function that the host calls.
fn mined(place: &Place) -> Router<u32> {
    let mine = |here: &'static str| {
        let place = place.clone();
        move || assert_ne!(place.get(), Some(here), "planted")
    };
    let (connect, joined, left) = (mine("connect"), mine("joined"), mine("left"));
    let (gone, tick, drain) = (mine("disconnect"), mine("tick"), mine("drain"));
    let (guard, room_guard) = (mine("guard"), mine("room guard"));
    let message = mine("message");
    Router::new(0)
        .on_connect(move |_, _| {
            connect();
            Ok(())
        })
        .on_joined(move |_, _, _| joined())
        .on_left(move |_, _, _| left())
        .on_disconnect(move |_, ended, _| {
            *ended += 1;
            gone();
        })
        .every(Duration::from_secs(1), move |_, _| tick())
        .on_drain(move |_, _| drain())
        .guard(move |_, _, _| {
            guard();
            Ok(())
        })
        .guard_rooms(move |_, _, _, _| {
            room_guard();
            Ok(())
        })
        .on("message", move |_: &mut Context| message())
        .on("ended", |_: &mut Context, ended: &mut u32| *ended)
}

#[test]
fn a_panic_anywhere_breaks_nothing() {
    let text = |conn, text: &'static str| Input::Text {
        conn,
        text: text.into(),
    };
    let lost = |conn| Input::Disconnect {
        conn,
        reason: DisconnectReason::Lost,
    };
    let message = r#"{"event":"message","id":1}"#;
    let join = r#"{"event":"$join","room":"r"}"#;
    let leave = r#"{"event":"$leave","room":"q"}"#;
    type Make<'a> = &'a dyn Fn(ConnId) -> Input<'static>;
    let triggers: [(&str, Make<'_>); 9] = [
        ("connect", &|_| Input::Connect(Handshake::new())),
        ("guard", &|conn| text(conn, message)),
        ("message", &|conn| text(conn, message)),
        ("room guard", &|conn| text(conn, join)),
        ("joined", &|conn| text(conn, join)),
        ("left", &|conn| text(conn, leave)),
        ("disconnect", &lost),
        ("tick", &|_| Input::Timeout),
        ("drain", &|_| Input::Drain),
    ];
    for (here, input) in triggers {
        let place = Place::default();
        let (mut stage, [a, b]) = Stage::connected(mined(&place));
        for conn in [a, b] {
            stage.join(conn, "q");
        }
        stage.out.clear();
        stage.now = stage.app.next_timeout().expect("a schedule");
        place.set(Some(here));
        caught(&mut stage, &input(a));
        place.set(None);
        let answered = stage.take().iter().any(|line| line.contains("internal"));
        let asked = ["guard", "message", "room guard"].contains(&here);
        assert_eq!(answered, asked, "{here}");
        assert_eq!(stage.faults().len(), 1, "{here}");
        // Other clients are still served, and every connection is ended once.
        stage.text(b, r#"{"event":"ended"}"#);
        let ended = u32::from(here == "disconnect");
        stage.expect([&format!(r#"send b {{"event":"ended","data":{ended}}}"#)]);
        let live: Vec<_> = stage.app.hub().connections().map(|info| info.id).collect();
        for conn in &live {
            stage.lost(*conn);
        }
        let ended = usize::try_from(*stage.app.gateway().state()).expect("few");
        assert_eq!(ended, 2, "{here}");
        assert_eq!(
            stage.app.hub().counts(),
            roomcast_core::hub::Counts::default()
        );
    }
}

#[test]
fn a_panic_without_envelopes_breaks_nothing() {
    let raw = Router::default().on_frame(|cx: &mut Context, (), frame| {
        assert_ne!(frame, Frame::Text("mine"), "planted");
        cx.emit_frame(frame);
    });
    let (mut stage, [a]) = Stage::connected(raw);
    let input = |text: &'static str| Input::Text {
        conn: a,
        text: text.into(),
    };
    caught(&mut stage, &input("mine"));
    caught(&mut stage, &input("field"));
    // The application defines its own error frames, so the hub sends none for a panic.
    stage.expect(["send a field"]);
    assert_eq!(stage.faults().len(), 1);
}

fn one() -> Outcome {
    Outcome::Reply(Reply::new(&1).expect("a number"))
}

/// Defers the answer to `slow`; `now` both defers and answers.
fn promising(tokens: &Rc<Cell<Vec<Token>>>) -> Router {
    let promise = |tokens: &Rc<Cell<Vec<Token>>>| {
        let tokens = tokens.clone();
        move |cx: &mut Context<'_>| {
            let token = cx.later();
            let mut all = tokens.take();
            all.push(token);
            tokens.set(all);
            token
        }
    };
    let (slow, now) = (promise(tokens), promise(tokens));
    Router::default()
        .on("slow", slow)
        .on("now", move |cx: &mut Context| {
            now(cx);
            1
        })
}

#[test]
fn a_handler_that_never_answers_holds_up_nobody() {
    let tokens = Rc::default();
    let (mut stage, [a, b]) = Stage::connected(promising(&tokens));
    stage.text(a, r#"{"event":"slow","id":1}"#);
    stage.text(a, r#"{"event":"$ping"}"#);
    stage.text(b, r#"{"event":"now","id":2}"#);
    stage.expect([
        r#"send a {"event":"$pong"}"#,
        r#"send b {"event":"now","id":2,"data":1}"#,
    ]);
    stage.lost(a);
    stage.lost(b);
    assert_eq!(
        stage.app.hub().counts(),
        roomcast_core::hub::Counts::default()
    );
    let slow = tokens.take()[0];
    assert_eq!(stage.app.take_cancelled(), [slow]);
}

#[test]
fn a_handler_that_answers_twice_is_heard_once() {
    let tokens = Rc::default();
    let (mut stage, [a]) = Stage::connected(promising(&tokens));
    stage.text(a, r#"{"event":"now","id":1}"#);
    stage.text(a, r#"{"event":"slow","id":2}"#);
    let tokens = tokens.take();
    let answered = Err(CompleteError::Answered);
    let mut complete = |token| stage.complete(token, one());
    assert_eq!(complete(tokens[0]), answered);
    assert_eq!(complete(tokens[1]), Ok(()));
    assert_eq!(complete(tokens[1]), answered);
    stage.expect([
        r#"send a {"event":"now","id":1,"data":1}"#,
        r#"send a {"event":"slow","id":2,"data":1}"#,
    ]);
}

#[test]
fn a_handler_that_outlives_its_connection_reaches_nobody() {
    let tokens = Rc::default();
    let (mut stage, [a]) = Stage::connected(promising(&tokens));
    stage.text(a, r#"{"event":"slow","id":1}"#);
    stage.lost(a);
    stage.connect("in the same slot").expect("room");
    stage.out.clear();
    let token = tokens.take()[0];
    let completed = stage.complete(token, one());
    assert_eq!(completed, Err(CompleteError::Ended));
    stage.expect([]);
    assert!(stage.faults().is_empty());
}

#[test]
fn a_handler_that_returns_no_json_fails_and_what_it_did_stays() {
    let router = Router::default().on("map", |cx: &mut Context| {
        cx.join("r")?;
        cx.emit("before", &1)?;
        Ok::<_, Failure>(BTreeMap::from([([1, 2], 3)]))
    });
    let (mut stage, [a]) = Stage::connected(router);
    stage.text(a, r#"{"event":"map","id":1}"#);
    stage.expect([
        r#"send a {"event":"before","data":1}"#,
        r#"send a {"event":"map","id":1,"error":{"code":"internal","message":"internal server error (logged)"}}"#,
    ]);
    assert_eq!(stage.app.hub().members("r"), [a]);
    assert_eq!(stage.faults().len(), 1);
}

#[test]
fn a_payload_of_a_wrong_type_never_reaches_the_handler() {
    let router = Router::default().on("add", |cx: &mut Context, _: (u8, u8)| {
        cx.join("r")?;
        Ok::<_, Failure>(())
    });
    let (mut stage, [a]) = Stage::connected(router);
    for data in ["null", "1", "[1]", "[1,256]", r#"[1,"SECRET"]"#, "{}"] {
        stage.text(a, &format!(r#"{{"event":"add","id":1,"data":{data}}}"#));
        let lines = stage.take();
        let [line] = &lines[..] else {
            panic!("one answer to {data}: {lines:?}");
        };
        assert!(
            line.contains(r#""id":1,"error":{"code":"bad_payload""#),
            "{line}"
        );
        assert!(!line.contains("SECRET"), "{line}");
    }
    assert!(stage.app.hub().members("r").is_empty() && stage.faults().is_empty());
}

#[test]
fn a_hook_that_panics_keeps_no_other_of_its_kind_from_running() {
    let log: Rc<RefCell<Vec<&'static str>>> = Rc::default();
    let note = |line: &'static str| {
        let log = log.clone();
        move || log.borrow_mut().push(line)
    };
    let (joined, left, gone, drain) = (note("joined"), note("left"), note("gone"), note("drain"));
    let router = Router::default()
        .on_joined(|_, (), _| panic!("planted"))
        .on_joined(|_, (), _| panic!("planted again"))
        .on_joined(move |_, (), _| joined())
        .on_left(|_, (), _| panic!("planted"))
        .on_left(move |_, (), _| left())
        .on_disconnect(|_, (), _| panic!("planted"))
        .on_disconnect(move |_, (), _| gone())
        .on_drain(|_, ()| panic!("planted"))
        .on_drain(move |_, ()| drain());
    let (mut stage, [a]) = Stage::connected(router);
    let join = Input::Join {
        conn: a,
        room: "r".into(),
        meta: None,
    };
    caught(&mut stage, &join);
    assert_eq!(log.take(), ["joined"]);
    caught(&mut stage, &Input::Drain);
    assert_eq!(log.take(), ["drain"]);
    let reason = DisconnectReason::Lost;
    caught(&mut stage, &Input::Disconnect { conn: a, reason });
    assert_eq!(log.take(), ["left", "gone"]);
    assert_eq!(stage.faults().len(), 5);
}

#[test]
fn hooks_that_multiply_come_to_an_end() {
    let router = Router::default().on_joined(|cx, (), room| {
        for _ in 0..2 {
            let room = room.to_owned();
            cx.leave(&room);
            cx.join(&room).expect("a valid room");
        }
    });
    let (mut stage, [a]) = Stage::connected(router);
    stage.join(a, "r");
    let ended = "hooks of connection 0: hooks cause each other without an end: not called any more";
    assert_eq!(stage.faults()[0], ended);
    assert_eq!(stage.app.hub().members("r"), [a]);
}

#[test]
fn a_token_of_another_request_is_no_answer() {
    let kept: Rc<Cell<Option<Token>>> = Rc::default();
    let router = Router::default().on("ask", move |cx: &mut Context| {
        let token = kept.get().unwrap_or_else(|| cx.later());
        kept.set(Some(token));
        token
    });
    let (mut stage, [a, b]) = Stage::connected(router);
    stage.text(a, r#"{"event":"ask","id":1}"#);
    stage.text(a, r#"{"event":"ask","id":2}"#);
    stage.text(b, r#"{"event":"ask","id":3}"#);
    let internal = r#""error":{"code":"internal","message":"internal server error (logged)"}}"#;
    stage.expect([
        &format!(r#"send a {{"event":"ask","id":2,{internal}"#),
        &format!(r#"send b {{"event":"ask","id":3,{internal}"#),
    ]);
    assert!(stage.faults()[0].ends_with("the handler returned the token of another request"));
}

#[test]
#[should_panic(expected = "with `on_frame` there are no events")]
fn a_guard_that_nothing_would_call_is_refused() {
    let _ = Router::default()
        .guard(|_, (), _| Err(Failure::forbidden("no")))
        .on_frame(|_, (), _| {});
}

#[test]
fn a_session_that_is_too_large_is_not_forgotten_in_silence() {
    let router = Router::default()
        .on_upgrade(|_, ()| Ok(Admission::new().with_session(&"x".repeat(5_000))?));
    let stage = Stage::new(router);
    let request = UpgradeRequest::new("/ws", "");
    let refused = stage
        .app
        .upgrade(&request)
        .now()
        .expect("at once")
        .expect_err("too large");
    assert_eq!(refused.code(), ErrorCode::Internal);
    assert!(
        refused
            .cause()
            .is_some_and(|cause| cause.contains("a session has at most"))
    );
}

/// A hook that ends the match when its host leaves: many hooks run, each once.
#[test]
fn hooks_of_the_end_run_for_everybody() {
    let router = Router::new(0_u32).on_disconnect(|cx, ended, _| {
        *ended += 1;
        let others: Vec<ConnId> = cx.connections().map(|info| info.id).collect();
        for conn in others {
            let _ = cx.disconnect(conn, CloseCode::AWAY, "the match is over");
        }
    });
    let mut stage = Stage::new(router);
    let conns: Vec<ConnId> = (0..200)
        .map(|_| stage.connect("x").expect("room"))
        .collect();
    stage.lost(conns[0]);
    assert_eq!(*stage.app.gateway().state(), 200);
    assert!(stage.faults().is_empty());
}

/// A chain in which each end causes the next runs to its last connection.
#[test]
fn a_chain_of_ends_comes_to_its_last() {
    let router = Router::new(0_u32).on_disconnect(|cx, ended, _| {
        *ended += 1;
        let next = cx.connections().map(|info| info.id).min();
        if let Some(next) = next {
            let _ = cx.disconnect(next, CloseCode::AWAY, "the next");
        }
    });
    let mut stage = Stage::new(router);
    let conns: Vec<ConnId> = (0..200)
        .map(|_| stage.connect("x").expect("room"))
        .collect();
    stage.lost(conns[0]);
    assert_eq!(*stage.app.gateway().state(), 200);
}

#[test]
fn a_user_without_a_name_is_none() {
    for user in ["", "\u{1}", &"x".repeat(201)] {
        let admitted = user.to_owned();
        let router = Router::default()
            .on_upgrade(move |_, ()| Ok(Admission::new().with_user(admitted.as_str())));
        let stage = Stage::new(router);
        let refused = stage.app.upgrade(&UpgradeRequest::new("/ws", ""));
        let refused = refused.now().expect("at once");
        let refused = refused.expect_err("no name");
        assert_eq!(refused.code(), ErrorCode::Internal);
        assert!(
            refused
                .cause()
                .is_some_and(|cause| cause.starts_with("a user has 1 to 200 bytes"))
        );
    }
}
