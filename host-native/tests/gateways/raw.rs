//! Namespaces without envelopes.

use roomcast::{Audience, Frame, Host, Rejection, Router};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::running::{Running, settings};

/// Handles `join:room` and `to:room:text`. Bytes are echoed, or go to everybody if the first is
/// zero.
fn lines() -> Router {
    Router::default()
        .on_connect(|cx, ()| {
            if cx.counts().connections > 3 {
                return Err(Rejection::forbidden("three at most"));
            }
            cx.emit_frame(Frame::Text("hello"));
            Ok(())
        })
        .on_frame(|cx, (), frame| match frame {
            Frame::Text(text) => match text.split_once(':') {
                Some(("join", room)) => {
                    let joined = cx.join(room);
                    cx.emit_frame(Frame::Text(if joined.is_ok() { "joined" } else { "no" }));
                }
                Some(("to", rest)) => {
                    let (room, text) = rest.split_once(':').unwrap_or((rest, ""));
                    let audience = Audience::room(room);
                    cx.to(audience)
                        .emit_frame(Frame::Text(text))
                        .expect("a room");
                }
                _ => cx.close(roomcast::CloseCode::POLICY, "join: or to:"),
            },
            Frame::Binary(bytes) if bytes.first() == Some(&0) => {
                let everybody = Audience::all();
                cx.to(everybody)
                    .emit_frame(Frame::Binary(bytes))
                    .expect("no room");
            }
            Frame::Binary(bytes) => {
                cx.emit_frame(Frame::Binary(bytes));
            }
        })
}

async fn start(threads: usize) -> Running {
    Running::on_threads(threads, |host: Host| host.gateway("default", |_| lines())).await
}

async fn text_and_bytes_go_as_they_are(threads: usize) {
    let running = start(threads).await;
    let mut ann = running.connect("/ws").await;
    let mut ben = running.connect("/ws").await;
    for client in [&mut ann, &mut ben] {
        assert_eq!(client.next().await, "hello");
        assert_eq!(client.ask("join:red").await, "joined");
    }
    assert_eq!(ann.ask("join:").await, "no");
    ann.send(r#"to:red:{"event":"$join"}"#).await;
    for client in [&mut ann, &mut ben] {
        assert_eq!(client.next().await, r#"{"event":"$join"}"#);
    }
    for length in [1, 125, 126, 60_000] {
        let echoed = vec![0xff; length];
        ann.send_binary(&echoed).await;
        assert_eq!(ann.message().await, Message::Binary(Bytes::from(echoed)));
        let mut told = vec![0xfe; length];
        told[0] = 0;
        ben.send_binary(&told).await;
        for client in [&mut ann, &mut ben] {
            let told = Bytes::copy_from_slice(&told);
            assert_eq!(client.message().await, Message::Binary(told));
        }
    }
    // An empty message is one.
    ann.send_binary(b"").await;
    assert_eq!(ann.message().await, Message::Binary(Bytes::new()));
    // Sent by a task, in the application's own format.
    let red = || Audience::room("red");
    let sent = running.server.send_frame(red(), Frame::Text("news")).await;
    assert_eq!(sent.map(|delivery| delivery.queued), Ok(2));
    let sent = running.server.send_frame(red(), Frame::Binary(&[7])).await;
    assert_eq!(sent.map(|delivery| delivery.queued), Ok(2));
    for client in [&mut ann, &mut ben] {
        assert_eq!(client.next().await, "news");
        assert_eq!(
            client.message().await,
            Message::Binary(Bytes::from_static(&[7]))
        );
    }
    let rooms = running.server.rooms("").await.expect("running");
    assert_eq!((rooms.len(), rooms[0].members), (1, 2));
}

#[tokio::test]
async fn text_and_bytes_go_as_they_are_on_one_thread() {
    text_and_bytes_go_as_they_are(1).await;
}

#[tokio::test]
async fn text_and_bytes_go_as_they_are_on_two_threads() {
    text_and_bytes_go_as_they_are(2).await;
}

#[tokio::test]
async fn limits_hold_and_closes_come_alone() {
    let mut small = settings();
    small.hub.message_bytes = 100;
    let running = Running::with_settings(small, |host| host.gateway("default", |_| lines())).await;
    let mut large = running.connect("/ws").await;
    assert_eq!(large.next().await, "hello");
    large.send_binary(&[1; 101]).await;
    let (texts, code, _) = large.closed().await;
    assert_eq!((texts.len(), code), (0, 1009));

    let mut wrong = running.connect("/ws").await;
    wrong.send("what").await;
    let (texts, code, reason) = wrong.closed().await;
    assert_eq!(
        (&*texts, code, &*reason),
        (&["hello".to_owned()][..], 1008, "join: or to:")
    );
}

#[tokio::test]
async fn who_is_refused_gets_the_close_alone() {
    let running = start(1).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = running.connect("/ws").await;
        assert_eq!(client.next().await, "hello");
        clients.push(client);
    }
    let (texts, code, reason) = running.connect("/ws").await.closed().await;
    assert_eq!((texts.len(), code, &*reason), (0, 4403, "three at most"));
}
