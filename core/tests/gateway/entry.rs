//! Admission of connections, and the facts known about an admitted connection from then on.

use roomcast_core::{
    Applied, CloseCode, Context, Failure, Handshake, Identity, Input, Rejection, Router, Timestamp,
    UnixTime,
    gateway::{Admission, ConnectError, UpgradeRequest},
    hub::{Refusal, SessionError},
    policy::{GrantRules, Grants},
};
use serde::{Deserialize, Serialize};

use super::stage::Stage;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Seat {
    row: u8,
}

fn theatre() -> Router<&'static str> {
    Router::new("open sesame")
        .guard_upgrade(|request, _| match request.peer {
            Some(peer) if !peer.is_loopback() => {
                Err(Rejection::forbidden("only from here").with_status(451))
            }
            _ => Ok(()),
        })
        .guard_upgrade(|request, word| match request.header("x-word") {
            Some(said) if said == *word => Ok(()),
            _ => Err(Rejection::unauthorized("say the word")),
        })
        .on_upgrade(|request, _| {
            let row = request
                .query
                .strip_prefix("row=")
                .and_then(|row| row.parse().ok());
            let seat = Seat {
                row: row.ok_or_else(|| Rejection::forbidden("which row?"))?,
            };
            let mut admission = Admission::new().with_session(&seat)?;
            if let Some(user) = request.cookie("user") {
                admission = admission.with_user(user);
            }
            Ok(admission.with_subprotocol("theatre.v1"))
        })
        .on("seat", |cx: &mut Context| {
            let seat = cx.session::<Seat>()?;
            Ok::<_, Failure>((cx.user().map(str::to_owned), seat))
        })
        .on("move", |cx: &mut Context, to: Option<Seat>| {
            cx.set_session(&to)
        })
        .on("grow", |cx: &mut Context| {
            let large = cx.set_session(&"x".repeat(1_023));
            assert_eq!(large, Err(SessionError::TooLarge { bytes_max: 1_024 }));
            assert_eq!(cx.session::<String>(), Err(SessionError::Type));
        })
}

fn refused(request: &UpgradeRequest<'_>) -> (u16, CloseCode, String) {
    let stage = Stage::new(theatre());
    let rejection = stage
        .app
        .upgrade(request)
        .now()
        .expect("at once")
        .expect_err("refused");
    let reason = rejection.reason().to_owned();
    (rejection.status(), rejection.close_code(), reason)
}

#[test]
fn an_ipv4_peer_is_one_in_each_of_its_forms() {
    for (came, given) in [
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("2001:db8::1", "2001:db8::1"),
    ] {
        let request = UpgradeRequest::new("/ws", "").with_peer(came.parse().expect("an address"));
        assert_eq!(
            request.peer.map(|peer| peer.to_string()),
            Some(given.into())
        );
    }
}

#[test]
fn guards_of_the_upgrade_come_before_its_hook_in_their_order() {
    let request = UpgradeRequest::new("/ws", "");
    let remote = request.with_peer([192, 0, 2, 1].into());
    assert_eq!(
        refused(&remote),
        (451, CloseCode::FORBIDDEN, "only from here".into())
    );
    assert_eq!(
        refused(&request),
        (401, CloseCode::UNAUTHORIZED, "say the word".into())
    );
    let known = request.with_headers(&[("X-Word", "open sesame")]);
    assert_eq!(
        refused(&known),
        (403, CloseCode::FORBIDDEN, "which row?".into())
    );
    assert_eq!(
        Rejection::overloaded("say \"later\"").frame(),
        r#"{"event":"$error","error":{"code":"overloaded","message":"say \"later\""}}"#
    );
}

