//! Identities: the exact frames sent over their lifetime.

mod explained;
mod withdrawn;

use std::borrow::Cow;

use roomcast_core::{
    App, Applied, Config, ConnId, Frame, Handshake, Identity, Input, Outbox, Policies, Timestamp,
    policy::GrantRules,
};

use super::harness::lines;

/// A namespace without an application, with the policies of a JSON text.
struct Stage {
    app: App<()>,
    out: Outbox,
    now: Timestamp,
}

const WHAT: &str =
    r#"{"rooms":[{"match":"chat:*","presence":"members","history":{"messages":9}}]}"#;

impl Stage {
    fn new(policies: &str) -> Self {
        let policies: Policies = serde_json::from_str(policies).expect("policies");
        let config = Config::new("e").with_policies(policies);
        Self {
            app: App::new(config, ()),
            out: Outbox::new(),
            now: Timestamp::from_millis(1_000_000),
        }
    }

    /// Applies an input; returns the lines of its commands, except persists.
    fn put(&mut self, input: &Input<'_>) -> (Applied, Vec<String>) {
        self.out.clear();
        let applied = self.app.apply(self.now, input, &mut self.out);
        self.app.hub().assert_consistent();
        let lines = lines(&self.out).into_iter();
        let told = lines.filter(|line| !line.starts_with("persist"));
        (applied, told.collect())
    }

    fn connect(&mut self, handshake: Handshake) -> (ConnId, Vec<String>) {
        match self.put(&Input::Connect(handshake)) {
            (Applied::Connected(Ok(conn)), lines) => (conn, lines),
            (other, _) => panic!("{other:?}"),
        }
    }

    fn text(&mut self, conn: ConnId, text: &str) -> Vec<String> {
        self.put(&Input::message(conn, Frame::Text(text))).1
    }

    fn auth(&mut self, conn: ConnId, identity: Option<Identity>) -> Vec<String> {
        self.auth_as(conn, identity, false)
    }

    fn auth_as(&mut self, conn: ConnId, who: Option<Identity>, unavailable: bool) -> Vec<String> {
        let (text, identity) = (Cow::Borrowed(AUTH), who.map(Box::new));
        self.put(&Input::Authenticate {
            conn,
            text,
            identity,
            unavailable,
        })
        .1
    }

    fn wait(&mut self, millis: u64) -> Vec<String> {
        self.now = Timestamp::from_millis(self.now.as_millis() + millis);
        self.put(&Input::Timeout).1
    }

    /// The time `seconds` from now.
    fn in_s(&self, seconds: u64) -> Timestamp {
        Timestamp::from_millis(self.now.as_millis() + 1000 * seconds)
    }
}

fn ann(grants: &str) -> Identity {
    user("ann", grants)
}

fn user(name: &str, grants: &str) -> Identity {
    let rules = GrantRules::from_json(grants).expect(grants);
    Identity::user(name).with_grants(rules.for_user(Some(name)))
}

fn known(identity: Identity) -> Handshake {
    Handshake::new().with_identity(identity)
}

const AUTH: &str = r#"{"event":"$auth","id":1}"#;
const JOIN: &str = r#"{"event":"$join","room":"chat:1","id":2}"#;
const EVERYTHING: &str = r#"[{"rooms":"chat:*","can":["join","publish","presence","history"]}]"#;

