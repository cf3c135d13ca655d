//! Published keys at the edge: one fetch for all objects, what waits for it, and what is kept.

use std::{
    io::Write,
    path::Path,
    sync::{
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc,
    },
};

use roomcast_tests::Edge;

use crate::tokens::{
    JOIN, KEY, OFFER, PRIVATE, PUBLIC, ask, auth, ends,
    jwks::{
        Issuer, NEXT_PRIVATE, NEXT_PUBLIC, other_key, published, useless_answers, useless_issuers,
    },
    text, token_for, unidentified,
};

/// The status of an upgrade with a token, in a namespace.
fn status(edge: &Edge, namespace: &str, token: &str) -> String {
    let bearer = format!("Authorization: Bearer {token}");
    let (_, head) = ask(
        &edge.authority(0),
        &format!("/{namespace}"),
        &[OFFER, &bearer],
    );
    head[9..12].to_owned()
}

#[test]
fn unknown_keys_in_many_namespaces_are_one_fetch_and_known_ones_go_on() {
    let issuer = Issuer::of(PUBLIC);
    let edge = Edge::start_with_vars(&[("ROOMCAST_JWKS", &issuer.url)]);
    let good = token_for(PRIVATE, "ann", 60);
    assert_eq!(status(&edge, "default", &good), "101");
    for number in 0..100 {
        let unknown = token_for(&other_key(number), "ann", 60);
        let namespace = format!("n{}", number % 10);
        assert_eq!(status(&edge, &namespace, &unknown), "401", "{number}");
        assert_eq!(status(&edge, &namespace, &good), "101", "{number}");
    }
    assert_eq!(issuer.fetches(), 1);
}

#[test]
fn a_new_key_is_one_fetch_and_an_old_one_is_taken_while_it_is_published() {
    let (issuer, answer) = Issuer::changing(PUBLIC);
    let publish = |keys: &str| *answer.lock().expect("no panic") = published(keys);
    let edge = Edge::start_with_vars(&[
        ("ROOMCAST_JWKS", &*issuer.url),
        ("ROOMCAST_JWKS_INTERVAL_MS", "100"),
    ]);
    let old = token_for(PRIVATE, "ann", 60);
    let new = token_for(NEXT_PRIVATE, "ann", 60);
    assert_eq!(status(&edge, "default", &old), "101");
    publish(&format!("{PUBLIC},{NEXT_PUBLIC}"));
    while status(&edge, "default", &new) != "101" {}
    assert_eq!(issuer.fetches(), 2);
    assert_eq!(status(&edge, "default", &old), "101");
    publish(NEXT_PUBLIC);
    let unknown = token_for(&other_key(0), "ann", 60);
    while issuer.fetches() == 2 {
        assert_eq!(status(&edge, "default", &unknown), "401");
    }
    assert_eq!(status(&edge, "default", &old), "401");
    assert_eq!(status(&edge, "default", &new), "101");
}

