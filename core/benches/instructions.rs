//! Fixed work of a namespace, given to [`App::apply`] as hosts do, whose instructions
//! `tests/instructions` counts.
//!
//! ```text
//! cargo bench -p roomcast-core --bench instructions -- SCENARIO COUNT
//! ```
//!
//! Prepares a namespace, then does `COUNT` units of a scenario's work. Nothing here is measured or
//! timed: the script runs a scenario under callgrind with two counts, and the difference divided by
//! the difference of the counts is one unit, without start-up and preparation. Preparation must
//! therefore not depend on the count. Without a scenario (`cargo bench`, `cargo test --benches`)
//! each does some units, to see that they work; without any argument it names the scenarios.

#![allow(clippy::print_stdout, reason = "a benchmark says what it did")]

use std::{borrow::Cow, hint::black_box, process::ExitCode};

use roomcast_core::{
    App, Applied, Audience, Command, Config, ConnId, Context, DisconnectReason, Frame, Gateway,
    Handshake, Identity, Input, Message, Outbox, Outcome, Timestamp, policy::GrantRules,
};
use serde_json::value::RawValue;

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
    ("decode", |count| decode(CHAT, count)),
    ("decode_4k", |count| {
        decode(&format!("[{}]", [PIECE; PIECES].join(",")), count);
    }),
    ("publish", |count| Stage::new(10).publish(count)),
    ("publish_to_1000", |count| Stage::new(1_000).publish(count)),
    ("publish_by_user", |count| {
        Stage::of_users(10).publish(count);
    }),
    ("publish_granted", |count| Stage::granted(10).publish(count)),
    ("send", |count| {
        let audience = Audience::room(ROOM);
        let send = Input::Send {
            key: None,
            audience: Cow::Borrowed(&audience),
            event: "said".into(),
            path: None,
            data: Cow::Borrowed(serde_json::from_str::<&RawValue>(CHAT).expect("JSON")),
        };
        Stage::new(10).repeat(count, |stage| {
            assert!(matches!(stage.apply(&send), Applied::Sent(Ok(_))), "sent");
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
            stage.receive(stage.guests[0], &again);
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
            let room = ROOM.into();
            let left = stage.apply(&Input::Leave { conn, room });
            assert_eq!(left, Applied::Left(true), "was a member");
        });
    }),
    ("connect_disconnect", |count| {
        Stage::new(10).repeat(count, |stage| {
            let handshake = Handshake::new().with_user("ann").with_welcome(true);
            let conn = stage.connect(handshake);
            let reason = DisconnectReason::Client(None);
            let ended = stage.apply(&Input::Disconnect { conn, reason });
            assert_eq!(ended, Applied::Done, "alive");
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

/// An application that takes each message and does nothing about it.
struct Silent;

impl Gateway for Silent {
    fn message(&mut self, _: &mut Context<'_>, message: &Message<'_>) -> Outcome {
        black_box(message);
        Outcome::Done
    }

    fn wants_membership(&self) -> bool {
        false
    }
}

/// Messages with this data that are read, and go no further than the application.
fn decode(data: &str, count: usize) {
    let said = said(data);
    Stage::of(10, NO_POLICIES, Silent, Handshake::new).repeat(count, |stage| {
        stage.receive(stage.speaker, &said);
    });
}

/// A namespace with default limits and one room, of which a member in the middle speaks.
struct Stage<G = ()> {
    app: App<G>,
    out: Outbox,
    now: Timestamp,
    speaker: ConnId,
    /// Connections that are younger than every member.
    guests: Vec<ConnId>,
}

impl Stage {
    fn new(members: usize) -> &'static mut Self {
        Self::with_policies(members, NO_POLICIES)
    }

    fn with_policies(members: usize, policies: &str) -> &'static mut Self {
        Self::of(members, policies, (), Handshake::new)
    }

    /// A stage of connections with a user, who may do everything.
    fn of_users(members: usize) -> &'static mut Self {
        Self::of(members, NO_POLICIES, (), || {
            Handshake::new().with_user("ann")
        })
    }

    /// The same with rights that a token gives.
    fn granted(members: usize) -> &'static mut Self {
        Self::of(members, NO_POLICIES, (), || {
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
}

impl<G: Gateway> Stage<G> {
    /// Leaked: tearing it down would cost more after more units, and be counted as theirs.
    fn of(
        members: usize,
        policies: &str,
        gateway: G,
        handshake: fn() -> Handshake,
    ) -> &'static mut Self {
        let policies = serde_json::from_str(policies).expect("policies");
        let config = Config::new("bench").with_policies(policies);
        let stage = Box::leak(Box::new(Self {
            app: App::new(config, gateway),
            out: Outbox::new(),
            now: Timestamp::ZERO,
            speaker: ConnId::from_u64(0).expect("an id"),
            guests: Vec::new(),
        }));
        let members: Vec<_> = (0..members).map(|_| stage.member(handshake())).collect();
        stage.speaker = members[members.len() / 2];
        stage.guests = (0..GUESTS).map(|_| stage.guest(handshake())).collect();
        stage
    }

    fn member(&mut self, handshake: Handshake) -> ConnId {
        let conn = self.guest(handshake);
        self.enter(conn);
        self.out.clear();
        conn
    }

    fn guest(&mut self, handshake: Handshake) -> ConnId {
        let conn = self.connect(handshake);
        self.out.clear();
        conn
    }

    fn connect(&mut self, handshake: Handshake) -> ConnId {
        #[allow(clippy::wildcard_enum_match_arm)] // the others are no answers to it
        match self.apply(&Input::Connect(handshake)) {
            Applied::Connected(Ok(conn)) => conn,
            refused => panic!("{refused:?}"),
        }
    }

    fn enter(&mut self, conn: ConnId) {
        let (room, meta) = (ROOM.into(), None);
        let joined = self.apply(&Input::Join { conn, room, meta });
        assert_eq!(joined, Applied::Joined(Ok(false)), "joined");
    }

    /// Puts an input in.
    fn apply(&mut self, input: &Input<'_>) -> Applied {
        self.app.apply(self.now, black_box(input), &mut self.out)
    }

    /// Receives a text message.
    fn receive(&mut self, conn: ConnId, text: &str) {
        let received = self.apply(&Input::message(conn, Frame::Text(text)));
        assert_eq!(received, Applied::Done, "alive");
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

    fn publish(&mut self, count: usize) {
        let said = said(CHAT);
        self.repeat(count, |stage| {
            stage.receive(stage.speaker, &said);
            assert!(!stage.out.is_empty(), "published");
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
            stage.enter(conn);
        });
    }

    /// Guests ask to join, the oldest first.
    fn client_join(&mut self, count: usize) {
        let join = format!(r#"{{"event":"$join","room":"{ROOM}"}}"#);
        let mut next = 0;
        self.repeat(count, |stage| {
            let conn = stage.guests[next];
            next += 1;
            stage.receive(conn, &join);
        });
        let members = self.app.hub().members(ROOM).len();
        assert_eq!(members, 1_050 + count, "all joined");
    }
}
