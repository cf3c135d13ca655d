//! Slow and large cases on the worker: silence while its object sleeps, and messages as large as
//! the platform takes.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use roomcast_tests::{Edge, Settings, Sockets};
use tokio::{
    net::TcpStream,
    runtime::{Builder, Runtime},
    time::{sleep, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config, tungstenite::Message,
};

/// Time that the worker may take for anything: a fault when it passes, never a way to decide.
const PATIENCE: Duration = Duration::from_secs(40);
/// After ten seconds of silence the runtime evicts an object.
const IDLE: Duration = Duration::from_secs(11);
/// The platform takes messages of up to 32 MiB.
const PLATFORM_MESSAGE_BYTES_MAX: usize = 32 << 20;

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    async fn open(address: &str) -> Self {
        let opened = connect_async_with_config(address, None, true).await;
        Self(opened.expect("it is accepted").0)
    }

    async fn send(&mut self, text: &str) {
        let sent = self.0.send(Message::text(text)).await;
        sent.expect("it is open");
    }

    /// The next message; `None` after the end.
    async fn next(&mut self) -> Option<Message> {
        let next = timeout(PATIENCE, self.0.next()).await;
        next.expect("something happens in time")?.ok()
    }

    /// The answer to a ping comes next. The platform gives it, while the object sleeps.
    async fn is_answered(&mut self) {
        self.send(r#"{"event":"$ping"}"#).await;
        let pong = Message::text(r#"{"event":"$pong"}"#);
        assert_eq!(self.next().await, Some(pong));
    }

    /// The code of the close frame that comes next; `None` when the connection ends without.
    async fn close_code(&mut self) -> Option<u16> {
        match self.next().await {
            Some(Message::Close(frame)) => Some(frame.map_or(1005, |frame| frame.code.into())),
            None => None,
            Some(other) => panic!("a close is expected: {other}"),
        }
    }
}

fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}

#[test]
fn a_sleeping_object_wakes_to_close_the_silent() {
    // The lively one may be as silent, for as long as a busy machine stands still.
    let settings = "heartbeat_ms=3000 heartbeat_wait_ms=3000".parse::<Settings>();
    let edge = Edge::start(&[&settings.expect("known settings")]);
    let (runtime, address) = (runtime(), edge.address(0));
    let mut silent = runtime.block_on(Socket::open(&address));
    let mut lively = runtime.block_on(Socket::open(&address));
    let evicted = edge.evict(0, "default", Sockets::Hibernate);
    assert_eq!(evicted, Ok(true));
    runtime.block_on(async {
        let goodbye = async { (silent.next().await, silent.close_code().await) };
        let talk = async {
            loop {
                lively.is_answered().await;
                sleep(Duration::from_millis(100)).await;
            }
        };
        let (bye, code) = tokio::select! {
            goodbye = goodbye => goodbye,
            () = talk => unreachable!("it lives for ever"),
        };
        let expected = r#"{"event":"$bye","data":{"code":4408,"reconnect":true,"after_ms":0}}"#;
        assert_eq!((bye, code), (Some(Message::text(expected)), Some(4408)));
        lively.is_answered().await;
    });
    assert_eq!(edge.log(), [""; 0]);
}

/// A burst, which the worker keeps together for a moment, does not hinder it.
#[test]
fn an_idle_object_leaves_memory_by_itself() {
    const MEMBERS: usize = 40;
    let settings = "heartbeat_ms=off".parse::<Settings>();
    let entry = Path::new(env!("CARGO_MANIFEST_DIR")).join("edge/faulty.js");
    let edge = Edge::start_behind(&entry, &[&settings.expect("known settings")]);
    let (runtime, address) = (runtime(), edge.address(0));
    let mut members = Vec::new();
    runtime.block_on(async {
        for _ in 0..MEMBERS {
            let mut member = Socket::open(&address).await;
            member.send(r#"{"event":"$join","room":"r"}"#).await;
            member.next().await;
            members.push(member);
        }
        for _ in 0..10 {
            let text = r#"{"event":"e","room":"r","echo":true}"#;
            members[0].send(text).await;
        }
        for member in &mut members {
            for _ in 0..10 {
                member.next().await;
            }
        }
    });
    let born_again = || edge.post(0, "/-/births").as_deref() == Ok("2");
    let begun = Instant::now();
    while !born_again() {
        assert!(begun.elapsed() < PATIENCE, "it stays in memory");
        runtime.block_on(async {
            sleep(IDLE).await;
            members[0].send(r#"{"event":"e","id":1,"room":"r"}"#).await;
            let answer = r#"{"event":"e","id":1,"room":"r","data":{"reached":39}}"#;
            assert_eq!(members[0].next().await, Some(Message::text(answer)));
        });
    }
}

/// A client that takes much and gives no sign of life is closed where that is asked for, and nobody
/// else.
#[test]
fn who_is_sent_too_much_unheard_is_closed() {
    let edge = Edge::start_with_vars(&[("ROOMCAST_OUTBOX_BYTES_MAX", "131072")]);
    let join = r#"{"event":"$join","room":"r"}"#;
    runtime().block_on(async {
        let [mut silent, mut lively, mut publisher] = [
            Socket::open(&edge.address(0)).await,
            Socket::open(&edge.address(0)).await,
            Socket::open(&edge.address(0)).await,
        ];
        for member in [&mut silent, &mut lively] {
            member.send(join).await;
            member.next().await;
        }
        let data = "x".repeat(60_000);
        for number in 1..=5 {
            let text = format!(r#"{{"event":"e","id":{number},"room":"r","data":"{data}"}}"#);
            publisher.send(&text).await;
            publisher.next().await;
            let push = lively.next().await;
            assert!(push.is_some_and(|push| push.len() > data.len()));
            lively.is_answered().await;
        }
        // Receives the earlier messages: those that fit, and the one that exceeded the limit.
        let mut pushes = 0;
        let bye = loop {
            match silent.next().await {
                Some(push) if push.len() > data.len() => pushes += 1,
                other => break other,
            }
        };
        assert!((2..=3).contains(&pushes), "{pushes}");
        let expected = r#"{"event":"$bye","data":{"code":4409,"reconnect":true,"after_ms":0}}"#;
        assert_eq!(bye, Some(Message::text(expected)));
        assert_eq!(silent.close_code().await, Some(4409));
    });
}

/// Closes that the alarm could not save are saved when the platform rings again.
#[test]
fn an_alarm_that_fails_closes_the_silent_later() {
    // Long enough for the plan to be there before the alarm, also on a busy machine.
    let settings = "heartbeat_ms=3000 heartbeat_wait_ms=3000".parse::<Settings>();
    let entry = Path::new(env!("CARGO_MANIFEST_DIR")).join("edge/faulty.js");
    let edge = Edge::start_behind(&entry, &[&settings.expect("known settings")]);
    let (runtime, address) = (runtime(), edge.address(0));
    let mut silent = [(); 2].map(|()| runtime.block_on(Socket::open(&address)));
    // Of the two that are to be saved together.
    let planted = edge.post(0, "/-/fail?call=serializeAttachment&calls=2");
    assert_eq!(planted.as_deref(), Ok("planted"));
    for socket in &mut silent {
        runtime.block_on(async {
            let bye = socket.next().await;
            assert!(bye.is_some_and(|bye| bye.to_string().starts_with(r#"{"event":"$bye""#)));
            assert_eq!(socket.close_code().await, Some(4408));
        });
    }
    assert_eq!(edge.post(0, "/-/happened").as_deref(), Ok("true"));
}

/// The worker sees the message and says what is wrong with it. Over its limit the platform ends the
/// connection by itself.
#[test]
fn a_message_as_large_as_the_platform_takes_ends_its_connection_alone() {
    let edge = Edge::start(&[&Settings::default()]);
    runtime().block_on(async {
        let mut bystander = Socket::open(&edge.address(0)).await;
        let mut socket = Socket::open(&edge.address(0)).await;
        let text = "x".repeat(PLATFORM_MESSAGE_BYTES_MAX - 1024);
        let sent = socket.0.send(Message::text(text)).await;
        sent.expect("it is read, whatever becomes of it");
        assert_eq!(socket.close_code().await, Some(1009));
        bystander.is_answered().await;
    });
}
