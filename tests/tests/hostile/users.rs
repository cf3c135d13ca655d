//! The limits on the connections of one user, and on what they send.

use std::time::Instant;

use serde_json::Value;

use crate::{
    peer::{Peer, Said, TEXT, frame, metric},
    process::child::Process,
};

const LIMIT: &str = "--connections-per-user-max=2";
const REFUSED: &str = r#"roomcast_refused_total{reason="connections_per_user"}"#;

fn ask(process: &Process, user: &str) -> (Peer, String) {
    let mut peer = Peer::silent(&process.authority);
    let head = peer.ask(&process.authority, "/ws", &format!("X-User: {user}\r\n"));
    (peer, head)
}

#[test]
fn a_user_has_as_many_connections_as_allowed() {
    let proxy = ["--trusted-proxy=127.0.0.1", "--user-header=X-User"];
    let mut process = Process::start(&[LIMIT, proxy[0], proxy[1]]);
    let (first, head) = ask(&process, "ann");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let (second, head) = ask(&process, "ann");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let (_, head) = ask(&process, "ann");
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(head.to_lowercase().contains("retry-after"), "{head}");
    assert_eq!(metric(&process.authority, REFUSED), Some(1));
    let (_other, head) = ask(&process, "ben");
    assert!(head.starts_with("HTTP/1.1 101 "), "another user: {head}");
    drop(first);
    process.until("the place is free", |process| {
        ask(process, "ann").1.starts_with("HTTP/1.1 101 ")
    });
    drop(second);
}

#[test]
fn a_user_who_says_so_later_is_counted_too() {
    let secret = "0123456789abcdef0123456789abcdef";
    let key = format!("hs256:{secret}");
    let flag = format!("--token-key={key}");
    let made = crate::process::child::roomcast()
        .args(["token", "--user", "ann", "--key", &key])
        .output()
        .expect("a process");
    let token = String::from_utf8(made.stdout).expect("text");
    let auth = format!(
        r#"{{"event":"$auth","id":1,"data":{{"token":"{}"}}}}"#,
        token.trim()
    );
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{said}");
    // With three the connection and its namespace may be on two.
    for threads in ["--threads=1", "--threads=3"] {
        let process = Process::start(&["--connections-per-user-max=1", &flag, threads]);
        second_is_refused(&process, &auth);
    }
}

fn second_is_refused(process: &Process, auth: &str) {
    let mut first = Peer::connect(&process.authority, "");
    // The second time it renews, and stays the one connection.
    for _ in 0..2 {
        first.say(auth);
        let answer = first.next();
        let Said::Text(text) = &answer else {
            panic!("{answer:?}")
        };
        assert!(text.contains("$auth") && !text.contains("error"), "{text}");
    }
    let mut second = Peer::connect(&process.authority, "");
    second.say(auth);
    let rest = second.rest();
    let [.., Said::Text(error), Said::Text(bye), Said::Close(1013)] = &rest[..] else {
        panic!("{rest:?}")
    };
    let told = concat!(
        r#"{"event":"$auth","id":1,"error":{"code":"overloaded","#,
        r#""message":"too many connections of this user, who may have 1: close others first","#,
        r#""details":{"limit":1}}}"#
    );
    assert_eq!(error, told);
    assert!(bye.contains("$bye"), "{bye}");
    assert_eq!(metric(&process.authority, REFUSED), Some(1));
}

const PROXY: [&str; 2] = ["--trusted-proxy=127.0.0.1", "--user-header=X-User"];

