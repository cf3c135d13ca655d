//! Handlers and hooks that panic: the client learns nothing, the log everything, and others are
//! unaffected.

use std::time::Duration;

use roomcast::{Admission, Context, DisconnectReason, Failure, Host, Router, RunError};

use super::{
    client::Client,
    running::{Running, crowd, listen_to_log, logged, settings},
};

const INTERNAL: &str = r#""error":{"code":"internal","message":"internal server error (logged)"}"#;

/// Panics where the user's name says so.
fn brittle() -> Router<u32> {
    let breaks = |cx: &Context<'_>, place: &str| {
        assert!(cx.user() != Some(place), "planted in {place}");
    };
    Router::new(0)
        .on_upgrade(|request, _| {
            let user = request.param("user").unwrap_or_default();
            assert!(user != "upgrade", "planted in upgrade");
            Ok(Admission::new().with_user(&*user))
        })
        .on_connect(move |cx, _| {
            cx.join("hall")?;
            breaks(cx, "connect");
            Ok(())
        })
        .guard(move |cx, _, message| {
            if message.event == "guarded" {
                breaks(cx, "guard");
            }
            Ok(())
        })
        .guard_rooms(move |cx, _, _, room| {
            if room == "guarded" {
                breaks(cx, "guard_rooms");
            }
            Ok(())
        })
        .on("guarded", |_: &mut Context| "let in")
        .on("message", move |cx: &mut Context, count: &mut u32| {
            *count += 1;
            cx.join("half-way")?;
            breaks(cx, "message");
            Ok::<_, Failure>(*count)
        })
        .on("work", move |cx: &mut Context| {
            let user = cx.user().map(str::to_owned);
            cx.spawn(async move {
                tokio::task::yield_now().await;
                assert!(user.as_deref() != Some("work"), "planted in work");
                "worked"
            })
        })
        .on("begin", |cx: &mut Context| {
            let _ = cx.spawn(async { panic!("planted in loose work") as u32 });
        })
        .on_joined(move |cx, _, room| {
            if room == "cellar" {
                breaks(cx, "joined");
            }
        })
        .on_left(move |cx, _, room| {
            if room == "cellar" {
                breaks(cx, "left");
            }
            let user = cx.user().unwrap_or_default().to_owned();
            cx.to(cx.room("hall"))
                .emit("left", &(user, room))
                .expect("texts");
        })
        .on_disconnect(move |cx, _, reason| {
            breaks(cx, "disconnect");
            let user = cx.user().unwrap_or_default().to_owned();
            let lost = !matches!(reason, DisconnectReason::Client(_));
            cx.to(cx.room("hall"))
                .emit("ended", &(user, lost))
                .expect("plain data");
        })
}

/// Starts the application under its own name in the log, with an uninvolved client in it.
async fn start(namespace: &'static str) -> (Running, Client) {
    listen_to_log();
    let mut running = Running::start(|host| host.gateway(namespace, |_| brittle())).await;
    running.server = running.server.namespace(namespace);
    let other = running
        .connect(&format!("/ws/{namespace}?user=other"))
        .await;
    (running, other)
}

