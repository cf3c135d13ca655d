//! The chat example: its session matches the one that its page prints, and no message reaches an
//! actor for whom it is not meant.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{
    prop_assert, prop_assert_eq,
    strategy::BoxedStrategy,
    test_runner::{RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};
use roomcast_core::{
    Context, Failure, Gateway, Message, Outbox, Outcome, Rejection,
    gateway::{Decision, RoomAction},
    journal::{Entry, Replay},
};
use roomcast_tests::{Actor, Cast, Core, Driver, Event, Op, Settings, Sleep, World};

use crate::{applications::chat, stories::config};

/// Runs the session of nest-rs clients, which `tests/traces/chat` tells to every host.
#[test]
fn the_session() {
    for sleep in [Sleep::Never, Sleep::Saved] {
        let mut world = World::new(chat::chat).with_sleep(sleep);
        world.tell("ann connects");
        world.tell("ben connects");
        world.tell(r#"ann sends {"event":"history","data":null}"#);
        world.expect([r#"ann gets {"event":"history","data":[]}"#]);
        world.tell("time passes: 3600999 ms");
        world.tell(r#"ann sends {"event":"message","data":{"author":"ada","text":"hi"}}"#);
        let at = r#""at":"1970-01-01T01:00:00Z""#;
        world.expect([
            &format!(
                r#"ann gets {{"event":"message","data":{{"author":"ada","text":"hi",{at}}}}}"#
            ),
            &format!(
                r#"ben gets {{"event":"message","data":{{"author":"ada","text":"hi",{at}}}}}"#
            ),
        ]);
        world.tell(r#"ann sends {"event":"presence","data":null}"#);
        world.expect([r#"ann gets {"event":"presence","data":2}"#]);
        world.tell(r#"ben sends {"event":"history","data":null}"#);
        world.expect([&format!(
            r#"ben gets {{"event":"history","data":[{{"author":"ada","text":"hi",{at}}}]}}"#
        )]);
        world.tell(r#"ann sends {"event":"join","data":"dev"}"#);
        world.expect([]);
        world.tell(r#"ben sends {"event":"join","id":"x","data":"dev"}"#);
        world.expect([r#"ben gets {"event":"join","id":"x","data":null}"#]);
        assert_eq!(world.members("dev"), ["ann".into(), "ben".into()]);
        assert_eq!(world.members("lobby"), ["ann".into(), "ben".into()]);
        world.tell(r#"ann sends {"event":"say","data":{"author":"ada","text":"yo"}}"#);
        world.expect([r#"ben gets {"event":"said","data":{"author":"ada","text":"yo"}}"#]);
        world.tell(r#"ann sends {"event":"leave","data":"dev"}"#);
        world.expect([]);
        assert_eq!(world.members("dev"), ["ben".into()]);
        world.tell("ben disconnects");
        world.tell(r#"ann sends {"event":"presence","data":null}"#);
        world.expect([r#"ann gets {"event":"presence","data":1}"#]);
        assert_eq!(world.members("lobby"), ["ann".into()]);
        assert!(world.members("dev").is_empty());
        world.tell(r#"ann sends {"event":"join","data":""}"#);
        world.expect([
            r#"ann gets {"event":"join","error":{"code":"bad_room","message":"a room name has 1 to 200 bytes and no control characters","details":{"limit":200}}}"#,
        ]);
        assert!(world.take_errors().is_empty());
    }
}

/// The field is named, and what it held is not repeated.
#[test]
fn a_message_of_the_wrong_type_is_refused_by_its_field() {
    let mut world = World::new(chat::chat);
    world.tell("ann connects");
    world.tell("ben connects");
    for text in [
        r#"ann sends {"event":"message","data":{"author":4711}}"#,
        r#"ann sends {"event":"typing","data":{"author":4711,"text":"..."}}"#,
        r#"ann sends {"event":"say","data":{"author":4711,"text":"..."}}"#,
    ] {
        world.tell(text);
        let [(who, Event::Text(answer))] = world.heard() else {
            panic!("{:?}", world.heard());
        };
        assert_eq!(*who, "ann".into());
        assert!(answer.contains(r#""code":"bad_payload""#), "{answer}");
        assert!(answer.contains("author"), "{answer}");
        assert!(!answer.contains("4711"), "{answer}");
    }
}

/// The chat with a fault: `leave` is answered, and forgotten.
struct Forgetful<G>(G);

impl<G: Gateway> Gateway for Forgetful<G> {
    fn connect(&mut self, cx: &mut Context<'_>) -> Decision<Rejection> {
        self.0.connect(cx)
    }

    fn message(&mut self, cx: &mut Context<'_>, message: &Message<'_>) -> Outcome {
        if message.event == "leave" {
            return Outcome::Done;
        }
        self.0.message(cx, message)
    }

    fn admit(&mut self, cx: &mut Context<'_>, act: RoomAction, room: &str) -> Decision<Failure> {
        self.0.admit(cx, act, room)
    }
}

/// The chat with a fault: it does not guard its rooms against this action.
struct Open<G>(G, RoomAction);

impl<G: Gateway> Gateway for Open<G> {
    fn connect(&mut self, cx: &mut Context<'_>) -> Decision<Rejection> {
        self.0.connect(cx)
    }

    fn message(&mut self, cx: &mut Context<'_>, message: &Message<'_>) -> Outcome {
        self.0.message(cx, message)
    }

    fn admit(&mut self, cx: &mut Context<'_>, act: RoomAction, room: &str) -> Decision<Failure> {
        if act == self.1 {
            return Decision::Allow;
        }
        self.0.admit(cx, act, room)
    }
}

const ROOMS: [&str; 2] = ["lobby", "attic"];

/// Everything that a page of the chat can send, and what another client may try.
fn stories() -> BoxedStrategy<Vec<Op>> {
    let messages = [
        r#"{"event":"join","data":"<room>"}"#,
        r#"{"event":"leave","data":"<room>"}"#,
        r#"{"event":"say","data":{"author":"a","text":"hi"}}"#,
        r#"{"event":"message","data":{"author":"a","text":"t"}}"#,
        r#"{"event":"history","id":1}"#,
        r#"{"event":"presence","id":2}"#,
        r#"{"event":"typing","data":{"author":"a","text":"..."}}"#,
        r#"{"event":"say","data":7}"#,
        r#"{"event":"unheard_of"}"#,
        r#"{"event":"$join","room":"<room>"}"#,
        r#"{"event":"$leave","room":"<room>"}"#,
        r#"{"event":"$leave","room":"<room>","id":3}"#,
        r#"{"event":"shout","room":"<room>","data":"hi"}"#,
        r#"{"event":"shout","room":"<room>","echo":true,"id":4}"#,
    ];
    Cast::new(["alice", "bob", "carol"], ROOMS).stories(messages, 1..=40)
}

/// The rooms that each actor may hear, in sets.
#[derive(Default)]
struct Rules(BTreeMap<Actor, BTreeSet<&'static str>>);

impl Rules {
    /// Follows an op; returns the actors that must hear its message, each once.
    fn follow(&mut self, op: &Op) -> BTreeSet<Actor> {
        let mut hearers = BTreeSet::new();
        let Some(who) = op.client() else {
            return hearers;
        };
        if let Op::Connect { .. } = op {
            let lobby = || BTreeSet::from(["lobby"]);
            self.0.entry(who.clone()).or_insert_with(lobby);
        } else if let Op::Disconnect { .. } | Op::Vanish { .. } = op {
            self.0.remove(who);
        } else if let Op::Text { text, .. } = op
            && !text.contains('$')
            && let Some(rooms) = self.0.get_mut(who)
        {
            let room = ROOMS.into_iter().find(|room| text.contains(room));
            if let Some(room) = room.filter(|_| text.contains("join")) {
                rooms.insert(room);
            } else if let Some(room) = room.filter(|_| text.contains("leave")) {
                rooms.remove(room);
            } else if text.contains("say") && text.contains("author") {
                let rooms = rooms.clone();
                let shares = |others: &BTreeSet<_>| !others.is_disjoint(&rooms);
                let others = self
                    .0
                    .iter()
                    .filter(|(other, theirs)| *other != who && shares(theirs));
                hearers = others.map(|(other, _)| other.clone()).collect();
            }
        }
        hearers
    }

    fn members(&self, room: &str) -> BTreeSet<Actor> {
        let members = self.0.iter().filter(|(_, rooms)| rooms.contains(room));
        members.map(|(who, _)| who.clone()).collect()
    }
}

fn check<G: Gateway>(world: World<G>, story: &[Op]) -> Result<(), TestCaseError> {
    let mut world = world.with_names(ROOMS);
    let mut rules = Rules::default();
    for op in story {
        let expected = rules.follow(op);
        let heard = world.perform(op)?.iter();
        let said = heard.filter_map(|(who, event)| {
            let Event::Text(text) = event else {
                return None;
            };
            // Any frame from a room. Refusals name the room too.
            let said = text.contains(r#""event":"said""#) || text.contains(r#","room":"#);
            (said && !text.contains(r#","error":"#)).then(|| who.clone())
        });
        let mut said: Vec<_> = said.collect();
        said.sort();
        prop_assert_eq!(said, expected.into_iter().collect::<Vec<_>>());
        for room in ROOMS {
            let members: BTreeSet<_> = world.members(room).into_iter().collect();
            prop_assert_eq!(members, rules.members(room), "in {}", room);
        }
        prop_assert!(world.take_errors().is_empty());
    }
    Ok(())
}

fn run(test: impl Fn(Vec<Op>) -> Result<(), TestCaseError>) -> Result<(), TestError<Vec<Op>>> {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    TestRunner::new_with_rng(config(0), rng).run(&stories(), test)
}

#[test]
fn what_is_said_in_a_room_reaches_its_members_and_nobody_else() {
    let result = run(|story| check(World::new(chat::chat), &story));
    assert!(result.is_ok(), "{result:#?}");
}

#[test]
fn a_chat_that_sleeps_cannot_be_told_from_one_that_does_not() {
    let result = run(|story| {
        let mut awake = World::new(chat::chat);
        let mut sleeper = World::new(chat::chat).with_sleep(Sleep::Persisted);
        for op in &story {
            prop_assert_eq!(awake.perform(op)?, sleeper.perform(op)?);
        }
        Ok(())
    });
    assert!(result.is_ok(), "{result:#?}");
}

/// A journal holds the inputs alone; on replay the application does everything else again.
#[test]
fn a_journal_of_the_chat_replays() {
    let result = run(|story| {
        let limits = Settings::default().limits();
        let mut core = Core::with_gateways(&limits, |_| chat::chat());
        let mut commands = Vec::new();
        for op in &story {
            core.perform(op)?;
            commands.extend_from_slice(core.commands());
        }
        let (mut replay, mut out) = (Replay::with_gateways(|_| chat::chat()), Outbox::new());
        for line in core.journal() {
            replay.apply(&Entry::parse(line)?, &mut out)?;
        }
        let replayed: Vec<_> = out.iter().map(|command| format!("{command:?}")).collect();
        prop_assert_eq!(replayed, commands);
        Ok(())
    });
    assert!(result.is_ok(), "{result:#?}");
}

/// The shortest story that shows the fault of a gateway.
fn shortest<G: Gateway + 'static>(gateway: fn() -> G) -> Vec<String> {
    let result = run(|story| check(World::new(gateway), &story));
    let Err(TestError::Fail(_, story)) = result else {
        panic!("the fault was not found: {result:?}");
    };
    story.iter().map(Op::to_string).collect()
}

/// Checks that the planted fault is found, as the shortest story that shows it.
#[test]
fn a_forgotten_leave_is_found() {
    assert_eq!(
        shortest(|| Forgetful(chat::chat())),
        [
            "alice connects",
            r#"alice sends {"event":"leave","data":"lobby"}"#,
        ]
    );
}

/// The same for each way around the events of the chat.
#[test]
fn a_room_without_a_guard_is_found() {
    let join = shortest(|| Open(chat::chat(), RoomAction::Join));
    assert_eq!(
        join,
        [
            "alice connects",
            r#"alice sends {"event":"$join","room":"lobby"}"#,
        ]
    );
    let leave = shortest(|| Open(chat::chat(), RoomAction::Leave));
    assert_eq!(
        leave,
        [
            "alice connects",
            r#"alice sends {"event":"$leave","room":"lobby"}"#,
        ]
    );
    let publish = shortest(|| Open(chat::chat(), RoomAction::Publish));
    let shout = publish.last().expect("a story");
    assert!(shout.contains("shout"), "{publish:?}");
}

/// A full history fits into one frame, and into one row of storage, whatever text fills it.
#[test]
fn a_full_history_stays_small() {
    let mut world = World::new(chat::chat);
    world.tell("ann connects");
    // Six bytes of JSON each.
    let (author, text) = ("\\u0001".repeat(40), "\\u0001".repeat(500));
    let message = format!(r#"{{"author":"{author}","text":"{text}"}}"#);
    for _ in 0..101 {
        world.tell(&format!(
            r#"ann sends {{"event":"message","data":{message}}}"#
        ));
    }
    let answer = world.tell(r#"ann sends {"event":"history"}"#);
    let [(_, Event::Text(history))] = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(history.matches("author").count(), 100);
    let full = history.len();
    assert!(full < 512 * 1024, "{full}");
    let state = world.app().expect("somebody was here").state();
    let row = serde_json::to_string(&state).expect("JSON");
    assert!(row.len() < 512 * 1024, "{}", row.len());
    // One more is one too many, and is not kept.
    for message in [
        message.replacen(r"\u0001", "aa", 1),
        format!(r#"{{"author":"","text":"{text}a"}}"#),
    ] {
        world.tell(&format!(
            r#"ann sends {{"event":"message","data":{message}}}"#
        ));
        let [(_, Event::Text(answer))] = world.heard() else {
            panic!("{:?}", world.heard());
        };
        assert!(answer.contains("bad_payload"), "{answer}");
    }
    world.tell(r#"ann sends {"event":"history"}"#);
    let [(_, Event::Text(again))] = world.heard() else {
        panic!("{:?}", world.heard());
    };
    assert_eq!(again.len(), full);
}
