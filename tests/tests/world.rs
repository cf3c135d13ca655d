//! The test kit for applications tells everything that clients can notice.

use std::{cell::RefCell, rc::Rc, time::Duration};

use roomcast_core::{
    Audience, CloseCode, ConnId, Context, Failure, Frame, Limits, Outcome, Rejection, Reply,
    Router,
    gateway::{Admission, CompleteError, Token},
};
use roomcast_tests::{Settings, Sleep, World};

#[test]
fn the_order_across_clients_is_the_order_of_sending() {
    let mut world = World::new(|| {
        Router::default().on("go", |cx: &mut Context| {
            cx.to(cx.others()).emit("first", &1)?;
            cx.emit("second", &2)?;
            cx.broadcast("third", &3).map(|_| 4)
        })
    });
    world.tell("bob connects");
    world.tell("alice connects");
    world.tell(r#"alice sends {"event":"go"}"#);
    world.expect([
        r#"bob gets {"event":"first","data":1}"#,
        r#"alice gets {"event":"second","data":2}"#,
        r#"bob gets {"event":"third","data":3}"#,
        r#"alice gets {"event":"third","data":3}"#,
        r#"alice gets {"event":"go","data":4}"#,
    ]);
}

#[test]
#[should_panic(expected = "alice connects")]
fn what_is_not_expected_fails_with_the_story() {
    let mut world = World::new(|| {
        Router::default().on_connect(|cx, ()| {
            cx.emit("hello", &())?;
            Ok(())
        })
    });
    world.tell("alice connects");
    world.expect([]);
}

#[test]
fn who_is_refused_is_not_there() {
    let mut world = World::new(|| {
        Router::default().on_connect(|cx, ()| {
            let who = cx.user().map(str::to_owned);
            cx.to(cx.others()).emit("knocks", &who)?;
            match who {
                Some(_) => Ok(()),
                None => Err(Rejection::unauthorized("who are you?")),
            }
        })
    });
    world.tell("alice connects as ann");
    let reason = world.expect_refused("bob connects", 401);
    assert_eq!(reason, "unauthorized: who are you?");
    world.expect([r#"alice gets {"event":"knocks","data":null}"#]);
    assert!(world.is_connected("alice") && !world.is_connected("bob"));
    assert_eq!(
        world.app().map(|app| app.hub().counts().connections),
        Some(1)
    );
}

#[test]
fn answers_come_later_and_schedules_when_they_are_due() {
    let tokens: Rc<RefCell<Vec<Token>>> = Rc::default();
    let promised = tokens.clone();
    let mut world = World::new(move || {
        let tokens = promised.clone();
        Router::default()
            .on("slow", move |cx: &mut Context| {
                let token = cx.later();
                tokens.borrow_mut().push(token);
                token
            })
            .every(Duration::from_secs(5), |namespace, ()| {
                if let Err(fault) = namespace.broadcast("tick", &namespace.now().as_millis()) {
                    namespace.report("tick", fault);
                }
            })
    });
    world.tell("alice connects");
    world.tell(r#"alice sends {"event":"slow","id":1}"#);
    world.expect([]);
    world.wait(Duration::from_secs(11));
    world.expect([
        r#"alice gets {"event":"tick","data":5000}"#,
        r#"alice gets {"event":"tick","data":10000}"#,
    ]);
    let token = tokens.borrow()[0];
    let reply = || Outcome::Reply(Reply::new("done").expect("text"));
    assert_eq!(world.complete(token, reply()), Ok(()));
    world.expect([r#"alice gets {"event":"slow","id":1,"data":"done"}"#]);
    assert_eq!(world.complete(token, reply()), Err(CompleteError::Answered));
    world.expect([]);
    world.tell(r#"alice sends {"event":"slow","id":2}"#);
    world.tell("alice vanishes");
    let token = tokens.borrow()[1];
    assert_eq!(world.complete(token, reply()), Err(CompleteError::Ended));
}

#[test]
fn heartbeats_and_closes_are_seen() {
    let limits = Settings::default().limits();
    let mut world = World::with_limits(&limits, || {
        Router::default().on("out", |cx: &mut Context| {
            cx.close(CloseCode::REMOVED, "out");
        })
    });
    world.tell("alice connects");
    world.tell("bob connects");
    world.tell(r#"bob sends {"event":"out","id":1}"#);
    world.expect([
        r#"bob gets {"event":"$bye","data":{"code":4410,"reconnect":false,"after_ms":0}}"#,
        r#"bob is closed 4410 "out""#,
    ]);
    world.wait(Duration::from_secs(35));
    world.expect([
        "alice gets a ping",
        r#"alice gets {"event":"$bye","data":{"code":4408,"reconnect":true,"after_ms":0}}"#,
        r#"alice is closed 4408 "no heartbeat""#,
    ]);
}

#[test]
fn frames_without_envelopes_are_seen() {
    let mut world = World::new(|| {
        Router::default().on_frame(|cx: &mut Context, (), frame| {
            let sent = cx.to(cx.others()).emit_frame(frame);
            assert!(sent.is_ok());
            cx.emit_frame(Frame::Text("ok"));
        })
    });
    world.tell("alice connects");
    world.tell("bob connects");
    world.tell("alice sends binary 00ff");
    world.expect(["bob gets binary 00ff", "alice gets ok"]);
    world.tell("alice sends plain text");
    world.expect(["bob gets plain text", "alice gets ok"]);
}

#[test]
fn names_stand_for_connections_in_what_is_sent_and_heard() {
    let mut world = World::new(|| {
        Router::default()
            .on_upgrade(|request, ()| match request.query {
                "" => Err(Rejection::unauthorized("who are you?")),
                user => Ok(Admission::new().with_user(user)),
            })
            .on(
                "whisper",
                |cx: &mut Context, (to, text): (ConnId, String)| {
                    let from = cx.id();
                    cx.to(Audience::conn(to)).emit("whisper", &(from, text))
                },
            )
            .on("me", |cx: &mut Context| cx.user().map(str::to_owned))
    });
    world.tell("alice connects with ?ann");
    world.tell("bob connects with ?ben");
    world.expect_refused("carol connects", 401);
    world.tell(r#"alice sends {"event":"whisper","data":["<bob>","psst"]}"#);
    world.expect([
        r#"bob gets {"event":"whisper","data":["<alice>","psst"]}"#,
        r#"alice gets {"event":"whisper","data":{"matched":1,"queued":1,"dropped":0}}"#,
    ]);
    world.tell(r#"bob sends {"event":"me"}"#);
    world.expect([r#"bob gets {"event":"me","data":"ben"}"#]);
}

/// State that an application keeps outside of its state and of sessions is lost in sleep, and a
/// test can see it.
#[test]
fn what_is_not_saved_is_lost() {
    let counter = |persistent: bool| {
        World::new(move || {
            let router = Router::new(0_u32).on("count", |_: &mut Context, count: &mut u32| {
                *count += 1;
                *count
            });
            if persistent {
                router.persistent()
            } else {
                router
            }
        })
        .with_sleep(Sleep::Saved)
    };
    for (persistent, expected) in [
        (true, r#"alice gets {"event":"count","data":2}"#),
        (false, r#"alice gets {"event":"count","data":1}"#),
    ] {
        let mut world = counter(persistent);
        world.tell("alice connects");
        world.tell(r#"alice sends {"event":"count"}"#);
        world.tell(r#"alice sends {"event":"count"}"#);
        world.expect([expected]);
    }
}

/// A future that lets others go first waits for nobody.
#[test]
fn futures_that_wake_themselves_come_to_their_end() {
    let mut world = World::new(|| {
        Router::default().on("count", |_: &mut Context, times: u32| async move {
            for _ in 0..times {
                tokio::task::yield_now().await;
            }
            times
        })
    });
    world.tell("alice connects");
    world.tell(r#"alice sends {"event":"count","data":7}"#);
    world.expect([r#"alice gets {"event":"count","data":7}"#]);
}

#[test]
fn a_drain_is_told_and_ends_nothing() {
    let mut world = World::new(|| {
        Router::default()
            .on_drain(|namespace, ()| {
                let told = namespace.broadcast("closing", &namespace.counts().connections);
                told.map_or_else(|fault| namespace.report("drain", fault), |_| ());
            })
            .on("ask", |_: &mut Context| 1)
    });
    world.tell("alice connects");
    world.tell("bob connects");
    world.drain();
    world.expect([
        r#"alice gets {"event":"closing","data":2}"#,
        r#"bob gets {"event":"closing","data":2}"#,
    ]);
    world.tell(r#"bob sends {"event":"ask"}"#);
    world.expect([r#"bob gets {"event":"ask","data":1}"#]);
}

fn notes() -> Router {
    Router::default()
        .on("enter", |cx: &mut Context, name: String| {
            let joined = cx.join_with("notes", &name);
            let page = cx.history("notes", .., 2);
            async move {
                joined?;
                Ok::<_, Failure>(page.await?.messages)
            }
        })
        .on("who", |cx: &mut Context| cx.presence("notes", None, 9))
}

/// At the edge, where the messages are in the storage, as in memory.
#[test]
fn histories_and_presence_are_read_awake_and_asleep() {
    let policies =
        r#"{"rooms":[{"match":"notes","history":{"messages":300},"presence":"members"}]}"#;
    for sleep in [Sleep::Never, Sleep::Saved, Sleep::Persisted] {
        let policies = serde_json::from_str(policies).expect("policies");
        let mut world = World::new(notes).with_policies(policies).with_sleep(sleep);
        let namespace = world.namespace();
        world.tell("alice connects as ann");
        world.tell("bob connects as ben");
        for n in 1..=3 {
            let sent = world.ask(namespace.send(Audience::room("notes"), "note", &n));
            assert_eq!(sent.expect("a number").offset, Some(n));
        }
        world.tell(r#"alice sends {"event":"enter","id":1,"data":"Ann"}"#);
        world.expect([
            r#"alice gets {"event":"enter","id":1,"data":[{"event":"note","room":"notes","offset":2,"data":2},{"event":"note","room":"notes","offset":3,"data":3}]}"#,
        ]);
        world.tell(r#"bob sends {"event":"who","id":1}"#);
        world.expect([
            r#"bob gets {"event":"who","id":1,"data":{"members":[{"user":"ann","conns":1,"meta":"Ann"}],"users":1,"conns":1}}"#,
        ]);
        let page = world.ask(namespace.history("notes", 3.., 9)).expect("kept");
        assert_eq!((page.offset, page.messages.len()), (3, 1));
        let position = world.ask(namespace.position("notes"));
        assert_eq!(position.expect("there").offset, 3);
    }
}

/// Lets in who has a cookie and is of a team; counts what is said.
pub(crate) fn door() -> Router<u32> {
    Router::new(0)
        .guard_upgrade(|request, _| match request.header("X-Team") {
            Some("a b") | None => Ok(()),
            Some(_) => Err(Rejection::forbidden("another team plays")),
        })
        .on_upgrade(|request, _| match (request.cookie("sid"), request.query) {
            (Some("1"), _) => Ok(Admission::new().with_user("ann")),
            (_, "token=t") => Ok(Admission::new().with_user("ben")),
            _ => Err(Rejection::unauthorized("sign in first")),
        })
        .on("say", |cx: &mut Context, said: &mut u32| {
            *said += 1;
            cx.user().map(str::to_owned)
        })
}

pub(crate) fn panics(act: impl FnOnce()) -> String {
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
    let panic = panic.expect_err("it panics");
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref().map(|text: &&str| (*text).to_owned()))
        .expect("a text")
}

#[test]
fn who_is_refused_or_unknown_makes_a_story_fail() {
    let mut world = World::new(door);
    let said = panics(|| {
        world.tell("ann connects");
    });
    assert!(
        said.starts_with("ann was refused: 401 unauthorized: sign in first\n"),
        "{said}"
    );
    for (line, fault) in [
        (r#"zoe sends {"event":"say"}"#, "zoe is not connected"),
        ("zoe disconnects", "zoe is not connected"),
        ("zoe vanishes", "zoe is not connected"),
        ("zoe pongs", "zoe is not connected"),
        ("server joins zoe to lobby", "zoe is not connected"),
        ("server removes zoe from lobby", "zoe is not connected"),
        (r#"server closes zoe 4410 "out""#, "zoe is not connected"),
        (
            r#"server sends {"audience":{"conns":["<zoe>"]},"event":"e","data":1}"#,
            "zoe is not connected",
        ),
        ("zoe naps", "not an op"),
        (
            "zoe connects with cookie sid=1 with header x-team=red",
            "zoe was refused: 403 forbidden",
        ),
    ] {
        let said = panics(|| {
            world.tell(line);
        });
        assert!(said.contains(fault), "{line}: {said}");
    }
    world.tell("ann connects with cookie sid=1");
    let said = panics(|| {
        world.tell("ann connects with cookie sid=1");
    });
    assert!(said.contains("ann is connected already"), "{said}");
    let said = panics(|| {
        world.tell("server joins ann to <300 of r>");
    });
    assert!(said.contains(" was refused: 400"), "{said}");
    assert!(said.ends_with(&world.to_string()), "{said}");
}

#[test]
fn a_refusal_that_is_expected_has_to_happen() {
    let mut world = World::new(door);
    assert_eq!(
        world.expect_refused("eve connects", 401),
        "unauthorized: sign in first"
    );
    assert_eq!(
        world.expect_refused("eve connects with cookie sid=1 with header x-team=b", 403),
        "forbidden: another team plays"
    );
    let said = panics(|| {
        world.expect_refused("eve connects", 403);
    });
    assert!(
        said.starts_with("eve was refused: 401 unauthorized: sign in first, not 403"),
        "{said}"
    );
    let said = panics(|| {
        world.expect_refused("ann connects with cookie sid=1", 401);
    });
    assert!(said.contains("this was not refused"), "{said}");
    // Nobody who was refused is there.
    assert!(!world.is_connected("eve") && world.is_connected("ann"));
}

#[test]
fn headers_cookies_and_queries_reach_the_application() {
    let mut world = World::new(door);
    world.tell("ann connects with cookie theme=dark with cookie sid=1");
    world.tell("ben connects with query token=t with header x-team=a<U+0020>b");
    world.tell(r#"ann sends {"event":"say"}"#);
    world.expect([r#"ann gets {"event":"say","data":"ann"}"#]);
    world.tell(r#"ben sends {"event":"say"}"#);
    world.expect([r#"ben gets {"event":"say","data":"ben"}"#]);
    assert_eq!(*world.state(), 2);
}

#[test]
fn rooms_members_and_connections_can_be_looked_at() {
    let mut world = World::new(|| ());
    assert!(world.rooms().is_empty() && world.hub().is_none());
    world.tell("ann connects");
    world.tell("ben connects");
    for (actor, room) in [("ann", "lobby"), ("ben", "lobby"), ("ann", "attic")] {
        world.tell(&format!(
            r#"{actor} sends {{"event":"$join","room":"{room}"}}"#
        ));
    }
    assert_eq!(world.rooms(), ["attic", "lobby"]);
    assert_eq!(world.rooms_of("ann"), ["attic", "lobby"]);
    assert_eq!(world.members("lobby"), ["ann".into(), "ben".into()]);
    let ben = world.conn("ben");
    assert_eq!(ben, world.hub().map(|hub| hub.members("lobby")[1]));
    world.tell("ben vanishes");
    assert!(world.conn("ben").is_none() && world.rooms_of("ben").is_empty());
    world.tell("server lists rooms");
    assert!(world.answer().body.starts_with(r#"{"rooms":["#));
}

pub(crate) fn quiet() -> Limits {
    let mut limits = Settings::default().limits();
    limits.heartbeat = None;
    limits
}

/// Questions about a name with a slip in it get no answer that looks like one.
#[test]
fn a_name_that_is_in_no_story_is_a_slip() {
    let story = || {
        let mut world = World::new(|| ());
        world.tell("ann connects");
        world.tell(r#"ann sends {"event":"$join","room":"lobby"}"#);
        world.tell("cat connects to team");
        world.tell(r#"cat sends {"event":"$join","room":"den"}"#);
        world
    };
    type Ask = fn(&World<()>) -> bool;
    let slips: [(Ask, &str); 8] = [
        (|w| w.rooms_of("anne").is_empty(), "nobody called `anne`"),
        (
            |w| w.conn("zoe").is_none(),
            "nobody called `zoe` is in the story; there are: ann, cat",
        ),
        (|w| w.is_connected("Ann"), "nobody called `Ann`"),
        (|w| w.members("loby").is_empty(), "no room `loby`"),
        (|w| w.members("Lobby").is_empty(), "there were: lobby"),
        (
            |w| w.members("den").is_empty(),
            "members_in(\"team\", \"den\")",
        ),
        (
            |w| w.members_in("team", "lobby").is_empty(),
            "members_in(\"default\", \"lobby\")",
        ),
        (
            |w| w.members_in("teem", "den").is_empty(),
            "members_in(\"team\", \"den\")",
        ),
    ];
    for (ask, says) in slips {
        let asked = std::panic::catch_unwind(|| ask(&story()));
        let fault = asked.expect_err(says);
        let fault = fault.downcast_ref::<String>().expect("a text");
        assert!(fault.contains(says), "{says}: {fault}");
    }
    // A story that names nobody, and names that were said beforehand.
    let world = World::new(|| ()).with_names(["ann", "lobby"]);
    assert!(!world.is_connected("ann") && world.members("lobby").is_empty());
    // A room that was left, or that somebody only spoke of.
    let mut world = story();
    world.tell(r#"ann sends {"event":"$leave","room":"lobby"}"#);
    world.tell(r#"ann sends {"event":"$leave","room":"attic","id":1}"#);
    assert!(world.members("lobby").is_empty() && world.members("attic").is_empty());
}

#[test]
fn an_actor_is_asked_about_in_its_own_namespace() {
    let mut world = World::new(|| ());
    for line in [
        "ann connects",
        r#"ann sends {"event":"$join","room":"lobby"}"#,
        "cat connects to team",
        r#"cat sends {"event":"$join","room":"den"}"#,
    ] {
        world.tell(line);
    }
    assert_eq!(world.rooms_of("ann"), ["lobby"]);
    assert_eq!(world.rooms_of("cat"), ["den"]);
    assert_eq!(world.rooms_in("team"), ["den"]);
    assert_eq!(world.members_in("team", "den"), ["cat".into()]);
    assert_eq!(world.rooms(), ["lobby"]);
}
