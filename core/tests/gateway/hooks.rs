//! Hooks: when they run, what they see, and what they can do.

use std::{cell::RefCell, rc::Rc, time::Duration};

use roomcast_core::{
    CloseCode, Context, DisconnectReason, Failure, Gateway, Handshake, Input, Message,
    NamespaceContext, Outcome, Rejection,
    gateway::{ConnectError, Decision, RoomAction},
};

use super::stage::{Stage, caught};

type Log = Rc<RefCell<Vec<String>>>;

/// Records every hook, and follows its rules.
#[derive(Default)]
struct Notes {
    log: Log,
    /// The user to refuse.
    refuse: Option<&'static str>,
    /// The hook in which to panic.
    panic: Option<&'static str>,
    /// True to leave after each join, and to join after each leave.
    contrary: bool,
}

impl Notes {
    fn note(&self, line: String) {
        if self.panic.is_some_and(|hook| line.starts_with(hook)) {
            self.log.borrow_mut().push(format!("{line}, panics"));
            panic!("planted");
        }
        self.log.borrow_mut().push(line);
    }
}

impl Gateway for Notes {
    fn connect(&mut self, cx: &mut Context<'_>) -> Decision<Rejection> {
        let user = cx.user().unwrap_or_default().to_owned();
        self.note(format!("connect {user}"));
        cx.emit("hello", &cx.id()).expect("valid");
        cx.join("hall").expect("a name");
        cx.broadcast("came", &user).expect("valid");
        match self.refuse {
            Some(user) if cx.user() == Some(user) => Decision::Refuse(Rejection::forbidden("no")),
            _ => Decision::Allow,
        }
    }

    fn admit(&mut self, cx: &mut Context<'_>, action: RoomAction, room: &str) -> Decision<Failure> {
        self.note(format!("admit {} {action:?} {room}", cx.id()));
        if room == "vault" {
            return Decision::Refuse(Failure::forbidden("not this room"));
        }
        Decision::Allow
    }

    fn message(&mut self, cx: &mut Context<'_>, message: &Message<'_>) -> Outcome {
        self.note(format!("message {}", message.event));
        match &*message.event {
            "join" => cx
                .join_here()
                .map_or_else(|fault| Outcome::Fail(fault.into()), |_| Outcome::Done),
            "kick" => {
                cx.close(CloseCode::REMOVED, "kicked");
                Outcome::Done
            }
            _ => Outcome::Unclaimed,
        }
    }

    fn joined(&mut self, cx: &mut Context<'_>, room: &str) {
        self.note(format!("joined {} {room}", cx.id()));
        if self.contrary {
            cx.leave(room);
        }
    }

    fn left(&mut self, cx: &mut Context<'_>, room: &str) {
        let among = cx.members(room).len();
        self.note(format!(
            "left {} {room}, in {:?}, {among} remain",
            cx.id(),
            cx.rooms()
        ));
        if self.contrary {
            let _ = cx.join(room);
        }
    }

    fn disconnect(&mut self, cx: &mut Context<'_>, reason: DisconnectReason) {
        let user = cx.user().unwrap_or_default();
        self.note(format!("disconnect {user} {:?} {reason:?}", cx.rooms()));
        cx.broadcast("went", &1).expect("valid");
    }

    fn schedules(&self) -> Vec<Duration> {
        vec![Duration::from_millis(100), Duration::from_millis(250)]
    }

    fn tick(&mut self, namespace: &mut NamespaceContext<'_>, schedule: usize) {
        self.note(format!(
            "tick {schedule} at {}",
            namespace.now().as_millis()
        ));
    }

    fn drain(&mut self, namespace: &mut NamespaceContext<'_>) {
        self.note(format!("drain {}", namespace.counts().connections));
        namespace.broadcast("closing", &1).expect("valid");
    }
}

fn taken(log: &Log) -> Vec<String> {
    log.take()
}

fn with_hooks<const N: usize>() -> (Stage<Notes>, [roomcast_core::ConnId; N], Log) {
    let notes = Notes::default();
    let log = notes.log.clone();
    let (stage, conns) = Stage::connected(notes);
    log.take();
    (stage, conns, log)
}

