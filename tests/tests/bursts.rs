//! Messages that arrive in one segment are answered like messages that arrive one by one: batching,
//! corked replies, sliced flushes and messages between threads keep the order of every connection.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use futures_util::{SinkExt, StreamExt};
use proptest::{prelude::*, test_runner::TestRunner};
use roomcast_core::{Command, Config, ConnId, Frame, Handshake, Hub, Limits, Outbox, Timestamp};
use roomcast_tests::{Edge, Server, Settings, Sockets};
use tokio::{net::TcpStream, runtime::Builder};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config, tungstenite::Message,
};

use crate::stories::config_over_sockets;

/// Clients of a story.
const FEW: usize = 4;
/// Enough members for the worker to batch a burst to them.
const MANY: usize = 40;

/// Texts that one client sends at once.
#[derive(Debug, Clone)]
struct Burst {
    client: usize,
    texts: Vec<String>,
}

fn text() -> impl Strategy<Value = String> {
    let room = || (0..3).prop_map(|room| format!(r#""room":"r{room}""#));
    let id = || prop_oneof![Just(""), Just(r#","id":"i""#)];
    // Mostly publishes to the same few members, since those are batched.
    prop_oneof![
        2 => (room(), id()).prop_map(|(room, id)| format!(r#"{{"event":"$join",{room}{id}}}"#)),
        1 => (room(), id()).prop_map(|(room, id)| format!(r#"{{"event":"$leave",{room}{id}}}"#)),
        1 => Just(r#"{"event":"$rooms"}"#.to_owned()),
        1 => Just(r#"{"event":"nobody","id":7}"#.to_owned()),
        8 => (room(), id(), any::<bool>(), any::<u16>()).prop_map(|(room, id, echo, data)| {
            format!(r#"{{"event":"m",{room}{id},"echo":{echo},"data":{data}}}"#)
        }),
    ]
}

/// Bursts of clients. Where there are many, all of them are in a room first.
fn story(clients: usize) -> impl Strategy<Value = Vec<Burst>> {
    let join = |client| Burst {
        client,
        texts: vec![r#"{"event":"$join","room":"r0"}"#.into()],
    };
    let joins: Vec<_> = (0..clients).filter(|_| clients > FEW).map(join).collect();
    let burst = (0..clients, prop::collection::vec(text(), 1..60));
    let burst = burst.prop_map(|(client, texts)| Burst { client, texts });
    let bursts = prop::collection::vec(burst, 1..8);
    bursts.prop_map(move |bursts| [joins.clone(), bursts].concat())
}

/// A hub in this process that provides the expected messages.
struct Truth {
    hub: Hub,
    conns: Vec<ConnId>,
    received: Vec<Vec<String>>,
}

impl Truth {
    fn new(clients: usize) -> Self {
        let limits = Settings::default().limits();
        let (mut hub, mut out) = (
            Hub::new(Config::new("e").with_limits(limits)),
            Outbox::new(),
        );
        let connect = |_| hub.connect(Timestamp::ZERO, Handshake::new(), &mut out);
        let conns: Result<_, _> = (0..clients).map(connect).collect();
        Self {
            hub,
            conns: conns.expect("room for a few"),
            received: vec![Vec::new(); clients],
        }
    }

    fn receive(&mut self, client: usize, text: &str) {
        let (now, conn, mut out) = (Timestamp::ZERO, self.conns[client], Outbox::new());
        let received = self.hub.receive(now, conn, Frame::Text(text), &mut out);
        if let Some(message) = received.expect("nobody is closed") {
            let published = self.hub.publish(now, &message, &mut out);
            published.expect("nobody is closed");
        }
        for command in &out {
            let Command::Send { to, frame, .. } = command else {
                continue;
            };
            let text = String::from_utf8_lossy(frame.as_bytes());
            for conn in to {
                let client = self.conns.iter().position(|known| known == conn);
                self.received[client.expect("a known connection")].push(text.to_string());
            }
        }
    }
}

/// A WebSocket client that writes many messages at once.
struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

const PING: &str = r#"{"event":"$ping"}"#;
const PONG: &str = r#"{"event":"$pong"}"#;

impl Client {
    async fn open(address: &str) -> Self {
        // Nagle's algorithm would wait for data that never comes.
        let opened = connect_async_with_config(address, None, true).await;
        Self(opened.expect("the server accepts").0)
    }

    /// In one write: the buffer in between is larger than any burst here.
    async fn send(&mut self, texts: &[String]) {
        for text in texts {
            let message = Message::text(text.as_str());
            self.0.feed(message).await.expect("the socket is open");
        }
        self.0.flush().await.expect("the socket is open");
    }

    /// Returns the messages of the server until it answers a ping.
    async fn read_to_pong(&mut self) -> Vec<String> {
        self.send(&[PING.into()]).await;
        let mut texts = Vec::new();
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) if text == PONG => return texts,
                Some(Ok(Message::Text(text))) => texts.push(text.to_string()),
                Some(Ok(_)) => {}
                ended => panic!("the server ended it: {ended:?}"),
            }
        }
    }
}

/// Replaces the server's connection ids and epochs by those of the hub in this process.
fn normalised(text: &str, names: &[(String, String)], epoch: &mut Option<String>) -> String {
    let mut text = text.to_owned();
    for (theirs, ours) in names {
        text = text.replace(
            &format!(r#""conn":"{theirs}""#),
            &format!(r#""conn":"{ours}""#),
        );
    }
    if let Some((_, rest)) = text.split_once(r#""epoch":""#)
        && let Some((found, _)) = rest.split_once('"')
    {
        let epoch = epoch.get_or_insert_with(|| found.to_owned());
        text = text.replace(&format!(r#""epoch":"{epoch}""#), r#""epoch":"e""#);
    }
    text
}

/// Returns the id of a client, as its neighbour sees it in a shared room.
async fn id_of(clients: &mut [Client], client: usize) -> String {
    let other = (client + 1) % clients.len();
    let say = |event: &str| vec![format!(r#"{{"event":"{event}","room":"who"}}"#)];
    clients[other].send(&say("$join")).await;
    clients[other].read_to_pong().await;
    clients[client].send(&say("me")).await;
    clients[client].read_to_pong().await;
    let seen = clients[other].read_to_pong().await.concat();
    clients[other].send(&say("$leave")).await;
    clients[other].read_to_pong().await;
    let (_, rest) = seen.split_once(r#""conn":""#).expect("the sender is named");
    rest.split('"').next().unwrap_or_default().to_owned()
}

async fn compare(address: &str, count: usize, story: &[Burst]) -> Result<(), TestCaseError> {
    let mut truth = Truth::new(count);
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(Client::open(address).await);
    }
    let mut names = Vec::new();
    for client in 0..count {
        let ours = truth.conns[client].to_string();
        names.push((id_of(&mut clients, client).await, ours));
    }
    let mut epoch = None;
    for burst in story {
        for text in &burst.texts {
            truth.receive(burst.client, text);
        }
        clients[burst.client].send(&burst.texts).await;
        // The sender is read first: after its pong, the messages to the others have left its
        // thread.
        for client in (burst.client..count).chain(0..burst.client) {
            let received = clients[client].read_to_pong().await;
            let received: Vec<_> = received
                .iter()
                .map(|text| normalised(text, &names, &mut epoch))
                .collect();
            let right = std::mem::take(&mut truth.received[client]);
            prop_assert_eq!(received, right, "client {}", client);
        }
    }
    Ok(())
}

fn on_server(flags: &[&str]) {
    let mut all = Settings::default().flags();
    all.extend(["--namespaces-max=1000000", "--heartbeat-ms=off"].map(Into::into));
    all.extend(flags.iter().map(|&flag| flag.into()));
    let server = Server::start(&all);
    at(&server.address(), FEW, |_| {});
}

/// Tells every story in a namespace of its own; `begins` gets its name beforehand.
fn at(address: &str, clients: usize, begins: impl Fn(&str)) {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    // A story with many clients takes longer.
    let config = config_over_sockets(if clients > FEW { 12 } else { 2 });
    let stories = AtomicU32::new(0);
    let result = TestRunner::new(config).run(&story(clients), |story| {
        let story_number = stories.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("story-{story_number}");
        begins(&namespace);
        runtime.block_on(compare(&format!("{address}/{namespace}"), clients, &story))
    });
    result.unwrap_or_else(|fault| panic!("{fault}"));
}

#[test]
fn a_burst_is_answered_as_message_by_message() {
    on_server(&[]);
}

#[test]
fn a_burst_is_answered_as_message_by_message_with_two_threads() {
    on_server(&["--threads=2"]);
}

#[test]
fn a_burst_is_answered_as_message_by_message_with_four_threads() {
    on_server(&["--threads=4"]);
}

fn worker() -> Edge {
    let settings = "heartbeat_ms=off".parse().expect("known settings");
    Edge::start(&[&settings])
}

#[test]
fn a_burst_is_answered_as_message_by_message_by_the_worker() {
    at(&worker().address(0), FEW, |_| {});
}

#[test]
fn there_are_so_many_that_the_worker_waits() {
    let shim = include_str!("../../host-worker/shim/sockets.js");
    let mut lines = shim.lines();
    let many = lines.find_map(|line| line.strip_prefix("const MANY = ")?.strip_suffix(';'));
    let many: usize = many.and_then(|many| many.parse().ok()).expect("a number");
    // The publisher and clients that left are not counted.
    assert!(many + 4 <= MANY, "it waits for {many}");
}

#[test]
fn a_burst_to_many_is_answered_as_message_by_message_by_the_worker() {
    at(&worker().address(0), MANY, |_| {});
}

/// Evicts continuously, so that the object leaves memory between any two messages of a burst.
#[test]
fn a_burst_is_answered_as_message_by_message_by_the_worker_while_it_is_evicted() {
    evicted(FEW);
}

#[test]
fn a_burst_to_many_is_answered_as_message_by_message_by_the_worker_while_it_is_evicted() {
    evicted(MANY);
}

fn evicted(clients: usize) {
    let edge = worker();
    let address = edge.address(0);
    let namespace = Mutex::new(String::new());
    let begins = |name: &str| name.clone_into(&mut namespace.lock().expect("whole"));
    let mut evictions = 0;
    thread::scope(|scope| {
        let stories = scope.spawn(|| at(&address, clients, begins));
        while !stories.is_finished() {
            let name = namespace.lock().expect("whole").clone();
            let evicted = edge.evict(0, &name, Sockets::Hibernate);
            evictions += u32::from(evicted.unwrap_or_else(|fault| panic!("{fault}")));
        }
    });
    assert!(evictions > 500, "{evictions} evictions");
}

/// Uses more members than one flush covers. Some are in another room too, and send requests of
/// their own: no frame overtakes another.
#[test]
fn a_large_room_that_is_flushed_in_slices_keeps_the_order() {
    let server = Server::start(&Settings::default().flags());
    large_room(&server.address());
}

/// The worker sends a burst to many members together, one turn later.
#[test]
fn a_large_room_keeps_the_order_on_the_worker() {
    large_room(&worker().address(0));
}

fn large_room(address: &str) {
    const MEMBERS: usize = 700;
    let limits = Limits::default();
    assert!(MEMBERS < limits.connections, "all of them may connect");
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut members = Vec::new();
        for at in 0..MEMBERS {
            let mut member = Client::open(address).await;
            let mut joins = vec![r#"{"event":"$join","room":"all"}"#.to_owned()];
            if at % 100 == 0 {
                joins.push(r#"{"event":"$join","room":"few"}"#.into());
            }
            member.send(&joins).await;
            member.read_to_pong().await;
            members.push(member);
        }
        let mut publisher = Client::open(address).await;
        let say = |room, data| format!(r#"{{"event":"m","room":"{room}","data":{data}}}"#);
        let rooms = (0..90).map(|data| if data % 10 == 9 { "few" } else { "all" });
        let texts: Vec<_> = rooms.enumerate().map(|(at, room)| say(room, at)).collect();
        publisher.send(&texts).await;
        let few: Vec<_> = (0..90).collect();
        let all: Vec<_> = few.iter().copied().filter(|data| data % 10 != 9).collect();
        // The burst is still in flight.
        for member in &mut members {
            let ask = (0..3).map(|id| format!(r#"{{"event":"nobody","id":{id}}}"#));
            member.send(&ask.collect::<Vec<_>>()).await;
        }
        publisher.read_to_pong().await;
        for (at, member) in members.iter_mut().enumerate() {
            let (mut heard, mut answers) = (Vec::new(), Vec::new());
            for text in member.read_to_pong().await {
                let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
                match json["data"].as_u64() {
                    Some(data) => heard.push(data),
                    None => answers.extend(json["id"].as_u64()),
                }
            }
            assert_eq!(
                heard,
                if at % 100 == 0 {
                    few.clone()
                } else {
                    all.clone()
                }
            );
            assert_eq!(answers, [0, 1, 2]);
        }
    });
}
