//! Several applications in one server.

use std::sync::Arc;

use roomcast::{Audience, Context, Failure, Host, Router, RunError};

use super::running::{Running, crowd, listen_to_log, logged, settings, until};

/// Remembers what it is told, and signs with its name.
fn notebook(name: &str) -> Router<Vec<String>> {
    let name = name.to_owned();
    Router::new(Vec::new())
        .on(
            "write",
            |cx: &mut Context, notes: &mut Vec<String>, note: String| {
                notes.push(note);
                cx.join("readers")?;
                cx.broadcast("notes", &notes.len())?;
                Ok::<_, Failure>(())
            },
        )
        .on("read", move |_: &mut Context, notes: &mut Vec<String>| {
            (name.clone(), notes.clone())
        })
}

#[tokio::test]
async fn they_share_nothing() {
    for threads in [1, 2] {
        let running = Running::on_threads(threads, |host| {
            host.gateway("a", |_| notebook("first"))
                .gateway("b", |_| notebook("second"))
        })
        .await;
        let mut ann = running.connect("/ws/a").await;
        let mut ben = running.connect("/ws/b").await;
        let written = ann.ask(r#"{"event":"write","data":"one"}"#).await;
        assert_eq!(written, r#"{"event":"notes","data":1}"#);
        assert_eq!(
            ben.ask(r#"{"event":"read"}"#).await,
            r#"{"event":"read","data":["second",[]]}"#
        );
        let b = running.server.namespace("b");
        assert_eq!(b.rooms("").await.map(|rooms| rooms.len()), Ok(0));
        let sent = b.send(Audience::room("readers"), "e", &()).await;
        assert_eq!(sent.map(|delivery| delivery.matched), Ok(0));
        assert_eq!(
            ann.ask(r#"{"event":"read"}"#).await,
            r#"{"event":"read","data":["first",["one"]]}"#
        );
        // A namespace without an application is rooms only.
        let mut cat = running.connect("/ws/c").await;
        let unknown = cat.ask(r#"{"event":"read"}"#).await;
        assert!(unknown.contains("unknown_event"), "{unknown}");
    }
}

#[tokio::test]
async fn one_with_a_gateway_of_its_own_keeps_its_state() {
    let running = Running::start(|host| host.gateway("default", |_| notebook("kept"))).await;
    let mut ann = running.connect("/ws").await;
    ann.ask(r#"{"event":"write","data":"one"}"#).await;
    ann.leave().await;
    crowd(&running.server, 0).await;
    // Namespaces without persistence end meanwhile; this connection shows that the server has
    // checked.
    let other = running.server.namespace("other");
    running.connect("/ws/other").await.leave().await;
    crowd(&other, 0).await;
    let mut ann = running.connect("/ws").await;
    let read = ann.ask(r#"{"event":"read"}"#).await;
    assert_eq!(read, r#"{"event":"read","data":["kept",["one"]]}"#);
}

/// Like [`notebook`], with a reference count that tells how many are alive.
fn counted(name: &str, alive: &Arc<()>) -> Router<Vec<String>> {
    let alive = alive.clone();
    notebook(name).on("alive", move |_: &mut Context| Arc::strong_count(&alive))
}

#[tokio::test]
async fn persistent_state_outlives_the_last_connection() {
    for threads in [1, 2] {
        let alive = Arc::new(());
        let all = alive.clone();
        let running = Running::on_threads(threads, |host| {
            host.other_gateways(move |server| match server.name() {
                "kept" => counted("kept", &all).persistent(),
                name => counted(name, &all),
            })
        })
        .await;
        let none = Arc::strong_count(&alive);
        // Each thread hosts one of the namespaces without persistence.
        for name in ["kept", "a", "b"] {
            let mut ann = running.connect(&format!("/ws/{name}")).await;
            ann.ask(r#"{"event":"write","data":"one"}"#).await;
            ann.leave().await;
            crowd(&running.server.namespace(name), 0).await;
        }
        // Once these have ended, the server has checked every namespace.
        let ended = || async { Arc::strong_count(&alive) };
        until(ended, |&count| count == none + 1).await;
        let mut ben = running.connect("/ws/kept").await;
        let read = ben.ask(r#"{"event":"read"}"#).await;
        assert_eq!(read, r#"{"event":"read","data":["kept",["one"]]}"#);
    }
}

/// Otherwise a client that names many namespaces would leave no room for others.
#[tokio::test]
async fn without_a_change_nothing_is_kept_for_nobody() {
    let mut settings = settings();
    settings.namespaces_max = 2;
    let running = Running::with_settings(settings, |host| {
        host.other_gateways(|server| notebook(server.name()).persistent())
    })
    .await;
    let mut ann = running.connect("/ws/changed").await;
    ann.ask(r#"{"event":"write","data":"one"}"#).await;
    ann.leave().await;
    for name in ["first", "second", "third"] {
        let path = format!("/ws/{name}");
        let connect = || async { running.try_connect(&path, &[]).await.is_ok() };
        until(connect, |&connected| connected).await;
    }
    let mut ben = running.connect("/ws/changed").await;
    let read = ben.ask(r#"{"event":"read"}"#).await;
    assert_eq!(read, r#"{"event":"read","data":["changed",["one"]]}"#);
}

#[tokio::test]
async fn others_have_one_each_under_their_names() {
    let running = Running::start(|host| {
        host.gateway("own", |_| notebook("own"))
            .other_gateways(|server| notebook(server.name()))
    })
    .await;
    let mut red = running.connect("/ws/red").await;
    let mut blue = running.connect("/ws/blue").await;
    red.ask(r#"{"event":"write","data":"one"}"#).await;
    let read = |name, notes| format!(r#"{{"event":"read","data":["{name}",{notes}]}}"#);
    assert_eq!(
        red.ask(r#"{"event":"read"}"#).await,
        read("red", r#"["one"]"#)
    );
    assert_eq!(blue.ask(r#"{"event":"read"}"#).await, read("blue", "[]"));
    let mut own = running.connect("/ws/own").await;
    assert_eq!(own.ask(r#"{"event":"read"}"#).await, read("own", "[]"));
}

#[tokio::test]
async fn the_log_says_what_is_mounted_where() {
    listen_to_log();
    let running = Running::start(|host| {
        host.gateway("said", |_| {
            let handler = |_: &mut Context| 1;
            Router::default()
                .on("a", handler)
                .on("b", handler)
                .on_path("b", "/x/{id}", handler)
        })
        .gateway("bytes", |_| Router::default().on_frame(|_, (), _| {}))
        .other_gateways(|_| ())
    })
    .await;
    logged(&[
        "INFO",
        "a gateway at /ws/said",
        r#"events="a, b, b /x/{id}""#,
    ])
    .await;
    logged(&["INFO", "a gateway at /ws/bytes", "frames without envelopes"]).await;
    logged(&[
        "INFO",
        "gateways at /ws/{namespace}, for any other namespace",
    ])
    .await;
    running.stop().await.expect("stopped");
}

async fn start_error(build: impl FnOnce(Host) -> Host) -> RunError {
    let settings = settings();
    let listeners = roomcast::listen(&settings).expect("a free port");
    let host = build(Host::new(settings));
    let ended = host.run(listeners, std::future::pending()).await;
    ended.expect_err("it cannot start")
}

#[tokio::test]
async fn what_cannot_be_mounted_is_said_at_the_start() {
    let twice = || {
        Router::default()
            .on("e", |_: &mut Context| 1)
            .on("e", |_: &mut Context| 2)
    };
    let fault = start_error(|host| host.gateway("twice", move |_| twice())).await;
    let fault = fault.to_string();
    let (said, locations) = fault.split_once(", added at ").expect("locations");
    assert_eq!(
        said,
        "the gateway of the namespace `twice` could not be created: panicked: `e` has a handler already"
    );
    assert_eq!(
        locations.matches("namespaces.rs:").count(),
        2,
        "{locations}"
    );

    let mut settings = settings();
    settings.access.namespaces = Some(vec!["a".into()]);
    let listeners = roomcast::listen(&settings).expect("a free port");
    let host = Host::new(settings).gateway("b", |_| Router::default());
    let fault = host
        .run(listeners, std::future::pending())
        .await
        .expect_err("unreachable");
    assert!(
        fault.to_string().starts_with("--namespaces must list b"),
        "{fault}"
    );
}

#[test]
fn a_name_is_valid_and_has_one_gateway() {
    let panics = |build: fn() -> Host| std::panic::catch_unwind(build).is_err();
    assert!(!panics(|| Host::new(settings()).gateway("a-B_9", |_| ())));
    assert!(panics(|| Host::new(settings()).gateway("a/b", |_| ())));
    assert!(panics(|| Host::new(settings())
        .gateway("a", |_| ())
        .gateway("a", |_| ())));
    assert!(panics(|| Host::new(settings())
        .other_gateways(|_| ())
        .other_gateways(|_| ())));
}
