//! Limits of the platform, and state that the platform loses.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use roomcast_tests::{Driver, Edge, Event, Sockets, Url};

use super::world::{AFTERWARDS, CROWD, World, op, start};

/// A restored object has exactly the saved state. This checks that the tests fail if nothing is
/// saved.
#[test]
fn an_attachment_that_is_not_written_is_noticed() {
    let (edge, settings) = start("heartbeat_ms=off");
    let mut world = World::new(&edge, &settings, "lost");
    world.play(&CROWD);
    world.post("/-/fail?call=serializeAttachment&calls=1&how=skip");
    // The object in memory knows better than what it saved.
    world.play(&[
        r#"carol sends {"event":"$join","room":"lobby"}"#,
        r#"carol sends {"event":"$rooms"}"#,
    ]);
    assert!(world.has_failed());
    world.evict();
    let rooms = op(r#"carol sends {"event":"$rooms"}"#);
    let mismatch = world.lockstep.perform(&rooms).expect_err("it is not saved");
    assert_eq!(mismatch.got, [r#"carol gets {"event":"$rooms","data":[]}"#]);
}

/// The attachment of a socket has a size limit, which also limits the names of the rooms of a
/// connection: it is reached with names that are not too long, and in fewer rooms than a connection
/// may be in.
#[test]
fn rooms_that_do_not_fit_into_an_attachment_are_refused() {
    let (edge, settings) = start("");
    // Each byte of the last name takes two where it is saved.
    for (namespace, filler) in [("plain", "x"), ("escaped", r"\\"), ("wide", "é")] {
        let mut world = World::new(&edge, &settings, namespace);
        world.play(&["alice connects", "bob connects"]);
        let longest = 196 / filler.replace(r"\\", "\\").len();
        let name = |number: usize| format!("{number:04}{}", filler.repeat(longest));
        let limit = settings.limits().rooms_per_connection;
        let full = (0..limit).find(|&number| {
            let room = name(number);
            let join = format!(r#"alice sends {{"event":"$join","id":1,"room":"{room}"}}"#);
            let (_, events) = world.perform(&join);
            let [(_, Event::Text(text))] = &*events else {
                panic!("one answer is expected: {events:#?}");
            };
            text.contains(r#""error":{"code":"room_limit""#)
        });
        let full = full.unwrap_or_else(|| panic!("{namespace}: {limit} rooms fit"));
        assert!(full > 10, "{namespace}: only {full} rooms fit");
        let rooms: Vec<_> = (0..full)
            .map(|number| format!(r#""{}""#, name(number)))
            .collect();
        let rooms = format!(r#"{{"event":"$rooms","data":[{}]}}"#, rooms.join(","));
        let publish = |number: usize, reached: usize| {
            let head = format!(r#"{{"event":"said","id":1,"room":"{}""#, name(number));
            (
                format!("bob sends {head}}}"),
                format!(r#"{head},"data":{{"reached":{reached}}}}}"#),
            )
        };
        for _ in 0..2 {
            let (_, events) = world.perform(r#"alice sends {"event":"$rooms"}"#);
            assert_eq!(events, [("alice".into(), Event::Text(rooms.clone()))]);
            for (number, reached) in [(full - 1, 1), (full, 0)] {
                let (line, answer) = publish(number, reached);
                let (_, events) = world.perform(&line);
                let answered = events.contains(&("bob".into(), Event::Text(answer)));
                assert!(
                    answered && events.len() == 1 + reached,
                    "{namespace}: {events:#?}"
                );
            }
            world.evict();
        }
    }
}

/// The platform allows ten tags for a socket.
#[test]
fn sockets_are_given_no_tags() {
    let (edge, settings) = start("");
    let mut world = World::new(&edge, &settings, "tags");
    world.play(&CROWD);
    assert_eq!(world.post("/-/tags"), "0");
}

/// Evictions remove an object from memory and keep its sockets: all tests of evictions build on
/// this.
#[test]
fn an_evicted_object_is_born_again() {
    let (edge, settings) = start("");
    let mut world = World::new(&edge, &settings, "born");
    world.play(&CROWD);
    assert_eq!(world.post("/-/births"), "1");
    world.evict();
    world.play(&AFTERWARDS);
    assert_eq!(world.post("/-/births"), "2");
}

/// A deployment closes all sockets without notice. Their clients are in no room any more, and the
/// namespace keeps its promises: keys, and ids that are not reused.
#[test]
fn who_lost_its_socket_in_a_deployment_is_in_no_room() {
    let (edge, settings) = start("");
    let mut world = World::new(&edge, &settings, "deployed");
    let send =
        r#"server with key k sends {"audience":{"rooms":["lobby"]},"event":"said","data":1}"#;
    let matched = r#"{"matched":2,"queued":2,"dropped":0}"#;
    world.play(&CROWD);
    world.play(&[send]);
    let evicted = edge.evict(0, "deployed", Sockets::Close);
    assert_eq!(evicted, Ok(true));
    let driver = world.lockstep.driver_mut();
    let before = ["alice", "bob", "carol"].map(|name| driver.conn(&name.into()));
    let mut perform = |line: &str| driver.perform(&op(line)).expect("it is answered").body;
    assert_eq!(perform("server lists connections"), r#"{"connections":[]}"#);
    assert_eq!(perform("server lists rooms"), r#"{"rooms":[]}"#);
    perform("dave connects");
    perform(r#"dave sends {"event":"$join","room":"lobby"}"#);
    assert_eq!(perform(send), matched);
    let (id, events) = (driver.conn(&"dave".into()), driver.take(&"dave".into()));
    assert!(!before.contains(&id), "{id:?} is one of {before:?}");
    assert!(
        matches!(&*events, [Event::Text(joined)] if joined.contains("$join")),
        "{events:#?}"
    );
}

/// The error about a wrong setting tells the operator what to change.
#[test]
fn a_wrong_setting_is_named() {
    let policies = "[[rooms]]\nmatch = \"*\"\nhistroy = 1\n";
    for (name, value, fault) in [
        ("ROOMCAST_MESSAGE_BYTES_MAX", "lots", "whole number"),
        (
            "ROOMCAST_CONFIG",
            policies,
            "line 3: unknown field `histroy`",
        ),
        ("ROOMCAST_PAGE", "yes", "must be on or off"),
        ("ROOMCAST_METRICS", "0", "must be on or off"),
        ("ROOMCAST_KEYLESS_API", "", "must be on or off"),
        (
            "ROOMCAST_ALLOW_HOST",
            "https://a.example",
            "like chat.example",
        ),
        (
            "ROOMCAST_CONFIG",
            r#"{"rooms":[["a*"]]}"#,
            "expected each of `rooms` to be keys and values",
        ),
        (
            "ROOMCAST_ALLOW_ORIGIN",
            "https://a.com, wss://b.com",
            "write https://b.com",
        ),
        ("ROOMCAST_INBOUND_RATE", "none", "1 to 1000000000, or off"),
        (
            "ROOMCAST_HISTORY_ROOMS_MAX",
            "1000000001",
            "must be 1 to 1000000000",
        ),
    ] {
        let edge = Edge::start_with_vars(&[(name, value)]);
        let url = Url::new(edge.address(0)).expect("an address of the form that is asked for");
        let mut url = url.with_api(Some(Edge::API_KEY));
        let refused = url.perform(&op("alice connects"));
        assert_eq!(refused.map(|answer| answer.status), Ok(500));
        let told = url
            .perform(&op("server lists rooms"))
            .expect_err("it cannot answer");
        let told = told.to_string();
        let parts = ["500", name, fault];
        assert!(parts.iter().all(|part| told.contains(part)), "{told}");
    }
}

/// The first line of the answer to a page of this origin that wants a WebSocket.
fn upgrade(edge: &Edge, origin: &str) -> String {
    let mut stream = TcpStream::connect(edge.authority(0)).expect("it accepts");
    let head = format!(
        "GET /ws HTTP/1.1\r\nhost: chat.example\r\norigin: {origin}\r\nconnection: upgrade\r\n\
         upgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("sent");
    let mut line = String::new();
    let read = BufReader::new(stream).read_line(&mut line);
    read.expect("an answer");
    line
}

#[test]
fn origins_are_as_people_write_them_and_a_misspelt_variable_is_in_the_log() {
    const PATIENCE: Duration = Duration::from_secs(40);
    let origins = "https://a.com, https://b.com/,\n https://b\u{fc}cher.example:0443, \
                   https://*.BU\u{308}CHER.example\n";
    let edge = Edge::start_with_vars(&[
        ("ROOMCAST_ALLOW_ORIGIN", origins),
        ("ROOMCAST_ALLOW_ORIGINS", "https://c.com"),
    ]);
    for origin in [
        "https://a.com",
        "https://b.com",
        "https://xn--bcher-kva.example",
        "https://x.xn--bcher-kva.example",
    ] {
        let answer = upgrade(&edge, origin);
        assert!(answer.contains(" 101"), "{origin}: {answer}");
    }
    assert!(upgrade(&edge, "https://c.com").contains(" 403"));
    let begun = Instant::now();
    let warning = "the variable ROOMCAST_ALLOW_ORIGINS is not read";
    while !edge.log().iter().any(|line| line.contains(warning)) {
        assert!(begun.elapsed() < PATIENCE, "{:#?}", edge.log());
        thread::yield_now();
    }
}
