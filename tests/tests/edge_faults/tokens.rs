//! Tokens at the edge: the ways in, `$auth`, and what survives an eviction.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use roomcast_tests::{Edge, Sockets};

use crate::{
    peer::{Peer, Said},
    tokens::{
        JOIN, KEY, OTHER_KEY, ask, auth, ends, hostile, text, token, token_for, unidentified, ways,
        withdrawal,
    },
};

fn edge(anonymous: &str) -> Edge {
    Edge::start_with_vars(&[
        ("ROOMCAST_TOKEN_KEY", KEY),
        ("ROOMCAST_ANONYMOUS", anonymous),
    ])
}

fn upgrade(edge: &Edge, query: &str, fields: &[String]) -> (Peer, String) {
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    let (peer, head) = ask(&edge.authority(0), query, &fields);
    (peer, head.to_ascii_lowercase())
}

#[test]
fn each_way_brings_the_user_and_a_bad_token_is_401() {
    for anonymous in ["on", "off"] {
        let edge = edge(anonymous);
        for (query, fields) in ways(&token("ann")) {
            let (mut peer, head) = upgrade(&edge, &query, &fields);
            assert!(head.starts_with("http/1.1 101"), "{head}");
            assert!(!head.contains("bearer"), "{head}");
            let welcome = text(&mut peer);
            assert!(welcome.contains(r#""user":"ann""#), "{welcome}");
            peer.say(JOIN);
            assert!(text(&mut peer).contains(r#""epoch""#));
            peer.say(&JOIN.replace("chat:a", "secret"));
            assert!(text(&mut peer).contains(r#""code":"forbidden""#));
        }
        for bad in [
            token_for(KEY, "ann", -60),
            token_for(OTHER_KEY, "ann", 60),
            "a.b".to_owned(),
        ] {
            for (query, fields) in ways(&bad) {
                let (_, head) = upgrade(&edge, &query, &fields);
                assert!(head.starts_with("http/1.1 401"), "{head}");
                let query = match &*query {
                    "" => "?refuse=close".to_owned(),
                    query => format!("{query}&refuse=close"),
                };
                let (mut peer, head) = upgrade(&edge, &query, &fields);
                assert!(head.starts_with("http/1.1 101"), "{head}");
                assert!(text(&mut peer).contains("the token is not valid"));
                assert_eq!(peer.next(), Said::Close(4401));
            }
            let log = edge.log().join("\n");
            assert!(
                bad == "a.b" || !log.contains(&bad[bad.len() - 20..]),
                "{log}"
            );
        }
        let both = vec![format!("Authorization: Bearer {}", token("ann"))];
        let (_, head) = upgrade(&edge, &format!("?token={}", token("bob")), &both);
        assert!(head.starts_with("http/1.1 401"), "{head}");
    }
}

/// Waits for one line after the other about a refused token.
fn refusals(edge: Edge) -> impl FnMut() -> String {
    let mut read = 0;
    move || loop {
        let log = edge.log();
        let mut new = log.iter().skip(read);
        if let Some(told) = new.position(|line| line.contains("refused a token")) {
            read += told + 1;
            return log[read - 1].clone();
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Uses the table of the native server. Each object logs a cause once a minute, so each token goes
/// to another object.
#[test]
fn hostile_tokens_are_refused_on_every_way_in_for_their_cause() {
    hostile::refuse_on_every_way(|group| {
        let keys = group.keys.join(",");
        let mut vars = vec![("ROOMCAST_TOKEN_KEY", &*keys)];
        if group.has_conditions {
            vars.push(("ROOMCAST_TOKEN_ISSUER", hostile::ISSUER));
            vars.push(("ROOMCAST_TOKEN_AUDIENCE", hostile::AUDIENCE));
        }
        let edge = Edge::start_with_vars(&vars);
        (edge.authority(0), refusals(edge))
    });
}

/// The field of a request that may use the API.
fn key() -> String {
    format!("Authorization: Bearer {}\r\n", Edge::API_KEY)
}

#[test]
fn the_log_names_a_withdrawal_and_no_token() {
    withdrawal::log_each_withdrawn_token(&key(), || {
        let edge = edge("off");
        (edge.authority(0), refusals(edge))
    });
}

#[test]
fn a_token_of_the_second_of_not_before_is_taken() {
    let edge = edge("off");
    withdrawal::take_a_token_of_the_second(&edge.authority(0), &key());
}

#[test]
fn withdrawals_survive_evictions() {
    let edge = Edge::start_with_vars(&[
        ("ROOMCAST_TOKEN_KEY", KEY),
        ("ROOMCAST_WITHDRAWN_USERS_MAX", "2"),
    ]);
    withdrawal::outlast_memory(&edge.authority(0), &key(), || {
        let evicted = edge.evict(0, "default", Sockets::Hibernate);
        assert!(evicted.expect("idle"));
        edge.authority(0)
    });
}

#[test]
fn a_client_says_who_it_is_and_stays_so_over_an_eviction() {
    let edge = edge("off");
    let authority = edge.authority(0);
    let (mut peer, welcome) = unidentified(&authority);
    assert!(welcome.contains(r#""auth_in_ms":5000"#), "{welcome}");
    peer.say(JOIN);
    assert!(text(&mut peer).contains(r#""code":"unauthorized""#));
    peer.say(&auth(&token("ann")));
    assert!(text(&mut peer).contains(r#""user":"ann""#));
    let evicted = edge.evict(0, "default", Sockets::Hibernate);
    assert!(evicted.expect("idle"));
    assert!(peer.join("chat:a").contains(r#""epoch""#));
    peer.say(&JOIN.replace("chat:a", "secret"));
    assert!(text(&mut peer).contains(r#""code":"forbidden""#));

    let (mut peer, _) = unidentified(&authority);
    peer.say(&auth(&token_for(OTHER_KEY, "ann", 60)));
    assert!(text(&mut peer).contains(r#""error""#));
    ends(&mut peer, 4401);
}

#[test]
fn a_wrong_key_is_told_without_its_text() {
    let edge = Edge::start_with_vars(&[("ROOMCAST_TOKEN_KEY", "s3cret.pem")]);
    let authority = edge.authority(0);
    let mut stream = TcpStream::connect(&authority).expect("it listens");
    let request = format!("GET / HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    assert!(answer.contains("ROOMCAST_TOKEN_KEY"), "{answer}");
    assert!(!answer.contains("s3cret"), "{answer}");
}
