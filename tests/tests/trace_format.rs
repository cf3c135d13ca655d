//! A trace that does not hold fails, at the right line and with what should have happened.

use roomcast_core::Router;
use roomcast_tests::{
    Actor, Answer, Core, Driver, DriverError, Event, Op, Settings, Trace, TraceError,
};

const ALICE_JOINS: &str = r#"# A trace.
alice connects
alice sends {"event":"$join","room":"lobby"}
"#;

fn run(source: &str) -> Result<(), TraceError> {
    let trace = Trace::parse("example", source)?;
    trace.run(&mut Core::new(&trace.settings().limits()))
}

fn fault(source: &str) -> (usize, String) {
    let error = run(source).expect_err("this trace does not hold");
    (error.line, error.fault)
}

#[test]
fn a_frame_that_no_line_expects_fails_at_the_end() {
    let (line, fault) = fault(ALICE_JOINS);
    assert_eq!(line, 4);
    assert!(
        fault.starts_with(r#"unexpected: alice gets {"event":"$join""#),
        "{fault}"
    );
}

#[test]
fn a_frame_that_no_line_expects_fails_at_the_next_step_of_its_actor() {
    let (line, fault) = fault(&format!("{ALICE_JOINS}bob connects\nalice disconnects"));
    assert_eq!(line, 5);
    assert!(fault.starts_with("unexpected: alice gets"), "{fault}");
}

#[test]
fn a_frame_that_does_not_come_fails() {
    let source = format!("{ALICE_JOINS}alice gets {{}}");
    let (line, wrong) = fault(&source);
    assert_eq!(line, 4);
    assert!(wrong.contains("expected: alice gets {}"), "{wrong}");
    let (line, missing) = fault("# A trace.\nalice connects\nalice gets {}");
    assert_eq!(
        (line, &*missing),
        (3, "expected: alice gets {}\n     got: alice gets nothing")
    );
}

#[test]
fn another_answer_to_the_server_side_fails() {
    let source = "# A trace.\nserver lists rooms -> {}";
    assert_eq!(
        fault(source),
        (2, "expected: -> {}\n     got: -> {\"rooms\":[]}".into())
    );
    assert_eq!(
        fault("# A trace.\nserver joins alice to lobby"),
        (2, "refused: 404".into())
    );
}

#[test]
fn gets_nothing_and_closes_are_checked() {
    let (line, fault_) = fault(&format!("{ALICE_JOINS}alice gets nothing"));
    assert_eq!(
        (line, fault_.starts_with("unexpected: alice gets")),
        (4, true)
    );
    let source = "# A trace.\nalice connects\nalice sends binary 00\nalice is closed 1002";
    let (line, fault) = fault(source);
    assert_eq!(line, 4);
    assert!(fault.contains("got: alice is closed 1003"), "{fault}");
}

#[test]
fn binary_frames_are_compared() {
    let echo = || {
        Router::default().on_frame(|cx, (), frame| {
            cx.emit_frame(frame);
        })
    };
    let run = |expected: &str| {
        let source = format!("# Echo.\nalice connects\nalice sends binary 00ff\n{expected}");
        let trace = Trace::parse("example", source)?;
        trace.run(&mut Core::with_gateways(
            &trace.settings().limits(),
            move |_| echo(),
        ))
    };
    assert_eq!(run("alice gets binary 00ff"), Ok(()));
    for wrong in ["alice gets binary 00fe", "alice gets 00ff", ""] {
        assert!(run(wrong).is_err(), "{wrong}");
    }
    assert!(run("alice gets binary 0").is_err_and(|fault| fault.line == 4));
}

#[test]
fn the_report_shows_the_trace_and_the_place() {
    let report = run("# A trace.\nserver lists rooms -> {}")
        .expect_err("it fails")
        .to_string();
    let expected = r#"example, line 2:
   1 # A trace.
>  2 server lists rooms -> {}
     !! expected: -> {}
     !!      got: -> {"rooms":[]}
"#;
    assert_eq!(report, expected);
}

#[test]
fn what_is_no_trace_is_refused() {
    for (source, line) in [
        ("alice connects", 1),
        ("# A trace.\nalice naps", 2),
        ("# A trace.\nlimits naps=1", 2),
        ("# A trace.\nalice connects\nlimits connections=1", 3),
        ("# A trace.\nalice is closed x", 2),
        ("# A trace.\nalice is closed 1000 why", 2),
    ] {
        let error = Trace::parse("example", source).expect_err(source);
        assert_eq!(error.line, line, "{source}");
    }
}

#[test]
fn settings_are_limits_and_flags() {
    let settings: Settings = "inbound_burst=7 inbound_rate=3"
        .parse()
        .expect("known settings");
    let rate = settings.limits().inbound_messages.expect("a rate");
    assert_eq!((rate.per_second, rate.burst), (3, 7));
    let flags = settings.flags();
    assert!(flags.contains(&"--inbound-burst=7".into()), "{flags:?}");
    assert!(!flags.contains(&"--inbound-rate=off".into()), "{flags:?}");
    assert!("inbound_rate=-1".parse::<Settings>().is_err());
}

/// A server that does what is due only after it was looked at three times more.
struct Sluggish {
    core: Core,
    /// Time by which the clock has yet to be moved, in milliseconds.
    behind: u64,
    looks: u32,
    says_so: bool,
}

impl Driver for Sluggish {
    fn supports(&self, op: &Op) -> bool {
        self.core.supports(op)
    }

    fn perform(&mut self, op: &Op) -> Result<Answer, DriverError> {
        let Op::Wait { millis } = op else {
            return self.core.perform(op);
        };
        self.behind += millis;
        self.looks += 1;
        let millis = if self.looks > 3 {
            std::mem::take(&mut self.behind)
        } else {
            0
        };
        self.core.perform(&Op::Wait { millis })
    }

    fn is_late(&self) -> bool {
        self.says_so
    }

    fn take(&mut self, actor: &Actor) -> Vec<Event> {
        self.core.take(actor)
    }

    fn conn(&self, actor: &Actor) -> Option<String> {
        self.core.conn(actor)
    }
}

#[test]
fn what_a_server_does_late_is_waited_for() {
    let event = "# A ping.
limits heartbeat_ms=2000
alice connects
time passes: 2000 ms
alice gets a ping";
    let answer = r#"# The end of a room.
rooms log history.age_s=2
alice connects
server joins alice to log
server removes alice from log
time passes: 2000 ms
server lists rooms -> {"rooms":[]}"#;
    for source in [event, answer] {
        let trace = Trace::parse("example", source).expect("a trace");
        let run = |says_so| {
            let core = trace.settings().core();
            let (behind, looks) = (0, 0);
            trace.run(&mut Sluggish {
                core,
                behind,
                looks,
                says_so,
            })
        };
        assert_eq!(run(true), Ok(()));
        assert!(run(false).is_err(), "{source}");
    }
}

/// Traces that are written by what happens.
mod blessing {
    use super::*;

    fn bless(text: &str) -> String {
        let trace = Trace::parse("t", text).unwrap_or_else(|fault| panic!("{fault}"));
        let blessed = trace.bless(&mut trace.settings().core());
        let blessed = blessed.unwrap_or_else(|fault| panic!("{fault}"));
        let mut core = blessed.settings().core();
        blessed
            .run(&mut core)
            .unwrap_or_else(|fault| panic!("{fault}"));
        let again = blessed.bless(&mut blessed.settings().core());
        assert_eq!(
            again.map(|again| again.to_string()),
            Ok(blessed.to_string())
        );
        blessed.to_string()
    }

    #[test]
    fn ops_alone_become_a_trace() {
        let blessed = bless(
            r##"# Rooms.
rooms log history.messages=3
ann connects

# A comment stays.
ann sends {"event":"$join","room":"lobby","id":1}
ben connects
ben sends {"event":"$join","room":"lobby"}
ann sends {"event":"said","room":"lobby","data":1}
ann sends {"event":"said","id":2}
ann sends {"event":"$join","room":"log"}
server lists rooms
server joins zoe to lobby
server closes ben 4410 "out"
"##,
        );
        assert_eq!(
            blessed,
            r##"# Rooms.
rooms log history.messages=3
ann connects

# A comment stays.
ann sends {"event":"$join","room":"lobby","id":1}
ann gets {"event":"$join","id":1,"room":"lobby","data":{"epoch":"<epoch>","offset":0,"already":false}}
ben connects
ben sends {"event":"$join","room":"lobby"}
ben gets {"event":"$join","room":"lobby","data":{"epoch":"<epoch>","offset":0,"already":false}}
ann sends {"event":"said","room":"lobby","data":1}
ben gets {"event":"said","room":"lobby","from":{"conn":"<ann>"},"data":1}
ann sends {"event":"said","id":2}
ann gets {"event":"said","id":2,"error":{"code":"unknown_event","message":"<message>"}}
ann sends {"event":"$join","room":"log"}
ann gets {"event":"$join","room":"log","data":{"epoch":"<epoch 1>","offset":0,"already":false}}
server lists rooms -> {"rooms":[{"room":"lobby","members":2,"epoch":"<epoch>","offset":0},{"room":"log","members":1,"epoch":"<epoch 1>","offset":0}]}
server joins zoe to lobby -> 404
server closes ben 4410 "out"
ben gets {"event":"$bye","data":{"code":4410,"reconnect":false,"after_ms":0}}
ben is closed 4410 "out"
"##
        );
    }

    #[test]
    fn lines_that_fit_stay_and_others_are_replaced() {
        let blessed = bless(
            r#"# Rooms.
ann connects
ann sends {"event":"$rooms","id":1}
ann gets {"event":"$rooms","id":2,"data":[]}
ann sends 2 times {"event":"$ping"}
ann gets 2 times {"event":"$pong"}
ann sends {"event":"$join","id":3}
ann gets {"event":"$join","id":3,"error":{"code":"<message>","message":"<message>"}}
ann gets nothing
ann gets {"event":"never"}
server lists rooms -> 404
"#,
        );
        assert_eq!(
            blessed,
            r#"# Rooms.
ann connects
ann sends {"event":"$rooms","id":1}
ann gets {"event":"$rooms","id":1,"data":[]}
ann sends 2 times {"event":"$ping"}
ann gets 2 times {"event":"$pong"}
ann sends {"event":"$join","id":3}
ann gets {"event":"$join","id":3,"error":{"code":"bad_room","message":"<message>","details":{"limit":200}}}
ann gets nothing
server lists rooms -> {"rooms":[]}
"#
        );
    }

    /// Every trace of the repository holds, so blessing changes none.
    #[test]
    fn a_trace_that_holds_stays_as_it_is() {
        let traces = concat!(env!("CARGO_MANIFEST_DIR"), "/traces");
        for trace in Trace::read_dir(traces).expect("traces") {
            let blessed = trace.bless(&mut trace.settings().core());
            let blessed = blessed.unwrap_or_else(|fault| panic!("{fault}"));
            assert_eq!(blessed.to_string(), trace.to_string());
        }
    }
}
