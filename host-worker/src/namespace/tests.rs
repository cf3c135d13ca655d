//! The namespace over a platform that fails when it is told to.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    ops::{Bound, RangeInclusive},
    rc::Rc,
};

use roomcast_core::{
    CloseCode, ConnId, Context, DisconnectReason, Failure, Frame, Gateway, Handshake, Limits,
    Policies, Router, Timestamp,
    ask::{Answer, Ask, AskError},
    hub::{HubState, KeyState, RoomState},
    room::{HistoryMessage, HistoryPage, PageError},
};
use roomcast_http::{Access, ApiCall, ApiRequest, Headers, Request, Response};

use super::Namespace;
use crate::{
    handle::{Namespace as Handle, Remote},
    mount::Application,
    platform::{Attachments, Fault, Kept, Platform, Saved},
};

#[path = "../../../core/examples/gateways/chat.rs"]
mod chat;

/// What outlives an eviction.
#[derive(Debug, Default)]
struct World {
    now: u64,
    storage: Storage,
    /// By slot: the attachment of each open socket.
    sockets: BTreeMap<usize, Vec<u8>>,
    /// What the input wants sent and closed.
    wanted: Vec<Wanted>,
    /// What the attachments were before the input.
    before: Vec<(usize, Vec<u8>)>,
    /// What was sent and closed, in order.
    seen: Vec<String>,
    alarm: Option<Timestamp>,
    /// How many writes pass before one fails.
    writes_left: Option<usize>,
    deaf: bool,
}

#[derive(Debug, Clone, Default)]
struct Storage {
    serial: u64,
    keys: BTreeMap<String, KeyState>,
    histories_opened: u64,
    rooms: BTreeMap<String, RoomState>,
    messages: BTreeMap<(String, u64), HistoryMessage>,
    application: String,
}

#[derive(Debug)]
enum Wanted {
    Sent(usize, String),
    Closed(usize, String),
}

#[derive(Debug, Clone, Default)]
struct Fake(Rc<RefCell<World>>);

