//! A backend that is asked, at the edge.

use std::thread;

use roomcast_tests::{Edge, Sockets};

use crate::{
    asked::{Asked, Questions, asked, backend, is_quiet, settings},
    peer::Peer,
    tokens::{OFFER, ask, text},
};

/// A worker that asks this backend.
fn asking(url: &str, more: &str) -> Edge {
    Edge::start_with_vars(&[("ROOMCAST_CONFIG", &*settings(url, more))])
}

/// Connects a client with a cookie while `then` handles its question; returns the head of the
/// answer too.
fn connect(edge: &Edge, cookie: &str, then: impl FnOnce() + Send) -> (Peer, String) {
    let cookie = format!("Cookie: session={cookie}");
    thread::scope(|scope| {
        scope.spawn(then);
        ask(&edge.authority(0), "", &[OFFER, &cookie, "X-Secret: hush"])
    })
}

/// A client that is in, with the grants of the backend alone.
fn enter(edge: &Edge, questions: &Questions, user: &str) -> Peer {
    let body = format!(r#"{{"user":"{user}"}}"#);
    let (mut peer, head) = connect(edge, user, || asked(questions).answer(200, &body));
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(text(&mut peer).contains("$welcome"));
    peer
}

fn logged(edge: &Edge, says: &str) -> String {
    // The log comes by a pipe of its own.
    loop {
        let mut log = edge.log().into_iter();
        if let Some(line) = log.find(|line| line.contains(says)) {
            return line;
        }
        thread::yield_now();
    }
}

#[test]
fn nobody_comes_in_without_the_word_of_the_backend() {
    let (url, questions) = backend();
    // Every other answer has to come within this time, also on a busy machine.
    let edge = asking(&url, "timeout_ms = 5000\n");
    let status = |cookie: &str, then: &(dyn Fn(Asked) + Sync)| {
        let (_, head) = connect(&edge, cookie, || then(asked(&questions)));
        head[9..12].to_owned()
    };
    let redirect = |asked: Asked| {
        let answer = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\
                      Content-Length: 0\r\n\r\n";
        asked.answer.send(answer.to_owned()).expect("it waits");
    };
    let slow = |asked: Asked| std::mem::forget(asked.answer);
    let allow = |asked: Asked| {
        let question = asked.question.to_string();
        let known = ["good", "better"].map(|it| {
            format!(
                r#"{{"headers":{{"cookie":"session={it}"}},"namespace":"default","type":"connect"}}"#
            )
        });
        assert!(known.contains(&question), "{question}");
        let signed = asked.head.contains("webhook-signature: v1,");
        assert!(signed && !asked.head.contains("hush"), "{}", asked.head);
        asked.answer(200, r#"{"user":"ann","ttl_s":600}"#);
    };
    assert_eq!(status("401", &|asked| asked.answer(401, "")), "401");
    assert_eq!(status("403", &|asked| asked.answer(403, "")), "403");
    assert_eq!(status("redirect", &redirect), "503");
    assert_eq!(status("slow", &slow), "503");
    assert_eq!(status("good", &allow), "101");
    // Kept while the backend says so.
    let (mut peer, _) = connect(&edge, "good", || ());
    let welcome = text(&mut peer);
    assert!(welcome.contains(r#""user":"ann""#), "{welcome}");
    assert!(is_quiet(&questions), "asked again");
    let huge = |asked: Asked| asked.answer(200, &" ".repeat(100_000));
    // A stranger whose questions it cannot answer keeps nobody out.
    for number in 0..7 {
        let fails = |asked: Asked| asked.answer(500, "hush");
        assert_eq!(status(&format!("no{number}"), &fails), "503");
        assert_eq!(status(&format!("gone{number}"), &drop), "503");
    }
    assert_eq!(status("huge", &huge), "503");
    assert_eq!(status("garbage", &|asked| asked.answer(200, "[]")), "503");
    assert_eq!(status("better", &allow), "101");
    for number in 0..4 {
        let busy = |asked: Asked| asked.answer(503, "hush");
        assert_eq!(status(&format!("busy{number}"), &busy), "503");
    }
    assert_eq!(status("slower", &slow), "503");
    // After five failures in a row the backend is left alone.
    let (_, head) = connect(&edge, "late", || ());
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    assert!(is_quiet(&questions), "asked in spite of its failures");
    for says in [
        "redirects are not followed",
        "no answer within",
        "is asked again in",
    ] {
        let line = logged(&edge, says);
        assert!(!line.contains("hush") && !line.contains("secret"), "{line}");
    }
}

/// The object does not sleep before the answer, and the rights outlive its sleep.
#[test]
fn what_is_sent_behind_a_join_waits_for_it() {
    let (url, questions) = backend();
    let edge = asking(&url, "timeout_ms = 10000\n");
    let mut ann = enter(&edge, &questions, "ann");
    ann.say(r#"{"event":"$join","id":1,"room":"den"}"#);
    ann.say(r#"{"event":"said","id":2,"room":"den"}"#);
    let question = asked(&questions);
    assert_eq!(
        question.question.to_string(),
        r#"{"namespace":"default","room":"den","type":"join","user":"ann"}"#
    );
    thread::scope(|scope| {
        // It waits until the object has nothing to do.
        let evicting = scope.spawn(|| edge.evict(0, "default", Sockets::Hibernate));
        ann.say(r#"{"event":"$ping","id":3}"#);
        let pong = text(&mut ann);
        assert!(pong.contains(r#""event":"$pong","id":3"#), "{pong}");
        let mut ben = enter(&edge, &questions, "ben");
        ben.say(r#"{"event":"$join","id":4,"room":"den"}"#);
        asked(&questions).answer(403, r#"{"message":"not yours"}"#);
        let refused = text(&mut ben);
        let told = r#""error":{"code":"forbidden","message":"not yours""#;
        assert!(refused.contains(told), "{refused}");
        question.allow("ann", &["join", "publish"]);
        for expected in [
            r#"{"event":"$join","id":1,"room":"den","data":{"epoch""#,
            r#"{"event":"said","id":2,"room":"den","data""#,
        ] {
            let said = text(&mut ann);
            assert!(said.starts_with(expected), "{said}");
        }
        assert_eq!(evicting.join().expect("no panic"), Ok(true));
    });
    ann.say(r#"{"event":"said","id":5,"room":"den"}"#);
    let said = text(&mut ann);
    let kept = r#"{"event":"said","id":5,"room":"den","data""#;
    assert!(said.starts_with(kept), "{said}");
}
