//! Random stories with every verb of an application, performed by two drivers: no client can tell
//! them apart.

use std::collections::BTreeSet;

use proptest::{
    prop_assert_eq,
    strategy::BoxedStrategy,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};
use roomcast_tests::{Actor, Cast, Core, Driver, Known, Op, Settings};

use crate::{applications::rows::rows, stories::config_over_sockets};

/// Everything that a client can ask of the application `rows`.
const MESSAGES: [&str; 29] = [
    r#"{"event":"join","data":"<room>"}"#,
    r#"{"event":"leave","data":"<room>"}"#,
    r#"{"event":"join","data":"watch"}"#,
    r#"{"event":"join","room":"/chat/rust","id":1}"#,
    r#"{"event":"leave","room":"/chat/rust"}"#,
    r#"{"event":"emit","data":"a"}"#,
    r#"{"event":"broadcast","data":"b"}"#,
    r#"{"event":"others","data":"c"}"#,
    r#"{"event":"room","data":["<room>","d"]}"#,
    r#"{"event":"room_except_self","data":["<room>","e"]}"#,
    r#"{"event":"my_rooms","data":"f"}"#,
    r#"{"event":"my_rooms_except_self","data":"g"}"#,
    r#"{"event":"conn","data":["<bob>","h"]}"#,
    r#"{"event":"join_conn","data":["<bob>","<room>"]}"#,
    r#"{"event":"leave_conn","data":["<bob>","<room>"]}"#,
    r#"{"event":"disconnect","data":"<carol>"}"#,
    r#"{"event":"disconnect_and_broadcast","data":"<bob>"}"#,
    r#"{"event":"close","data":4000}"#,
    r#"{"event":"rooms","data":""}"#,
    r#"{"event":"members","data":"<room>"}"#,
    r#"{"event":"rooms_of","id":2,"data":"<alice>"}"#,
    r#"{"event":"connections"}"#,
    r#"{"event":"counts"}"#,
    r#"{"event":"several","id":3}"#,
    r#"{"event":"later","id":4,"data":"i"}"#,
    r#"{"event":"fail"}"#,
    r#"{"event":"remember","data":"j"}"#,
    r#"{"event":"recall","id":5}"#,
    r#"{"event":"said","room":"<room>","data":1}"#,
];

pub(crate) fn stories() -> BoxedStrategy<Vec<Op>> {
    Cast::new(["alice", "bob", "carol"], ["den!", "hall"]).stories(MESSAGES, 1..=60)
}

/// The same stories each time.
pub(crate) fn for_each_story(cases: u32, test: impl Fn(Vec<Op>) -> Result<(), TestCaseError>) {
    let config = Config {
        cases,
        ..config_over_sockets(1)
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let result = TestRunner::new_with_rng(config, rng).run(&stories(), test);
    assert!(result.is_ok(), "{result:#?}");
}

/// A driver, its actors, and the values that placeholders stand for in it.
struct Side<D> {
    driver: D,
    known: Known,
    actors: BTreeSet<Actor>,
}

impl<D: Driver> Side<D> {
    fn new(driver: D) -> Self {
        Self {
            driver,
            known: Known::default(),
            actors: BTreeSet::new(),
        }
    }

    /// Performs an op; returns the events of all actors, with names in place of connection ids.
    fn perform(&mut self, op: &Op) -> Result<Vec<String>, TestCaseError> {
        let addressed = self.known.address(op);
        self.driver.perform(&addressed)?;
        if let Op::Connect { actor, .. } = op
            && let Some(id) = self.driver.conn(actor)
        {
            self.known.connected(actor, op.namespace(), id);
            self.actors.insert(actor.clone());
        }
        let mut heard = Vec::new();
        for actor in &self.actors {
            for event in self.driver.take(actor) {
                let mut line = format!("{actor} {event}");
                for other in &self.actors {
                    if let Some(id) = self.driver.conn(other) {
                        line = line.replace(&format!("\"{id}\""), &format!("\"<{other}>\""));
                        line = line.replace(&format!("the id {id}\""), "the id\"");
                    }
                }
                heard.push(line);
            }
        }
        Ok(heard)
    }
}

/// Compares a driver of the application `rows`, new for each story, with the core in this process.
pub(crate) fn like_the_core<D: Driver>(cases: u32, driver: impl Fn() -> D) {
    for_each_story(cases, |story| {
        let limits = Settings::default().limits();
        let mut core = Side::new(Core::with_gateways(&limits, |_| rows()));
        let mut other = Side::new(driver());
        for op in &story {
            prop_assert_eq!(core.perform(op)?, other.perform(op)?, "by {}", op);
        }
        Ok(())
    });
}
