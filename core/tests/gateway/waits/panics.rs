//! Panics of hooks after a wait.

use std::future::ready;

use roomcast_core::{Applied, ConnId, Context, Handshake, Identity, Input, Router, later, ok};

use crate::gateway::{
    stage::{Stage, caught},
    work::outcome,
};

/// Adds 1 for each join and 100 for each end; panics for the rooms `mined` and `guarded`.
fn planted() -> Router<u32> {
    Router::new(0)
        .on_joined(|_, count, room| {
            *count += 1;
            assert_ne!(room, "mined", "planted");
        })
        .on_disconnect(|_, count, _| *count += 100)
        .guard_rooms(|_, _, _, room| {
            assert_ne!(room, "guarded", "planted");
            Ok(())
        })
        .on("enter", |_: &mut Context, room: String| {
            later(ready(room)).then(|cx: &mut Context, _: &mut u32, room: String| {
                cx.join(&room)?;
                ok(())
            })
        })
        .on("count", |_: &mut Context, count: &mut u32| *count)
}

/// Like [`planted`], and each connection joins the room of its session after a wait.
fn planted_behind() -> Router<u32> {
    planted().on_connect(|cx, _| {
        let room = cx.session::<String>();
        let room = later(async move { ok(room?.unwrap_or_default()) });
        room.and_then(|cx: &mut Context, _: &mut u32, room: String| {
            cx.join(&room)?;
            ok(())
        })
    })
}

const COUNT: &str = r#"{"event":"count","id":2}"#;

fn complete(stage: &mut Stage<Router<u32>>) {
    let (token, work) = stage.one_work();
    let outcome = outcome(work);
    caught(stage, &Input::Complete { token, outcome });
}

fn comes_into(stage: &mut Stage<Router<u32>>, room: &str) -> ConnId {
    let session = format!("\"{room}\"");
    let conn = stage.connect_with(Handshake::new().with_session(session));
    conn.expect("admitted")
}

