//! A client and a server of different versions: each ignores what it does not know.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::Stdio,
    thread,
};

use serde_json::Value;
use tokio_tungstenite::tungstenite::{
    Message, WebSocket, accept_hdr,
    handshake::server::{Request, Response},
    http::HeaderValue,
};

use crate::{
    peer::{PATIENCE, Peer, Said},
    process::child::{Process, roomcast},
};

fn answer(peer: &mut Peer, said: &str) -> Value {
    peer.say(said);
    let answer = peer.next();
    let Said::Text(text) = &answer else {
        panic!("{said}: {answer:?}");
    };
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn a_client_of_a_later_version_is_served() {
    let process = Process::start(&[]);
    let authority = &process.authority;
    let mut later = Peer::silent(authority);
    let head = later.ask(
        authority,
        "/ws?compress=1",
        "Sec-WebSocket-Protocol: roomcast.v9\r\nX-Later: 1\r\n",
    );
    assert!(head.contains("roomcast.v1"), "{head}");
    assert!(matches!(later.next(), Said::Text(text) if text.contains("$welcome")));
    let mut other = Peer::connect(authority, "");
    other.join("r");
    // Members of later, in the envelope and in the data of verbs.
    for verb in ["$join", "$rooms", "$leave", "$join"] {
        let more = r#""ttl":5,"trace":{"a":[1]},"data":{"filter":"a*","since":null}"#;
        let said = format!(r#"{{"event":"{verb}","id":1,"room":"r",{more}}}"#);
        let answer = answer(&mut later, &said);
        assert_eq!(answer["event"], verb);
        assert!(answer["error"].is_null(), "{answer}");
    }
    let said = r#"{"event":"n","id":2,"room":"r","ttl":5,"from":"me","offset":9,"data":{"new":1}}"#;
    assert_eq!(answer(&mut later, said)["data"]["reached"], 1);
    let Said::Text(message) = other.next() else {
        panic!("the message")
    };
    assert!(message.ends_with(r#""data":{"new":1}}"#), "{message}");
    assert!(
        !message.contains("ttl") && !message.contains("offset"),
        "{message}"
    );
    // Verbs of later: refused by name, with and without an id.
    for id in ["", r#""id":3,"#] {
        let said = format!(r#"{{"event":"$typing",{id}"room":"r","data":true}}"#);
        let answer = answer(&mut later, &said);
        assert_eq!(answer["error"]["code"], "unknown_verb", "{answer}");
        assert_eq!(answer["event"], "$typing");
    }
    let pong = answer(&mut later, r#"{"event":"$ping","id":4}"#);
    assert_eq!((&pong["event"], &pong["id"]), (&"$pong".into(), &4.into()));
}

/// A server of a later version: unknown members and notices surround everything that it sends.
fn serve_later(listener: &TcpListener) {
    let (stream, _) = listener.accept().expect("a client");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    #[allow(clippy::result_large_err, clippy::unnecessary_wraps)] // the library's signature
    let with_protocol = |_: &Request, mut response: Response| {
        let protocol = HeaderValue::from_static("roomcast.v1");
        response
            .headers_mut()
            .insert("sec-websocket-protocol", protocol);
        Ok(response)
    };
    let mut socket = accept_hdr(stream, with_protocol).expect("an upgrade");
    let say = |socket: &mut WebSocket<_>, said: &str| {
        for said in [
            said,
            r#"{"event":"$later","data":[1]}"#,
            r#"{"event":"$later","id":"x","mood":1}"#,
        ] {
            socket.send(Message::text(said)).expect("open");
        }
    };
    let welcome = r#"{"event":"$welcome","later":1,"data":{"conn":"7","user":"","heartbeat_ms":25000,"limits":{"message_bytes":65536,"rooms_per_connection":128,"room_name_bytes":200,"inbound_messages_per_s":50,"inbound_burst_messages":100,"moods":3},"region":"x"}}"#;
    say(&mut socket, welcome);
    while let Ok(message) = socket.read() {
        let Message::Text(text) = message else {
            continue;
        };
        let request: Value = serde_json::from_str(&text).expect("JSON");
        let (event, id) = (&request["event"], &request["id"]);
        let data = match event.as_str() {
            Some("$join") => r#"{"epoch":"e","offset":0,"already":false,"mood":1}"#,
            Some("said") => r#"{"reached":1,"mood":1}"#,
            _ => "null",
        };
        let event = if event == "$ping" {
            &"$pong".into()
        } else {
            event
        };
        say(
            &mut socket,
            &format!(r#"{{"event":{event},"id":{id},"room":"lobby","mood":1,"data":{data}}}"#),
        );
        if event == "$join" {
            say(
                &mut socket,
                r#"{"event":"said","room":"lobby","from":{"conn":"1","mood":1},"mood":1,"data":"hi"}"#,
            );
        }
    }
}

#[test]
fn a_server_of_a_later_version_is_understood() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("ws://{}/ws", listener.local_addr().expect("an address"));
    let server = thread::spawn(move || serve_later(&listener));
    let mut client = roomcast()
        .args(["join", "lobby", "--url", &url])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let mut lines = BufReader::new(client.stdout.take().expect("a pipe")).lines();
    let mut until = |part: &str| {
        let line = lines
            .by_ref()
            .map_while(Result::ok)
            .find(|line| line.contains(part));
        line.unwrap_or_else(|| panic!("it ended without {part}"))
    };
    until("$welcome");
    until("$later");
    until(r#""data":"hi""#);
    let mut typed = client.stdin.take().expect("a pipe");
    writeln!(typed, "hello").expect("it reads");
    until(r#""reached":1"#);
    // Each line was answered, and nothing was refused.
    drop(typed);
    assert_eq!(client.wait().expect("waited for").code(), Some(0));
    server.join().expect("it spoke to the end");
}