fn error(event: &str, id: &str, room: &str, code: &str, text: &str) -> String {
    let room = match room {
        "" => String::new(),
        room => format!(r#","room":"{room}""#),
    };
    format!(
        r#"send a {{"event":"{event}"{id}{room},"error":{{"code":"{code}","message":"{text}"}}}}"#
    )
}

fn no_right(event: &str, id: &str, right: &str) -> String {
    let text = format!(
        "no grant gives the right to {right} here: neither those of the token nor the server's"
    );
    error(event, id, "chat:1", "forbidden", &text)
}

#[test]
fn each_right_is_needed_for_what_it_is_for() {
    let mut stage = Stage::new(WHAT);
    let (a, _) = stage.connect(known(ann("[]")));
    assert_eq!(
        stage.text(a, JOIN),
        [no_right("$join", r#","id":2"#, "join")]
    );
    let publish = r#"{"event":"hi","id":3,"room":"chat:1"}"#;
    let refused = no_right("hi", r#","id":3"#, "publish");
    assert_eq!(stage.text(a, publish), [refused]);
    let joins = ann(r#"[{"rooms":"chat:1","can":["join"]}]"#);
    stage.auth(a, Some(joins));
    assert!(stage.text(a, JOIN)[0].contains(r#""offset":0"#));
    for (verb, right) in [("$members", "see who is"), ("$history", "read the history")] {
        let text = format!(r#"{{"event":"{verb}","room":"chat:1"}}"#);
        assert_eq!(stage.text(a, &text), [no_right(verb, "", right)]);
    }
    stage.auth(a, Some(ann(EVERYTHING)));
    for verb in ["$members", "$history"] {
        let text = format!(r#"{{"event":"{verb}","room":"chat:1"}}"#);
        assert!(stage.text(a, &text)[0].contains(r#""data":"#), "{verb}");
    }
    assert!(stage.text(a, publish)[0].contains(r#""offset":1"#));
}

#[test]
fn what_was_missed_is_for_those_who_may_read_the_history() {
    for (can, recovered) in [(r#"["join"]"#, false), (r#"["join","history"]"#, true)] {
        let mut stage = Stage::new(WHAT);
        let (b, _) = stage.connect(Handshake::new());
        stage.text(b, r#"{"event":"hi","room":"chat:1"}"#);
        let (a, _) = stage.connect(known(ann(&format!(
            r#"[{{"rooms":"chat:*","can":{can}}}]"#
        ))));
        let since =
            r#"{"event":"$join","room":"chat:1","data":{"since":{"epoch":"e.1","offset":0}}}"#;
        let epoch = stage.app.hub().position("chat:1").epoch.into_owned();
        let told = stage.text(a, &since.replace("e.1", &epoch));
        assert!(
            told[0].contains(&format!(r#""recovered":{recovered}"#)),
            "{told:?}"
        );
        assert_eq!(
            told.iter().any(|line| line.contains(r#""event":"hi""#)),
            recovered
        );
    }
}

#[test]
fn rights_of_the_configuration_add_to_those_of_the_identity() {
    let what = r#"{"grants":[{"for":"anyone","rooms":"news","can":["join"]},
        {"for":"users","rooms":"home:{user}","can":["join"]}]}"#;
    let mut stage = Stage::new(what);
    let nobody = Identity::new().with_grants(GrantRules::default().for_user(None));
    for (identity, room, is_in) in [
        (nobody.clone(), "news", true),
        (nobody.clone(), "home:ann", false),
        (ann("[]"), "news", true),
        (ann("[]"), "home:ann", true),
        (ann("[]"), "home:bob", false),
        (user("*", "[]"), "home:ann", false),
    ] {
        let (conn, _) = stage.connect(known(identity));
        stage.text(conn, &format!(r#"{{"event":"$join","room":"{room}"}}"#));
        assert_eq!(
            stage.app.hub().members(room).contains(&conn),
            is_in,
            "{room}"
        );
    }
    // Revoked grants take effect at once, for members too.
    let (conn, _) = stage.connect(known(ann("[]")));
    stage.text(conn, r#"{"event":"$join","room":"home:ann"}"#);
    let fewer = r#"{"grants":[{"for":"anyone","rooms":"news","can":["join"]}]}"#;
    let policies = serde_json::from_str(fewer).expect("policies");
    let (_, told) = stage.put(&Input::SetPolicies {
        policies: Cow::Owned(policies),
    });
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told.iter()
            .all(|line| line.contains(r#""event":"$leave","room":"home:ann""#))
    );
    assert!(stage.app.hub().members("home:ann").is_empty());
    assert_eq!(stage.app.hub().members("news").len(), 2);
}

#[test]
fn a_renewal_takes_what_it_does_not_give_any_more() {
    let mut stage = Stage::new(WHAT);
    let (a, _) = stage.connect(known(ann(EVERYTHING)));
    stage.text(a, JOIN);
    let (b, _) = stage.connect(known(user("bob", EVERYTHING)));
    stage.text(b, JOIN);
    let fewer = ann(r#"[{"rooms":"chat:2","can":["join"]}]"#);
    let told = stage.auth(a, Some(fewer));
    assert_eq!(
        told,
        [
            r#"send a {"event":"$auth","id":1,"data":{"user":"ann"}}"#.to_owned(),
            r#"send b {"event":"$left","room":"chat:1","data":{"user":"ann"}}"#.to_owned(),
            error(
                "$leave",
                "",
                "chat:1",
                "forbidden",
                "no grant gives the right to be in this room any more"
            ),
        ]
    );
    let hears = stage.text(b, r#"{"event":"hi","room":"chat:1"}"#);
    assert!(
        hears.iter().all(|line| !line.starts_with("send")),
        "{hears:?}"
    );
}

#[test]
fn what_the_application_gave_a_renewal_does_not_take() {
    let mut stage = Stage::new("{}");
    let (conn, _) = stage.connect(known(ann("[]")));
    let room = Cow::Borrowed("back");
    let meta = None;
    stage.put(&Input::Join { conn, room, meta });
    stage.auth(conn, Some(ann("[]")));
    assert_eq!(stage.app.hub().members("back"), [conn]);
}

#[test]
fn an_identity_that_runs_out_is_announced_and_may_be_renewed() {
    let mut stage = Stage::new(WHAT);
    let until = |stage: &Stage, seconds| ann(EVERYTHING).with_deadline(stage.in_s(seconds));
    let (a, welcome) = stage.connect(known(until(&stage, 200)).with_welcome(true));
    assert!(
        welcome[0].contains(r#"},"expires_in_ms":200000}}"#),
        "{welcome:?}"
    );
    stage.text(a, JOIN);
    assert_eq!(stage.app.next_timeout(), Some(stage.in_s(25))); // the heartbeat
    stage.text(a, r#"{"event":"$ping"}"#);
    let lines = |lines: Vec<String>| -> Vec<String> {
        lines
            .into_iter()
            .filter(|line| !line.starts_with("ping"))
            .collect()
    };
    let alive = |stage: &mut Stage| stage.put(&Input::Activity(a));
    assert_eq!(lines(stage.wait(139_999)), [""; 0]);
    alive(&mut stage);
    let expiring =
        |ms| format!(r#"send a {{"event":"$expiring","data":{{"expires_in_ms":{ms}}}}}"#);
    assert_eq!(lines(stage.wait(1)), [expiring(60_000)]);
    alive(&mut stage);
    for _ in 0..2 {
        assert_eq!(lines(stage.wait(29_000)), [""; 0]);
        alive(&mut stage);
    }
    let publish = r#"{"event":"hi","id":3,"room":"chat:1"}"#;
    assert_eq!(stage.text(a, publish).len(), 1, "it still holds");
    stage.now = stage.in_s(2); // and no timer has run yet
    let over = "the token expired: send $auth with a new one";
    assert_eq!(
        stage.text(a, publish),
        [error("hi", r#","id":3"#, "chat:1", "expired", over)]
    );
    assert_eq!(lines(stage.wait(1)), [""; 0]);
    // The renewal arrives within the grace period, and the connection keeps its rooms.
    let renewed = stage.auth(a, Some(until(&stage, 30)));
    let answer = r#"send a {"event":"$auth","id":1,"data":{"user":"ann","expires_in_ms":30000}}"#;
    assert_eq!(renewed, [answer]);
    assert_eq!(stage.text(a, publish).len(), 1);
    // A short identity is announced at half its lifetime.
    assert_eq!(lines(stage.wait(15_000)), [expiring(15_000)]);
    alive(&mut stage);
    assert_eq!(lines(stage.wait(15_000)), [""; 0]);
    alive(&mut stage);
    assert_eq!(lines(stage.wait(24_999)), [""; 0]);
    let closed = lines(stage.wait(1));
    let bye = r#"send a {"event":"$bye","data":{"code":4401,"reconnect":true,"after_ms":0}}"#;
    assert_eq!(closed, [bye, "close a 4401 the token expired"]);
}

#[test]
fn a_client_has_a_time_to_say_who_it_is() {
    let mut stage = Stage::new(WHAT);
    let late = || Handshake::new().with_unidentified(true).with_welcome(true);
    let (a, welcome) = stage.connect(late());
    assert!(
        welcome[0].contains(r#""user":"","#) && welcome[0].ends_with(r#","auth_in_ms":5000}}"#)
    );
    let first =
        r#"send $auth with a token first: {\"event\":\"$auth\",\"data\":{\"token\":string}}"#;
    assert_eq!(
        stage.text(a, JOIN),
        [error(
            "$join",
            r#","id":2"#,
            "chat:1",
            "unauthorized",
            first
        )]
    );
    assert_eq!(
        stage.text(a, r#"{"event":"$ping"}"#),
        [r#"send a {"event":"$pong"}"#]
    );
    let answer = r#"send a {"event":"$auth","id":1,"data":{"user":"ann"}}"#;
    let mut identity = ann(EVERYTHING);
    identity.rooms = vec!["chat:1".into(), "back".into()];
    let told = stage.auth(a, Some(identity));
    assert_eq!(told[0], answer);
    assert!(
        told[1].starts_with(r#"send a {"event":"$join","room":"chat:1","data":{"#),
        "{told:?}"
    );
    assert!(
        told[2].contains(r#""room":"back","error":{"code":"forbidden""#),
        "{told:?}"
    );
    assert_eq!(stage.app.hub().connections_of("ann"), [a]);
    let (_, told) = (stage.connect(late()), stage.wait(4_999));
    assert_eq!(told, [""; 0]);
    let bye = r#"send b {"event":"$bye","data":{"code":4401,"reconnect":true,"after_ms":0}}"#;
    assert_eq!(stage.wait(1), [bye, "close b 4401 no token came in time"]);
    assert_eq!(stage.wait(10_000), [""; 0], "it said who it is");
}

#[test]
fn a_token_that_is_not_valid_closes_only_those_who_have_none() {
    let refused = "the token is not valid: the server's log says why";
    let error = error("$auth", r#","id":1"#, "", "unauthorized", refused);
    let mut stage = Stage::new(WHAT);
    let (a, _) = stage.connect(known(ann(EVERYTHING)));
    assert_eq!(stage.auth(a, None), std::slice::from_ref(&error));
    assert!(stage.text(a, JOIN)[0].contains("offset"));
    let mut stage = Stage::new(WHAT);
    let (a, _) = stage.connect(Handshake::new().with_unidentified(true));
    let bye = r#"send a {"event":"$bye","data":{"code":4401,"reconnect":true,"after_ms":0}}"#;
    let told = stage.auth(a, None);
    assert_eq!(told, [&*error, bye, "close a 4401 no valid token"]);
}

#[test]
fn a_token_that_no_key_is_there_for_is_no_bad_one() {
    let text = "the server has no keys to verify tokens with yet: try again";
    let error = error("$auth", r#","id":1"#, "", "unavailable", text);
    let mut stage = Stage::new(WHAT);
    let (a, _) = stage.connect(known(ann(EVERYTHING)));
    assert_eq!(stage.auth_as(a, None, true), std::slice::from_ref(&error));
    assert!(stage.text(a, JOIN)[0].contains("offset"));
    let mut stage = Stage::new(WHAT);
    let (a, _) = stage.connect(Handshake::new().with_unidentified(true));
    let told = stage.auth_as(a, None, true);
    assert!(
        told[1].contains(r#""code":1013,"reconnect":true"#),
        "{told:?}"
    );
    let close = "close a 1013 no keys for tokens yet";
    assert_eq!([&*told[0], &*told[2]], [&*error, close]);
}

#[test]
fn a_connection_has_one_user() {
    let refusal = |text| error("$auth", r#","id":1"#, "", "forbidden", text);
    let mut stage = Stage::new(WHAT);
    let (a, _) = stage.connect(known(ann(EVERYTHING)));
    let other = refusal("the token is for another user: connect anew with it");
    assert_eq!(stage.auth(a, Some(user("bob", EVERYTHING))), [other]);
    assert_eq!(stage.app.hub().connections_of("ann"), [a]);
    let mut stage = Stage::new(WHAT);
    let (a, _) = stage.connect(Handshake::new());
    stage.text(a, JOIN);
    let late = "a connection without a user gets one before it joins: leave the rooms first";
    assert_eq!(stage.auth(a, Some(ann(EVERYTHING))), [refusal(late)]);
    stage.text(a, r#"{"event":"$leave","room":"chat:1"}"#);
    let told = stage.auth(a, Some(ann(EVERYTHING)));
    assert_eq!(
        told,
        [r#"send a {"event":"$auth","id":1,"data":{"user":"ann"}}"#]
    );
}

#[test]
fn who_may_not_see_who_is_there_is_not_told_either() {
    let mut stage = Stage::new(WHAT);
    let (a, _) = stage.connect(known(ann(r#"[{"rooms":"chat:*","can":["join"]}]"#)));
    let (b, _) = stage.connect(known(user("bob", EVERYTHING)));
    let (c, _) = stage.connect(Handshake::new().with_user("cat"));
    for conn in [a, b, c] {
        stage.text(conn, JOIN);
    }
    let (d, _) = stage.connect(known(user("dan", EVERYTHING)));
    let told = stage.text(d, JOIN);
    assert_eq!(
        told[0],
        r#"send b,c {"event":"$joined","room":"chat:1","data":{"user":"dan"}}"#
    );
}

#[test]
fn presence_shows_the_metadata_of_the_identity_by_default() {
    let mut stage = Stage::new(WHAT);
    let (b, _) = stage.connect(known(user("bob", EVERYTHING)));
    stage.text(b, JOIN);
    let mut identity = ann(EVERYTHING);
    identity.meta = Some(r#"{"name":"Ann"}"#.into());
    let (a, _) = stage.connect(known(identity));
    let told = stage.text(a, JOIN);
    assert!(
        told[0].contains(r#""data":{"user":"ann","meta":{"name":"Ann"}}"#),
        "{told:?}"
    );
}

#[test]
fn rights_and_deadlines_survive_sleep() {
    let mut stage = Stage::new(WHAT);
    let identity = ann(EVERYTHING).with_deadline(stage.in_s(100));
    let (a, _) = stage.connect(known(identity));
    stage.text(a, JOIN);
    let (state, conn) = (
        stage.app.state(),
        stage.app.hub().conn_state(a).expect("alive"),
    );
    let text = serde_json::to_string(&(state, conn)).expect("JSON");
    let (state, conn) = serde_json::from_str(&text).expect("the same");
    let config = Config::new("e").with_policies(serde_json::from_str(WHAT).expect("policies"));
    stage.app = App::restore(config, (), state, [conn]).expect("restored");
    stage.now = stage.in_s(101);
    let told = stage.text(a, r#"{"event":"hi","room":"chat:1"}"#);
    assert!(told[0].contains(r#""code":"expired""#), "{told:?}");
}

#[test]
fn without_tokens_there_is_no_such_verb() {
    let mut stage = Stage::new(WHAT);
    let (a, _) = stage.connect(Handshake::new());
    let told = stage.text(a, r#"{"event":"$auth","id":1}"#);
    let verbs = "$join, $leave, $rooms, $members, $history, $ping";
    let mut verbs = verbs.split(", ");
    assert!(verbs.all(|verb| told[0].contains(verb)), "{told:?}");
    assert!(told[0].contains("$auth where the server takes tokens"));
}
