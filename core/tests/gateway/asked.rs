//! Joins that need the approval of a backend.

use roomcast_core::{
    ConnId, Explained, Failure, Gateway, Handshake, Identity, Input, Outcome,
    gateway::{CompleteError, Token},
    policy::{GrantRules, Grants, Right, Rights},
    wire::AuthRequest,
};

use super::stage::Stage;

const JOINED: &str =
    r#"send a {"event":"$join","id":1,"room":"r","data":{"epoch":"e","offset":0,"already":false}}"#;

fn ann() -> Identity {
    let rules = GrantRules::from_json(r#"[{"rooms":"own","can":["join"]}]"#).expect("rules");
    Identity::user("ann").with_grants(rules.for_user(Some("ann")))
}

fn asking() -> (Stage<()>, ConnId) {
    let mut stage = Stage::with_asks(());
    let conn = stage.connect_with(Handshake::new().with_identity(ann()));
    let conn = conn.expect("admitted");
    stage.out.clear();
    (stage, conn)
}

fn rights(rights: &[Right]) -> Outcome {
    Outcome::Grant(rights.iter().copied().collect::<Rights>())
}

fn all() -> Outcome {
    rights(&[Right::Join, Right::Publish])
}

impl<G: Gateway> Stage<G> {
    /// Returns the token of the only join to ask the backend for.
    fn asked(&mut self, room: &str) -> Token {
        assert!(self.app.has_news());
        let mut asked = self.app.take_asked();
        let (token, asked_room) = asked.pop().expect("a join");
        assert_eq!((&*asked_room, asked.len()), (room, 0));
        assert!(!self.app.has_news());
        token
    }
}

#[test]
fn a_join_waits_for_the_backend_and_what_is_sent_behind_it_waits_too() {
    let (mut stage, a) = asking();
    stage.text(
        a,
        r#"{"event":"$join","room":"r","id":1,"data":{"meta":"x"}}"#,
    );
    stage.text(a, r#"{"event":"said","room":"r","id":2,"data":5}"#);
    stage.text(a, r#"{"event":"$join","room":"own","id":3}"#);
    stage.text(a, r#"{"event":"$ping","id":4}"#);
    stage.expect([r#"send a {"event":"$pong","id":4}"#]);
    let token = stage.asked("r");
    assert!(stage.app.is_waiting(a) && !stage.app.is_idle());
    assert_eq!(stage.complete(token, all()), Ok(()));
    let lines = stage.take();
    let sent: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("send"))
        .collect();
    assert_eq!(*sent[0], JOINED);
    assert!(sent[1].contains(r#""event":"said","id":2"#), "{sent:?}");
    assert!(
        sent[2].contains(r#""event":"$join","id":3,"room":"own""#),
        "{sent:?}"
    );
    assert_eq!(sent.len(), 3);
    assert!(stage.app.is_idle());
    let again = stage.complete(token, all());
    assert_eq!(again, Err(CompleteError::NotAnAnswer));
}

#[test]
fn what_a_backend_refuses_is_an_error_and_the_line_goes_on() {
    for (outcome, code) in [
        (
            Outcome::Fail(Failure::new("unavailable", "no")),
            "unavailable",
        ),
        (rights(&[Right::Publish]), "forbidden"),
        (rights(&[]), "forbidden"),
    ] {
        let (mut stage, a) = asking();
        stage.text(a, r#"{"event":"$join","room":"r","id":1}"#);
        stage.text(a, r#"{"event":"$join","room":"own","id":2}"#);
        let token = stage.asked("r");
        assert_eq!(stage.complete(token, outcome), Ok(()));
        let lines = stage.take();
        assert!(lines[0].contains(r#""event":"$join","id":1,"room":"r","error":{"code":""#));
        assert!(lines[0].contains(code), "{lines:?}");
        assert!(
            lines.iter().any(|line| line.contains(r#""id":2"#)),
            "{lines:?}"
        );
        assert!(!stage.app.hub().allows(stage.now, a, Right::Join, "r"));
    }
}

#[test]
fn rights_hold_in_the_room_alone_until_the_connection_leaves_it() {
    let (mut stage, a) = asking();
    stage.text(a, r#"{"event":"$join","room":"r","id":1}"#);
    let token = stage.asked("r");
    assert_eq!(stage.complete(token, all()), Ok(()));
    let allows = |stage: &Stage<()>, right, room| stage.app.hub().allows(stage.now, a, right, room);
    assert!(allows(&stage, Right::Publish, "r") && !allows(&stage, Right::Presence, "r"));
    assert!(!allows(&stage, Right::Publish, "own") && !allows(&stage, Right::Join, "r2"));
    let (right, room) = (Right::Publish, "r".to_owned());
    let explained = stage
        .app
        .hub()
        .explain(&Explained::Right { right, room }, a);
    let code = serde_json::to_value(&explained.reason).expect("JSON")["reason"].take();
    assert_eq!(code, "granted_by_backend");
    // Granted rights survive sleep and the renewal of the identity.
    stage.sleep(());
    assert!(allows(&stage, Right::Publish, "r"));
    let text = r#"{"event":"$auth","id":2,"data":{"token":"t"}}"#;
    let rest = AuthRequest::find(text).expect("an $auth").rest;
    let identity = Some(Box::new(
        Identity::user("ann").with_grants(Grants::default()),
    ));
    let text = rest.into();
    let conn = a;
    stage.apply(&Input::Authenticate {
        conn,
        text,
        identity,
        unavailable: false,
    });
    let lines = stage.take();
    assert!(
        !lines.iter().any(|line| line.contains("$leave")),
        "{lines:?}"
    );
    assert!(allows(&stage, Right::Publish, "r") && !allows(&stage, Right::Join, "own"));
    stage.text(a, r#"{"event":"$join","room":"r","id":3}"#);
    assert!(stage.app.take_asked().is_empty(), "it may");
    stage.text(a, r#"{"event":"$leave","room":"r","id":4}"#);
    assert!(!allows(&stage, Right::Join, "r"));
    stage.text(a, r#"{"event":"$join","room":"r","id":5}"#);
    stage.asked("r");
}

#[test]
fn rights_in_rooms_that_could_not_be_joined_do_not_pile_up() {
    let (mut stage, a) = asking();
    let allows =
        |stage: &Stage<()>, room: &str| stage.app.hub().allows(stage.now, a, Right::Join, room);
    for number in 0..10 {
        let room = format!("r{number}");
        stage.text(a, &format!(r#"{{"event":"$join","room":"{room}","id":1}}"#));
        let token = stage.asked(&room);
        assert_eq!(stage.complete(token, all()), Ok(()));
    }
    // Kept for the three joined rooms, and for the last room that did not fit.
    let given = (0..10).filter(|number| allows(&stage, &format!("r{number}")));
    assert_eq!(given.collect::<Vec<_>>(), [0, 1, 2, 9]);
}

#[test]
fn rooms_to_join_at_once_are_asked_for_one_after_the_other() {
    let mut stage = Stage::with_asks(());
    let mut identity = ann();
    identity.rooms = ["x", "own", "y"].map(Into::into).into();
    stage
        .connect_with(Handshake::new().with_identity(identity))
        .expect("admitted");
    let token = stage.asked("x");
    assert_eq!(stage.complete(token, all()), Ok(()));
    let token = stage.asked("y");
    assert_eq!(stage.complete(token, rights(&[])), Ok(()));
    let lines = stage.take();
    let joined = |line: &&String| line.contains(r#""event":"$join""#);
    let joined: Vec<_> = lines.iter().filter(joined).collect();
    assert!(joined[0].contains(r#""room":"x","data""#), "{lines:?}");
    assert!(joined[1].contains(r#""room":"own","data""#), "{lines:?}");
    assert!(joined[2].contains(r#""room":"y","error""#), "{lines:?}");
}

#[test]
fn who_has_gone_is_answered_nothing() {
    let (mut stage, a) = asking();
    stage.text(a, r#"{"event":"$join","room":"r","id":1}"#);
    let token = stage.asked("r");
    stage.lost(a);
    stage.take();
    assert_eq!(stage.complete(token, all()), Err(CompleteError::Ended));
    stage.expect([]);
    assert!(stage.app.is_idle());
}

#[test]
fn nothing_is_asked_when_the_host_does_not_or_the_connection_may_do_everything() {
    let (mut stage, _) = asking();
    let b = stage.connect("ben").expect("admitted");
    stage.out.clear();
    stage.text(b, r#"{"event":"$join","room":"r","id":1}"#);
    assert!(stage.app.take_asked().is_empty());
    // A host without a backend to ask.
    let mut stage = Stage::new(());
    let a = stage.connect_with(Handshake::new().with_identity(ann()));
    let a = a.expect("admitted");
    stage.out.clear();
    stage.text(a, r#"{"event":"$join","room":"r","id":2}"#);
    assert!(stage.app.take_asked().is_empty());
    assert!(stage.take()[0].contains("forbidden"));
}
