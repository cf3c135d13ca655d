//! Events that backends are notified of.

use std::borrow::Cow;

use roomcast_core::{
    Audience, CloseCode, Context, DisconnectReason, Failure, Gateway, Handshake, Identity, Input,
    Rejection, Router, later, ok,
};

use super::stage::Stage;

const ALL: &str = r#"[{"events":["room.occupied","room.vacated","user.joined","user.left",
    "connection.opened","connection.closed","message.published"],"rooms":"*"}]"#;

const CONNECTIONS: &str = r#"[{"events":["connection.opened","connection.closed"],"rooms":"*"}]"#;

const NONE: &str = r#"{"rooms":[]}"#;

/// Takes the events since the last call.
fn told<G: Gateway>(stage: &mut Stage<G>) -> Vec<String> {
    let lines = stage.take().into_iter();
    let told = lines.filter_map(|line| line.strip_prefix("tell ").map(str::to_owned));
    told.collect()
}

#[track_caller]
fn assert_told<G: Gateway, const N: usize>(stage: &mut Stage<G>, expected: [&str; N]) {
    assert_eq!(told(stage), expected);
}

#[test]
fn nothing_is_told_that_nobody_wants() {
    let mut stage = Stage::new(());
    let ann = stage.connect("ann").expect("admitted");
    stage.join(ann, "r");
    stage.lost(ann);
    assert_told(&mut stage, []);
    let only =
        r#"[{"events":["room.vacated"],"rooms":"b*"},{"events":["room.occupied"],"rooms":"a"}]"#;
    let mut stage = Stage::with_subscriptions((), NONE, only);
    let ann = stage.connect("ann").expect("admitted");
    for room in ["a", "b"] {
        stage.join(ann, room);
        stage.leave(ann, room);
    }
    let expected = [
        r#"{"type":"room.occupied","room":"a"}"#,
        r#"{"type":"room.vacated","room":"b"}"#,
    ];
    assert_told(&mut stage, expected);
}