fn refused(process: &Process, cause: &str) -> Option<u64> {
    let name = format!(r#"roomcast_refused_total{{reason="{cause}"}}"#);
    metric(&process.authority, &name)
}

/// Has the server refuse a connection up to the close; gives the errors before it.
fn flood(peer: &mut Peer, messages: &[u8]) -> Vec<Value> {
    peer.write(messages);
    let rest = peer.rest();
    assert_eq!(rest.last(), Some(&Said::Close(4429)), "{rest:?}");
    let texts = rest.iter().filter_map(|said| {
        let Said::Text(text) = said else {
            return None;
        };
        serde_json::from_str::<Value>(text).ok()
    });
    let errors = texts.filter(|text| text["error"]["code"] == "rate_limited");
    errors.collect()
}

#[test]
fn connections_of_a_user_share_a_rate() {
    let (ping, long) = (r#"{"event":"$ping","id":7}"#, "x".repeat(950));
    for (limit, message, own, per_second, threads) in [
        // A burst of 10 messages, or of 2,000 bytes: nine seconds give what is missing.
        ("--user-rate=1", ping, 10, 1, "--threads=1"),
        ("--user-rate=1", ping, 10, 1, "--threads=3"),
        (
            "--user-bytes-rate=200",
            long.as_str(),
            2,
            200,
            "--threads=1",
        ),
    ] {
        let process = Process::start(&[limit, PROXY[0], PROXY[1], "--inbound-refusals=3", threads]);
        let (mut first, _) = ask(&process, "ann");
        let (mut second, _) = ask(&process, "ann");
        let (mut other, _) = ask(&process, "ben");
        assert!(matches!(first.next(), Said::Text(_)), "the welcome");
        for _ in 0..own {
            first.say(message);
            assert!(matches!(first.next(), Said::Text(_)), "{limit}");
        }
        // Alone it would be within the rate too.
        let messages = frame(TEXT, message.as_bytes()).repeat(own + 10);
        let errors = flood(&mut second, &messages);
        assert!(errors.len() >= 3, "{limit}: {errors:?}");
        for error in &errors {
            let details = &error["error"]["details"];
            assert_eq!(details["limit"], per_second, "{error}");
            assert!(details["after_ms"].is_u64(), "{error}");
            let said = error["error"]["message"].as_str().expect("a text");
            assert!(said.contains("all connections of this user"), "{said}");
        }
        if per_second == 1 {
            assert_eq!(
                (&errors[0]["event"], &errors[0]["id"]),
                (&"$ping".into(), &7.into())
            );
        }
        let all = errors.len() as u64 + 1;
        assert_eq!(refused(&process, "rate_per_user"), Some(all), "{limit}");
        assert_eq!(refused(&process, "rate"), Some(0));
        other.join("r");
    }
}

#[test]
fn a_user_who_comes_back_has_no_new_burst() {
    let mut process =
        Process::start(&["--user-rate=1", PROXY[0], PROXY[1], "--inbound-refusals=1"]);
    let (ping, begun) = (frame(TEXT, br#"{"event":"$ping"}"#), Instant::now());
    let mut answered = Vec::new();
    for _ in 0..3 {
        let (mut peer, _) = ask(&process, "ann");
        peer.write(&ping.repeat(50));
        let rest = peer.rest();
        assert_eq!(rest.last(), Some(&Said::Close(4429)), "{rest:?}");
        let pong = Said::Text(r#"{"event":"$pong"}"#.to_owned());
        answered.push(rest.iter().filter(|said| **said == pong).count() as u64);
        drop(peer);
        process.until("nobody is there", |process| {
            metric(&process.authority, "roomcast_connections") == Some(0)
        });
    }
    let passed = begun.elapsed().as_secs() + 1;
    assert!(answered[0] >= 10, "the burst: {answered:?}");
    assert!(
        answered[1] + answered[2] <= passed,
        "{answered:?} in {passed} s"
    );
}

#[test]
fn heads_of_fragments_over_their_rate_are_4429() {
    // A burst of 1,000 bytes: 166 heads of six bytes.
    let process = Process::start(&["--framing-bytes-rate=100", "--inbound-rate=off"]);
    let mut peer = Peer::connect(&process.authority, "");
    let one = [frame(0x01, b"{}"), frame(0x80, b"")].concat();
    peer.write(&one.repeat(10));
    for _ in 0..10 {
        assert!(matches!(peer.next(), Said::Text(_)), "within the burst");
    }
    peer.write(&one.repeat(200));
    let rest = peer.rest();
    assert_eq!(rest.last(), Some(&Said::Close(4429)), "{rest:?}");
    let refused = r#"roomcast_refused_total{reason="rate"}"#;
    assert_eq!(metric(&process.authority, refused), Some(1));
    // Whole messages cost nothing of it.
    let mut other = Peer::connect(&process.authority, "");
    for _ in 0..200 {
        other.say("{}");
        assert!(matches!(other.next(), Said::Text(_)), "a whole message");
    }
}
