//! Causes for which a token is refused: in the log, with the way out, and not for the client.

use roomcast_token::SigningKey;

use super::{
    KEY, OFFER, OTHER_KEY, ask, auth, serve, text, token, token_for, unidentified, unix_s,
};

/// A token with these claims beside a user and an end.
fn with(claims: &str) -> String {
    let end = unix_s() + 60;
    let key = SigningKey::parse(KEY).expect("a key");
    key.sign_json(&format!(r#"{{"sub":"ann","exp":{end},{claims}}}"#))
}

/// Claims with one rule of grants that is sound, and one more.
fn with_rule(rule: &str) -> String {
    let sound = r#"{"rooms":"chat:*","can":["join"]}"#;
    with(&format!(r#""grants":[{sound},{rule}]"#))
}

#[test]
fn the_log_names_what_is_to_be_changed_and_the_client_reads_nothing_of_it() {
    let issuer = ["--token-issuer", "me"];
    let cases: [(&[&str], String, &str); 14] = [
        (
            &[],
            with_rule(r#"{"rooms":"a","can":["publsh"]}"#),
            r#"grants[1].can: "publsh" is no right: write "publish""#,
        ),
        (
            &[],
            with_rule(r#"{"room":"a","can":["join"]}"#),
            r#"grants[1]: unknown member "room": write "rooms""#,
        ),
        (&[], with_rule(r#"{"rooms":"a"}"#), "grants[1] has no `can`"),
        (
            &[],
            with(r#""grants":{}"#),
            "`grants` are not as they must be",
        ),
        (&[], with(r#""aud":"me""#), "set `token-audience`"),
        (
            &["--token-audience", "us"],
            with(r#""aud":"me""#),
            "`token-audience`",
        ),
        (
            &issuer,
            with(r#""iss":"you""#),
            r#""you", and `token-issuer`"#,
        ),
        (&issuer, token("ann"), "no `iss`: sign it with one"),
        (
            &[],
            with(r#""rooms":"a""#),
            "`rooms` is not a list of strings",
        ),
        (
            &[],
            token_for(KEY, "ann", -60),
            "renew it earlier, or compare the clocks",
        ),
        (&[], with(r#""nbf":4000000000"#), "compare the clocks"),
        (
            &[],
            token_for(OTHER_KEY, "ann", 60),
            "signed with another key",
        ),
        (&[], token_for(super::PRIVATE, "ann", 60), "`token-key`"),
        (&[], "a.b".to_owned(), "send a signed JWT"),
    ];
    for (flags, token, said) in cases {
        let mut server = serve(flags);
        let bearer = format!("Authorization: Bearer {token}");
        let (mut peer, head) = ask(&server.authority, "?refuse=close", &[OFFER, &bearer]);
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        let told = text(&mut peer);
        let client = "the token is not valid; the server's log says why";
        assert!(told.contains(client) && !told.contains(said), "{told}");
        let line = server.logged("refused a token");
        assert!(line.contains(said), "{line}");
        let parts = token.split('.').filter(|part| part.len() > 8);
        assert!(!parts.into_iter().any(|part| line.contains(part)), "{line}");
    }
}

#[test]
fn what_auth_brings_is_logged_as_well() {
    for threads in ["--threads=1", "--threads=3"] {
        let mut server = serve(&[threads]);
        for (message, said) in [
            (
                auth(&with_rule(r#"{"rooms":"a","can":["Join"]}"#)),
                r#"grants[1].can: "Join" is no right: write "join""#,
            ),
            (r#"{"event":"$auth","id":"a"}"#.to_owned(), "sent no token"),
        ] {
            let (mut peer, _) = unidentified(&server.authority);
            peer.say(&message);
            let told = text(&mut peer);
            assert!(told.contains(r#""code":"unauthorized""#), "{told}");
            let line = server.logged("refused a token");
            assert!(line.contains(said), "{line}");
        }
    }
}
