//! Connections whose hook waits.

use std::future::ready;

use roomcast_core::{
    Applied, CloseCode, ConnId, Context, Failure, Handshake, Input, JoinError, Outcome, Rejection,
    Router, UnknownConn, gateway::CompleteError, hub::SetUserError, later, ok,
};

use crate::gateway::{
    stage::{Stage, caught},
    work::outcome,
};

/// A club whose hook looks up the user of each session; `bad` has none.
fn club() -> Router<Vec<String>> {
    Router::new(Vec::new())
        .on_connect(|cx, _| {
            let said = cx.emit("hello", &cx.id());
            let session = cx.session::<String>();
            let found = later(async move {
                said?;
                match session?.as_deref() {
                    Some("bad") => Err(Failure::unauthorized("no such session")),
                    Some("broken") => ok("x".parse::<u8>().map(|_| String::new())?),
                    found => Ok(found.unwrap_or("nobody").to_owned()),
                }
            });
            found.and_then(
                |cx: &mut Context, members: &mut Vec<String>, user: String| {
                    assert_ne!(user, "mine", "planted");
                    members.push(user.clone());
                    cx.set_user(&user)?;
                    cx.join("club")?;
                    cx.broadcast("came", &user)?;
                    match &*user {
                        "eve" => Err(Failure::forbidden("not you")),
                        _ => Ok(()),
                    }
                },
            )
        })
        .on_connect(|cx, members| {
            members.push(format!("again {}", cx.user().unwrap_or_default()));
            Ok(())
        })
        .on_joined(|_, members, room| members.push(format!("in {room}")))
        .on_disconnect(|cx, members, _| {
            members.push(format!("gone {}", cx.user().unwrap_or_default()));
        })
        .on("who", |cx: &mut Context| cx.user().map(str::to_owned))
}

fn guest(session: &str) -> Input<'static> {
    let session = format!("\"{session}\"");
    Input::Connect(Handshake::new().with_welcome(true).with_session(session))
}

fn comes(stage: &mut Stage<Router<Vec<String>>>, session: &str) -> ConnId {
    let applied = stage.apply(&guest(session));
    let Applied::Connected(Ok(conn)) = applied else {
        panic!("{applied:?}")
    };
    conn
}

