//! A fault that is planted in the core is found, and told as the shortest story that shows it.

use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};
use roomcast_tests::{
    Actor, Answer, Cast, Core, Driver, DriverError, Event, Lockstep, Op, Settings,
};

/// A core with a fault.
struct Planted {
    core: Core,
    fault: Fault,
}

#[derive(Clone, Copy)]
enum Fault {
    /// `$leave` is answered, but the connection stays in the room.
    LeaveIsForgotten,
    /// A publisher gets its own message although it did not ask for it.
    EchoIsAlwaysOn,
    /// A connection that reconnects is back in its rooms.
    RoomsSurviveReconnect,
}

impl Driver for Planted {
    fn supports(&self, op: &Op) -> bool {
        self.core.supports(op)
    }

    fn perform(&mut self, op: &Op) -> Result<Answer, DriverError> {
        match (self.fault, op) {
            (Fault::LeaveIsForgotten, Op::Leave { actor, room }) => {
                let hub = self.core.hub("default");
                let was = hub.is_some_and(|hub| !hub.members(room).is_empty());
                let answer = self.core.perform(op);
                if was {
                    let (actor, room) = (actor.clone(), room.clone());
                    self.core.perform(&Op::ServerJoin { actor, room })?;
                }
                answer
            }
            (Fault::EchoIsAlwaysOn, Op::Publish { .. }) => {
                let mut op = op.clone();
                if let Op::Publish { echo, .. } = &mut op {
                    *echo = true;
                }
                self.core.perform(&op)
            }
            (Fault::RoomsSurviveReconnect, Op::Connect { actor, .. }) => {
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

/// The shortest story that the property finds against the fault.
fn shortest(fault: Fault) -> Vec<String> {
    let limits = Settings::default().limits();
    // One actor and one room, so that there is one shortest story and not one for each name.
    let stories = Cast::new(["alice"], ["lobby"]).ops(1..=60);
    let config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let result = TestRunner::new_with_rng(config, rng).run(&stories.boxed(), |story| {
        let core = Core::new(&limits);
        let mut world = Lockstep::new(Planted { core, fault }, &limits);
        for op in &story {
            world.perform(op)?;
            world.perform(&Op::ListRooms { namespace: None })?;
        }
        Ok::<(), TestCaseError>(())
    });
    match result {
        Err(TestError::Fail(_, story)) => story.iter().map(Op::to_string).collect(),
        other => panic!("the fault was not found: {other:?}"),
    }
}

#[test]
fn a_forgotten_leave_is_found() {
    assert_eq!(
        shortest(Fault::LeaveIsForgotten),
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
        shortest(Fault::EchoIsAlwaysOn),
        [
            "alice connects",
            r#"alice sends {"event":"$join","room":"lobby"}"#,
            r#"alice sends {"event":"said","room":"lobby","data":1}"#,
        ]
    );
}

#[test]
fn rooms_that_survive_a_reconnect_are_found() {
    assert_eq!(
        shortest(Fault::RoomsSurviveReconnect),
        ["alice connects", "alice disconnects", "alice connects"]
    );
}
