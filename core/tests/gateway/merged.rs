//! Two routers in one namespace.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use roomcast_core::{
    App, Config, Context, Failure, Frame, Gateway, Input, Message, Rejection, Router,
    gateway::{Admission, RoomAction, UpgradeRequest},
    hub::RestoreError,
};

use super::stage::{Stage, caught};

type Log = Vec<&'static str>;

/// Returns a guard that admits everyone but this user.
fn not<S>(
    user: &'static str,
) -> impl Fn(&Context<'_>, &S, &Message<'_>) -> Result<(), Failure> + 'static {
    move |cx, _, _| match cx.user() {
        Some(found) if found == user => Err(Failure::forbidden(user)),
        _ => Ok(()),
    }
}

/// A counter with `add` that refuses ann.
fn counter() -> Router<u32> {
    Router::new(0)
        .guard(not("ann"))
        .on("add", |_: &mut Context, sum: &mut u32, more: u32| {
            *sum += more;
            *sum
        })
}

/// A list with `push` that refuses ben.
fn list() -> Router<Vec<u8>> {
    Router::new(Vec::new()).guard(not("ben")).on(
        "push",
        |_: &mut Context, all: &mut Vec<u8>, one: u8| {
            all.push(one);
            all.clone()
        },
    )
}

/// A router that logs its hooks by these letters, and panics when the room of the last letter is
/// joined.
fn hooks(of: [&'static str; 7]) -> Router<Log> {
    let [connected, joined, left, gone, ticked, drained, planted] = of;
    Router::new(Log::new())
        .on_connect(move |cx, log: &mut Log| {
            log.push(connected);
            cx.join(connected).map(|_| ()).map_err(Into::into)
        })
        .on_joined(move |_, log, room| {
            log.push(joined);
            assert_ne!(room, planted, "planted");
        })
        .on_left(move |_, log, _| log.push(left))
        .on_disconnect(move |_, log, _| log.push(gone))
        .every(Duration::from_secs(1), move |_, log| log.push(ticked))
        .on_drain(move |_, log| log.push(drained))
}

fn text_of_panic(act: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(act)).expect_err("refused");
    let text = panic.downcast::<String>().map(|text| *text);
    text.unwrap_or_else(|panic| panic.downcast_ref::<&str>().expect("a text").to_string())
}

