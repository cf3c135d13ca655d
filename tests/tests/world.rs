//! The test kit for applications tells everything that clients can notice.

use std::{cell::RefCell, rc::Rc, time::Duration};

use roomcast_core::{
    Admission, Audience, CloseCode, CompleteError, ConnId, Context, Failure, Frame, Outcome,
    Rejection, Reply, Router, Token,
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
    world.tell("bob connects");
    world.expect([r#"alice gets {"event":"knocks","data":null}"#]);
    world.tell(r#"bob sends {"event":"$ping"}"#);
    world.expect([]);
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
            .every(Duration::from_secs(5), |desk, ()| {
                if let Err(fault) = desk.broadcast("tick", &desk.now().as_millis()) {
                    desk.report("tick", fault);
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
    world.tell("carol connects");
    world.tell(r#"alice sends {"event":"whisper","data":["<bob>","psst"]}"#);
    world.expect([
        r#"bob gets {"event":"whisper","data":["<alice>","psst"]}"#,
        r#"alice gets {"event":"whisper","data":{"matched":1,"queued":1,"dropped":0}}"#,
    ]);
    world.tell(r#"bob sends {"event":"me"}"#);
    world.expect([r#"bob gets {"event":"me","data":"ben"}"#]);
    world.tell(r#"carol sends {"event":"me"}"#);
    world.expect([]);
}

/// What an application keeps elsewhere than in its state or in sessions is lost in sleep, and a test
/// can see it.
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
            .on_drain(|desk, ()| {
                let told = desk.broadcast("closing", &desk.counts().connections);
                told.map_or_else(|fault| desk.report("drain", fault), |_| ());
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
    let policies = r#"{"rooms":[{"match":"notes","history":{},"presence":"members"}]}"#;
    for sleep in [Sleep::Never, Sleep::Saved, Sleep::Persisted] {
        let policies = serde_json::from_str(policies).expect("policies");
        let mut world = World::new(notes).with_policies(policies).with_sleep(sleep);
        world.tell("alice connects as ann");
        world.tell("bob connects as ben");
        for n in 1..=3 {
            let sent = world.act(|desk| desk.send(&Audience::room("notes"), "note", &n));
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
        let page = world.history("notes", 3.., 9).expect("kept");
        assert_eq!((page.offset, page.messages.len()), (3, 1));
        let position = world.act(|desk| desk.position("notes").offset);
        assert_eq!(position, 3);
    }
}
