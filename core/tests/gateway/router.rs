//! The router: handlers, their arguments and their guards.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use roomcast_core::{
    Context, ErrorCode, Failure, Input, Outcome, Path, Rejection, Reply, Router,
    gateway::{RoomAction, Token},
    router::Raw,
};
use serde::{Deserialize, Serialize};

use super::stage::Stage;

#[derive(Deserialize, Serialize)]
struct Add {
    left: i32,
    right: i32,
}

fn add(_: &mut Context<'_>, Add { left, right }: Add) -> i32 {
    left + right
}

/// Handlers with all kinds of arguments and results.
fn handlers() -> Router<u32> {
    Router::new(10_u32)
        .on("function", add)
        .on("nothing", |_: &mut Context| {})
        .on("state", |_: &mut Context, state: &mut u32| {
            *state += 1;
            *state
        })
        .on("both", |cx: &mut Context, state: &mut u32, by: u32| {
            *state += by;
            (cx.id(), *state)
        })
        .on("option", |_: &mut Context, value: Option<u8>| value)
        .on("raw", |_: &mut Context, Raw(json): Raw| json)
        .on(
            "three",
            |_: &mut Context, Raw(a): Raw, add: Add, Raw(b): Raw| (a.len(), add.right, b == a),
        )
        .on("other", |_: &mut Context| Reply::event("another", &1))
        .on("several", |_: &mut Context| {
            Ok::<_, Failure>(vec![Reply::new(&1)?, Reply::event("end", &2)?])
        })
        .on("fails", |_: &mut Context| -> Result<u8, Failure> {
            Err(Failure::new("no_luck", "not today"))
        })
        .on("broken", |_: &mut Context| "x".parse::<u8>())
        .on("outcome", |_: &mut Context| Outcome::Done)
        .on("token", |cx: &mut Context| -> Token { cx.later() })
}

