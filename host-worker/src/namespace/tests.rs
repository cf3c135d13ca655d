//! The namespace over a platform that fails when it is told to.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use roomcast_core::{
    CloseCode, ConnId, DisconnectReason, Frame, Handshake, HubState, KeyState, Limits, Timestamp,
    http::{Access, ApiCall, ApiRequest, Headers, Request, Response},
};

use super::Namespace;
use crate::platform::{Attachments, Fault, Platform, Saved};

/// What outlives an eviction.
#[derive(Debug, Default)]
struct World {
    now: u64,
    serial: u64,
    keys: BTreeMap<String, KeyState>,
    /// By slot: the attachment of each open socket.
    sockets: BTreeMap<usize, Vec<u8>>,
    /// What was sent and closed, in order.
    seen: Vec<String>,
    alarm: Option<Timestamp>,
    /// How many writes pass before one fails.
    writes_left: Option<usize>,
    deaf: bool,
}

#[derive(Debug, Clone, Default)]
struct Fake(Rc<RefCell<World>>);

impl Fake {
    fn write(&self) -> Result<(), Fault> {
        match &mut self.0.borrow_mut().writes_left {
            Some(0) => Err(Fault::new("a write failed", "told to")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Platform for Fake {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.borrow().now)
    }

    fn log(&self, _: &str) {}

    fn load(&mut self) -> Result<Saved, Fault> {
        let world = self.0.borrow();
        if world.deaf {
            return Err(Fault::new("a read failed", "told to"));
        }
        let state = HubState::from_serial(world.serial).with_keys(world.keys.values().cloned());
        let epoch = "e".to_owned();
        Ok(Saved { epoch, state })
    }

    fn save_serial(&mut self, next: u64) -> Result<(), Fault> {
        self.write()?;
        self.0.borrow_mut().serial = next;
        Ok(())
    }

    fn save_key(&mut self, key: &KeyState, now: Timestamp, keys_max: usize) -> Result<(), Fault> {
        self.write()?;
        let keys = &mut self.0.borrow_mut().keys;
        keys.retain(|_, known| known.expires() > now);
        keys.insert(key.key().to_owned(), key.clone());
        assert!(keys.len() <= keys_max);
        Ok(())
    }

    fn attachments(&mut self) -> Result<Vec<Vec<u8>>, Fault> {
        Ok(self.0.borrow().sockets.values().cloned().collect())
    }

    fn seat(&mut self, slots: &[Option<usize>]) {
        let world = &mut *self.0.borrow_mut();
        let standing = std::mem::take(&mut world.sockets).into_values();
        for (slot, attachment) in slots.iter().zip(standing) {
            match slot {
                Some(slot) => {
                    world.sockets.insert(*slot, attachment);
                }
                None => world.seen.push("a seat was refused".to_owned()),
            }
        }
    }

    fn open(&mut self, slot: usize, attachment: &[u8]) -> Result<(), Fault> {
        // Storage that was written for it is given back.
        self.write()
            .inspect_err(|_| self.0.borrow_mut().serial -= 1)?;
        let taken = self.0.borrow_mut().sockets.insert(slot, attachment.into());
        assert_eq!(taken, None, "a slot is given twice");
        Ok(())
    }

    fn save(&mut self, attachments: &Attachments) -> Result<(), Fault> {
        self.write()?;
        let sockets = &mut self.0.borrow_mut().sockets;
        let mut rest = &attachments.bytes[..];
        for (&slot, &length) in attachments.slots.iter().zip(&attachments.lengths) {
            let length = if length == Attachments::NONE {
                0
            } else {
                length as usize
            };
            let (bytes, behind) = rest.split_at(length);
            sockets.insert(slot as usize, bytes.to_vec()).expect("open");
            rest = behind;
        }
        assert!(rest.is_empty());
        Ok(())
    }

    fn signs_of_life(&self) -> Vec<(usize, Timestamp)> {
        Vec::new()
    }

    fn wake_at(&mut self, at: Timestamp) {
        self.0.borrow_mut().alarm = Some(at);
    }

    fn send(&mut self, to: &[ConnId], text: &str) {
        let world = &mut *self.0.borrow_mut();
        for conn in to {
            let slot = conn.slot();
            assert!(world.sockets.contains_key(&slot), "sent to nobody");
            world.seen.push(format!("{slot} < {text}"));
        }
    }

    fn close(&mut self, slot: usize, code: CloseCode, reason: &str) {
        let world = &mut *self.0.borrow_mut();
        assert!(world.sockets.remove(&slot).is_some(), "closed twice");
        world.seen.push(format!("{slot} closed {code} {reason}"));
    }
}

/// An input, as the shim gives it.
#[derive(Debug, Clone, Copy)]
enum Op {
    Connect,
    Text(usize, &'static str),
    Gone(usize),
    /// Method, path with query, idempotency key, body.
    Call(&'static str, &'static str, &'static str, &'static str),
    Wait(u64),
}
use Op::{Call, Connect, Gone, Text, Wait};

struct Fields(&'static str);

impl Headers for Fields {
    fn values(&self, name: &'static str) -> impl Iterator<Item = std::borrow::Cow<'_, str>> {
        let given = name == "idempotency-key" && !self.0.is_empty();
        given.then_some(self.0.into()).into_iter()
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
    };
    let read = ApiRequest::read(&request, &Access::default(), &Limits::default());
    match read.expect("a call") {
        ApiRequest::Call(call) => call,
        ApiRequest::Send(head) => head.with_body(body.as_bytes()).expect("a body"),
    }
}

/// A namespace and its world.
struct Bench {
    fake: Fake,
    namespace: Namespace<Fake>,
    limits: Limits,
}

impl Bench {
    fn new(limits: Limits) -> Self {
        let fake = Fake::default();
        let namespace = Namespace::new(fake.clone(), limits.clone());
        Self {
            fake,
            namespace,
            limits,
        }
    }

    fn evict(&mut self) {
        self.namespace = Namespace::new(self.fake.clone(), self.limits.clone());
    }

    /// What is seen of an input; an answer of the API, or its fault, is at the end.
    fn run(&mut self, op: Op) -> Vec<String> {
        let end = match op {
            Connect => {
                let opened = self.namespace.connect(Handshake::new().with_welcome(true));
                opened.map(|opened| opened.err().map(|refused| refused.to_string()))
            }
            Text(slot, text) => {
                if self.fake.0.borrow().sockets.contains_key(&slot) {
                    self.namespace.receive(slot, Frame::Text(text));
                }
                Ok(None)
            }
            Gone(slot) => {
                if self.fake.0.borrow_mut().sockets.remove(&slot).is_some() {
                    let gone = self.namespace.disconnect(slot, DisconnectReason::Lost);
                    gone.map(|()| None)
                } else {
                    Ok(None)
                }
            }
            Call(method, target, key, body) => {
                let answer = self.namespace.call(api(method, target, key, body));
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
        };
        let mut seen = std::mem::take(&mut self.fake.0.borrow_mut().seen);
        match end {
            Ok(end) => seen.extend(end),
            Err(fault) => seen.push(fault.to_string()),
        }
        seen
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
    for limits in [Limits::default(), narrow()] {
        let (mut awake, mut asleep) = (Bench::new(limits.clone()), Bench::new(limits));
        for &op in STORY {
            asleep.evict();
            assert_eq!(asleep.run(op), awake.run(op), "{op:?}");
        }
    }
}

#[test]
fn what_cannot_be_saved_has_not_happened() {
    for limits in [Limits::default(), narrow()] {
        for at in 0..STORY.len() {
            for writes in 0..3 {
                let (mut calm, mut shaken) =
                    (Bench::new(limits.clone()), Bench::new(limits.clone()));
                for &op in &STORY[..at] {
                    assert_eq!(shaken.run(op), calm.run(op));
                }
                shaken.fake.0.borrow_mut().writes_left = Some(writes);
                let told = shaken.run(STORY[at]);
                shaken.fake.0.borrow_mut().writes_left = None;
                let failed = told != calm.run(STORY[at]);
                if failed {
                    let [told] = &told[..] else {
                        panic!("{:?}: {told:?}", STORY[at])
                    };
                    assert!(
                        told.contains("\"unavailable\"") || told.starts_with("a write failed"),
                        "{told}"
                    );
                    // The same again.
                    calm = Bench::new(limits.clone());
                    STORY[..at].iter().for_each(|&op| drop(calm.run(op)));
                    assert_eq!(shaken.run(STORY[at]), calm.run(STORY[at]), "{at} {writes}");
                }
                for &op in &STORY[at + 1..] {
                    assert_eq!(shaken.run(op), calm.run(op), "{at} {writes} {op:?}");
                }
            }
        }
    }
}

#[test]
fn a_namespace_that_cannot_wake_closes_who_speaks_to_it_and_wakes_later() {
    let mut bench = Bench::new(Limits::default());
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
    let mut bench = Bench::new(limits);
    bench.run(Connect);
    let alarm = |bench: &Bench| bench.fake.0.borrow_mut().alarm.take();
    assert_eq!(alarm(&bench), Some(Timestamp::from_millis(20_000)));
    bench.run(Wait(1000));
    bench.run(Connect);
    assert_eq!(alarm(&bench), None, "the one that is set comes first");
    bench.run(Wait(19_000));
    bench.namespace.timeout().expect("saved");
    assert_eq!(alarm(&bench), Some(Timestamp::from_millis(21_000)));
    // Asleep between the ping and the end.
    bench.evict();
    bench.run(Wait(10_000));
    bench.namespace.timeout().expect("saved");
    let seen = &bench.fake.0.borrow().seen;
    assert_eq!(seen[1], "0 closed 4408 no heartbeat");
    assert_eq!(seen.len(), 2);
}