#[test]
fn other_subscriptions_count_from_their_input_on() {
    let mut stage = Stage::new(());
    let ann = stage.connect("ann").expect("admitted");
    stage.join(ann, "before");
    let set = |subscriptions: &str| Input::SetBackends {
        subscriptions: Cow::Owned(serde_json::from_str(subscriptions).expect("subscriptions")),
        asks_join: false,
    };
    stage.apply(&set(ALL));
    assert_told(&mut stage, []);
    stage.join(ann, "r");
    stage.leave(ann, "before");
    let expected = [
        r#"{"type":"room.occupied","room":"r"}"#,
        r#"{"type":"room.vacated","room":"before"}"#,
    ];
    assert_told(&mut stage, expected);
    stage.apply(&set(r#"[{"events":["connection.closed"],"rooms":"*"}]"#));
    stage.leave(ann, "r");
    stage.apply(&set("[]"));
    stage.lost(ann);
    assert_told(&mut stage, []);
}

#[test]
fn rooms_without_a_policy_are_occupied_and_vacated() {
    let mut stage = Stage::with_subscriptions((), NONE, ALL);
    let ann = stage.connect("ann").expect("admitted");
    let guest = stage.connect_with(Handshake::new()).expect("admitted");
    stage.join(ann, "r");
    stage.join(guest, "r");
    let expected = [
        r#"{"type":"connection.opened","conn":"0","user":"ann"}"#,
        r#"{"type":"connection.opened","conn":"1048577"}"#,
        r#"{"type":"room.occupied","room":"r"}"#,
    ];
    assert_told(&mut stage, expected);
    stage.lost(ann);
    let expected = [r#"{"type":"connection.closed","conn":"0","user":"ann","by":"lost"}"#];
    assert_told(&mut stage, expected);
    let (conn, reason) = (guest, DisconnectReason::Client(None));
    stage.apply(&Input::Disconnect { conn, reason });
    let expected = [
        r#"{"type":"room.vacated","room":"r"}"#,
        r#"{"type":"connection.closed","conn":"1048577","by":"client"}"#,
    ];
    assert_told(&mut stage, expected);
}

#[test]
fn users_leave_and_rooms_are_vacated_when_the_grace_is_over() {
    let policies = r#"{"rooms":[{"match":"*","presence":"members","presence_grace_s":5}]}"#;
    let mut stage = Stage::with_subscriptions((), policies, ALL);
    let ann = stage.connect("ann").expect("admitted");
    stage.join(ann, "r");
    let expected = [
        r#"{"type":"connection.opened","conn":"0","user":"ann"}"#,
        r#"{"type":"room.occupied","room":"r"}"#,
        r#"{"type":"user.joined","room":"r","user":"ann"}"#,
    ];
    assert_told(&mut stage, expected);
    // A page that reloads.
    stage.lost(ann);
    stage.wait(4_000);
    let ann = stage.connect("ann").expect("admitted");
    stage.join(ann, "r");
    let kinds: Vec<_> = told(&mut stage);
    assert!(
        kinds.iter().all(|event| event.contains("connection.")),
        "{kinds:?}"
    );
    stage.lost(ann);
    assert_eq!(told(&mut stage).len(), 1);
    stage.wait(4_000);
    assert_told(&mut stage, []);
    stage.wait(2_000);
    let gone = [
        r#"{"type":"user.left","room":"r","user":"ann"}"#,
        r#"{"type":"room.vacated","room":"r"}"#,
    ];
    assert_told(&mut stage, gone);
    // A user who leaves on purpose is gone at once.
    let ann = stage.connect("ann").expect("admitted");
    stage.join(ann, "r");
    told(&mut stage);
    stage.leave(ann, "r");
    assert_told(&mut stage, gone);
}

#[test]
fn messages_are_told_as_members_get_them() {
    let policies = r#"{"rooms":[{"match":"kept","history":{"messages":5}}]}"#;
    let only = r#"[{"events":["message.published"],"rooms":"*"}]"#;
    let mut stage = Stage::with_subscriptions((), policies, only);
    let ann = stage.connect("ann").expect("admitted");
    stage.text(ann, r#"{"event":"said","room":"r","data":{"a":[1]}}"#);
    stage.text(ann, r#"{"event":"said","room":"kept","data":1}"#);
    let (audience, data) = (Audience::room("kept"), serde_json::value::to_raw_value(&2));
    stage.apply(&Input::Send {
        key: None,
        audience: Cow::Borrowed(&audience),
        event: "told".into(),
        path: None,
        data: Cow::Owned(data.expect("JSON")),
    });
    // A message to a user has no room, so there is no event.
    stage.text(ann, r#"{"event":"said","data":1}"#);
    let expected = [
        r#"{"type":"message.published","room":"r","message":{"event":"said","room":"r","from":{"conn":"0","user":"ann"},"data":{"a":[1]}}}"#,
        r#"{"type":"message.published","room":"kept","message":{"event":"said","room":"kept","from":{"conn":"0","user":"ann"},"offset":1,"data":1}}"#,
        r#"{"type":"message.published","room":"kept","message":{"event":"told","room":"kept","offset":2,"data":2}}"#,
    ];
    assert_told(&mut stage, expected);
}

#[test]
fn a_connection_that_the_application_rejects_is_not_told() {
    let gateway = Router::new(()).on_connect(|cx: &mut Context, (): &mut ()| match cx.user() {
        Some("eve") => Err(Rejection::forbidden("no")),
        _ => Ok(()),
    });
    let mut stage = Stage::with_subscriptions(gateway, NONE, ALL);
    assert!(stage.connect("eve").is_err());
    assert_told(&mut stage, []);
    assert!(stage.connect("ann").is_ok());
    assert_eq!(told(&mut stage).len(), 1);
}

#[test]
fn the_hub_tells_the_same_after_a_sleep() {
    let policies = r#"{"rooms":[{"match":"*","presence":"members","presence_grace_s":5}]}"#;
    let mut stage = Stage::with_subscriptions((), policies, ALL);
    let ann = stage.connect("ann").expect("admitted");
    stage.join(ann, "r");
    stage.lost(ann);
    told(&mut stage);
    stage.sleep(());
    stage.wait(6_000);
    assert_eq!(told(&mut stage).len(), 2);
}

#[test]
fn a_client_that_is_refused_late_behind_a_wait_was_never_there() {
    use roomcast_core::wire::AuthRequest;

    for session in ["no", "closed", "yes"] {
        let router = Router::default()
            .on_connect(|cx, ()| {
                let session = cx.session::<String>();
                let said = later(async move { ok(session?.unwrap_or_default()) });
                said.and_then(|cx: &mut Context, (), said: String| {
                    cx.join("r")?;
                    if said == "closed" {
                        cx.close(CloseCode::REMOVED, "out");
                    }
                    match &*said {
                        "yes" => Ok(()),
                        _ => Err(Failure::forbidden("not you")),
                    }
                })
            })
            .on_disconnect(|_, (), _| panic!("it was never there"));
        let mut stage = Stage::with_subscriptions(router, NONE, CONNECTIONS);
        let handshake = Handshake::new().with_unidentified(true);
        let handshake = handshake.with_session(format!("\"{session}\""));
        let conn = stage.connect_with(handshake).expect("admitted");
        let text = r#"{"event":"$auth","id":1,"data":{"token":"t"}}"#;
        stage.apply(&Input::Authenticate {
            conn,
            text: AuthRequest::find(text).expect("a request").rest.into(),
            identity: Some(Box::new(Identity::user("ann"))),
            unavailable: false,
        });
        assert_told(&mut stage, []);
        let work = stage.one_work();
        stage.finish(work);
        let lines = stage.take();
        let told: Vec<_> = lines
            .iter()
            .filter(|line| line.starts_with("tell"))
            .collect();
        if session == "yes" {
            let opened = r#"tell {"type":"connection.opened","conn":"0","user":"ann"}"#;
            assert_eq!(told, [opened]);
        } else {
            assert!(told.is_empty(), "{told:?}");
            let close = lines.last().map(String::as_str);
            assert_eq!(close, Some("close a 4403 not you"), "{lines:?}");
            assert!(stage.app.hub().connection(conn).is_none() && stage.app.is_idle());
        }
    }
}

/// Identifies each connection and adds it to a room, at once or after a wait.
fn lobby(waits: bool) -> Router {
    let enter = |cx: &mut Context, user: &str| {
        cx.emit("before", &())?;
        cx.set_user(user)?;
        cx.join("lobby")?;
        cx.emit("after", &())?;
        ok(())
    };
    if waits {
        let found = || later(async { ok("ann".to_owned()) });
        return Router::default().on_connect(move |_, ()| {
            found().and_then(move |cx: &mut Context, (), user: String| enter(cx, &user))
        });
    }
    Router::default().on_connect(move |cx, ()| Ok(enter(cx, "ann")?))
}

#[test]
fn a_connection_opened_before_it_occupied_a_room_whoever_names_its_user() {
    let policies = r#"{"rooms":[{"match":"*","presence":"members"}]}"#;
    for waits in [false, true] {
        let mut stage = Stage::with_subscriptions(lobby(waits), policies, ALL);
        let conn = stage.connect_with(Handshake::new().with_welcome(true));
        let conn = conn.expect("admitted");
        if waits {
            assert_told(&mut stage, []);
            let work = stage.one_work();
            stage.finish(work);
        }
        let lines = stage.take().into_iter();
        let (opened, sent): (Vec<_>, Vec<_>) = lines
            .filter(|line| !line.starts_with("persist"))
            .partition(|line| line.starts_with("tell "));
        let expected = [
            r#"tell {"type":"connection.opened","conn":"0","user":"ann"}"#,
            r#"tell {"type":"room.occupied","room":"lobby"}"#,
            r#"tell {"type":"user.joined","room":"lobby","user":"ann"}"#,
        ];
        assert_eq!(opened, expected, "{waits}");
        let events = ["$welcome", "before", "after"];
        assert_eq!(sent.len(), events.len(), "{sent:?}");
        for (line, event) in sent.iter().zip(events) {
            assert!(line.contains(&format!(r#""event":"{event}""#)), "{sent:?}");
        }
        stage.lost(conn);
        let closed = r#"{"type":"connection.closed","conn":"0","user":"ann","by":"lost"}"#;
        let events = told(&mut stage);
        assert!(events.iter().any(|event| event == closed), "{events:?}");
    }
}
