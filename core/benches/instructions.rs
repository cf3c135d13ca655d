//! Fixed work of the hub, whose instructions `tests/instructions` counts.
//!
//! ```text
//! cargo bench -p roomcast-core --bench instructions -- SCENARIO COUNT
//! ```
//!
//! Prepares a hub, then does `COUNT` units of a scenario's work. Nothing here is measured or timed:
//! the script runs a scenario under callgrind with two counts, and the difference divided by the
//! difference of the counts is one unit, without start-up and preparation. Preparation must
//! therefore not depend on the count. Without a scenario (`cargo bench`, `cargo test --benches`)
//! each does some units, to see that they work; without any argument it names the scenarios.

#![allow(clippy::print_stdout, reason = "a benchmark says what it did")]

use std::{hint::black_box, process::ExitCode};

use roomcast_core::{
    Audience, Command, Config, ConnId, DisconnectReason, Frame, Handshake, Hub, Identity, Message,
    Outbox, Payload, Timestamp, policy::GrantRules,
};

const ROOM: &str = "lobby";
/// 128 bytes, a chat line with its members; the same as in the benchmark `broadcast`.
const CHAT: &str = r#"{"text":"Is the harbour ferry still running? The board says 9:40, and nobody is in sight.","lang":"en","at":1795234567890,"n":7}"#;
/// Repeated in `decode_4k`: numbers and short strings, where a chat line is one long string.
const PIECE: &str = r#"{"id":"p17","x":104.25,"y":-3.5,"hp":80,"tags":["red","lead"]}"#;
/// The number of pieces that make 4 KiB.
const PIECES: usize = 65;
/// Connections outside the room; no scenario may be asked for more units, as `join` uses one for
/// each.
const GUESTS: usize = 1_000;
const NO_POLICIES: &str = r#"{"rooms":[]}"#;
/// Rooms with a history that nothing leaves for its age while this runs.
const KEPT: &str = r#"{"rooms":[{"match":"*","history":{"age_s":2592000}}]}"#;
/// Messages after which a history of the default policy drops one with each.
const FULL: usize = 301;

/// Rights as a backend gives them: in rooms of the user, of a chat and of a company. The second
/// rule is for the room.
const GRANTS: &str = r#"[
    {"rooms":"user:{user}:*","can":["join"]},
    {"rooms":"lob*","can":["join","publish"]},
    {"rooms":"org:acme:*","can":["join","publish","history"]},
    {"rooms":"status","can":["join","presence"]}
]"#;