#[test]
fn a_connection_from_its_first_hook_to_its_last() {
    let notes = Notes::default();
    let log = notes.log.clone();
    let mut stage = Stage::new(notes);
    let a = stage.connect("ann").expect("admitted");
    stage.expect([
        r#"send a {"event":"hello","data":"0"}"#,
        r#"send a {"event":"came","data":"ann"}"#,
    ]);
    stage.text(a, r#"{"event":"$join","room":"r","id":1}"#);
    stage.text(a, r#"{"event":"$leave","room":"r"}"#);
    stage.text(a, r#"{"event":"$join","room":"q"}"#);
    stage.text(a, r#"{"event":"$join","room":"q"}"#);
    stage.text(a, r#"{"event":"$rooms"}"#);
    stage.text(a, r#"{"event":"said","room":"q"}"#);
    stage.lost(a);
    assert_eq!(
        taken(&log),
        [
            "connect ann",
            "joined 0 hall",
            "admit 0 Join r",
            "joined 0 r",
            "admit 0 Leave r",
            r#"left 0 r, in ["hall"], 0 remain"#,
            "admit 0 Join q",
            "joined 0 q",
            "admit 0 Join q",
            "message said",
            "admit 0 Publish q",
            r#"left 0 hall, in ["hall", "q"], 0 remain"#,
            r#"left 0 q, in ["hall", "q"], 0 remain"#,
            r#"disconnect ann ["hall", "q"] Lost"#,
        ]
    );
}

#[test]
fn hooks_run_however_a_change_came_about() {
    let (mut stage, [a, b], log) = with_hooks();
    stage.join(a, "r");
    stage.leave(a, "r");
    stage.join(b, "r");
    stage.leave(b, "hall");
    stage.text(a, r#"{"event":"join","room":"q"}"#);
    stage.text(a, r#"{"event":"kick"}"#);
    stage.out.clear();
    // The hub itself closes a connection whose message is too large.
    let large = "x".repeat(70_000);
    stage.text(b, &large);
    assert_eq!(
        taken(&log),
        [
            "joined 0 r",
            r#"left 0 r, in ["hall"], 0 remain"#,
            "joined 1048577 r",
            r#"left 1048577 hall, in ["r"], 1 remain"#,
            "message join",
            "joined 0 q",
            "message kick",
            r#"left 0 hall, in ["hall", "q"], 0 remain"#,
            r#"left 0 q, in ["hall", "q"], 0 remain"#,
            r#"disconnect ann ["hall", "q"] Closed(CloseCode(4410))"#,
            r#"left 1048577 r, in ["r"], 0 remain"#,
            r#"disconnect ben ["r"] Closed(CloseCode(1009))"#,
        ]
    );
    stage.expect(["close b 1009 message of more than 65536 bytes"]);
}

#[test]
fn a_refused_connection_leaves_no_trace() {
    let notes = Notes {
        refuse: Some("eve"),
        ..Notes::default()
    };
    let log = notes.log.clone();
    let (mut stage, [a]) = Stage::connected(notes);
    log.take();
    let handshake = Handshake::new().with_user("eve").with_welcome(true);
    let refused = stage.connect_with(handshake);
    let Err(ConnectError::Rejected(rejection)) = refused else {
        panic!("refused");
    };
    assert_eq!((rejection.status(), rejection.reason()), (403, "no"));
    assert_eq!(taken(&log), ["connect eve"]);
    // Messages to others stay sent; nothing else mentions the rejected connection.
    assert_eq!(stage.take(), [r#"send a {"event":"came","data":"eve"}"#]);
    assert_eq!(stage.app.hub().members("hall"), [a]);
    let next = stage.connect("ben").expect("admitted");
    assert!(next.serial() == 2 && next.slot() == 1);
}

#[test]
fn a_room_action_can_be_refused() {
    let (mut stage, [a], log) = with_hooks();
    stage.text(a, r#"{"event":"$join","room":"vault","id":1}"#);
    stage.text(a, r#"{"event":"said","room":"vault"}"#);
    let refused = r#""room":"vault","error":{"code":"forbidden","message":"not this room"}}"#;
    stage.expect([
        &format!(r#"send a {{"event":"$join","id":1,{refused}"#),
        &format!(r#"send a {{"event":"said",{refused}"#),
    ]);
    // The application's own joins are not guarded.
    stage.text(a, r#"{"event":"join","room":"vault"}"#);
    assert_eq!(
        taken(&log).last().map(String::as_str),
        Some("joined 0 vault")
    );
}

#[test]
fn hooks_that_cause_each_other_come_to_an_end() {
    let notes = Notes {
        contrary: true,
        ..Notes::default()
    };
    let mut stage = Stage::new(notes);
    stage.connect("ann").expect("admitted");
    let faults = stage.faults();
    assert_eq!(faults.len(), 1, "{faults:?}");
    stage.take();
}

#[test]
fn schedules_run_while_somebody_is_there() {
    let notes = Notes::default();
    let log = notes.log.clone();
    let mut stage = Stage::new(notes);
    assert_eq!(stage.app.next_timeout(), None);
    stage.wait(1_000);
    let a = stage.connect("ann").expect("admitted");
    stage.wait(150);
    stage.connect("ben").expect("admitted");
    stage.wait(150);
    assert_eq!(
        taken(&log)
            .into_iter()
            .filter(|line| line.starts_with("tick"))
            .collect::<Vec<_>>(),
        [
            "tick 0 at 1100",
            "tick 0 at 1200",
            "tick 1 at 1250",
            "tick 0 at 1300"
        ]
    );
    stage.lost(a);
    assert!(stage.app.next_timeout().is_some());
    let b = stage.app.hub().connections().next().expect("ben").id;
    stage.lost(b);
    assert_eq!(stage.app.next_timeout(), None);
}

#[test]
fn schedules_survive_sleep() {
    let (mut stage, [_], log) = with_hooks();
    stage.wait(60);
    assert!(stage.app.take_unsaved());
    stage.wait(60);
    assert!(stage.app.take_unsaved() && !stage.app.take_unsaved());
    let due = stage.app.next_timeout();
    let gateway = Notes {
        log: log.clone(),
        ..Notes::default()
    };
    stage.sleep(gateway);
    assert_eq!(stage.app.next_timeout(), due);
    stage.wait(200);
    assert_eq!(
        taken(&log),
        [
            "tick 0 at 100",
            "tick 0 at 200",
            "tick 1 at 250",
            "tick 0 at 300"
        ]
    );
}

#[test]
fn a_drain_is_told() {
    let (mut stage, [_], log) = with_hooks();
    stage.apply(&Input::Drain);
    stage.expect([r#"send a {"event":"closing","data":1}"#]);
    assert_eq!(taken(&log), ["drain 1"]);
}

#[test]
fn a_handler_that_panics_is_answered_for() {
    let (mut stage, [a, b], log) = with_hooks();
    let text = |conn, text: &'static str| Input::Text {
        conn,
        text: text.into(),
    };
    let planted = |stage: &mut Stage<Notes>, hook| {
        let gateway = Notes {
            log: log.clone(),
            panic: hook,
            ..Notes::default()
        };
        stage.sleep(gateway);
    };
    planted(&mut stage, Some("message"));
    caught(
        &mut stage,
        &text(a, r#"{"event":"join","id":1,"room":"r"}"#),
    );
    stage.expect([
        r#"send a {"event":"join","id":1,"room":"r","error":{"code":"internal","message":"internal server error (logged)"}}"#,
    ]);
    planted(&mut stage, Some("admit"));
    caught(&mut stage, &text(a, r#"{"event":"$join","room":"r"}"#));
    assert!(stage.take()[0].contains(r#""code":"internal""#));
    assert!(stage.app.hub().members("r").is_empty());
    // A hook after the answer panics: the answer stands.
    planted(&mut stage, Some("joined"));
    caught(
        &mut stage,
        &text(a, r#"{"event":"join","id":2,"room":"r"}"#),
    );
    stage.expect([r#"send a {"event":"join","id":2,"room":"r","data":null}"#]);
    // All hooks of a disconnect run, even if some panic.
    planted(&mut stage, Some("left"));
    log.take();
    let reason = DisconnectReason::Lost;
    caught(&mut stage, &Input::Disconnect { conn: a, reason });
    assert_eq!(
        taken(&log),
        [
            r#"left 0 hall, in ["hall", "r"], 1 remain, panics"#,
            r#"left 0 r, in ["hall", "r"], 0 remain, panics"#,
            r#"disconnect ann ["hall", "r"] Lost"#,
        ]
    );
    planted(&mut stage, Some("connect"));
    stage.out.clear();
    caught(
        &mut stage,
        &Input::Connect(Handshake::new().with_user("eve")),
    );
    stage.expect([]);
    assert_eq!(stage.app.hub().counts().connections, 1);
    assert_eq!(stage.app.hub().members("hall"), [b]);
    // The host never learns its id, so the connection must end. The gateway knows it, so its end is
    // reported.
    planted(&mut stage, Some("joined"));
    log.take();
    caught(
        &mut stage,
        &Input::Connect(Handshake::new().with_user("dan")),
    );
    let lines = stage.take();
    assert!(
        lines.iter().all(|line| line.starts_with("send b ")),
        "{lines:?}"
    );
    assert_eq!(
        taken(&log)[1..],
        [
            "joined 3145728 hall, panics",
            r#"left 3145728 hall, in ["hall"], 1 remain"#,
            r#"disconnect dan ["hall"] Closed(CloseCode(1011))"#,
        ]
    );
    assert_eq!(stage.app.hub().counts().connections, 1);
    stage.text(b, r#"{"event":"$ping"}"#);
    stage.expect([r#"send b {"event":"$pong"}"#]);
}
