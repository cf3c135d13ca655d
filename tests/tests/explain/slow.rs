//! Explanations are true for slow readers, too: each claim is what came out of the queue.

use std::{borrow::Cow, collections::BTreeSet};

use proptest::prelude::*;
use roomcast_core::{
    App, Applied, Audience, Command, Config, ConnId, Explained, Explanation, Frame, Handshake,
    Input, Outbox, Policies, Timestamp,
    explain::Reason,
    queue::{Pushed, QueueLimits, SendQueue, Tag, gap_notice},
};
use serde_json::{Value, value::RawValue};

use crate::stories::config;

const POLICIES: &str = r#"{"rooms":[
    {"match":"log","history":{"messages":1000},"overflow":"drop-oldest"},
    {"match":"map","history":{"messages":1000},"overflow":"latest"}
]}"#;
const ROOMS: [&str; 2] = ["log", "map"];
const LIMITS: QueueLimits = QueueLimits {
    bytes_max: 4096,
    frames_max: 6,
};

/// A step of a story.
#[derive(Debug, Clone)]
enum Step {
    /// A message to a room, with one of some events; or not to the reader.
    Send {
        room: usize,
        event: usize,
        to_reader: bool,
    },
    /// The reader reads so many frames.
    Read(usize),
    /// The reader asks for what is behind an offset.
    Page { room: usize, after: u64, limit: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let send = (0..2_usize, 0..3_usize, prop::bool::weighted(0.9));
    let send = send.prop_map(|(room, event, to_reader)| Step::Send {
        room,
        event,
        to_reader,
    });
    let read = (1..8_usize).prop_map(Step::Read);
    let page = (0..2_usize, 0..40_u64, 1..4_u64);
    let page = page.prop_map(|(room, after, limit)| Step::Page { room, after, limit });
    prop::collection::vec(prop_oneof![12 => send, 2 => read, 1 => page], 1..120)
}

/// A hub, and one reader with its queue, as a host has it.
struct Host {
    app: App<()>,
    out: Outbox,
    reader: ConnId,
    queue: SendQueue<String>,
    /// True when more answers waited than are let in: a host then closes the connection.
    over: bool,
    /// Messages that were read, by room and offset.
    read: BTreeSet<(String, u64)>,
}

impl Host {
    fn new() -> Self {
        let policies: Policies = serde_json::from_str(POLICIES).expect("policies");
        let mut app = App::new(Config::new("e").with_policies(policies), ());
        let mut out = Outbox::new();
        let connect = Input::Connect(Handshake::new());
        let connected = app.apply(Timestamp::ZERO, &connect, &mut out);
        let Applied::Connected(Ok(reader)) = connected else {
            panic!("{connected:?}");
        };
        for room in ROOMS {
            let join = Input::Join {
                conn: reader,
                room: room.into(),
                meta: None,
            };
            app.apply(Timestamp::ZERO, &join, &mut out);
        }
        out.clear();
        Self {
            app,
            out,
            reader,
            queue: SendQueue::new(LIMITS),
            over: false,
            read: BTreeSet::new(),
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Send {
                room,
                event,
                to_reader,
            } => {
                let mut audience = Audience::room(ROOMS[room]);
                if !to_reader {
                    audience = audience.except_conn(self.reader);
                }
                self.apply(&Input::Send {
                    key: None,
                    audience: Cow::Owned(audience),
                    event: ["a", "b", "c"][event].into(),
                    path: None,
                    data: Cow::Owned(RawValue::from_string("1".into()).expect("JSON")),
                });
            }
            Step::Read(frames) => self.read(frames),
            Step::Page { room, after, limit } => {
                let room = ROOMS[room];
                let data = format!(r#"{{"after":{after},"limit":{limit}}}"#);
                let text =
                    format!(r#"{{"event":"$history","id":1,"room":"{room}","data":{data}}}"#);
                self.apply(&Input::message(self.reader, Frame::Text(&text)));
            }
        }
    }

    fn apply(&mut self, input: &Input<'_>) {
        self.app.apply(Timestamp::ZERO, input, &mut self.out);
        self.queue_all();
    }

    /// Queues what the hub commands.
    fn queue_all(&mut self) {
        for command in &self.out {
            if let Command::Send { frame, class, .. } = command {
                let text = String::from_utf8(frame.as_bytes().to_vec()).expect("UTF-8");
                if !self.queue.push(text, 1, Tag::from(class)) {
                    self.over |=
                        self.queue.enforce_limits(|_, _| 1, gap_notice) == Pushed::Overflow;
                }
            }
        }
        self.out.clear();
    }

    fn read(&mut self, frames: usize) {
        let texts: Vec<_> = self
            .queue
            .chunks()
            .take(frames)
            .map(<[u8]>::to_vec)
            .collect();
        self.queue.advance(texts.iter().map(Vec::len).sum());
        for text in texts {
            let frame: Value = serde_json::from_slice(&text).expect("JSON");
            let room = frame["room"].as_str().expect("a room").to_owned();
            let page = frame["data"]["messages"].as_array();
            for message in page.into_iter().flatten().chain([&frame]) {
                if let Some(offset) = message["offset"].as_u64() {
                    self.read.insert((room.clone(), offset));
                }
            }
        }
    }

    fn explain(&self, room: &str, offset: u64) -> Explanation {
        let past = Explained::past(room, offset);
        let mut explanation = self.app.hub().explain(&past, self.reader);
        if let Some(message) = explanation.at_queue(&past) {
            explanation.resolve(self.queue.fate(&message));
        }
        explanation
    }
}

/// True when a story had a message that was dropped, and one that was read in a page alone.
fn check(story: &[Step]) -> Result<(bool, bool), TestCaseError> {
    let mut host = Host::new();
    for step in story {
        host.take(step);
        if host.over {
            return Ok((false, false));
        }
    }
    host.read(usize::MAX);
    let (mut dropped, mut paged) = (false, false);
    for room in ROOMS {
        for offset in 1..=host.app.hub().position(room).offset {
            let Explanation { reason, .. } = host.explain(room, offset);
            let was_read = host.read.contains(&(room.to_owned(), offset));
            prop_assert_eq!(
                reason.received(),
                Some(was_read),
                "{} {}: {:?}",
                room,
                offset,
                reason
            );
            dropped |= matches!(reason, Reason::Dropped { frames_max: 6, .. });
            paged |= matches!(reason, Reason::Paged);
        }
    }
    Ok((dropped, paged))
}

proptest! {
    #![proptest_config(config(512))]

    #[test]
    fn dropped_messages_are_explained_as_they_were_read(story in steps()) {
        check(&story)?;
    }
}

#[test]
fn stories_drop_messages_and_read_pages() {
    let mut story = vec![
        Step::Send {
            room: 0,
            event: 0,
            to_reader: true
        };
        20
    ];
    story.push(Step::Page {
        room: 0,
        after: 3,
        limit: 2,
    });
    assert_eq!(check(&story).expect("true"), (true, true));
}