impl Fake {
    fn write(&self) -> Result<(), Fault> {
        let left = &mut self.0.borrow_mut().writes_left;
        match left {
            Some(0) => {
                *left = None;
                Err(Fault::new("a write failed", "told to"))
            }
            Some(more) => {
                *more -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Platform for Fake {
    fn call(&self) -> impl Fn() + 'static {
        || {}
    }

    fn remote(&self) -> Remote {
        Box::new(|_, _| Box::pin(async { Err("there is no other namespace".to_owned()) }))
    }

    fn work_began(&mut self, _: u32, _: usize, _: Option<&str>) {}

    fn work_ended(&mut self, _: u32) {}

    fn wait(&mut self, _: usize, _: bool) {}

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.borrow().now)
    }

    fn log(&self, _: &str) {}

    fn load(&mut self) -> Result<Saved, Fault> {
        let world = self.0.borrow();
        if world.deaf {
            return Err(Fault::new("a read failed", "told to"));
        }
        let Storage {
            serial,
            keys,
            histories_opened,
            rooms,
            application,
            ..
        } = world.storage.clone();
        let state = HubState::from_serial(serial).with_keys(keys.into_values());
        Ok(Saved {
            epoch: "e".to_owned(),
            state: state.with_histories_opened(histories_opened),
            rooms: rooms.into_values().collect(),
            unreadable: Vec::new(),
            damaged: 0,
            application,
        })
    }

    fn save_serial(&mut self, next: u64) -> Result<(), Fault> {
        self.write()?;
        self.0.borrow_mut().storage.serial = next;
        Ok(())
    }

    fn save_key(&mut self, key: &KeyState, now: Timestamp, keys_max: usize) -> Result<(), Fault> {
        self.write()?;
        let keys = &mut self.0.borrow_mut().storage.keys;
        keys.retain(|_, known| known.expires() > now);
        keys.insert(key.key().to_owned(), key.clone());
        assert!(keys.len() <= keys_max);
        Ok(())
    }

    fn save_kept(&mut self, kept: &Kept<'_>) -> Result<(), Fault> {
        self.write()?;
        let storage = &mut self.0.borrow_mut().storage;
        storage.histories_opened = kept.histories_opened.unwrap_or(storage.histories_opened);
        for message in &kept.messages {
            let key = (message.room.to_owned(), message.offset);
            let (frame, except) = (message.frame, message.except.clone());
            let message = HistoryMessage::new(message.offset, message.at, frame, except);
            storage.messages.insert(key, message);
        }
        for (room, state) in &kept.rooms {
            let kept = |offset: &u64| {
                let state = state.as_ref();
                state.is_some_and(|state| (state.first()..=state.offset()).contains(offset))
            };
            storage
                .messages
                .retain(|(other, offset), _| other != room || kept(offset));
            match state {
                Some(state) => storage.rooms.insert((*room).to_owned(), state.clone()),
                None => storage.rooms.remove(*room),
            };
        }
        if let Some(state) = kept.application {
            state.clone_into(&mut storage.application);
        }
        Ok(())
    }

    fn history(
        &mut self,
        room: &str,
        offsets: RangeInclusive<u64>,
    ) -> Result<Vec<HistoryMessage>, Fault> {
        let world = self.0.borrow();
        if world.deaf {
            return Err(Fault::new("a read failed", "told to"));
        }
        let first = (room.to_owned(), *offsets.start());
        let last = (room.to_owned(), *offsets.end());
        let messages = world.storage.messages.range(first..=last);
        Ok(messages.map(|(_, message)| message.clone()).collect())
    }

    fn attachments(&mut self) -> Result<Vec<Vec<u8>>, Fault> {
        Ok(self.0.borrow().sockets.values().cloned().collect())
    }

    fn assign(&mut self, slots: &[Option<usize>]) {
        let world = &mut *self.0.borrow_mut();
        let unassigned = std::mem::take(&mut world.sockets).into_values();
        for (slot, attachment) in slots.iter().zip(unassigned) {
            match slot {
                Some(slot) => {
                    world.sockets.insert(*slot, attachment);
                }
                None => world.seen.push("a slot was refused".to_owned()),
            }
        }
    }

    fn open(&mut self, slot: usize, attachment: &[u8]) -> Result<(), Fault> {
        self.write()?;
        let taken = self.0.borrow_mut().sockets.insert(slot, attachment.into());
        assert_eq!(taken, None, "a slot is given twice");
        Ok(())
    }

    fn save(&mut self, attachments: &Attachments) -> Result<(), Fault> {
        self.write()?;
        let World {
            sockets, before, ..
        } = &mut *self.0.borrow_mut();
        let mut rest = &attachments.bytes[..];
        for (&slot, &length) in attachments.slots.iter().zip(&attachments.lengths) {
            let length = if length == Attachments::NONE {
                0
            } else {
                length as usize
            };
            let (bytes, behind) = rest.split_at(length);
            let old = sockets.insert(slot as usize, bytes.to_vec());
            before.push((slot as usize, old.expect("open")));
            rest = behind;
        }
        assert!(rest.is_empty());
        Ok(())
    }

    fn signs_of_life(&self) -> Vec<(usize, Timestamp)> {
        Vec::new()
    }

    fn wake_at(&mut self, at: Timestamp) {
        assert!(at > Timestamp::ZERO, "the platform refuses it");
        self.0.borrow_mut().alarm = Some(at);
    }

    fn undo(&mut self) {
        self.0.borrow_mut().rollback();
    }

    fn send(&mut self, to: &[ConnId], frame: Frame<'_>) {
        let told = match frame {
            Frame::Text(text) => text.to_owned(),
            Frame::Binary(bytes) => format!("{bytes:?}"),
        };
        let wanted = to
            .iter()
            .map(|conn| Wanted::Sent(conn.slot(), told.clone()));
        self.0.borrow_mut().wanted.extend(wanted);
    }

    fn close(&mut self, slot: usize, code: CloseCode, reason: &str) {
        let wanted = Wanted::Closed(slot, format!("{code} {reason}"));
        self.0.borrow_mut().wanted.push(wanted);
    }
}

impl World {
    /// What the shim does when an input is done.
    fn commit(&mut self) {
        self.before.clear();
        for wanted in std::mem::take(&mut self.wanted) {
            self.seen.push(match wanted {
                Wanted::Sent(slot, told) => {
                    assert!(self.sockets.contains_key(&slot), "sent to nobody");
                    format!("{slot} < {told}")
                }
                Wanted::Closed(slot, told) => {
                    assert!(self.sockets.remove(&slot).is_some(), "closed twice");
                    format!("{slot} closed {told}")
                }
            });
        }
    }

