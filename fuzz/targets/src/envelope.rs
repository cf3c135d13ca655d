//! Messages of clients, to a hub alone and to one with an application.

use std::borrow::Cow;

use roomcast_core::Gateway;
use roomcast_tests::{Actor, Core, Driver, Event, Op, Settings};
use serde::Deserialize;
use serde_json::value::RawValue;

#[path = "../../../core/examples/gateways/rows.rs"]
mod rows;

/// The number of messages that are sent: more of them add nothing.
const MESSAGES_MAX: usize = 40;
/// The bytes that one message may cause for one client. Replays and pages are the longest: a few
/// messages of at most 4 KiB each.
const BYTES_MAX: usize = 64 * 1024;
/// Commands that one message may lead to: an answer, a message, a notice, and a replay.
const COMMANDS_MAX: usize = 3 + 4;

const LIMITS: &str = "message_bytes=4096 rooms_per_connection=5 presence_list=3 page_entries=4 \
    recovery_messages=4 meta_bytes=64";
const ROOMS: &str = "log history.messages=4\n\
    den history.messages=2 presence=members echo=true\n\
    hall presence=counts publish=false";
/// Ann sends from two connections, and a guest watches. The application takes the user from the
/// query.
const BEFORE: &str = r#"ann connects as ann with ?user=ann with welcome
ben connects as ann with ?user=ann
eve connects
ann sends {"event":"$join","room":"log"}
ben sends {"event":"$join","room":"log"}
eve sends {"event":"$join","room":"log"}
ann sends {"event":"$join","room":"den","data":{"meta":{"name":"Ann"}}}
eve sends {"event":"$join","room":"den"}
ann sends {"event":"$join","room":"lobby"}
eve sends {"event":"$join","room":"lobby"}
eve sends {"event":"$join","room":"hall"}
ann sends {"event":"said","room":"log","data":1}
eve sends {"event":"said","room":"den","data":{"text":"two"}}"#;

/// Sends each line as a message from ann's first connection, or from her second after `> `. A line
/// after `! `, or one that is not UTF-8, is sent as binary. A closed connection reconnects.
///
/// # Panics
///
/// If a message exceeds its bounds, has more than one answer, or causes a frame that is not JSON;
/// if a payload changes in flight; if the hub is inconsistent.
pub fn envelope(data: &[u8]) {
    let settings: Settings = LIMITS.parse().expect("settings");
    let settings = settings.with_rooms(ROOMS).expect("policies");
    talk(settings.core(), data, Check::Hub);
    let core = Core::with_gateways(&settings.limits(), |_| rows::rows());
    talk(
        core.with_policies(settings.policies()),
        data,
        Check::Application,
    );
}

/// The promises that hold.
#[derive(Clone, Copy, PartialEq)]
enum Check {
    /// All promises.
    Hub,
    /// Promises that hold for any application, whatever it sends.
    Application,
}

fn talk<G: Gateway>(mut core: Core<G>, data: &[u8], check: Check) {
    for line in BEFORE.lines() {
        perform(&mut core, &line.parse().expect("an op"));
    }
    let all = ["ann", "ben", "eve"].map(Actor::new);
    for actor in &all {
        core.take(actor);
    }
    for line in data.split(|byte| *byte == b'\n').take(MESSAGES_MAX) {
        let (sender, op) = message(line);
        let hub = core.hub("default").expect("a namespace");
        if hub.counts().connections < all.len() {
            for line in BEFORE.lines().filter(|line| line.contains(" connects")) {
                perform(&mut core, &line.parse().expect("an op"));
            }
            core.take(&sender);
        }
        perform(&mut core, &op);
        if check == Check::Hub {
            let commands = core.commands();
            assert!(commands.len() <= COMMANDS_MAX, "{op}: {commands:?}");
        }
        for actor in &all {
            let events = core.take(actor);
            look(&op, *actor == sender, &events, check);
        }
    }
}

fn perform<G: Gateway>(core: &mut Core<G>, op: &Op) {
    let answer = core.perform(op);
    answer.unwrap_or_else(|error| panic!("{op}: {error}"));
    core.assert_consistent();
}

/// The sender of a line, and what it sends.
fn message(line: &[u8]) -> (Actor, Op) {
    let (sender, message) = match line.strip_prefix(b"> ") {
        Some(message) => ("ben", message),
        None => ("ann", line),
    };
    let actor = Actor::new(sender);
    let binary = message.strip_prefix(b"! ");
    let op = match (binary, str::from_utf8(message)) {
        (None, Ok(text)) => Op::Text {
            actor: actor.clone(),
            text: text.into(),
            times: 1,
        },
        (bytes, _) => Op::Binary {
            actor: actor.clone(),
            bytes: bytes.unwrap_or(message).into(),
        },
    };
    (actor, op)
}

/// A frame of the server, or of a client.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    event: Option<Cow<'a, str>>,
    #[serde(borrow)]
    room: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    from: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl Frame<'_> {
    /// Event, room and payload.
    fn content(&self) -> [Option<&str>; 3] {
        let data = self.data.map_or("null", RawValue::get);
        [self.event.as_deref(), self.room.as_deref(), Some(data)]
    }
}

/// Checks the frames of a client against the message that was sent.
fn look(op: &Op, is_sender: bool, events: &[Event], check: Check) {
    let text = op.text().unwrap_or_default();
    let sent: Option<Frame<'_>> = serde_json::from_str(&text).ok();
    let event = sent.as_ref().and_then(|sent| sent.event.as_deref());
    // A replay contains earlier messages of others.
    let is_replay = is_sender && event == Some("$join");
    let (mut bytes, mut answers) = (0, 0);
    for event in events {
        let Event::Text(text) = event else {
            continue;
        };
        bytes += text.len();
        let read = serde_json::from_str(text);
        let frame: Frame<'_> = read.unwrap_or_else(|error| panic!("{op}: {error}: {text}"));
        let is_answer = frame.id.is_some() || frame.error.is_some();
        assert!(is_sender || !is_answer, "{op}: another's answer: {text}");
        answers += usize::from(is_answer);
        if check == Check::Hub && frame.from.is_some() && !is_replay {
            let published = sent.as_ref().map(Frame::content);
            assert_eq!(Some(frame.content()), published, "{op}: {text}");
        }
    }
    assert!(bytes <= BYTES_MAX, "{op}: {bytes} bytes for one client");
    assert!(answers <= 1, "{op}: {events:?}");
}