#[test]
fn a_message_waits_for_the_keys_and_what_comes_behind_it_too() {
    // The issuer answers when the test says so.
    let (release, released) = mpsc::channel::<()>();
    let issuer = Issuer::new(move |stream| {
        if released.recv().is_ok() {
            let _ = stream.write_all(&published(PUBLIC));
        }
    });
    let edge =
        Edge::start_with_vars(&[("ROOMCAST_JWKS", &issuer.url), ("ROOMCAST_TOKEN_KEY", KEY)]);
    let authority = edge.authority(0);
    let (mut waiting, _) = unidentified(&authority);
    let (mut other, _) = unidentified(&authority);
    waiting.say(&auth(&token_for(PRIVATE, "ann", 60)));
    waiting.say(JOIN);
    // Nobody else waits.
    other.say(&auth(&token_for(KEY, "bob", 60)));
    assert!(text(&mut other).contains(r#""user":"bob""#));
    release.send(()).expect("an issuer that waits");
    let known = text(&mut waiting);
    assert!(known.contains(r#""user":"ann""#), "{known}");
    assert!(text(&mut waiting).contains(r#""epoch""#));
    assert_eq!(issuer.fetches(), 1);
}

#[test]
fn keys_are_kept_for_a_module_that_begins_anew_while_the_issuer_is_down() {
    // It answers once.
    let asked = AtomicBool::new(false);
    let issuer = Issuer::new(move |stream| {
        if !asked.swap(true, SeqCst) {
            let _ = stream.write_all(&published(PUBLIC));
        }
    });
    let entry = Path::new(env!("CARGO_MANIFEST_DIR")).join("edge/faulty.js");
    let vars = [("ROOMCAST_JWKS", &*issuer.url)];
    let edge = Edge::start_with_vars_behind(&entry, &vars);
    let good = token_for(PRIVATE, "ann", 60);
    // Something is stored of a namespace in which somebody was.
    let (mut first, _) = unidentified(&edge.authority(0));
    first.say(&auth(&good));
    assert!(text(&mut first).contains(r#""user":"ann""#));
    let plan = "/-/fail?call=frame&calls=1";
    edge.post(0, plan).expect("a plan");
    first.say(JOIN);
    ends(&mut first, 1011);
    assert_eq!(status(&edge, "default", &good), "101");
    assert_eq!(issuer.fetches(), 1);
}

#[test]
fn an_issuer_that_misbehaves_is_no_reason_to_wait_or_to_believe() {
    for (issuer, _, says) in useless_issuers() {
        let edge = Edge::start_with_vars(&[("ROOMCAST_JWKS", &issuer.url)]);
        let token = token_for(PRIVATE, "ann", 60);
        assert_eq!(status(&edge, "default", &token), "503", "{says}");
        // The log comes by a pipe of its own.
        while !edge.log().join("\n").contains(says) {
            std::thread::yield_now();
        }
        let (mut peer, _) = unidentified(&edge.authority(0));
        peer.say(&auth(&token));
        let told = text(&mut peer);
        assert!(told.contains(r#""code":"unavailable""#), "{told}");
        ends(&mut peer, 1013);
        assert!((1..=2).contains(&issuer.fetches()), "{says}");
    }
}

/// An object looks for new keys when a token comes.
#[test]
fn known_keys_go_on_when_the_issuer_misbehaves_or_is_down() {
    let stays = |issuer: &Issuer, says: &str, stop: bool| {
        let edge = Edge::start_with_vars(&[
            ("ROOMCAST_JWKS", &*issuer.url),
            ("ROOMCAST_JWKS_INTERVAL_MS", "100"),
            ("ROOMCAST_JWKS_REFRESH_MS", "100"),
        ]);
        let good = token_for(PRIVATE, "ann", 60);
        assert_eq!(status(&edge, "default", &good), "101", "{says}");
        if stop {
            issuer.stop();
        }
        let line = loop {
            assert_eq!(status(&edge, "default", &good), "101", "{says}");
            let mut log = edge.log().into_iter();
            if let Some(line) = log.find(|line| line.contains("the keys from before stay")) {
                break line;
            }
        };
        assert!(line.contains(says), "{line}");
        assert_eq!(status(&edge, "default", &good), "101", "{says}");
    };
    for (answer, _, says) in useless_answers() {
        stays(&Issuer::turning(answer), says, false);
    }
    stays(&Issuer::of(PUBLIC), "ROOMCAST_JWKS", true);
}

#[test]
fn a_key_that_is_published_no_more_is_refused_from_the_refresh_on() {
    let (issuer, answer) = Issuer::changing(PUBLIC);
    let edge = Edge::start_with_vars(&[
        ("ROOMCAST_JWKS", &*issuer.url),
        ("ROOMCAST_JWKS_INTERVAL_MS", "100"),
        ("ROOMCAST_JWKS_REFRESH_MS", "100"),
    ]);
    let old = token_for(PRIVATE, "ann", 60);
    assert_eq!(status(&edge, "default", &old), "101");
    *answer.lock().expect("no panic") = published(NEXT_PUBLIC);
    while status(&edge, "default", &old) == "101" {}
    let new = token_for(NEXT_PRIVATE, "ann", 60);
    assert_eq!(status(&edge, "default", &new), "101");
}

#[test]
fn a_renewal_without_keys_is_unavailable_and_changes_nothing() {
    let issuer = Issuer::new(|stream| {
        let _ =
            stream.write_all(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    });
    let edge =
        Edge::start_with_vars(&[("ROOMCAST_JWKS", &issuer.url), ("ROOMCAST_TOKEN_KEY", KEY)]);
    let (mut peer, _) = unidentified(&edge.authority(0));
    peer.say(&auth(&token_for(KEY, "ann", 60)));
    assert!(text(&mut peer).contains(r#""user":"ann""#));
    peer.say(&auth(&token_for(PRIVATE, "ann", 60)));
    let told = text(&mut peer);
    assert!(told.contains(r#""code":"unavailable""#), "{told}");
    assert!(peer.join("chat:a").contains(r#""epoch""#));
}