async fn works(client: &mut Client, count: u32) {
    let answer = client.ask(r#"{"event":"message","id":9}"#).await;
    assert_eq!(
        answer,
        format!(r#"{{"event":"message","id":9,"data":{count}}}"#)
    );
}

#[tokio::test]
async fn in_a_handler() {
    let (running, mut other) = start("handler").await;
    let mut client = running.connect("/ws/handler?user=message").await;
    for id in [1, 2] {
        let answer = client
            .ask(&format!(r#"{{"event":"message","id":{id}}}"#))
            .await;
        assert_eq!(
            answer,
            format!(r#"{{"event":"message","id":{id},{INTERNAL}}}"#)
        );
    }
    let line = logged(&["ERROR", r#"namespace="handler""#, "planted in message"]).await;
    assert!(
        line.contains(r#"event="message""#) && line.contains("conn="),
        "{line}"
    );
    // The effects before the panic remain: the count, and a room, which it leaves with all others.
    works(&mut other, 3).await;
    let members = running.server.members("half-way").await.expect("running");
    assert_eq!(members.len(), 2);
    client.leave().await;
    crowd(&running.server, 1).await;
    assert_eq!(
        running.server.members("half-way").await.map(|m| m.len()),
        Ok(1)
    );
    let mut told = other.received().await;
    told.sort();
    assert_eq!(
        told,
        [
            r#"{"event":"ended","room":"hall","data":["message",false]}"#,
            r#"{"event":"left","room":"hall","data":["message","half-way"]}"#,
            r#"{"event":"left","room":"hall","data":["message","hall"]}"#,
        ]
    );
}

#[tokio::test]
async fn in_guards() {
    let (running, mut other) = start("guards").await;
    let mut client = running.connect("/ws/guards?user=guard").await;
    let answer = client.ask(r#"{"event":"guarded"}"#).await;
    assert_eq!(answer, format!(r#"{{"event":"guarded",{INTERNAL}}}"#));
    logged(&[
        "ERROR",
        r#"namespace="guards""#,
        r#"event="guarded""#,
        "planted in guard",
    ])
    .await;
    works(&mut client, 1).await;

    let mut client = running.connect("/ws/guards?user=guard_rooms").await;
    for (event, id) in [("$join", 1), ("$leave", 2), ("said", 3)] {
        let room = r#""room":"guarded""#;
        let answer = client
            .ask(&format!(r#"{{"event":"{event}","id":{id},{room}}}"#))
            .await;
        assert_eq!(
            answer,
            format!(r#"{{"event":"{event}","id":{id},{room},{INTERNAL}}}"#)
        );
    }
    logged(&[
        "ERROR",
        r#"namespace="guards""#,
        r#"event="$join""#,
        "planted in guard_rooms",
    ])
    .await;
    assert_eq!(running.server.members("guarded").await, Ok(Vec::new()));
    works(&mut other, 2).await;
}

#[tokio::test]
async fn in_the_upgrade() {
    let (running, mut other) = start("upgrading").await;
    let refused = running
        .try_connect("/ws/upgrading?user=upgrade", &[])
        .await
        .err();
    let refused = refused.expect("refused");
    assert_eq!(refused.status, 500);
    assert!(!refused.body.contains("planted"), "{}", refused.body);
    logged(&[
        "ERROR",
        r#"namespace="upgrading""#,
        r#"event="upgrade""#,
        "planted in upgrade",
    ])
    .await;
    works(&mut other, 1).await;
}

#[tokio::test]
async fn in_the_connect_hook() {
    let (running, mut other) = start("connecting").await;
    let mut client = running.connect("/ws/connecting?user=connect").await;
    let (texts, code, _) = client.closed().await;
    assert_eq!(code, 1011);
    assert_eq!(texts.len(), 1);
    assert!(
        texts[0].starts_with(r#"{"event":"$error","error":{"code":"internal""#),
        "{texts:?}"
    );
    logged(&[
        "ERROR",
        r#"namespace="connecting""#,
        r#"event="connect""#,
        "planted in connect",
    ])
    .await;
    let counts = running.server.counts().await.expect("running");
    assert_eq!((counts.connections, counts.memberships), (1, 1));
    works(&mut other, 1).await;
}

#[tokio::test]
async fn in_the_hooks_of_a_room() {
    let (running, mut other) = start("rooms").await;
    for (place, leaves) in [("joined", false), ("left", true)] {
        let mut client = running.connect(&format!("/ws/rooms?user={place}")).await;
        let joined = client
            .ask(r#"{"event":"$join","id":1,"room":"cellar"}"#)
            .await;
        assert!(joined.contains(r#""already":false"#), "{joined}");
        if leaves {
            let left = client
                .ask(r#"{"event":"$leave","id":2,"room":"cellar"}"#)
                .await;
            assert!(left.contains(r#""was":true"#), "{left}");
        }
        let planted = format!("planted in {place}");
        let hook = format!("event=\"{place}\" conn=");
        logged(&["ERROR", r#"namespace="rooms""#, &hook, &planted]).await;
        client.leave().await;
        crowd(&running.server, 1).await;
        // The last hook ran too.
        let told = other.received().await;
        let ended = format!(r#"{{"event":"ended","room":"hall","data":["{place}",false]}}"#);
        assert!(told.contains(&ended), "{told:?}");
    }
    // The same for joins by a task.
    let mut client = running.connect("/ws/rooms?user=joined").await;
    assert!(client.received().await.is_empty());
    let connections = running.server.connections().await.expect("running");
    let conn = connections.last().expect("somebody").id;
    assert_eq!(running.server.join(conn, "cellar").await, Ok(true));
    assert_eq!(running.server.members("cellar").await, Ok(vec![conn]));
}

#[tokio::test]
async fn in_the_disconnect_hook() {
    let (running, mut other) = start("ending").await;
    let client = running.connect("/ws/ending?user=disconnect").await;
    client.leave().await;
    crowd(&running.server, 1).await;
    logged(&[
        "ERROR",
        r#"namespace="ending" event="disconnect" conn="#,
        "planted in disconnect",
    ])
    .await;
    let counts = running.server.counts().await.expect("running");
    assert_eq!((counts.connections, counts.memberships), (1, 1));
    // It left its rooms, and those hooks ran.
    let told = other.received().await;
    let left = r#"{"event":"left","room":"hall","data":["disconnect","hall"]}"#;
    assert_eq!(told, [left]);
    works(&mut other, 1).await;
}

#[tokio::test]
async fn in_work() {
    let (running, mut other) = start("working").await;
    let mut client = running.connect("/ws/working?user=work").await;
    client.send(r#"{"event":"work","id":1}"#).await;
    client.send(r#"{"event":"begin","id":2}"#).await;
    assert_eq!(
        client.next().await,
        format!(r#"{{"event":"work","id":1,{INTERNAL}}}"#)
    );
    assert_eq!(
        client.next().await,
        r#"{"event":"begin","id":2,"data":null}"#
    );
    logged(&[
        "ERROR",
        r#"namespace="working""#,
        r#"event="work""#,
        "planted in work",
    ])
    .await;
    logged(&[
        "ERROR",
        r#"namespace="working""#,
        "conn=",
        "planted in loose work",
    ])
    .await;
    let worked = other.ask(r#"{"event":"work","id":1}"#).await;
    assert_eq!(worked, r#"{"event":"work","id":1,"data":"worked"}"#);
}

#[tokio::test]
async fn in_a_schedule() {
    listen_to_log();
    let running = Running::start(|host| {
        host.gateway("scheduled", |_| {
            let period = Duration::from_millis(1);
            Router::new(0_u32)
                .every(period, |_, _| panic!("planted in every"))
                .every(period, |namespace, count| {
                    *count += 1;
                    namespace.broadcast("tick", count).expect("a number");
                })
        })
    })
    .await;
    let mut client = running.connect("/ws/scheduled").await;
    for count in 1..4 {
        assert_eq!(
            client.next().await,
            format!(r#"{{"event":"tick","data":{count}}}"#)
        );
    }
    logged(&[
        "ERROR",
        r#"namespace="scheduled" event="schedule""#,
        "planted in every",
    ])
    .await;
}

#[tokio::test]
async fn in_a_raw_namespace() {
    listen_to_log();
    let running = Running::start(|host| {
        host.gateway("bare", |_| {
            Router::default().on_frame(|cx, (), frame| {
                assert!(!frame.is_empty(), "planted in frame");
                cx.emit_frame(frame);
            })
        })
    })
    .await;
    let mut client = running.connect("/ws/bare").await;
    client.send("").await;
    client.send_binary(b"").await;
    assert_eq!(client.ask("still here").await, "still here");
    logged(&[
        "ERROR",
        r#"namespace="bare" event="frame" conn="#,
        "planted in frame",
    ])
    .await;
}

#[tokio::test]
async fn in_the_factory_of_a_namespace_that_begins() {
    listen_to_log();
    let running = Running::start(|host| {
        host.other_gateways(|server| {
            assert!(server.name() != "doomed", "planted in the factory");
            Router::default().on("name", |_: &mut Context| "fine")
        })
    })
    .await;
    for _ in 0..2 {
        let refused = running.try_connect("/ws/doomed", &[]).await.err();
        assert_eq!(refused.map(|refused| refused.status), Some(500));
    }
    logged(&["ERROR", r#"namespace="doomed""#, "planted in the factory"]).await;
    let mut client = running.connect("/ws/other").await;
    assert_eq!(
        client.ask(r#"{"event":"name"}"#).await,
        r#"{"event":"name","data":"fine"}"#
    );
}

/// All later requests get 503, and the embedding program can only await the end of the server.
#[tokio::test]
async fn in_the_factory_of_a_server_that_is_mounted() {
    listen_to_log();
    let host = Host::new(settings());
    let host = host.gateway("stillborn", |_| -> Router { panic!("planted") });
    let ended = host.run_service(std::future::pending()).await;
    assert!(matches!(ended, Err(RunError::Gateway { .. })), "{ended:?}");
    logged(&["ERROR", "the mounted server has ended", "`stillborn`"]).await;
}
