//! The hook for a connection that has opened.

use std::time::Duration;

use roomcast::{Audience, Context, Rejection, Router};

use super::running::{Running, crowd, settings};

/// Admits two clients. A further client is told that the table is full, and the others are
/// notified.
fn table_for_two() -> Router {
    Router::default()
        .on_connect(|cx, _| {
            cx.join("table")?;
            if cx.counts().connections > 2 {
                cx.to(cx.others()).emit("knocked", &())?;
                return Err(Rejection::overloaded("the table is full"));
            }
            cx.emit("seat", &cx.counts().connections)?;
            Ok(())
        })
        .on("seats", |cx: &mut Context| cx.counts().connections)
}

async fn a_refused_connection_leaves_no_trace(threads: usize) {
    let running =
        Running::on_threads(threads, |host| host.gateway("default", |_| table_for_two())).await;
    let mut ann = running.connect("/ws").await;
    assert_eq!(ann.next().await, r#"{"event":"seat","data":1}"#);
    let mut ben = running.connect("/ws").await;
    assert_eq!(ben.next().await, r#"{"event":"seat","data":2}"#);
    for _ in 0..4 {
        let mut late = running.connect("/ws").await;
        let (texts, code, reason) = late.closed().await;
        assert_eq!((code, &*reason), (1013, "the table is full"));
        let frame =
            r#"{"event":"$error","error":{"code":"overloaded","message":"the table is full"}}"#;
        assert_eq!(texts, [frame]);
        for client in [&mut ann, &mut ben] {
            assert_eq!(client.next().await, r#"{"event":"knocked","data":null}"#);
        }
        let counts = running.server.counts().await.expect("running");
        assert_eq!((counts.connections, counts.memberships), (2, 2));
    }
    ann.leave().await;
    crowd(&running.server, 1).await;
    let mut cat = running.connect("/ws").await;
    assert_eq!(cat.next().await, r#"{"event":"seat","data":2}"#);
    let sent = running
        .server
        .send(Audience::room("table"), "bill", &())
        .await;
    assert_eq!(sent.map(|delivery| delivery.queued), Ok(2));
}

#[tokio::test]
async fn a_refused_connection_leaves_no_trace_on_one_thread() {
    a_refused_connection_leaves_no_trace(1).await;
}

#[tokio::test]
async fn a_refused_connection_leaves_no_trace_on_two_threads() {
    a_refused_connection_leaves_no_trace(2).await;
}

#[tokio::test]
async fn one_that_the_hook_closes_is_closed_behind_what_it_was_sent() {
    let running = Running::start(|host| {
        host.gateway("default", |_| {
            Router::default().on_connect(|cx, _| {
                cx.emit("bye", &())?;
                cx.close(roomcast::CloseCode::REMOVED, "not today");
                Ok(())
            })
        })
    })
    .await;
    let (texts, code, reason) = running.connect("/ws").await.closed().await;
    assert_eq!((texts.len(), code, &*reason), (2, 4410, "not today"));
    assert_eq!(texts[0], r#"{"event":"bye","data":null}"#);
    assert!(texts[1].starts_with(r#"{"event":"$bye""#));
    let counts = running.server.counts().await.expect("running");
    assert_eq!(counts.connections, 0);
}

/// Neither side waits for the other: the place is free as soon as the client knows.
#[tokio::test]
async fn a_refused_connection_ends_when_the_client_has_answered() {
    let mut settings = settings();
    settings.close_wait = Duration::from_secs(3600);
    let running = Running::with_settings(settings, |host| {
        host.gateway("default", |_| {
            Router::default().on_connect(|_, ()| Err(Rejection::forbidden("nobody today")))
        })
    })
    .await;
    let mut late = running.connect("/ws").await;
    assert_eq!(late.closed().await.1, 4403);
    late.leave().await;
}