#[test]
fn a_hook_that_panics_behind_a_handler_leaves_nobody_waiting() {
    let (mut stage, [a]) = Stage::connected(planted());
    stage.text(a, r#"{"event":"enter","id":1,"data":"mined"}"#);
    stage.text(a, COUNT);
    complete(&mut stage);
    stage.expect([
        r#"send a {"event":"enter","id":1,"data":null}"#,
        r#"send a {"event":"count","id":2,"data":1}"#,
    ]);
    assert_eq!(stage.faults(), ["joined of connection 0: planted"]);
    stage.text(a, COUNT);
    stage.expect([r#"send a {"event":"count","id":2,"data":1}"#]);
    assert!(stage.app.is_idle());
}

#[test]
fn a_hook_that_panics_behind_a_connection_that_was_let_in_ends_it() {
    let mut stage = Stage::new(planted_behind());
    let a = comes_into(&mut stage, "mined");
    stage.text(a, COUNT);
    complete(&mut stage);
    stage.expect([
        r#"send a {"event":"$error","error":{"code":"internal","message":"internal server error (logged)"}}"#,
        "close a 1011 internal server error (logged)",
    ]);
    assert_eq!(stage.faults(), ["connect of connection 0: planted"]);
    // Admitted, and then ended.
    assert_eq!(*stage.app.gateway().state(), 101);
    assert!(stage.app.hub().connection(a).is_none() && stage.app.is_idle());
    let b = comes_into(&mut stage, "open");
    stage.text(b, COUNT);
    complete(&mut stage);
    let lines = stage.take();
    let answer = r#""event":"count","id":2,"data":102}"#;
    assert!(lines.iter().any(|line| line.ends_with(answer)), "{lines:?}");
}

#[test]
fn a_panic_over_a_room_of_a_token_answers_that_join() {
    let mut stage = Stage::new(planted_behind());
    let mut identity = Identity::user("ann");
    identity.rooms = ["guarded", "r"].map(Into::into).into();
    let handshake = Handshake::new().with_identity(identity);
    let connected = stage.connect_with(handshake.with_session("\"open\""));
    let a = connected.expect("admitted");
    complete(&mut stage);
    let internal = r#""error":{"code":"internal","message":"internal server error (logged)"}}"#;
    stage.expect([
        &*format!(r#"send a {{"event":"$join","room":"guarded",{internal}"#),
        r#"send a {"event":"$join","room":"r","data":{"epoch":"e","offset":0,"already":false}}"#,
    ]);
    assert_eq!(stage.app.hub().rooms_of(a), Some(vec!["open", "r"]));
}

#[test]
fn a_connection_that_is_refused_for_a_panic_over_its_rooms_is_gone() {
    for (room, count) in [("guarded", 101), ("mined", 102)] {
        let mut stage = Stage::new(planted());
        let mut identity = Identity::user("ann");
        identity.rooms = ["r", room].map(Into::into).into();
        let connect = Input::Connect(Handshake::new().with_identity(identity));
        caught(&mut stage, &connect);
        assert!(matches!(
            Applied::unwound(&connect),
            Applied::Connected(Err(_))
        ));
        stage.expect([]);
        assert_eq!(stage.app.hub().counts().connections, 0);
        assert_eq!(*stage.app.gateway().state(), count);
        assert_eq!(stage.faults(), ["connect of connection 0: planted"]);
    }
}

/// Connects a client that identifies itself late, with a token that names two rooms.
fn says_who(stage: &mut Stage<Router<u32>>, session: &str, rooms: [&str; 2]) -> ConnId {
    let handshake = Handshake::new().with_unidentified(true);
    let handshake = handshake.with_session(format!("\"{session}\""));
    let conn = stage.connect_with(handshake).expect("admitted");
    let mut identity = Identity::user("ann");
    identity.rooms = rooms.map(Into::into).into();
    let text = r#"{"event":"$auth","id":1,"data":{}}"#.into();
    let authenticate = Input::Authenticate {
        conn,
        text,
        identity: Some(Box::new(identity)),
        unavailable: false,
    };
    caught(stage, &authenticate);
    conn
}

/// Like a client that identifies itself at once, it is admitted with its rooms, or not at all.
#[test]
fn a_panic_over_the_rooms_of_a_client_that_said_late_who_it_is_ends_it() {
    let told = r#"send a {"event":"$auth","id":1,"data":{"user":"ann"}}"#;
    let refused = [
        r#"send a {"event":"$error","error":{"code":"internal","message":"internal server error (logged)"}}"#,
        r#"send a {"event":"$bye","data":{"code":1011,"reconnect":true,"after_ms":0}}"#,
        "close a 1011 internal server error (logged)",
    ];
    let at_once = || {
        planted().on_connect(|cx, _| {
            let room = cx.session::<String>()?.unwrap_or_default();
            cx.join(&room)?;
            Ok(())
        })
    };
    // Joined by the hook of the application, and by the token.
    for (room, rooms, joins) in [
        ("mined", ["r", "s"], 1),
        ("open", ["r", "mined"], 3),
        ("open", ["guarded", "r"], 1),
    ] {
        let mut stage = Stage::new(at_once());
        let a = says_who(&mut stage, room, rooms);
        stage.expect([told, refused[0], refused[1], refused[2]]);
        assert_eq!(stage.faults(), ["connect of connection 0: planted"]);
        assert_eq!(
            *stage.app.gateway().state(),
            100 + joins,
            "{room} {rooms:?}"
        );
        assert!(stage.app.hub().connection(a).is_none() && stage.app.is_idle());
    }
    let mut stage = Stage::new(planted_behind());
    let a = says_who(&mut stage, "mined", ["r", "s"]);
    stage.expect([told]);
    complete(&mut stage);
    stage.expect(refused);
    assert_eq!(*stage.app.gateway().state(), 101);
    assert!(stage.app.hub().connection(a).is_none() && stage.app.is_idle());
}