/// Returns the frames except the long `$welcome`, whose user is checked.
fn told(stage: &mut Stage<Router<Vec<String>>>, user: &str) -> Vec<String> {
    let lines = stage.take().into_iter();
    let lines = lines.filter(|line| !line.starts_with("persist"));
    let shown = lines.map(|line| match line.split_once(r#","heartbeat_ms""#) {
        Some((welcome, _)) => {
            assert!(welcome.ends_with(&format!(r#""user":"{user}""#)), "{line}");
            format!("{} welcome", &line[..6])
        }
        None => line,
    });
    shown.collect()
}

#[test]
fn a_connection_opens_when_its_hook_has_waited() {
    let mut stage = Stage::new(club());
    let a = comes(&mut stage, "ann");
    let work = stage.one_work();
    stage.finish(work);
    let came = r#"send a {"event":"came","data":"ann"}"#;
    assert_eq!(
        told(&mut stage, "ann"),
        [
            "send a welcome",
            r#"send a {"event":"hello","data":"0"}"#,
            came
        ]
    );
    let b = comes(&mut stage, "ben");
    // A waiting connection receives nothing and joins nothing, and its messages wait.
    let everybody = roomcast_core::Audience::all();
    stage.text(b, r#"{"event":"who","id":1}"#);
    let send = Input::Send {
        key: None,
        audience: std::borrow::Cow::Owned(everybody),
        event: "news".into(),
        path: None,
        data: std::borrow::Cow::Owned(serde_json::from_str("1").expect("JSON")),
    };
    stage.apply(&send);
    let join = Input::Join {
        conn: b,
        room: "club".into(),
        meta: None,
    };
    let unknown = JoinError::UnknownConn(UnknownConn(b));
    assert_eq!(stage.apply(&join), Applied::Joined(Err(unknown)));
    stage.text(b, r#"{"event":"$ping"}"#);
    stage.expect([
        r#"send a {"event":"news","data":1}"#,
        r#"send b {"event":"$pong"}"#,
    ]);
    assert!(stage.app.is_waiting(b) && !stage.app.is_waiting(a));
    assert_eq!(
        stage.app.gateway().state()[..],
        ["ann", "again ann", "in club"]
    );
    let work = stage.one_work();
    stage.finish(work);
    assert_eq!(
        told(&mut stage, "ben"),
        [
            r#"send a {"event":"came","data":"ben"}"#,
            "send b welcome",
            r#"send b {"event":"hello","data":"4294967297"}"#,
            r#"send b {"event":"came","data":"ben"}"#,
            r#"send b {"event":"who","id":1,"data":"ben"}"#,
        ]
        .map(|line| line.replace("4294967297", &b.to_string()))
    );
    let state = &stage.app.gateway().state()[3..];
    assert_eq!(state, ["ben", "again ben", "in club"]);
    assert!(stage.app.is_idle());
}

#[test]
fn a_connection_that_is_refused_later_leaves_no_trace() {
    for (session, code, reason) in [
        ("bad", CloseCode::UNAUTHORIZED, "no such session"),
        ("eve", CloseCode::FORBIDDEN, "not you"),
        (
            "broken",
            CloseCode::INTERNAL,
            "internal server error (logged)",
        ),
    ] {
        let mut stage = Stage::new(club());
        let a = comes(&mut stage, "ann");
        let work = stage.one_work();
        stage.finish(work);
        let before = stage.app.gateway().state().len();
        let b = comes(&mut stage, session);
        stage.text(b, r#"{"event":"who","id":1}"#);
        stage.take();
        let work = stage.one_work();
        stage.finish(work);
        let name = match code {
            CloseCode::UNAUTHORIZED => "unauthorized",
            CloseCode::FORBIDDEN => "forbidden",
            _ => "internal",
        };
        let error = format!(
            r#"send b {{"event":"$error","error":{{"code":"{name}","message":"{reason}"}}}}"#
        );
        let close = format!("close b {code} {reason}");
        let mut expected = vec![error, close];
        if session == "eve" {
            // Messages to others stay sent.
            expected.insert(0, r#"send a {"event":"came","data":"eve"}"#.to_owned());
        }
        assert_eq!(told(&mut stage, ""), expected);
        let state = &stage.app.gateway().state()[before..];
        assert_eq!(state, &["eve"][..usize::from(session == "eve")]);
        assert_eq!(stage.app.hub().members("club"), [a]);
        assert_eq!(stage.faults().len(), usize::from(session == "broken"));
        assert!(stage.app.is_idle());
    }
}

#[test]
fn a_connection_that_ends_while_its_hook_waits_was_never_there() {
    let mut stage = Stage::new(club());
    let a = comes(&mut stage, "ann");
    let (token, work) = stage.one_work();
    stage.lost(a);
    stage.expect([]);
    assert_eq!(stage.app.take_cancelled(), [token]);
    assert_eq!(
        stage.complete(token, outcome(work)),
        Err(CompleteError::Ended)
    );
    assert!(stage.app.gateway().state().is_empty() && stage.app.is_idle());
    // The server may still close it.
    let b = comes(&mut stage, "ben");
    stage.apply(&Input::close(b, CloseCode::REMOVED, "out"));
    stage.expect([
        r#"send b {"event":"$bye","data":{"code":4410,"reconnect":false,"after_ms":0}}"#,
        "close b 4410 out",
    ]);
    assert!(stage.app.gateway().state().is_empty() && stage.app.is_idle());
}

#[test]
fn a_connection_whose_hook_waits_does_not_outlive_sleep() {
    let mut stage = Stage::new(club());
    comes(&mut stage, "ann");
    stage.take();
    stage.sleep(club());
    assert_eq!(
        stage.app.next_timeout(),
        Some(roomcast_core::Timestamp::ZERO)
    );
    stage.apply(&Input::Timeout);
    let closed = told(&mut stage, "");
    assert!(
        closed[0].contains(r#""event":"$bye","data":{"code":1013,"reconnect":true"#),
        "{closed:?}"
    );
    assert!(
        closed[1].starts_with("close a 1013 the server forgot"),
        "{closed:?}"
    );
    assert!(stage.app.gateway().state().is_empty());
    assert_eq!(stage.app.next_timeout(), None);
}

/// Hosts carry out the commands of an input by slot, after the input.
#[test]
fn a_new_connection_gets_no_slot_of_one_whose_hook_is_lost() {
    let mut stage = Stage::new(club());
    let a = comes(&mut stage, "ann");
    stage.sleep(club());
    stage.take();
    let b = comes(&mut stage, "ben");
    assert_ne!(a.slot(), b.slot());
    stage.expect([]);
    assert_eq!(
        stage.app.next_timeout(),
        Some(roomcast_core::Timestamp::ZERO)
    );
    stage.apply(&Input::Timeout);
    let closed = told(&mut stage, "");
    assert_eq!(closed.len(), 2, "{closed:?}");
    assert!(
        closed[1].starts_with("close a 1013 the server forgot"),
        "{closed:?}"
    );
    let work = stage.one_work();
    stage.finish(work);
    assert_eq!(stage.app.hub().members("club"), [b]);
}

#[test]
fn a_connection_whose_hook_is_lost_is_not_closed_when_it_is_gone() {
    let mut stage = Stage::new(club());
    let a = comes(&mut stage, "ann");
    comes(&mut stage, "ben");
    stage.sleep(club());
    stage.take();
    stage.lost(a);
    let closed = told(&mut stage, "");
    assert_eq!(closed.len(), 2, "{closed:?}");
    assert!(closed[0].starts_with("send b "), "{closed:?}");
    assert!(closed[1].starts_with("close b 1013 "), "{closed:?}");
    assert_eq!(stage.app.hub().counts().connections, 0);
    assert!(stage.app.gateway().state().is_empty());
}

#[test]
fn a_connection_whose_hook_waited_before_sleep_joins_nothing() {
    let club = || {
        club().on("invite", |cx: &mut Context, conn: ConnId| {
            let joined = cx.namespace().join(conn, "club");
            joined.is_err()
        })
    };
    let mut stage = Stage::new(club());
    let a = comes(&mut stage, "ann");
    let work = stage.one_work();
    stage.finish(work);
    let b = comes(&mut stage, "ben");
    stage.take();
    stage.sleep(club());
    let invite = format!(r#"{{"event":"invite","data":{}}}"#, serde_json::json!(b));
    stage.text(a, &invite);
    stage.expect([r#"send a {"event":"invite","data":true}"#]);
    assert_eq!(stage.app.hub().members("club"), [a]);
}

#[test]
fn a_panic_behind_the_wait_refuses_the_connection() {
    let mut stage = Stage::new(club());
    let a = comes(&mut stage, "mine");
    stage.text(a, r#"{"event":"who","id":1}"#);
    let (token, work) = stage.one_work();
    let outcome = outcome(work);
    caught(&mut stage, &Input::Complete { token, outcome });
    stage.expect([
        r#"send a {"event":"$error","error":{"code":"internal","message":"internal server error (logged)"}}"#,
        "close a 1011 internal server error (logged)",
    ]);
    assert_eq!(stage.faults(), ["connect of connection 0: planted"]);
    assert!(stage.app.hub().connection(a).is_none() && stage.app.is_idle());
}

#[test]
fn who_waits_must_not_have_joined() {
    let router = Router::default().on_connect(|cx, ()| {
        let joined = cx.join("early").map_err(Rejection::from);
        later(async move { joined.map(|_| ()) })
    });
    let mut stage = Stage::new(router);
    let refused = stage.connect("ann");
    assert!(refused.is_err());
    let faults = stage.faults();
    assert!(
        faults[0].contains("joined a room and then waits"),
        "{faults:?}"
    );
    stage.expect([]);
    assert_eq!(stage.app.hub().counts().connections, 0);
}

#[test]
fn a_client_that_says_late_who_it_is_waits_too() {
    use roomcast_core::wire::AuthRequest;

    let mut stage = Stage::new(club());
    let handshake = Handshake::new()
        .with_unidentified(true)
        .with_session("\"ann\"");
    let a = stage.connect_with(handshake).expect("admitted");
    let text = r#"{"event":"$auth","id":1,"data":{"token":"t"}}"#;
    let rest = AuthRequest::find(text).expect("a request").rest;
    stage.apply(&Input::Authenticate {
        conn: a,
        text: rest.into(),
        identity: Some(Box::default()),
        unavailable: false,
    });
    stage.expect([r#"send a {"event":"$auth","id":1,"data":{"user":""}}"#]);
    let work = stage.one_work();
    stage.finish(work);
    stage.expect([
        r#"send a {"event":"hello","data":"0"}"#,
        r#"send a {"event":"came","data":"ann"}"#,
    ]);
}

#[test]
fn a_journal_goes_on_without_any_work() {
    let mut stage = Stage::new(club());
    let mut inputs = Vec::new();
    let mut replayed = Stage::new(club());
    for session in ["ann", "bad", "eve", "ben"] {
        let connect = guest(session);
        stage.apply(&connect);
        let (token, work) = stage.one_work();
        let outcome = outcome(work);
        let complete = Input::Complete { token, outcome };
        stage.apply(&complete);
        inputs.extend([connect, complete]);
    }
    for input in inputs {
        let line = serde_json::to_string(&input).expect("JSON");
        let input: Input<'_> = serde_json::from_str(&line).expect("an input");
        replayed.apply(&input);
    }
    assert_eq!(replayed.take(), stage.take());
    assert_eq!(replayed.app.gateway().state(), stage.app.gateway().state());
}

#[test]
fn a_journal_goes_on_behind_hooks_and_guards_that_only_wait() {
    let doors = || {
        Router::default()
            .on_connect(|_, ()| later(ready(Ok(()))))
            .guard(|_, (), _| later(ready(Ok(()))))
            .on("say", |_: &mut Context, text: String| text)
    };
    let (mut stage, mut replayed) = (Stage::new(doors()), Stage::new(doors()));
    let connect = Input::Connect(Handshake::new().with_user("ann"));
    let Applied::Connected(Ok(conn)) = stage.apply(&connect) else {
        panic!("admitted");
    };
    let text = r#"{"event":"say","id":1,"data":"hi"}"#.into();
    let say = Input::Text { conn, text };
    stage.apply(&say);
    let mut inputs = vec![connect, say];
    for _ in 0..2 {
        let (token, work) = stage.one_work();
        let outcome = outcome(work);
        assert_eq!(outcome, Outcome::Done);
        let complete = Input::Complete { token, outcome };
        assert_eq!(stage.apply(&complete), Applied::Completed(Ok(())));
        inputs.push(complete);
    }
    for input in inputs {
        let line = serde_json::to_string(&input).expect("JSON");
        replayed.apply(&serde_json::from_str(&line).expect("an input"));
    }
    let lines = stage.take();
    let answer = r#"send a {"event":"say","id":1,"data":"hi"}"#;
    assert_eq!(lines.last().map(String::as_str), Some(answer));
    assert_eq!(replayed.take(), lines);
}

#[test]
fn a_user_is_set_once_and_before_any_room() {
    let router = Router::default()
        .on_connect(|cx, ()| {
            if cx.session::<bool>()?.is_some() {
                cx.set_user("ann")?;
            }
            Ok(())
        })
        .on("name", |cx: &mut Context, user: String| {
            match cx.set_user(&user) {
                Ok(()) => "named".to_owned(),
                Err(error) => format!("{error:?}"),
            }
        });
    let mut stage = Stage::new(router);
    let connect = |stage: &mut Stage<_>, handshake: Handshake| {
        let conn = stage.connect_with(handshake.with_welcome(true));
        conn.expect("admitted")
    };
    let a = connect(&mut stage, Handshake::new().with_session("true"));
    let welcome = stage.take().remove(1);
    assert!(welcome.contains(r#""user":"ann""#), "{welcome}");
    let b = connect(&mut stage, Handshake::new());
    stage.join(b, "r");
    stage.take();
    let mut says = |conn, user: &str, answer: &str| {
        stage.text(conn, &format!(r#"{{"event":"name","data":"{user}"}}"#));
        let lines = stage.take();
        assert!(lines.iter().any(|line| line.contains(answer)), "{lines:?}");
    };
    says(a, "ann", "named");
    says(a, "ben", &format!("{:?}", SetUserError::Named));
    says(b, "ben", &format!("{:?}", SetUserError::Joined));
    says(b, "", &format!("{:?}", SetUserError::Invalid));
    stage.leave(b, "r");
    stage.apply(&Input::Withdraw {
        user: "ben".into(),
        not_before_s: 1,
    });
    let mut says = |conn, user: &str, answer: &str| {
        stage.text(conn, &format!(r#"{{"event":"name","data":"{user}"}}"#));
        let lines = stage.take();
        assert!(lines.iter().any(|line| line.contains(answer)), "{lines:?}");
    };
    says(b, "ben", &format!("{:?}", SetUserError::Withdrawn));
    says(b, "cat", "named");
    assert_eq!(stage.app.hub().connections_of("cat"), [b]);
}
