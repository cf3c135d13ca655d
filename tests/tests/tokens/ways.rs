//! The ways in of a token, in the upgrade request.

use super::{JOIN, KEY, OFFER, OTHER_KEY, ask, serve, text, token, token_for, ways};
use crate::{
    peer::{Said, metric},
    process::child::Process,
};

#[test]
fn each_way_brings_the_user_and_the_grants() {
    for flags in [&["--threads=1"][..], &["--threads=2"], &["--anonymous=on"]] {
        let server = serve(flags);
        let token = token("ann");
        for (query, fields) in ways(&token) {
            let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
            let (mut peer, head) = ask(&server.authority, &query, &fields);
            assert!(head.starts_with("HTTP/1.1 101"), "{head}");
            assert!(
                head.contains("roomcast.v1") && !head.contains("bearer"),
                "{head}"
            );
            let welcome = text(&mut peer);
            assert!(welcome.contains(r#""user":"ann""#), "{welcome}");
            assert!(welcome.contains(r#""expires_in_ms":"#), "{welcome}");
            peer.say(JOIN);
            let joined = text(&mut peer);
            assert!(joined.contains(r#""epoch""#), "{joined}");
            peer.say(&JOIN.replace("chat:a", "secret"));
            let refused = text(&mut peer);
            assert!(refused.contains(r#""code":"forbidden""#), "{refused}");
        }
    }
}

#[test]
fn a_bad_token_is_401_whatever_else_holds_and_says_nothing_of_why() {
    for anonymous in ["on", "off"] {
        let server = serve(&["--anonymous", anonymous]);
        let bad = [
            (token_for(KEY, "ann", -60), "token_expired"),
            (token_for(OTHER_KEY, "ann", 60), "token_signature"),
            ("a.b".to_owned(), "token_malformed"),
            (token_for(KEY, "", 60), "token_claims"),
        ];
        for (token, reason) in bad {
            for (query, fields) in ways(&token) {
                let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
                let (_, head) = ask(&server.authority, &query, &fields);
                assert!(head.starts_with("HTTP/1.1 401"), "{reason}: {head}");
                assert!(head.contains("www-authenticate: Bearer"), "{head}");
                let query = match &*query {
                    "" => "?refuse=close".to_owned(),
                    query => format!("{query}&refuse=close"),
                };
                let (mut peer, head) = ask(&server.authority, &query, &fields);
                assert!(head.starts_with("HTTP/1.1 101"), "{head}");
                let why = text(&mut peer);
                assert!(why.contains("the token is not valid"), "{why}");
                assert!(why.contains(r#""code":"unauthorized""#), "{why}");
                assert_eq!(peer.next(), Said::Close(4401));
            }
            let counted = format!("roomcast_refused_total{{reason=\"{reason}\"}}");
            assert_eq!(metric(&server.authority, &counted), Some(6), "{reason}");
        }
    }
}

#[test]
fn two_tokens_are_refused_unless_they_are_the_same() {
    let server = serve(&[]);
    let (one, other) = (token("ann"), token("bob"));
    let bearer = format!("Authorization: Bearer {one}");
    let both = ask(&server.authority, &format!("?token={other}"), &[&bearer]);
    assert!(both.1.starts_with("HTTP/1.1 401"), "{}", both.1);
    let same = ask(&server.authority, &format!("?token={one}"), &[&bearer]);
    assert!(same.1.starts_with("HTTP/1.1 101"), "{}", same.1);
}

#[test]
fn without_a_token_an_anonymous_client_has_no_rights_but_those_of_anyone() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("roomcast.toml");
    let text_of_it = "[[grants]]\nfor = \"anyone\"\nrooms = \"news\"\ncan = [\"join\"]\n";
    std::fs::write(&config, text_of_it).expect("written");
    let config = config.to_str().expect("text");
    let server = serve(&["--anonymous=on", "--config", config]);
    let (mut peer, head) = ask(&server.authority, "", &[OFFER]);
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let welcome = text(&mut peer);
    assert!(welcome.contains(r#""user":"""#), "{welcome}");
    peer.say(JOIN);
    let refused = text(&mut peer);
    assert!(refused.contains(r#""code":"forbidden""#), "{refused}");
    peer.say(&JOIN.replace("chat:a", "news"));
    let joined = text(&mut peer);
    assert!(joined.contains(r#""epoch""#), "{joined}");
}

#[test]
fn where_no_token_is_configured_none_is_looked_at() {
    let server = Process::start(&[]);
    let (mut peer, head) = ask(
        &server.authority,
        "?token=a",
        &[OFFER, "Authorization: Bearer b"],
    );
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(text(&mut peer).contains(r#""user":"""#));
    assert!(peer.join("any").contains(r#""epoch""#));
}
