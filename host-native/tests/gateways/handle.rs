//! `Namespace`: a namespace from other tasks and threads.

use std::{
    cell::Cell,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use roomcast::{
    ApiKey, AskError, Audience, CloseCode, ConnId, Context, Delivery, EncodeError, Host, JoinError,
    Namespace, Router, Settings,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    client::Client,
    running::{Running, crowd, until},
};

/// An application that tells each client its id, and reports changes of rooms.
fn mirror() -> Router {
    Router::default()
        .on("id", |cx: &mut Context| cx.id().to_string())
        .on("join", |cx: &mut Context, room: String| cx.join(&room))
        .on_joined(|cx, _, room| {
            cx.emit("joined", room).expect("a text");
        })
        .on_left(|cx, _, room| {
            cx.emit("left", room).expect("a text");
        })
}

async fn id(client: &mut Client) -> ConnId {
    let answer = client.ask(r#"{"event":"id"}"#).await;
    let id = answer
        .strip_prefix(r#"{"event":"id","data":""#)
        .expect("an id");
    id.trim_end_matches("\"}").parse().expect("an id")
}

/// Calls every verb once, also with namespace, sockets and caller on three threads.
async fn every_verb(running: &Running, path: &str, server: Namespace) {
    let mut ann = running.connect(path).await;
    let mut ben = running.connect(path).await;
    let (a, b) = (id(&mut ann).await, id(&mut ben).await);

    assert_eq!(server.join(a, "red").await, Ok(true));
    assert_eq!(server.join(a, "red").await, Ok(false));
    assert_eq!(server.join(b, "red/dark").await, Ok(true));
    assert_eq!(ann.next().await, r#"{"event":"joined","data":"red"}"#);
    assert_eq!(ben.next().await, r#"{"event":"joined","data":"red/dark"}"#);

    let all = Delivery {
        matched: 2,
        queued: 2,
        dropped: 0,
        offset: None,
    };
    let one = Delivery {
        matched: 1,
        queued: 1,
        dropped: 0,
        offset: None,
    };
    assert_eq!(server.broadcast("news", &[1, 2]).await, Ok(all));
    assert_eq!(
        server.send(Audience::room("red"), "said", "hi").await,
        Ok(one)
    );
    assert_eq!(server.send(Audience::conn(b), "told", &()).await, Ok(one));
    let nobody = server.send(Audience::room("empty"), "said", "hi").await;
    assert_eq!(nobody, Ok(Delivery::default()));
    let news = r#"{"event":"news","data":[1,2]}"#;
    assert_eq!(ann.next().await, news);
    assert_eq!(
        ann.next().await,
        r#"{"event":"said","room":"red","data":"hi"}"#
    );
    assert_eq!(ben.next().await, news);
    assert_eq!(ben.next().await, r#"{"event":"told","data":null}"#);

    every_question(&server, a, b).await;

    assert_eq!(server.leave(a, "red").await, Ok(true));
    assert_eq!(server.leave(a, "red").await, Ok(false));
    assert_eq!(ann.next().await, r#"{"event":"left","data":"red"}"#);

    assert_eq!(
        server.disconnect(b, CloseCode::REMOVED, "out").await,
        Ok(())
    );
    let (texts, code, reason) = ben.closed().await;
    assert_eq!((texts.len(), code, &*reason), (1, 4410, "out"));
    let gone = AskError::UnknownConn(roomcast::UnknownConn(b));
    assert_eq!(
        server.disconnect(b, CloseCode::REMOVED, "").await,
        Err(gone.clone())
    );
    assert_eq!(server.leave(b, "red").await, Err(gone.clone()));
    let join = server.join(b, "red").await;
    assert!(
        matches!(join, Err(AskError::Join(JoinError::UnknownConn(_)))),
        "{join:?}"
    );
    assert_eq!(server.rooms_of(b).await, Ok(None));
    assert_eq!(server.connection(b).await, Ok(None));
    ann.leave().await;
    crowd(&server, 0).await;
}

/// Makes every query, in a namespace where `a` is in `red` and `b` in `red/dark`.
async fn every_question(server: &Namespace, a: ConnId, b: ConnId) {
    let rooms = server.rooms("red").await.expect("rooms");
    let rooms: Vec<_> = rooms
        .iter()
        .map(|room| (&*room.name, room.members))
        .collect();
    assert_eq!(rooms, [("red", 1), ("red/dark", 1)]);
    assert_eq!(server.rooms("red/").await.map(|rooms| rooms.len()), Ok(1));
    assert_eq!(server.members("red").await, Ok(vec![a]));
    assert_eq!(server.rooms_of(a).await, Ok(Some(vec!["red".into()])));
    assert_eq!(server.rooms_of_user("nobody").await, Ok(vec![]));
    for (conn, received) in [(a, true), (b, false)] {
        let explanation = server.explain(Audience::room("red"), conn).await;
        let explanation = explanation.expect("running");
        assert_eq!(explanation.reason.received(), Some(received));
    }
    let counts = server.counts().await.expect("counts");
    assert_eq!(
        (counts.connections, counts.rooms, counts.memberships),
        (2, 2, 2)
    );
    let connections = server.connections().await.expect("connections");
    let ids: Vec<_> = connections.iter().map(|conn| conn.id).collect();
    // Oldest first. The clients do not know which of them is older.
    assert_eq!(ids, [a.min(b), a.max(b)]);
    let info = server.connection(a).await.expect("running").expect("alive");
    assert_eq!((info.id, info.user), (a, None));
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    assert!(now.as_millis() - u128::from(info.since_ms) < 60_000);
}

#[tokio::test]
async fn every_verb_from_a_task() {
    let running = Running::start(|host| host.gateway("default", |_| mirror())).await;
    every_verb(&running, "/ws", running.server.clone()).await;
    running.stop().await.expect("stopped");
}

#[tokio::test]
async fn every_verb_across_threads() {
    let running = Running::on_threads(2, |host| {
        host.gateway("a", |_| mirror()).gateway("b", |_| mirror())
    })
    .await;
    // The two namespaces live on different threads, and the kernel spreads clients over both.
    for name in ["a", "b"] {
        let path = format!("/ws/{name}");
        for _ in 0..4 {
            every_verb(&running, &path, running.server.namespace(name)).await;
        }
    }
    running.stop().await.expect("stopped");
}

#[tokio::test]
async fn from_a_thread_with_a_runtime_of_its_own() {
    let running = Running::start(|host| host.gateway("default", |_| mirror())).await;
    let mut client = running.connect("/ws").await;
    assert!(client.received().await.is_empty());
    let server = running.server.clone();
    let sender = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(async move {
            let sent = tokio::spawn(async move { server.broadcast("from", "afar").await });
            sent.await
                .expect("no panic")
                .map(|delivery| delivery.matched)
        })
    });
    assert_eq!(client.next().await, r#"{"event":"from","data":"afar"}"#);
    assert_eq!(sender.join().expect("no panic"), Ok(1));
}

#[tokio::test]
async fn mistakes_are_errors_and_nothing_is_sent() {
    let running = Running::start(|host| host.gateway("default", |_| mirror())).await;
    let mut client = running.connect("/ws").await;
    let a = id(&mut client).await;
    let server = &running.server;
    for nowhere in [server.clone(), server.namespace("nobody")] {
        let sent = nowhere.broadcast("$bad", &()).await;
        assert_eq!(sent, Err(EncodeError::Event.into()));
        let sent = nowhere.send(Audience::room(""), "e", &()).await;
        assert!(
            matches!(sent, Err(AskError::Encode(EncodeError::Room(_)))),
            "{sent:?}"
        );
        let unwritable = std::collections::BTreeMap::from([((1, 2), 3)]);
        let sent = nowhere.broadcast("e", &unwritable).await;
        assert_eq!(sent, Err(EncodeError::Value.into()));
    }
    let joined = server.join(a, &"x".repeat(500)).await;
    assert!(
        matches!(joined, Err(AskError::Join(JoinError::Room(_)))),
        "{joined:?}"
    );
    assert_eq!(client.received().await, [""; 0]);
}

#[tokio::test]
async fn without_a_running_server_it_says_so() {
    let settings = super::running::settings();
    let host = Host::new(settings);
    let server = host.namespace("default");
    assert_eq!(server.counts().await, Err(AskError::NotRunning));
    drop(host);
    assert_eq!(server.broadcast("e", &()).await, Err(AskError::NotRunning));

    let running = Running::start(|host| host).await;
    let server = running.server.clone();
    assert!(server.counts().await.is_ok());
    running.stop().await.expect("stopped");
    assert_eq!(server.counts().await, Err(AskError::NotRunning));
    let text = AskError::NotRunning.to_string();
    assert_eq!(
        text,
        "the server is not running: it has not started yet, or it has ended"
    );
}

/// Messages queued by a task arrive in order, interleaved with the actions of clients.
#[tokio::test]
async fn sends_keep_their_order() {
    let running = Running::on_threads(2, |host| host.gateway("default", |_| mirror())).await;
    let mut client = running.connect("/ws").await;
    assert!(client.received().await.is_empty());
    let server = running.server.clone();
    let sender = tokio::spawn(async move {
        for number in 0..500 {
            server.broadcast("n", &number).await.expect("sent");
        }
    });
    for number in 0..500 {
        assert_eq!(
            client.next().await,
            format!(r#"{{"event":"n","data":{number}}}"#)
        );
    }
    sender.await.expect("no panic");
}

#[tokio::test]
async fn a_slow_reader_is_counted_as_dropped() {
    let mut settings: Settings = super::running::settings();
    settings.outbox_frames_max = 4;
    settings.write_stall = Duration::from_secs(600);
    let running =
        Running::with_settings(settings, |host| host.gateway("default", |_| mirror())).await;
    let mut idle = running.connect("/ws").await;
    assert!(idle.received().await.is_empty());
    // It reads nothing from here on: the kernel's buffers fill, then its queue.
    let large = "x".repeat(60 * 1024);
    let send = || running.server.broadcast("large", &large);
    let full = until(send, |sent| {
        sent.as_ref().is_ok_and(|delivery| delivery.dropped == 1)
    })
    .await;
    let delivery = full.expect("sent");
    assert_eq!((delivery.matched, delivery.queued), (1, 0));
    let (_, code, _) = idle.closed().await;
    assert_eq!(code, 4409);
}

/// Sends through the HTTP API under this key; returns the body of the answer.
async fn send_once(running: &Running, key: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(running.address)
        .await
        .expect("it listens");
    let head = format!(
        "POST /api/v1/default/send HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         authorization: Bearer secret\r\nidempotency-key: {key}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(body.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    body.to_owned()
}

#[tokio::test]
async fn a_repeated_key_answers_what_was_lost() {
    let mut settings: Settings = super::running::settings();
    settings.outbox_frames_max = 4;
    settings.write_stall = Duration::from_secs(600);
    settings.access.api_keys = vec![ApiKey::new("secret")];
    let running = Running::with_settings(settings, |host| host).await;
    let mut idle = running.connect("/ws").await;
    assert!(idle.received().await.is_empty());
    // It reads nothing from here on.
    let text = "x".repeat(60 * 1024);
    let body = format!(r#"{{"audience":{{"all":true}},"event":"large","data":"{text}"}}"#);
    let lost = r#"{"matched":1,"queued":0,"dropped":1}"#;
    let numbers = Cell::new(0);
    let send = || {
        numbers.set(numbers.get() + 1);
        let key = numbers.get().to_string();
        let (running, body) = (&running, &body);
        async move { send_once(running, &key, body).await }
    };
    assert_eq!(until(send, |answer| answer == lost).await, lost);
    let key = numbers.get().to_string();
    assert_eq!(send_once(&running, &key, &body).await, lost);
}