#[test]
fn each_router_has_its_state_and_its_guards() {
    let (mut stage, [ann, ben, cat]) = Stage::connected(counter().merge(list()));
    for (conn, text) in [
        (ann, r#"{"event":"add","data":1}"#),
        (ben, r#"{"event":"add","data":2}"#),
        (cat, r#"{"event":"add","data":3}"#),
        (ann, r#"{"event":"push","data":1}"#),
        (ben, r#"{"event":"push","data":2}"#),
        (cat, r#"{"event":"push","data":3}"#),
    ] {
        stage.text(conn, text);
    }
    stage.expect([
        r#"send a {"event":"add","error":{"code":"forbidden","message":"ann"}}"#,
        r#"send b {"event":"add","data":2}"#,
        r#"send c {"event":"add","data":5}"#,
        r#"send a {"event":"push","data":[1]}"#,
        r#"send b {"event":"push","error":{"code":"forbidden","message":"ben"}}"#,
        r#"send c {"event":"push","data":[1,3]}"#,
    ]);
    assert_eq!(stage.app.gateway().state(), &(5, vec![1, 3]));
    assert_eq!(stage.app.gateway().events(), ["add", "push"]);
}

#[test]
fn what_no_event_is_for_passes_the_guards_of_both() {
    let plain = || counter().merge(list());
    let told = |_: &mut Context<'_>| "told";
    let fallback_first = counter().fallback(told).merge(list());
    let fallback_second = counter().merge(list().fallback(told));
    let refused = [
        r#"send a {"event":"x","room":"r","error":{"code":"forbidden","message":"ann"}}"#,
        r#"send b {"event":"x","room":"r","error":{"code":"forbidden","message":"ben"}}"#,
    ];
    let answer = r#"send c {"event":"x","room":"r","data":"told"}"#;
    let published =
        r#"send d {"event":"x","room":"r","from":{"conn":"2","user":"cat"},"data":null}"#;
    for (router, last) in [
        (plain(), published),
        (fallback_first, answer),
        (fallback_second, answer),
    ] {
        let (mut stage, [ann, ben, cat, dan]) = Stage::connected(router);
        stage.join(dan, "r");
        stage.out.clear();
        for conn in [ann, ben, cat] {
            stage.text(conn, r#"{"event":"x","room":"r"}"#);
        }
        let lines = stage.take();
        assert_eq!(lines[..2], refused);
        let from = format!(r#""conn":"{cat}""#);
        assert_eq!(lines[2], last.replace(r#""conn":"2""#, &from));
    }
}

#[test]
fn guards_of_an_event_are_those_of_the_router_that_has_it() {
    let first = Router::default().guard_event("do", not("ann")).on_path(
        "do",
        "/first/{n}",
        |_: &mut Context| 1,
    );
    let second = Router::default()
        .guard_event("do", not("ben"))
        .on_path("do", "/second/{n}", |_: &mut Context| 2)
        .on("do", |_: &mut Context| 3);
    let (mut stage, [ann, ben]) = Stage::connected(first.merge(second));
    for room in ["/first/x", "/second/x", "elsewhere"] {
        for conn in [ann, ben] {
            stage.text(conn, &format!(r#"{{"event":"do","room":"{room}"}}"#));
        }
    }
    stage.expect([
        r#"send a {"event":"do","room":"/first/x","error":{"code":"forbidden","message":"ann"}}"#,
        r#"send b {"event":"do","room":"/first/x","data":1}"#,
        r#"send a {"event":"do","room":"/second/x","data":2}"#,
        r#"send b {"event":"do","room":"/second/x","error":{"code":"forbidden","message":"ben"}}"#,
        r#"send a {"event":"do","room":"elsewhere","data":3}"#,
        r#"send b {"event":"do","room":"elsewhere","error":{"code":"forbidden","message":"ben"}}"#,
    ]);
}

#[test]
fn a_guard_of_the_whole_stands_before_all_that_it_has() {
    let three = counter()
        .merge(list())
        .guard(not("cat"))
        .on("sum", |_: &mut Context, (sum, all): &mut (u32, Vec<u8>)| {
            (*sum, all.len())
        })
        .merge(Router::default().on("free", |_: &mut Context| "free"));
    let (mut stage, [ann, ben, cat]) = Stage::connected(three);
    for event in ["add", "push", "sum", "free"] {
        for conn in [ann, ben, cat] {
            stage.text(conn, &format!(r#"{{"event":"{event}","data":1}}"#));
        }
    }
    let refused = |conn: char, event: &str, user: &str| {
        format!(
            r#"send {conn} {{"event":"{event}","error":{{"code":"forbidden","message":"{user}"}}}}"#
        )
    };
    let free = |conn: char| format!(r#"send {conn} {{"event":"free","data":"free"}}"#);
    stage.expect([
        &refused('a', "add", "ann"),
        r#"send b {"event":"add","data":1}"#,
        &refused('c', "add", "cat"),
        r#"send a {"event":"push","data":[1]}"#,
        &refused('b', "push", "ben"),
        &refused('c', "push", "cat"),
        r#"send a {"event":"sum","data":[1,1]}"#,
        r#"send b {"event":"sum","data":[1,1]}"#,
        &refused('c', "sum", "cat"),
        &free('a'),
        &free('b'),
        &free('c'),
    ]);
}

#[test]
fn rooms_are_guarded_by_both() {
    let keeps = |room: &'static str| {
        Router::default().guard_rooms(move |_, (), action, asked| {
            if action == RoomAction::Join && asked == room {
                return Err(Failure::forbidden(room));
            }
            Ok(())
        })
    };
    let (mut stage, [ann]) = Stage::connected(keeps("a").merge(keeps("b")));
    for room in ["a", "b"] {
        stage.text(ann, &format!(r#"{{"event":"$join","room":"{room}"}}"#));
    }
    stage.expect([
        r#"send a {"event":"$join","room":"a","error":{"code":"forbidden","message":"a"}}"#,
        r#"send a {"event":"$join","room":"b","error":{"code":"forbidden","message":"b"}}"#,
    ]);
}

#[test]
fn hooks_and_schedules_of_both_run() {
    let first = hooks(["c", "j", "l", "g", "t", "d", ""]);
    let second = hooks(["C", "J", "L", "G", "T", "D", ""]);
    let mut stage = Stage::new(first.merge(second));
    let ann = stage.connect("ann").expect("admitted");
    stage.wait(1_000);
    stage.apply(&Input::Drain);
    stage.lost(ann);
    let (one, two) = stage.app.gateway().state();
    // Each router joins its own room.
    assert_eq!(one, &["c", "j", "j", "t", "d", "l", "l", "g"]);
    assert_eq!(two, &["C", "J", "J", "T", "D", "L", "L", "G"]);
}

#[test]
fn a_hook_that_panics_keeps_none_of_the_other_router_from_running() {
    let first = hooks(["c", "j", "l", "g", "t", "d", "r"]);
    let second = hooks(["C", "J", "L", "G", "T", "D", ""]);
    let (mut stage, [ann]) = Stage::connected(first.merge(second));
    let join = Input::Join {
        conn: ann,
        room: "r".into(),
        meta: None,
    };
    caught(&mut stage, &join);
    let (one, two) = stage.app.gateway().state();
    assert_eq!((one.len(), two.len()), (4, 4), "{one:?} {two:?}");
}

#[test]
fn both_admit() {
    let with_user = |name: &'static str| {
        Router::default().on_upgrade(move |request, ()| {
            let user = request.param(name);
            Ok(user.map_or_else(Admission::new, |user| Admission::new().with_user(user)))
        })
    };
    let refuses = Router::default().guard_upgrade(|request, ()| match request.query {
        "eve" => Err(Rejection::forbidden("not you")),
        _ => Ok(()),
    });
    let router = with_user("one").merge(with_user("two")).merge(refuses);
    let upgrade = |query| {
        let said = router.upgrade(&UpgradeRequest::new("/ws", query));
        said.now().expect("at once")
    };
    let named = |name: &str| Ok(Admission::new().with_user(name));
    assert_eq!(upgrade("one=ann"), named("ann"));
    assert_eq!(upgrade("two=ben"), named("ben"));
    assert_eq!(upgrade("one=ann&two=ann"), named("ann"));
    assert_eq!(upgrade(""), Ok(Admission::new()));
    assert_eq!(upgrade("eve"), Err(Rejection::forbidden("not you")));
    let contradiction = upgrade("one=ann&two=ben").expect_err("two users");
    assert_eq!(contradiction.status(), 500);
}

#[test]
fn what_either_keeps_is_kept() {
    let config = || Config::new("e");
    let asleep = |router: fn() -> Router<(u32, Vec<u8>)>| {
        let (mut stage, [_, _, cat]) = Stage::connected(router());
        stage.app.take_unsaved();
        stage.text(cat, r#"{"event":"add","data":7}"#);
        stage.text(cat, r#"{"event":"push","data":7}"#);
        assert_eq!(stage.app.take_unsaved(), router().is_persistent());
        stage.sleep(router());
        stage.app.gateway().state().clone()
    };
    assert_eq!(asleep(|| counter().merge(list())), (0, vec![]));
    assert_eq!(asleep(|| counter().persistent().merge(list())), (7, vec![]));
    assert_eq!(
        asleep(|| counter().merge(list().persistent())),
        (0, vec![7])
    );
    let both = || counter().persistent().merge(list().persistent());
    assert_eq!(asleep(both), (7, vec![7]));
    // Persistent when merged.
    assert_eq!(
        asleep(|| counter().merge(list()).persistent()),
        (7, vec![7])
    );

    // Saved state is restored only for a router that is still persistent. States that do not match
    // the routers are an error.
    let (stage, [_]) = Stage::connected(both());
    let first = counter().persistent().merge(list());
    App::restore(config(), first, stage.app.state(), []).expect("the second is dropped");
    let other = Router::new(String::new()).persistent();
    for saved in [
        App::restore(config(), both().merge(other), stage.app.state(), []).err(),
        App::restore(config(), counter().persistent(), stage.app.state(), []).err(),
    ] {
        assert_eq!(saved, Some(RestoreError::Gateway));
    }
}

/// `None` is a state, and differs from a state that was not saved.
#[test]
fn a_state_that_is_nothing_is_kept() {
    let router = || {
        Router::new(Some(1))
            .persistent()
            .on("clear", |_: &mut Context, state: &mut Option<u8>| {
                *state = None;
            })
            .merge(Router::default())
    };
    let (mut stage, [ann]) = Stage::connected(router());
    stage.text(ann, r#"{"event":"clear"}"#);
    stage.sleep(router());
    assert_eq!(stage.app.gateway().state(), &(None, ()));
}

#[test]
fn a_second_handler_is_refused_and_both_places_are_named() {
    for (second, what) in [
        (
            Router::default().on("add", |_: &mut Context| 1),
            "`add` has a handler already",
        ),
        (
            Router::default().on_path("at", "/{y}", |_: &mut Context| 1),
            "`at` has a handler for /{y} already",
        ),
        (
            Router::default().fallback(|_: &mut Context| 1),
            "there is a fallback already",
        ),
    ] {
        let first = counter()
            .on_path("at", "/{x}", |_: &mut Context| 1)
            .fallback(|_: &mut Context| 2);
        let text = text_of_panic(|| drop(first.merge(second)));
        let (said, added) = text.split_once(", added at ").expect("added");
        assert_eq!(said, what);
        let added: Vec<_> = added.split("; the second one is at ").collect();
        let [one, two] = added[..] else {
            panic!("{text}");
        };
        assert!(
            one.contains("merged.rs:") && two.contains("merged.rs:"),
            "{text}"
        );
        assert_ne!(one, two);
    }
}

#[test]
fn frames_without_envelopes_are_for_one_router() {
    let raw = || Router::default().on_frame(|_, (), _| ());
    let text = text_of_panic(|| drop(raw().merge(counter())));
    assert!(text.contains("give it a namespace of its own"), "{text}");
    let text = text_of_panic(|| drop(raw().merge(raw())));
    assert!(text.starts_with("frames have a handler already"), "{text}");
    // Hooks can be merged with a frame handler.
    let heard = Router::new(0).on_frame(|_, count: &mut u8, _| *count += 1);
    let mut stage = Stage::new(heard.merge(Router::new(0).on_connect(|_, count: &mut u8| {
        *count += 1;
        Ok(())
    })));
    let ann = stage.connect("ann").expect("admitted");
    stage.frame(ann, Frame::Text("hi"));
    assert_eq!(stage.app.gateway().state(), &(1, 1));
}