#[test]
fn a_handler_takes_what_it_names_and_returns_what_it_likes() {
    let (mut stage, [a]) = Stage::connected(handlers());
    let mut answer = |request: &str| {
        stage.text(a, request);
        let lines = stage.take();
        lines.join("\n").replace(r#"send a {"event":"#, "")
    };
    for (request, expected) in [
        (
            r#"{"event":"function","data":{"left":1,"right":2}}"#,
            r#""function","data":3}"#,
        ),
        (r#"{"event":"nothing"}"#, ""),
        (
            r#"{"event":"nothing","id":1}"#,
            r#""nothing","id":1,"data":null}"#,
        ),
        (r#"{"event":"state"}"#, r#""state","data":11}"#),
        (r#"{"event":"both","data":4}"#, r#""both","data":["0",15]}"#),
        (r#"{"event":"option"}"#, ""),
        (
            r#"{"event":"option","data":7,"id":2}"#,
            r#""option","id":2,"data":7}"#,
        ),
        (
            r#"{"event":"raw","data":[ 1 ]}"#,
            r#""raw","data":"[ 1 ]"}"#,
        ),
        (
            r#"{"event":"three","data":{"left":1,"right":2}}"#,
            r#""three","data":[20,2,true]}"#,
        ),
        (
            r#"{"event":"other","id":3}"#,
            r#""another","id":3,"data":1}"#,
        ),
        (
            r#"{"event":"several","id":4}"#,
            "\"several\",\"data\":1}\n\"end\",\"id\":4,\"data\":2}",
        ),
        (
            r#"{"event":"fails"}"#,
            r#""fails","error":{"code":"no_luck","message":"not today"}}"#,
        ),
        (
            r#"{"event":"broken"}"#,
            r#""broken","error":{"code":"internal","message":"internal server error (logged)"}}"#,
        ),
        (
            r#"{"event":"outcome","id":5}"#,
            r#""outcome","id":5,"data":null}"#,
        ),
        (r#"{"event":"token","id":6}"#, ""),
    ] {
        assert_eq!(answer(request), expected, "{request}");
    }
    assert_eq!(
        stage.faults(),
        ["broken of connection 0: invalid digit found in string"]
    );
}

#[test]
fn a_wrong_payload_is_refused_and_not_repeated() {
    let (mut stage, [a]) = Stage::connected(Router::default().on("add", add));
    stage.text(a, r#"{"event":"add","id":1,"data":{"left":"SECRET"}}"#);
    stage.text(a, r#"{"event":"add","data":{"left":1}}"#);
    stage.text(a, r#"{"event":"add"}"#);
    stage.expect([
        r#"send a {"event":"add","id":1,"error":{"code":"bad_payload","message":"`data.left` does not fit: expected i32","details":{"path":"left","line":1,"column":16}}}"#,
        r#"send a {"event":"add","error":{"code":"bad_payload","message":"`data` does not fit this event: the field `right` is missing","details":{"path":"right","line":1,"column":10}}}"#,
        r#"send a {"event":"add","error":{"code":"bad_payload","message":"`data` does not fit this event: expected struct Add","details":{"line":1,"column":4}}}"#,
    ]);
    assert!(stage.faults().is_empty());
}

#[test]
fn a_value_without_a_form_in_json_is_an_internal_error() {
    let router = Router::default().on("map", |_: &mut Context| BTreeMap::from([([1, 2], 3)]));
    let (mut stage, [a]) = Stage::connected(router);
    stage.text(a, r#"{"event":"map","id":1}"#);
    let lines = stage.take();
    assert!(
        lines[0].contains(r#""code":"internal""#) && lines.len() == 1,
        "{lines:?}"
    );
    assert_eq!(
        stage.faults(),
        ["map of connection 0: the value that the handler returned: key must be a string"]
    );
}

#[test]
fn the_path_is_the_room_and_the_most_special_pattern_wins() {
    let router = Router::default()
        .on("join", |_: &mut Context| "plain")
        .on_path(
            "join",
            "/chat/{room}",
            |cx: &mut Context, Path(room): Path<String>| {
                let new = cx.join_here()?;
                Ok::<_, Failure>((room, new))
            },
        )
        .on_path("join", "/chat/help", |_: &mut Context| "help")
        .on_path(
            "join",
            "/{kind}/help",
            |_: &mut Context, Path(kind): Path<String>| kind,
        )
        .on_path(
            "seat",
            "/table/{table}/{seat}",
            |_: &mut Context, Path(at): Path<(u8, u8)>| at,
        );
    let (mut stage, [a]) = Stage::connected(router);
    for (event, room, expected) in [
        ("join", "/chat/lobby", r#""data":["lobby",true]}"#),
        ("join", "/chat/lobby", r#""data":["lobby",false]}"#),
        ("join", "/chat/help", r#""data":"help"}"#),
        ("join", "/game/help", r#""data":"game"}"#),
        ("join", "/chat/", r#""data":"plain"}"#),
        ("seat", "/table/3/4", r#""data":[3,4]}"#),
        (
            "seat",
            "/table/3/400",
            r#""error":{"code":"bad_room","message":"a parameter of the path does not fit: table, seat"}}"#,
        ),
    ] {
        stage.text(a, &format!(r#"{{"event":"{event}","room":"{room}"}}"#));
        stage.expect([&format!(
            r#"send a {{"event":"{event}","room":"{room}",{expected}"#
        )]);
    }
    assert_eq!(stage.app.hub().rooms_of(a), Some(vec!["/chat/lobby"]));
}

#[test]
fn the_fallback_takes_the_rest_and_may_leave_it() {
    let router = Router::default().fallback(|cx: &mut Context, Raw(json): Raw| {
        if cx.here().is_some() {
            return Outcome::Unclaimed;
        }
        Outcome::Fail(Failure::new(
            ErrorCode::UnknownEvent,
            format!("{} bytes", json.len()),
        ))
    });
    let (mut stage, [a, b]) = Stage::connected(router);
    stage.join(b, "r");
    stage.text(a, r#"{"event":"what","data":12}"#);
    stage.text(a, r#"{"event":"what","data":12,"room":"r"}"#);
    stage.expect([
        r#"send a {"event":"what","error":{"code":"unknown_event","message":"2 bytes"}}"#,
        r#"send b {"event":"what","room":"r","from":{"conn":"0","user":"ann"},"data":12}"#,
    ]);
}

#[test]
fn guards_run_in_their_order_and_the_first_refusal_ends_it() {
    let log = Rc::new(RefCell::new(Vec::new()));
    let guard = |name: &'static str| {
        let log = log.clone();
        move |_: &Context<'_>, refused: &&'static str, _: &roomcast_core::Message<'_>| {
            log.borrow_mut().push(name);
            if *refused == name {
                Err(Failure::forbidden(name))
            } else {
                Ok(())
            }
        }
    };
    for (refused, expected) in [
        ("", &["first", "second", "third", "fourth"][..]),
        ("first", &["first"]),
        ("third", &["first", "second", "third"]),
    ] {
        let router = Router::new(refused)
            .guard_event("do", guard("third"))
            .guard(guard("first"))
            .on("do", |_: &mut Context, done: u8| done)
            .guard(guard("second"))
            .guard_event("do", guard("fourth"))
            .guard_event("other", guard("never"));
        let (mut stage, [a]) = Stage::connected(router);
        // Guards run before the payload is parsed.
        stage.text(a, r#"{"event":"do","data":"no number"}"#);
        assert_eq!(log.take(), expected);
        let code = if refused.is_empty() {
            "bad_payload"
        } else {
            "forbidden"
        };
        assert!(stage.take()[0].contains(code));
        // Protocol verbs are room actions, not messages.
        stage.text(a, r#"{"event":"$join","room":"r"}"#);
        assert!(log.take().is_empty());
    }
}

#[test]
fn guards_of_rooms_know_the_action() {
    let router = Router::default()
        .guard_rooms(|cx, (), action, room| {
            if action == RoomAction::Publish && !cx.is_in(room) {
                return Err(Failure::forbidden("join first"));
            }
            Ok(())
        })
        .guard_rooms(|cx, (), action, room| match cx.user() {
            Some("ann") if room == "staff" && action == RoomAction::Join => {
                Err(Failure::forbidden("staff only"))
            }
            _ => Ok(()),
        });
    let (mut stage, [a, b]) = Stage::connected(router);
    let forbidden = |event: &str, message: &str| {
        format!(
            r#"{{"event":"{event}","room":"staff","error":{{"code":"forbidden","message":"{message}"}}}}"#
        )
    };
    stage.text(a, r#"{"event":"$join","room":"staff"}"#);
    stage.text(b, r#"{"event":"said","room":"staff"}"#);
    stage.text(b, r#"{"event":"$join","room":"staff"}"#);
    stage.text(b, r#"{"event":"said","room":"staff","echo":true}"#);
    stage.expect([
        &format!("send a {}", forbidden("$join", "staff only")),
        &format!("send b {}", forbidden("said", "join first")),
        r#"send b {"event":"$join","room":"staff","data":{"epoch":"e","offset":0,"already":false}}"#,
        r#"send b {"event":"said","room":"staff","from":{"conn":"1048577","user":"ben"},"data":null}"#,
    ]);
}

#[test]
fn hooks_of_a_router_have_its_state() {
    type Log = Vec<String>;
    let router = || {
        Router::new(Log::new())
            .persistent()
            .on_connect(|cx, log: &mut Log| {
                let user = cx.user().unwrap_or_default().to_owned();
                log.push(format!("connect {user}"));
                if user == "eve" {
                    return Err(Rejection::unauthorized("who?"));
                }
                cx.join("hall")?;
                Ok(())
            })
            .on_joined(|_, log, room| log.push(format!("joined {room}")))
            .on_left(|_, log, room| log.push(format!("left {room}")))
            .on_disconnect(|cx, log, reason| log.push(format!("gone {:?} {reason:?}", cx.rooms())))
            .every(Duration::from_secs(1), |namespace, log| {
                log.push(format!("tick {}", namespace.counts().connections));
            })
            .on_drain(|_, log| log.push("drain".into()))
            .on("log", |_: &mut Context, log: &mut Log| log.clone())
    };
    let mut stage = Stage::new(router());
    let ann = stage.connect("ann").expect("admitted");
    stage.connect("eve").expect_err("not admitted");
    stage.wait(1_000);
    stage.apply(&Input::Drain);
    stage.take();
    assert!(stage.app.take_unsaved() && !stage.app.take_unsaved());
    stage.sleep(router());
    stage.lost(ann);
    let log = [
        "connect ann",
        "joined hall",
        "connect eve",
        "tick 1",
        "drain",
        "left hall",
        r#"gone ["hall"] Lost"#,
    ];
    assert_eq!(stage.app.gateway().state(), &log);
    assert!(stage.app.take_unsaved());
}

#[test]
fn state_of_another_version_is_not_taken() {
    let router = |state: serde_json::Value| Router::new(state).persistent();
    let (stage, []) = Stage::connected(router(1.into()));
    let config = roomcast_core::Config::new("e");
    let other = Router::new(String::new()).persistent();
    let restored = roomcast_core::App::restore(config, other, stage.app.state(), []);
    assert_eq!(
        restored.err(),
        Some(roomcast_core::hub::RestoreError::Gateway)
    );
}

#[test]
#[should_panic(expected = "has a handler already")]
fn an_event_has_one_handler() {
    let _ = Router::default().on("add", add).on("add", add);
}

#[test]
#[should_panic(expected = "has a handler for /{b} already")]
fn a_path_has_one_handler() {
    let _ = Router::default()
        .on_path("add", "/{a}", add)
        .on_path("add", "/{b}", add);
}

#[test]
#[should_panic(expected = "must not start with `$`")]
fn verbs_have_no_handler() {
    let _ = Router::default().on("$join", add);
}

#[cfg(feature = "garde")]
#[test]
fn a_payload_that_is_not_valid_says_what_is_wrong_with_each_field() {
    #[derive(Deserialize, garde::Validate)]
    struct Post {
        #[garde(length(min = 1, max = 5))]
        text: String,
        #[garde(dive)]
        tags: Vec<Tag>,
    }
    #[derive(Deserialize, garde::Validate)]
    struct Tag {
        #[garde(ascii, length(max = 3))]
        name: String,
    }

    let router = Router::default().on(
        "post",
        |_: &mut Context, roomcast_core::Valid(post): roomcast_core::Valid<Post>| {
            post.text.len() + post.tags.len()
        },
    );
    let (mut stage, [a]) = Stage::connected(router);
    stage.text(
        a,
        r#"{"event":"post","data":{"text":"abc","tags":[{"name":"x"}]}}"#,
    );
    stage.text(a, r#"{"event":"post","id":1,"data":{"text":"SECRET","tags":[{"name":"x"},{"name":"SECRÉT"}]}}"#);
    stage.text(a, r#"{"event":"post","id":2,"data":{"text":5}}"#);
    stage.expect([
        r#"send a {"event":"post","data":4}"#,
        r#"send a {"event":"post","id":1,"error":{"code":"bad_payload","message":"`data.tags[1].name` and 1 more are not valid: see `details.fields`","details":{"path":"tags[1].name","fields":{"tags[1].name":["not ascii","length is greater than 3"],"text":["length is greater than 5"]}}}}"#,
        r#"send a {"event":"post","id":2,"error":{"code":"bad_payload","message":"`data.text` does not fit: expected string","details":{"path":"text","line":1,"column":9}}}"#,
    ]);
}
