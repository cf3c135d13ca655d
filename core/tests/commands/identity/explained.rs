//! Explanations of rights, and the rights of clients.

use roomcast_core::{Explained, Explanation, Handshake, policy::Right};

use super::{JOIN, Stage, ann, known};

#[test]
fn explanations_of_rights_agree_with_what_clients_are_answered() {
    let what = r#"{"grants":[{"for":"users","rooms":"home:{user}","can":["join"]}]}"#;
    let mut stage = Stage::new(what);
    let (a, _) = stage.connect(known(ann(r#"[{"rooms":"chat:*","can":["join"]}]"#)));
    let (b, _) = stage.connect(Handshake::new());
    let (c, _) = stage.connect(Handshake::new().with_unidentified(true));
    let why = |stage: &Stage, conn, right, room: &str| {
        let room = room.to_owned();
        let explained = Explained::Right { right, room };
        let Explanation { reason, rule, .. } = stage.app.hub().explain(&explained, conn);
        let code = serde_json::to_value(&reason).expect("JSON")["reason"].take();
        (
            code.as_str().expect("a code").to_owned(),
            rule.map(String::from),
            reason.received(),
        )
    };
    let told =
        |code: &str, rule: Option<&str>, has| (code.to_owned(), rule.map(str::to_owned), Some(has));
    let (join, publish) = (Right::Join, Right::Publish);
    let granted = told("granted", Some("chat:*"), true);
    assert_eq!(why(&stage, a, join, "chat:1"), granted);
    let standard = told("granted_to_users", Some("home:{user}"), true);
    assert_eq!(why(&stage, a, join, "home:ann"), standard);
    assert_eq!(
        why(&stage, a, publish, "chat:1"),
        told("not_granted", None, false)
    );
    assert_eq!(
        why(&stage, b, publish, "chat:1"),
        told("every_right", None, true)
    );
    assert_eq!(
        why(&stage, c, join, "chat:1"),
        told("unidentified", None, false)
    );
    // A message that its publisher may not publish reaches nobody.
    stage.text(b, JOIN);
    let published = Explained::Publish {
        from: a,
        room: "chat:1".to_owned(),
        echo: None,
    };
    let explanation = stage.app.hub().explain(&published, b);
    assert_eq!(explanation.reason.received(), Some(false));
    for (right, room) in [
        (join, "chat:1"),
        (join, "home:ann"),
        (join, "home:bob"),
        (publish, "chat:1"),
    ] {
        for conn in [a, b, c] {
            let allowed = stage.app.hub().allows(stage.now, conn, right, room);
            let (.., received) = why(&stage, conn, right, room);
            assert_eq!(received, Some(allowed), "{conn} {right:?} {room}");
        }
    }
}
