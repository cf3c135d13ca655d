//! A bug planted in the core is found, and reported as the shortest story that shows it.

use proptest::{
    prop_assert,
    strategy::BoxedStrategy,
    test_runner::{RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};
use roomcast_tests::{
    Actor, Answer, Cast, Core, Driver, DriverError, Event, Lockstep, Op, Settings, To, Trace,
};

use crate::stories::config;

/// A core with a bug.
struct Planted {
    core: Core,
    bug: Bug,
}

#[derive(Clone, Copy)]
enum Bug {
    /// `$leave` is answered, but the connection stays in the room.
    LeaveIsForgotten,
    /// A publisher gets its own message although it did not ask for it.
    EchoIsAlwaysOn,
    /// A client that comes back to an empty server is in the lobby at once.
    RoomsSurviveReconnect,
}

impl Driver for Planted {
    fn supports(&self, op: &Op) -> bool {
        self.core.supports(op)
    }

    fn perform(&mut self, op: &Op) -> Result<Answer, DriverError> {
        match (self.bug, op) {
            (Bug::LeaveIsForgotten, Op::Leave { actor, room }) => {
                let conn = self.core.conn(actor).and_then(|id| id.parse().ok());
                let members = self.core.hub("default").map(|hub| hub.members(room));
                let was = conn.is_some_and(|conn| members.is_some_and(|all| all.contains(&conn)));
                let answer = self.core.perform(op);
                if was {
                    let (actor, room) = (actor.clone(), room.clone());
                    self.core.perform(&Op::ServerJoin { actor, room })?;
                }
                answer
            }
            (Bug::EchoIsAlwaysOn, Op::Publish { .. }) => {
                let mut op = op.clone();
                if let Op::Publish { echo, .. } = &mut op {
                    *echo = true;
                }
                self.core.perform(&op)
            }
            (Bug::RoomsSurviveReconnect, Op::Connect { actor, .. }) => {
                let hub = self.core.hub("default");
                let away = hub.is_some_and(|hub| hub.counts().connections == 0);
                let known = away && self.core.conn(actor).is_some();
                let answer = self.core.perform(op);
                if known {
                    let (actor, room) = (actor.clone(), "lobby".into());
                    self.core.perform(&Op::ServerJoin { actor, room })?;
                }
                answer
            }
            _ => self.core.perform(op),
        }
    }

    fn take(&mut self, actor: &Actor) -> Vec<Event> {
        self.core.take(actor)
    }

    fn conn(&self, actor: &Actor) -> Option<String> {
        self.core.conn(actor)
    }
}

/// The shortest story that the property finds against the bug.
fn shortest(bug: Bug) -> Vec<String> {
    let limits = Settings::default().limits();
    let stories = Cast::default().ops(1..=60);
    shortest_of(&stories, |story| {
        let core = Core::new(&limits);
        let mut world = Lockstep::new(Planted { core, bug }, &limits);
        for op in story {
            world.perform(op)?;
            world.perform(&Op::ListRooms { namespace: None })?;
        }
        Ok(())
    })
}

/// The shortest story that does not pass.
pub(crate) fn shortest_of(
    stories: &BoxedStrategy<Vec<Op>>,
    check: impl Fn(&[Op]) -> Result<(), TestCaseError>,
) -> Vec<String> {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let result = TestRunner::new_with_rng(config(0), rng).run(stories, |story| check(&story));
    match result {
        Err(TestError::Fail(_, story)) => story.iter().map(Op::to_string).collect(),
        other => panic!("the bug was not found: {other:?}"),
    }
}

#[test]
fn a_forgotten_leave_is_found() {
    assert_eq!(
        shortest(Bug::LeaveIsForgotten),
        [
            "alice connects",
            r#"alice sends {"event":"$join","room":"lobby"}"#,
            r#"alice sends {"event":"$leave","room":"lobby"}"#,
        ]
    );
}

#[test]
fn an_echo_that_nobody_asked_for_is_found() {
    assert_eq!(
        shortest(Bug::EchoIsAlwaysOn),
        [
            "alice connects",
            r#"alice sends {"event":"$join","room":"lobby"}"#,
            r#"alice sends {"event":"said","room":"lobby","data":1}"#,
        ]
    );
}

#[test]
fn rooms_that_survive_a_reconnect_are_found() {
    // In between, the client disconnects in some way.
    let story = shortest(Bug::RoomsSurviveReconnect);
    assert_eq!(story.len(), 3, "{story:#?}");
    assert_eq!(
        (&*story[0], &*story[2]),
        ("alice connects", "alice connects")
    );
}

/// The example of the guide, with the exception forgotten.
#[test]
fn a_forgotten_exception_is_found() {
    let limits = Settings::default().limits();
    let announcement = Op::Send {
        namespace: None,
        key: None,
        to: To::room("lobby"),
        event: "announced".into(),
        path: None,
        data: "1".into(),
    };
    let stories = Cast::new(["ann", "ben", "cat"], ["lobby", "muted"]).ops(1..=40);
    let story = shortest_of(&stories, |story| {
        let mut world = Lockstep::new(Core::new(&limits), &limits);
        for op in story {
            world.perform(op)?;
            for (actor, _) in world.perform(&announcement)?.frames() {
                prop_assert!(!world.model().is_in(actor, "muted"));
            }
        }
        Ok(())
    });
    // Joined by itself or by the server, in either order.
    assert_eq!((story.len(), &*story[0]), (3, "ann connects"), "{story:#?}");
    for room in ["lobby", "muted"] {
        let joins = story
            .iter()
            .filter(|line| line.contains("join") && line.contains(room));
        assert_eq!(joins.count(), 1, "{story:#?}");
    }
}

/// The trace of the guide holds.
#[test]
fn the_trace_of_the_guide_holds() {
    let guide = include_str!("../property-testing.md");
    let blocks = guide
        .split("```")
        .find(|block| block.starts_with("text\n# "));
    let trace = blocks.expect("a trace").trim_start_matches("text\n");
    let trace = Trace::parse("guide", trace).unwrap_or_else(|fault| panic!("{fault}"));
    let run = trace.run(&mut Core::new(&trace.settings().limits()));
    run.unwrap_or_else(|fault| panic!("{fault}"));
}