type Scenario = (&'static str, fn(usize));

const SCENARIOS: &[Scenario] = &[
    ("decode", |count| {
        let stage = Stage::new(10);
        let said = said(CHAT);
        stage.repeat(count, |stage| {
            black_box(stage.receive(&said));
        });
    }),
    ("decode_4k", |count| {
        let stage = Stage::new(10);
        let said = said(&format!("[{}]", [PIECE; PIECES].join(",")));
        stage.repeat(count, |stage| {
            black_box(stage.receive(&said));
        });
    }),
    ("publish", |count| Stage::new(10).publish(count)),
    ("publish_to_1000", |count| Stage::new(1_000).publish(count)),
    ("publish_by_user", |count| {
        Stage::of_users(10).publish(count);
    }),
    ("publish_granted", |count| Stage::granted(10).publish(count)),
    ("send", |count| {
        let audience = Audience::room(ROOM);
        Stage::new(10).repeat(count, |stage| {
            let data = Payload::parse(black_box(CHAT)).expect("JSON");
            let (now, out) = (stage.now, &mut stage.out);
            let sent = stage.hub.send(now, &audience, "said", data, out);
            black_box(sent).expect("sent");
        });
    }),
    ("publish_kept", |count| {
        let stage = Stage::with_policies(10, KEPT);
        stage.publish(FULL);
        stage.publish(count);
    }),
    ("recover_100", |count| {
        let stage = Stage::with_policies(10, KEPT);
        stage.publish(FULL);
        let again = format!(
            r#"{{"event":"$join","room":"{ROOM}","data":{{"since":{{"epoch":"bench.1","offset":{}}}}}}}"#,
            FULL - 100
        );
        stage.repeat(count, |stage| {
            let (frame, guest) = (Frame::Text(black_box(&again)), stage.guests[0]);
            let received = stage.hub.receive(stage.now, guest, frame, &mut stage.out);
            assert!(matches!(received, Ok(None)), "answered by the hub");
            let sends = stage.out.iter();
            let sends = sends.filter(|command| matches!(command, Command::Send { .. }));
            assert_eq!(sends.count(), 101, "the answer and what was missed");
        });
    }),
    ("join", |count| Stage::new(1_050).join(count)),
    ("client_join", |count| {
        Stage::new(1_050).client_join(count);
    }),
    ("client_join_granted", |count| {
        Stage::granted(1_050).client_join(count);
    }),
    ("leave", |count| {
        let stage = Stage::new(1_050);
        stage.join(GUESTS);
        stage.repeat(count, |stage| {
            // The youngest, whose leaving moves nobody.
            let conn = stage.guests.pop().expect("a guest is left");
            let (now, out) = (stage.now, &mut stage.out);
            let left = stage.hub.leave(now, conn, ROOM, out);
            assert!(black_box(left).expect("alive"), "was a member");
        });
    }),
    ("connect_disconnect", |count| {
        Stage::new(10).repeat(count, |stage| {
            let (now, out) = (stage.now, &mut stage.out);
            let handshake = Handshake::new().with_user("ann").with_welcome(true);
            let conn = stage.hub.connect(now, handshake, out);
            let conn = black_box(conn).expect("the hub is not full");
            let reason = DisconnectReason::Client(None);
            let forgotten = stage.hub.disconnect(now, conn, reason, out);
            black_box(forgotten).expect("alive");
        });
    }),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() {
        for (name, _) in SCENARIOS {
            println!("{name}");
        }
    } else if arguments.iter().all(|argument| argument.starts_with('-')) {
        // Cargo and test runners pass flags. One that asks which tests are in here gets none.
        if !arguments.contains(&"--list".into()) {
            SCENARIOS.iter().for_each(|(_, run)| run(10));
        }
    } else if let [name, count] = &arguments[..]
        && let Some((_, run)) = SCENARIOS.iter().find(|(known, _)| known == name)
        && let Ok(count) = count.parse()
        && count <= GUESTS
    {
        run(count);
    } else {
        println!("two arguments: a scenario and how many units, at most {GUESTS}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// A publish of this data.
fn said(data: &str) -> String {
    format!(r#"{{"event":"said","room":"{ROOM}","data":{data}}}"#)
}

/// A hub with default limits and one room, of which a member in the middle speaks.
struct Stage {
    hub: Hub,
    out: Outbox,
    now: Timestamp,
    speaker: ConnId,
    /// Connections that are younger than every member.
    guests: Vec<ConnId>,
}

impl Stage {
    /// Leaked: tearing it down would cost more after more units, and be counted as theirs.
    fn new(members: usize) -> &'static mut Self {
        Self::with_policies(members, NO_POLICIES)
    }

    fn with_policies(members: usize, policies: &str) -> &'static mut Self {
        Self::of(members, policies, Handshake::new)
    }

    /// A stage of connections with a user, who may do everything.
    fn of_users(members: usize) -> &'static mut Self {
        Self::of(members, NO_POLICIES, || Handshake::new().with_user("ann"))
    }

    /// The same with rights that a token gives.
    fn granted(members: usize) -> &'static mut Self {
        Self::of(members, NO_POLICIES, || {
            let mut identity = Identity::new();
            identity.user = Some("ann".into());
            identity.grants = Some(
                GrantRules::from_json(GRANTS)
                    .expect("rules")
                    .for_user(Some("ann")),
            );
            identity.deadline = Some(Timestamp::from_millis(86_400_000));
            Handshake::new().with_identity(identity)
        })
    }

    fn of(members: usize, policies: &str, handshake: fn() -> Handshake) -> &'static mut Self {
        let policies = serde_json::from_str(policies).expect("policies");
        let mut hub = Hub::new(Config::new("bench").with_policies(policies));
        let mut out = Outbox::new();
        let now = Timestamp::ZERO;
        let mut connect = |joins: bool| {
            let conn = hub.connect(now, handshake(), &mut out);
            let conn = conn.expect("the hub is not full");
            if joins {
                hub.join(now, conn, ROOM, &mut out).expect("joined");
            }
            out.clear();
            conn
        };
        let joined: Vec<_> = (0..members).map(|_| connect(true)).collect();
        let guests = (0..GUESTS).map(|_| connect(false)).collect();
        Box::leak(Box::new(Self {
            hub,
            out,
            now,
            speaker: joined[members / 2],
            guests,
        }))
    }

    /// Does a unit of work again and again, in a turn of its own each time. A second passes before
    /// each, so that no rate limit is met while all of them are checked.
    fn repeat(&mut self, count: usize, mut unit: impl FnMut(&mut Self)) {
        for _ in 0..count {
            self.now = Timestamp::from_millis(self.now.as_millis() + 1_000);
            unit(self);
            for command in &self.out {
                black_box(command);
            }
            self.out.clear();
        }
    }

    /// Receives a text message as a host does before it asks the application.
    fn receive<'f>(&mut self, text: &'f str) -> Message<'f> {
        let frame = Frame::Text(black_box(text));
        let received = self
            .hub
            .receive(self.now, self.speaker, frame, &mut self.out);
        received.expect("alive").expect("a publish")
    }

    fn publish(&mut self, count: usize) {
        let said = said(CHAT);
        self.repeat(count, |stage| {
            let message = stage.receive(&said);
            let delivery = stage.hub.publish(stage.now, &message, &mut stage.out);
            black_box(delivery).expect("alive");
        });
    }

    /// Guests join, the oldest first: each goes to the end of the room.
    ///
    /// 1,050 members and all guests lie between two powers of two, so no join pays for a growth of
    /// the room.
    fn join(&mut self, count: usize) {
        let mut next = 0;
        self.repeat(count, |stage| {
            let conn = stage.guests[next];
            next += 1;
            let (now, out) = (stage.now, &mut stage.out);
            let joined = stage.hub.join(now, conn, ROOM, out);
            black_box(joined).expect("joined");
        });
    }

    /// Guests ask to join, the oldest first.
    fn client_join(&mut self, count: usize) {
        let join = format!(r#"{{"event":"$join","room":"{ROOM}"}}"#);
        let mut next = 0;
        self.repeat(count, |stage| {
            let conn = stage.guests[next];
            next += 1;
            let frame = Frame::Text(black_box(&join));
            let received = stage.hub.receive(stage.now, conn, frame, &mut stage.out);
            assert!(matches!(received, Ok(None)), "answered by the hub");
        });
        let members = self.hub.members(ROOM).len();
        assert_eq!(members, 1_050 + count, "all joined");
    }
}