    /// What it does when one failed.
    fn rollback(&mut self) {
        self.wanted.clear();
        for (slot, attachment) in self.before.drain(..).rev() {
            self.sockets.insert(slot, attachment);
        }
    }
}

/// An input, as the shim gives it.
#[derive(Debug, Clone, Copy)]
enum Op {
    Connect,
    /// Of a user.
    User(&'static str),
    Text(usize, &'static str),
    Gone(usize),
    /// Method, path with query, idempotency key, body.
    Call(&'static str, &'static str, &'static str, &'static str),
    Wait(u64),
    Alarm,
}
use Op::{Alarm, Call, Connect, Gone, Text, User, Wait};

struct Fields(&'static str);

impl Headers for Fields {
    fn values(&self, name: &'static str) -> impl Iterator<Item = std::borrow::Cow<'_, str>> {
        let given = name == "idempotency-key" && !self.0.is_empty();
        given.then_some(self.0.into()).into_iter()
    }

    fn names(&self) -> impl Iterator<Item = std::borrow::Cow<'_, str>> {
        let given = !self.0.is_empty();
        given.then_some("idempotency-key".into()).into_iter()
    }
}

fn api(method: &str, target: &str, key: &'static str, body: &str) -> ApiCall {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let request = Request {
        method,
        path,
        query,
        headers: Fields(key),
        local: false,
        loopback_listener: false,
        http_1_0: false,
    };
    let read = ApiRequest::read(&request, &Access::default(), &Limits::default());
    match read.expect("a call") {
        ApiRequest::Call(call) => call,
        ApiRequest::Send(head) => head.with_body(body.as_bytes()).expect("a body"),
    }
}

/// What a namespace is made with.
#[derive(Clone, Default)]
struct Setup {
    limits: Limits,
    policies: Policies,
    application: Application,
}

/// A namespace and its world.
struct Bench {
    fake: Fake,
    namespace: Namespace<Fake>,
    setup: Setup,
}

impl Bench {
    fn new(setup: &Setup) -> Self {
        let fake = Fake::default();
        Self {
            namespace: setup.namespace(&fake),
            fake,
            setup: setup.clone(),
        }
    }

    fn evict(&mut self) {
        self.namespace = self.setup.namespace(&self.fake);
    }

    /// What is seen while the application goes on with what it began.
    fn turns(&mut self) -> Vec<String> {
        while self.namespace.turn().expect("nothing fails") {}
        let world = &mut *self.fake.0.borrow_mut();
        world.commit();
        std::mem::take(&mut world.seen)
    }

    /// What is seen of an input; an answer of the API, or its fault, is at the end.
    fn run(&mut self, op: Op) -> Vec<String> {
        // The shim does these in a transaction.
        let storage = self.fake.0.borrow().storage.clone();
        let storage = matches!(op, Connect | User(_) | Call(..)).then_some(storage);
        let end = match op {
            Connect => {
                let opened = self.namespace.connect(Handshake::new().with_welcome(true));
                opened.map(|opened| opened.err().map(|refused| refused.to_string()))
            }
            User(name) => {
                let opened = self.namespace.connect(Handshake::new().with_user(name));
                opened.map(|opened| opened.err().map(|refused| refused.to_string()))
            }
            Text(slot, text) => {
                let open = self.fake.0.borrow().sockets.contains_key(&slot);
                let received = open.then(|| self.namespace.receive(slot, Frame::Text(text)));
                received.transpose().map(|_| None)
            }
            Gone(slot) => {
                if self.fake.0.borrow().sockets.contains_key(&slot) {
                    let mut gone = self.namespace.disconnect(slot, DisconnectReason::Lost);
                    if gone.is_err() {
                        // The shim tries again, for it is not told again.
                        self.fake.0.borrow_mut().rollback();
                        gone = self.namespace.disconnect(slot, DisconnectReason::Lost);
                    }
                    self.fake.0.borrow_mut().sockets.remove(&slot);
                    gone.map(|()| None)
                } else {
                    Ok(None)
                }
            }
            Call(method, target, key, body) => {
                let answer = self.namespace.call(&api(method, target, key, body));
                answer.map(|answer| {
                    let response: Response = match answer {
                        Ok(answer) => answer.into(),
                        Err(problem) => problem.into(),
                    };
                    Some(String::from_utf8_lossy(&response.body).into_owned())
                })
            }
            Wait(ms) => {
                self.fake.0.borrow_mut().now += ms;
                Ok(None)
            }
            Alarm => self.namespace.timeout().map(|()| None),
        };
        let world = &mut *self.fake.0.borrow_mut();
        let end = match end {
            Ok(end) => {
                world.commit();
                end
            }
            Err(fault) => {
                world.rollback();
                world.storage = storage.unwrap_or_else(|| world.storage.clone());
                Some(fault.to_string())
            }
        };
        let mut seen = std::mem::take(&mut world.seen);
        seen.extend(end);
        seen
    }
}

impl Setup {
    fn namespace(&self, fake: &Fake) -> Namespace<Fake> {
        let Self {
            limits,
            policies,
            application,
        } = self.clone();
        Namespace::new(fake.clone(), limits, policies, "d", application)
    }
}

const STORY: &[Op] = &[
    Connect,
    Connect,
    Connect,
    Text(0, r#"{"event":"$join","id":1,"room":"r"}"#),
    Text(1, r#"{"event":"$join","id":1,"room":"r"}"#),
    Text(2, r#"{"event":"said","id":1,"room":"r","data":1}"#),
    Call("PUT", "/api/v1/d/rooms/q/members/0", "", ""),
    Text(0, r#"{"event":"$rooms","id":2}"#),
    Call(
        "POST",
        "/api/v1/d/send",
        "k",
        r#"{"audience":{"all":true},"event":"e"}"#,
    ),
    Call(
        "POST",
        "/api/v1/d/send",
        "k",
        r#"{"audience":{"all":true},"event":"e"}"#,
    ),
    Call(
        "POST",
        "/api/v1/d/send",
        "k",
        r#"{"audience":{"all":true},"event":"f"}"#,
    ),
    Gone(1),
    Connect,
    Call("GET", "/api/v1/d/connections", "", ""),
    Text(1, r#"{"event":"$rooms"}"#),
    Call(
        "DELETE",
        "/api/v1/d/connections/0?code=3000&reason=x",
        "",
        "",
    ),
    Call("GET", "/api/v1/d/rooms", "", ""),
    Text(2, r#"{"event":"$join","room":"r"}"#),
    Wait(1000),
    Text(2, "not an envelope"),
    Text(2, r#"{"event":"$leave","room":"r"}"#),
    Connect,
    Call("GET", "/api/v1/d/connections", "", ""),
];

/// What a chat does with its history, its members, and sends to them.
const CHAT: &[Op] = &[
    Connect,
    Connect,
    Text(
        0,
        r#"{"event":"message","id":1,"data":{"author":"ann","text":"one"}}"#,
    ),
    Text(1, r#"{"event":"history","data":null}"#),
    Text(0, r#"{"event":"join","id":2,"data":{"room":"r"}}"#),
    Text(
        0,
        r#"{"event":"say","id":3,"data":{"room":"r","text":"hi"}}"#,
    ),
    Text(1, r#"{"event":"presence","id":1}"#),
    Text(1, r#"{"event":"message","data":{"author":"bob"}}"#),
    Gone(0),
    Text(1, r#"{"event":"presence","id":2}"#),
    Connect,
    Text(
        0,
        r#"{"event":"message","data":{"author":"cid","text":"two"}}"#,
    ),
    Text(1, r#"{"event":"history","id":"h"}"#),
];

/// What becomes of messages and of users where rooms keep them.
const KEPT: &[Op] = &[
    User("ann"),
    User("bob"),
    Text(
        0,
        r#"{"event":"$join","id":1,"room":"log","data":{"meta":{"a":1}}}"#,
    ),
    Text(1, r#"{"event":"$join","id":1,"room":"log"}"#),
    Text(0, r#"{"event":"said","id":2,"room":"log","data":1}"#),
    Text(1, r#"{"event":"said","id":2,"room":"log","data":2}"#),
    Call(
        "POST",
        "/api/v1/d/send",
        "k",
        r#"{"audience":{"rooms":["log"]},"event":"told","data":3}"#,
    ),
    Call(
        "POST",
        "/api/v1/d/send",
        "k",
        r#"{"audience":{"rooms":["log"]},"event":"told","data":3}"#,
    ),
    Text(0, r#"{"event":"$history","id":3,"room":"log"}"#),
    Call("GET", "/api/v1/d/rooms/log/history?after=1&limit=1", "", ""),
    Call("GET", "/api/v1/d/rooms/log", "", ""),
    Call("GET", "/api/v1/d/rooms/log/members", "", ""),
    // Missed by nobody that is there.
    Call(
        "POST",
        "/api/v1/d/send",
        "",
        r#"{"audience":{"rooms":["log.empty"]},"event":"told"}"#,
    ),
    Gone(0),
    Wait(1000),
    Alarm,
    Text(1, r#"{"event":"$members","id":4,"room":"log"}"#),
    Text(1, r#"{"event":"said","id":5,"room":"log","data":4}"#),
    Text(1, r#"{"event":"said","id":6,"room":"log","data":5}"#),
    User("ann"),
    Text(
        0,
        r#"{"event":"$join","id":7,"room":"log","data":{"since":{"epoch":"e.1","offset":3}}}"#,
    ),
    Text(1, r#"{"event":"$leave","room":"log"}"#),
    Text(
        1,
        r#"{"event":"$join","room":"log","data":{"since":{"epoch":"e.1","offset":1}}}"#,
    ),
    Gone(0),
    Wait(4999),
    Alarm,
    Wait(1),
    Alarm,
    Text(1, r#"{"event":"$history","id":8,"room":"log"}"#),
    Gone(1),
    Wait(9999),
    Alarm,
    Call("GET", "/api/v1/d/rooms", "", ""),
    Wait(1),
    Alarm,
    Call("GET", "/api/v1/d/rooms", "", ""),
    User("ann"),
    Text(
        0,
        r#"{"event":"$join","room":"log","data":{"since":{"epoch":"e.1","offset":5}}}"#,
    ),
    Text(0, r#"{"event":"said","id":9,"room":"log","data":6}"#),
    Text(0, r#"{"event":"$history","room":"log"}"#),
];

/// Each story, with what it is about.
fn cases() -> [(Setup, &'static [Op]); 4] {
    let plain = Setup::default();
    let narrow = Setup {
        limits: narrow(),
        ..Setup::default()
    };
    let chat = Setup {
        application: Application::new(|_| Box::new(chat::chat())),
        ..Setup::default()
    };
    [
        (plain, STORY),
        (narrow, STORY),
        (chat, CHAT),
        (keeping(), KEPT),
    ]
}

/// Rooms that keep four messages for ten seconds, and show who is there.
fn keeping() -> Setup {
    let policies =
        r#"{"rooms":[{"match":"log*","history":{"messages":4,"age_s":10},"presence":"members"}]}"#;
    Setup {
        policies: serde_json::from_str(policies).expect("valid"),
        ..Setup::default()
    }
}

/// Limits under which the story meets each kind of refusal.
fn narrow() -> Limits {
    let mut limits = Limits::default();
    limits.connections = 3;
    limits.inbound_messages = Some(roomcast_core::Rate {
        per_second: 1,
        burst: 2,
    });
    limits
}

#[test]
fn nobody_can_tell_where_it_slept() {
    for (setup, story) in cases() {
        let bench = || Bench::new(&setup);
        let (mut awake, mut asleep) = (bench(), bench());
        for &op in story {
            asleep.evict();
            assert_eq!(asleep.run(op), awake.run(op), "{op:?}");
        }
    }
}

#[test]
fn what_cannot_be_saved_has_not_happened() {
    for (setup, story) in cases() {
        for at in 0..story.len() {
            for writes in 0..3 {
                let bench = || Bench::new(&setup);
                let (mut calm, mut shaken) = (bench(), bench());
                for &op in &story[..at] {
                    assert_eq!(shaken.run(op), calm.run(op));
                }
                shaken.fake.0.borrow_mut().writes_left = Some(writes);
                let told = shaken.run(story[at]);
                shaken.fake.0.borrow_mut().writes_left = None;
                let failed = told != calm.run(story[at]);
                if failed {
                    let [told] = &told[..] else {
                        panic!("{:?}: {told:?}", story[at])
                    };
                    assert!(
                        told.contains("\"unavailable\"") || told.starts_with("a write failed"),
                        "{told}"
                    );
                    // The same again.
                    calm = bench();
                    story[..at].iter().for_each(|&op| drop(calm.run(op)));
                    assert_eq!(shaken.run(story[at]), calm.run(story[at]), "{at} {writes}");
                }
                for &op in &story[at + 1..] {
                    assert_eq!(shaken.run(op), calm.run(op), "{at} {writes} {op:?}");
                }
            }
        }
    }
}

#[test]
fn a_namespace_that_cannot_wake_closes_who_speaks_to_it_and_wakes_later() {
    let mut bench = Bench::new(&Setup::default());
    let (first, second) = (bench.run(Connect), bench.run(Connect));
    assert_eq!((first.len(), second.len()), (1, 1));
    bench.evict();
    bench.fake.0.borrow_mut().deaf = true;
    let told = bench.run(Text(0, r#"{"event":"$rooms"}"#));
    assert_eq!(told, ["0 closed 1011 the server could not read its state"]);
    bench.fake.0.borrow_mut().deaf = false;
    let told = bench.run(Text(1, r#"{"event":"$rooms"}"#));
    assert_eq!(told, [r#"1 < {"event":"$rooms","data":[]}"#]);
}

#[test]
fn the_alarm_is_set_once_for_many_deadlines() {
    let mut limits = Limits::default();
    limits.heartbeat = Some(std::time::Duration::from_secs(20));
    let mut bench = Bench::new(&Setup {
        limits,
        ..Setup::default()
    });
    bench.run(Connect);
    let alarm = |bench: &Bench| bench.fake.0.borrow_mut().alarm.take();
    assert_eq!(alarm(&bench), Some(Timestamp::from_millis(20_000)));
    bench.run(Wait(1000));
    bench.run(Connect);
    assert_eq!(alarm(&bench), None, "the one that is set comes first");
    bench.run(Wait(19_000));
    assert_eq!(bench.run(Alarm), [""; 0]);
    assert_eq!(alarm(&bench), Some(Timestamp::from_millis(21_000)));
    // Asleep between the ping and the end.
    bench.evict();
    bench.run(Wait(10_000));
    let seen = bench.run(Alarm);
    assert_eq!(seen[1], "0 closed 4408 no heartbeat");
    assert_eq!(seen.len(), 2);
}

/// What is lost of a history is never passed over, and its offsets do not come again.
#[test]
fn a_history_that_is_lost_is_not_recovered() {
    let say = Text(0, r#"{"event":"said","id":1,"room":"log"}"#);
    let since = r#"{"event":"$join","room":"log","data":{"since":{"epoch":"e.1","offset":1}}}"#;
    let lose: [fn(&mut Storage); 3] = [
        |storage| storage.messages.clear(),
        |storage| drop(storage.messages.remove(&("log".to_owned(), 2))),
        |storage| storage.rooms.clear(),
    ];
    for lose in lose {
        let mut bench = Bench::new(&keeping());
        bench.run(User("ann"));
        bench.run(Text(0, r#"{"event":"$join","room":"log"}"#));
        for _ in 0..3 {
            bench.run(say);
        }
        lose(&mut bench.fake.0.borrow_mut().storage);
        bench.evict();
        bench.run(User("bob"));
        let seen = bench.run(Text(1, since));
        assert!(
            seen.iter().any(|one| one.contains(r#""recovered":false"#)),
            "{seen:?}"
        );
        assert!(
            !seen
                .iter()
                .any(|one| one.starts_with("1 < {\"event\":\"said\"")),
            "{seen:?}"
        );
    }
}

/// What applications read: in memory, from the storage, and when that fails.
#[test]
fn an_application_reads_a_history_that_has_slept() {
    let offsets = |page: Result<HistoryPage, Failure>| {
        page.map(|page| {
            page.messages
                .iter()
                .map(|one| one.offset)
                .collect::<Vec<_>>()
        })
    };
    let application = move |server: &Handle| {
        let server = server.clone();
        let router = Router::default()
            .on("last", move |cx: &mut Context, count: usize| {
                let page = cx.history("log", .., count);
                async move { offsets(page.await.map_err(Failure::from)) }
            })
            .on("ask", move |_: &mut Context, from: u64| {
                let server = server.clone();
                async move {
                    let page = server.history("log", from.., 9).await;
                    let (position, there) =
                        (server.position("log"), server.presence("log", None, 9));
                    Ok::<_, Failure>((
                        offsets(page.map_err(Failure::from))?,
                        position.await?.offset,
                        there.await?,
                    ))
                }
            })
            .on("enter", |cx: &mut Context, name: String| {
                cx.join_with("log", &name)
            });
        Box::new(router) as Box<dyn Gateway>
    };
    let mut bench = Bench::new(&Setup {
        application: Application::new(application),
        ..keeping()
    });
    bench.run(User("ann"));
    let entered = bench.run(Text(0, r#"{"event":"enter","data":"Ann"}"#));
    assert_eq!(entered, [r#"0 < {"event":"enter","data":true}"#]);
    for _ in 0..3 {
        bench.run(Text(0, r#"{"event":"said","room":"log"}"#));
    }
    let last = r#"0 < {"event":"last","data":[2,3]}"#;
    let asked = r#"0 < {"event":"ask","data":[[2,3],3,{"members":[{"user":"ann","conns":1,"meta":"Ann"}],"users":1,"conns":1}]}"#;
    for _ in 0..2 {
        for (text, answer) in [
            (r#"{"event":"last","data":2}"#, last),
            (r#"{"event":"ask","data":2}"#, asked),
        ] {
            // Asleep, then in memory.
            bench.evict();
            for _ in 0..2 {
                bench.run(Text(0, text));
                assert_eq!(bench.turns(), [answer], "{text}");
            }
        }
    }
    // From another object, which the messages have not been given back to.
    bench.evict();
    let ask = Ask::History {
        room: "log".to_owned(),
        offsets: (Bound::Unbounded, Bound::Excluded(3)),
        limit: 1,
    };
    let told = bench.namespace.ask(ask).expect("it wakes");
    let Ok(Answer::History(page)) = &told else {
        panic!("a page: {told:?}");
    };
    assert_eq!((page.offset, page.messages[0].offset), (3, 2));
    let wire = serde_json::to_string(&told.expect("a page")).expect("plain data");
    let back: Answer = serde_json::from_str(&wire).expect("its own form");
    assert!(matches!(&back, Answer::History(back) if back.messages[0].offset == 2));
    let none = Ask::Presence {
        room: "other".to_owned(),
        after: None,
        limit: 1,
    };
    let none = bench.namespace.ask(none).expect("it wakes");
    assert_eq!(none, Err(AskError::Page(PageError::NoPresence)));
}

/// Who is gone is told of when the alarm ends the wait, however often the object slept.
#[test]
fn an_application_hears_who_is_gone_after_sleep() {
    let application = |_: &Handle| {
        let router = Router::default().on_absent(|namespace, (), room, user| {
            namespace.broadcast("gone", &(room, user)).expect("text");
        });
        Box::new(router) as Box<dyn Gateway>
    };
    let policies = r#"{"rooms":[{"match":"den","presence":"members","presence_grace_s":5}]}"#;
    let mut bench = Bench::new(&Setup {
        application: Application::new(application),
        policies: serde_json::from_str(policies).expect("valid"),
        ..Setup::default()
    });
    bench.run(User("ann"));
    bench.run(User("bob"));
    bench.run(Text(0, r#"{"event":"$join","room":"den"}"#));
    bench.evict();
    bench.run(Gone(0));
    bench.evict();
    // Nobody is in the room, and nobody speaks.
    assert!(bench.fake.0.borrow().alarm.is_some());
    bench.run(Wait(4_999));
    assert_eq!(bench.run(Alarm), [""; 0]);
    bench.evict();
    bench.run(Wait(1));
    assert_eq!(
        bench.run(Alarm),
        [r#"1 < {"event":"gone","data":["den","ann"]}"#]
    );
    assert!(bench.fake.0.borrow().storage.rooms.is_empty());
}

/// A policy that is gone takes with it what was kept for it.
#[test]
fn what_no_policy_keeps_is_forgotten() {
    let mut bench = Bench::new(&keeping());
    bench.run(User("ann"));
    bench.run(Text(0, r#"{"event":"$join","room":"log"}"#));
    bench.run(Text(0, r#"{"event":"said","room":"log"}"#));
    assert_eq!(bench.fake.0.borrow().storage.messages.len(), 1);
    let policies = r#"{"rooms":[{"match":"other","history":{"messages":300}}]}"#;
    bench.setup.policies = serde_json::from_str(policies).expect("valid");
    bench.evict();
    bench.run(Text(0, r#"{"event":"$join","room":"other"}"#));
    let world = bench.fake.0.borrow();
    assert_eq!(world.storage.messages.len(), 0);
    assert_eq!(world.storage.rooms.keys().collect::<Vec<_>>(), ["other"]);
}
