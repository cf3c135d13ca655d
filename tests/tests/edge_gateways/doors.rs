//! Admission of connections.

use std::thread;

use roomcast_tests::{Trace, Url};

use super::world::{Client, World};

/// Waits until a hook of this name waits, or does no more.
fn until_it(waits: bool, client: &mut Client<'_>, name: &str) {
    let text = format!(r#"{{"event":"waits","data":"{name}"}}"#);
    let answers = [false, true].map(|waits| format!(r#"{{"event":"waits","data":{waits}}}"#));
    loop {
        client.send(&text);
        let answer = client.next().expect("an answer").to_string();
        if answer == answers[usize::from(waits)] {
            return;
        }
        assert_eq!(answer, answers[usize::from(!waits)]);
    }
}

/// Releases a hook, as soon as it waits.
fn release(client: &mut Client<'_>, name: &str, value: u32) {
    until_it(true, client, name);
    client.releases(name, value, true);
}

/// A lookup holds up its own client alone, before the socket opens and when it does.
#[test]
fn who_waits_to_be_admitted_holds_up_nobody() {
    let world = World::start();
    let mut ann = world.connect("trials-later");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let mut ben = world.connect_as("trials-later", "?upgrade=ben");
            ben.asks_for("user", r#""7""#);
            let refused = world.try_connect("trials-later", "?upgrade=eve", &[]);
            assert!(refused.is_err_and(|refused| refused.status == 403));
        });
        release(&mut ann, "ben", 7);
        release(&mut ann, "eve", 0);
        assert!(waiting.join().is_ok());
    });
    let mut cat = world.connect_as("trials-later", "?connect=cat");
    cat.send(r#"{"event":"user","id":1}"#);
    release(&mut ann, "cat", 8);
    cat.gets(r#"{"event":"user","id":1,"data":"8"}"#);
    let mut eve = world.connect_as("trials-later", "?connect=eve");
    release(&mut ann, "eve", 0);
    eve.gets(r#"{"event":"$error","error":{"code":"forbidden","message":"not you"}}"#);
    eve.is_closed(4403);
    world.is_calm();
}

/// The module begins anew: who waits is told to come again.
#[test]
fn who_waits_to_be_admitted_is_told_when_that_is_lost() {
    let world = World::start();
    let mut ann = world.connect("trials-later");
    let mut waits = ["ben", "dan"].map(|name| {
        let client = world.connect_as("trials-later", &format!("?connect={name}"));
        until_it(true, &mut ann, name);
        client
    });
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let refused = world.try_connect("trials-later", "?upgrade=cat", &[]);
            assert!(refused.is_err_and(|refused| refused.status == 503));
        });
        until_it(true, &mut ann, "cat");
        ann.send(r#"{"event":"panic"}"#);
        let answer = ann.next().expect("an answer").to_string();
        assert!(answer.contains(r#""code":"internal""#), "{answer}");
        assert!(waiting.join().is_ok());
    });
    for client in &mut waits {
        let bye = client.next().expect("a frame").to_string();
        assert!(
            bye.contains(r#""event":"$bye""#) && bye.contains(r#""reconnect":true"#),
            "{bye}"
        );
        client.is_closed(1011);
    }
    let log = world.edge.log().join("\n");
    assert!(!log.contains("cannot be written"), "{log}");
}

/// The alarm of the object ends the wait for a socket that is open.
#[test]
fn who_waits_too_long_to_be_admitted_is_told_to_come_again() {
    let world = World::hurried();
    let mut ann = world.connect("trials-later");
    let refused = world.try_connect("trials-later", "?upgrade=ben", &[]);
    let refused = refused.err().expect("it is refused");
    assert_eq!(refused.status, 503);
    assert!(
        refused.body.contains(r#""code":"unavailable""#),
        "{}",
        refused.body
    );
    let mut cat = world.connect_as("trials-later", "?connect=cat");
    let error = cat.next().expect("a frame").to_string();
    assert!(
        error.contains(r#""$error","error":{"code":"unavailable""#),
        "{error}"
    );
    cat.is_closed(1013);
    for name in ["ben", "cat"] {
        until_it(false, &mut ann, name);
        ann.releases(name, 1, false);
    }
    for hook in ["upgrade", "connect"] {
        world.has_logged(&[hook, "not decided within 1000 ms"]);
    }
}

/// A client that resets its connection reads no answer.
#[test]
fn who_goes_before_it_is_admitted_is_waited_for_no_more() {
    let world = World::start();
    let mut ann = world.connect("trials-later");
    let ben = world.asks_to_connect("trials-later", "?upgrade=ben");
    until_it(true, &mut ann, "ben");
    world.reset(ben);
    until_it(false, &mut ann, "ben");
    ann.releases("ben", 1, false);
    world.is_calm();
}

/// The hook waits for a binding of the worker: sessions are in a KV namespace.
#[test]
fn a_session_is_looked_up_before_the_socket_opens() {
    let world = World::sleepless();
    let mut ann = world.connect("sessions");
    ann.asks(
        r#"{"event":"sign_in","id":1,"data":["s1","ann"]}"#,
        r#"{"event":"sign_in","id":1,"data":null}"#,
    );
    let known = world.try_connect("sessions", "", &[("cookie", "sid=s1")]);
    known.expect("a session").asks_for("user", r#""ann""#);
    let unknown = world.try_connect("sessions", "", &[("cookie", "sid=s2")]);
    assert!(unknown.is_err_and(|refused| refused.status == 401));
    world.is_calm();
}

/// Each is written as in a line of a story.
#[test]
fn a_story_brings_queries_headers_and_cookies() {
    let world = World::sleepless();
    let story = r#"# The application sees what the request has.
eve connects to trials with query user=mallory -> 401
ann connects to trials with query user=ann with header x-badge=gold with cookie pass=sesame
ann sends {"event":"badge","id":1}
ann gets {"event":"badge","id":1,"data":["gold","sesame"]}
"#;
    let trace = Trace::parse("doors", story).unwrap_or_else(|fault| panic!("{fault}"));
    let url = Url::new(world.edge.address(0)).unwrap_or_else(|fault| panic!("{fault}"));
    let told = trace.run(&mut url.with_welcome());
    told.unwrap_or_else(|fault| panic!("{fault}"));
    world.is_calm();
}

/// The hook sees headers, the query and cookies, and says who it is.
#[test]
fn who_is_admitted_is_who_the_application_says() {
    let world = World::sleepless();
    let headers = [
        ("x-badge", "gold"),
        ("cookie", r#"theme=dark; pass="sesame""#),
        ("sec-websocket-protocol", "other, trials.v1, roomcast.v1"),
    ];
    let ann = world.try_connect("trials", "?user=ann", &headers);
    let mut ann = ann.unwrap_or_else(|refused| panic!("{refused:?}"));
    // Who speaks another subprotocol is not greeted.
    assert_eq!(ann.subprotocol.as_deref(), Some("trials.v1"));
    ann.asks_for("user", r#""ann""#);
    ann.asks_for("badge", r#"["gold","sesame"]"#);
    // What was not offered is not chosen.
    let offers = [("sec-websocket-protocol", "roomcast.v1")];
    let bob = world.try_connect("trials", "?user=b%C3%B6b", &offers);
    let mut bob = bob.unwrap_or_else(|refused| panic!("{refused:?}"));
    assert_eq!(bob.subprotocol.as_deref(), Some("roomcast.v1"));
    let welcome = bob.next().expect("a welcome").to_string();
    assert!(welcome.contains(r#""user":"böb""#), "{welcome}");
    world.is_calm();
}

#[test]
fn who_is_refused_learns_why() {
    let world = World::start();
    let refused = |query: &str| {
        let refused = world.try_connect("trials", query, &[]);
        let refused = refused.err().expect("it is refused");
        (refused.status, refused.body)
    };
    let (status, body) = refused("?door=closed");
    assert_eq!(status, 403);
    assert!(
        body.contains(r#""detail":"this door is closed","code":"forbidden""#),
        "{body}"
    );
    assert_eq!(refused("?door=pay").0, 402);
    assert_eq!(refused("?user=mallory").0, 401);
    // An error of the application is its own affair.
    let (status, body) = refused("?door=broken");
    assert_eq!(status, 500);
    assert!(!body.contains("digit"), "{body}");
    world.has_logged(&["trials", "upgrade", "invalid digit"]);
    let (status, body) = refused(&format!("?user={}", "x".repeat(3000)));
    assert_eq!(status, 500);
    assert!(!body.contains("xxx"), "{body}");
    world.has_logged(&["trials", "upgrade", "200 bytes"]);
}

/// A browser cannot see the status, so it may be told by the socket.
#[test]
fn who_asks_for_it_is_refused_in_the_socket() {
    let world = World::start();
    for (query, code, told) in [
        ("?refuse=close&door=closed", 4403, "this door is closed"),
        ("?refuse=close&door=pay", 4402, "pay first"),
        ("?refuse=close&user=mallory", 4401, "not you"),
        (
            "?refuse=close&door=broken",
            1011,
            "internal server error (logged)",
        ),
    ] {
        let mut refused = world.connect_as("trials", query);
        let error = refused.next().expect("a frame").to_string();
        assert!(
            error.starts_with(r#"{"event":"$error","error":{"#),
            "{error}"
        );
        assert!(error.contains(told), "{error}");
        refused.is_closed(code);
    }
}

/// Changes that a hook made before it refused a connection remain; the refused connection itself
/// leaves no trace.
#[test]
fn a_connection_that_is_refused_leaves_no_trace() {
    let world = World::sleepless();
    let mut ann = world.connect("trials");
    let refused = world.try_connect("trials", "?user=mallory", &[]);
    assert!(refused.is_err_and(|refused| refused.status == 401));
    ann.gets(r#"{"event":"tried","data":"mallory"}"#);
    ann.asks_for("count", "101");
    let mut lobby = world.connect("trials");
    lobby.asks_for("count", "102");
}