#[test]
fn what_the_upgrade_found_out_stays_with_the_connection() {
    let mut stage = Stage::new(theatre());
    let headers = [
        ("X-Word", "open sesame"),
        ("Cookie", r#"theme=dark; user="ann"; user=eve"#),
        ("Sec-WebSocket-Protocol", "roomcast.v1, theatre.v1"),
    ];
    let request = UpgradeRequest::new("/ws", "row=7").with_headers(&headers);
    let admission = stage
        .app
        .upgrade(&request)
        .now()
        .expect("at once")
        .expect("admitted");
    assert_eq!(admission.subprotocol.as_deref(), Some("theatre.v1"));
    let unasked = request.with_headers(&headers[..2]);
    let unasked = stage
        .app
        .upgrade(&unasked)
        .now()
        .expect("at once")
        .expect("admitted");
    assert_eq!(
        unasked.subprotocol, None,
        "one that was not offered is not selected"
    );

    let handshake = admission.handshake(Handshake::new(), UnixTime::default());
    let a = stage.connect_with(handshake).expect("room");
    stage.take();
    for (text, lines) in [
        (
            r#"{"event":"seat"}"#,
            &[r#"send a {"event":"seat","data":["ann",{"row":7}]}"#][..],
        ),
        (r#"{"event":"move","data":{"row":8}}"#, &["persist a"]),
        (r#"{"event":"move","data":{"row":8}}"#, &[]),
        (r#"{"event":"grow"}"#, &[]),
        (
            r#"{"event":"seat"}"#,
            &[r#"send a {"event":"seat","data":["ann",{"row":8}]}"#],
        ),
        (r#"{"event":"move"}"#, &["persist a"]),
        (
            r#"{"event":"seat"}"#,
            &[r#"send a {"event":"seat","data":["ann",null]}"#],
        ),
    ] {
        stage.text(a, text);
        assert_eq!(stage.take(), lines, "{text}");
        stage.sleep(theatre());
    }
}

#[test]
fn a_session_is_there_to_the_end() {
    let router = Router::new(Vec::new())
        .on_connect(|cx, _| Ok(cx.set_session(&7)?))
        .on_disconnect(|cx, seen: &mut Vec<_>, _| {
            seen.push(cx.session::<u8>());
            assert!(cx.set_session(&8).is_err());
        });
    let (mut stage, [a]) = Stage::connected(router);
    stage.lost(a);
    assert_eq!(stage.app.gateway().state(), &[Ok(Some(7))]);
}

#[test]
fn an_error_while_connecting_is_for_the_host_alone() {
    let router = Router::default().on_connect(|_, ()| {
        let _: u8 = "SECRET".parse()?;
        Ok(())
    });
    let mut stage = Stage::new(router);
    let refused = stage.connect("ann").expect_err("refused");
    assert!(!refused.to_string().contains("digit"), "{refused}");
    assert_eq!(
        stage.faults(),
        ["connect of connection 0: invalid digit found in string"]
    );
    stage.expect([]);
}

#[test]
fn parameters_of_the_query_are_decoded() {
    let request = UpgradeRequest::new("/ws", "a=1&name=J%C3%BCrgen+M&name=x");
    assert_eq!(request.param("name").as_deref(), Some("Jürgen M"));
    assert_eq!(request.param("none"), None);
}

/// Identifies the user by the session when the connection opens.
fn by_session() -> Router {
    Router::default().on_connect(|cx, ()| {
        if let Some(user) = cx.session::<String>()? {
            cx.set_user(&user)?;
        }
        Ok(())
    })
}

#[test]
fn a_withdrawal_is_over_for_users_whom_the_application_names_later() {
    let mut stage = Stage::new(by_session());
    let upgraded = |seconds: u64| {
        let asked = UnixTime::from_millis(seconds * 1000);
        let ann = Admission::new().with_user("ann");
        ann.handshake(Handshake::new(), asked)
    };
    let named = || Handshake::new().with_session(r#""ann""#);
    let withdraw = |not_before_s| Input::Withdraw {
        user: "ann".into(),
        not_before_s,
    };
    stage.now = Timestamp::from_millis(5_999);
    let before = [upgraded(5), named()].map(|handshake| stage.connect_with(handshake));
    assert!(before.iter().all(Result::is_ok), "{before:?}");
    assert_eq!(stage.apply(&withdraw(6)), Applied::Withdrawn(2));
    stage.sleep(by_session());
    assert!(stage.connect_with(named()).is_err());
    stage.now = Timestamp::from_millis(6_000);
    // The user was withdrawn while the application decided.
    let late = stage.connect_with(upgraded(5));
    assert_eq!(late, Err(ConnectError::Hub(Refusal::Withdrawn)));
    let back = [upgraded(6), named()].map(|handshake| stage.connect_with(handshake));
    assert!(back.iter().all(Result::is_ok), "{back:?}");
    // Withdrawal times survive sleep, and are compared with the host's wall clock.
    stage.sleep(by_session());
    assert_eq!(stage.apply(&withdraw(6)), Applied::Withdrawn(0));
    stage.apply(&Input::WallClock {
        unix_zero_ms: 10_000,
    });
    assert!(stage.connect_with(named()).is_ok());
    assert_eq!(stage.apply(&withdraw(16)), Applied::Withdrawn(2));
    let left = stage.app.hub().connections_of("ann").len();
    assert_eq!(left, 1);
}

#[test]
fn another_user_than_that_of_the_token_has_nothing_but_its_end() {
    let rules = r#"[{"rooms":"of:ann","can":["join"]}]"#;
    let rules = GrantRules::from_json(rules).expect("grants");
    let deadline = Timestamp::from_millis(60_000);
    let mut ann = Identity::user("ann").with_grants(rules.for_user(None));
    ann = ann.with_deadline(deadline);
    ann.issued_s = Some(3);
    ann.meta = Some("{}".into());
    ann.rooms = vec!["of:ann".into()];
    let asked = UnixTime::from_millis(7_000);
    let admitted = |admission: Admission| {
        let host = Handshake::new().with_identity(ann.clone());
        admission.handshake(host, asked).identity
    };
    for same in [Admission::new(), Admission::new().with_user("ann")] {
        assert_eq!(admitted(same), ann);
    }
    let mut ben = Identity::user("ben").with_grants(Grants::default());
    ben = ben.with_deadline(deadline);
    ben.issued_s = Some(7);
    assert_eq!(admitted(Admission::new().with_user("ben")), ben);
    ben.grants = Some(rules.for_user(Some("ben")));
    let given = Admission::new().with_user("ben").with_grants(rules.clone());
    assert_eq!(admitted(given), ben);
}
