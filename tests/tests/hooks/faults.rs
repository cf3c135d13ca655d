//! Receivers that fail, and the end of the server.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc::{self, Receiver},
    thread,
};

use super::{KEY, chat, config, serve};
use crate::{
    asked::{asked, backend},
    peer::metric,
    process::child::{LONGEST, run},
};

/// A request that a receiver had.
pub(crate) struct Told {
    pub(crate) id: String,
    pub(crate) body: String,
}

/// A receiver that answers requests with these in turn, and all further ones with the last.
pub(crate) fn receiver(answers: &'static [&'static str]) -> (String, Receiver<Told>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!(
        "http://{}/hook?a=secret",
        listener.local_addr().expect("an address")
    );
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let last = answers.last().expect("an answer");
        for answer in answers.iter().chain(std::iter::repeat(last)) {
            let Ok((mut stream, _)) = listener.accept() else {
                return;
            };
            let request = read(&mut stream);
            let answer =
                format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes());
            if tell.send(request).is_err() {
                return;
            }
        }
    });
    (url, told)
}

/// Reads a request with its body.
fn read(stream: &mut TcpStream) -> Told {
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut buffer).expect("readable");
        assert!(count > 0, "a whole request");
        read.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&read).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let head = head.to_ascii_lowercase();
        let field = |name: &str| {
            let mut lines = head.lines();
            let found = lines.find_map(|line| line.strip_prefix(name));
            found
                .unwrap_or_else(|| panic!("{name} in {head}"))
                .trim()
                .to_owned()
        };
        assert!(head.starts_with("post /hook?a=secret http/1.1"), "{head}");
        if body.len() >= field("content-length:").parse().expect("a number") {
            let (id, body) = (field("webhook-id:"), body.to_owned());
            return Told { id, body };
        }
    }
}

#[test]
fn a_request_is_repeated_until_it_is_accepted() {
    let redirect = "302 Found\r\nLocation: http://127.0.0.1:1/";
    let answers: &[&str] = Box::leak(Box::new(["500 No", redirect, "204 Good"]));
    let (url, told) = receiver(answers);
    let folder = config(&url, &[KEY]);
    let mut server = serve(&folder, &[]);
    chat(&server.authority);
    let [first, second, third] = [(); 3].map(|()| told.recv_timeout(LONGEST).expect("told"));
    assert_eq!((&first.id, &first.body), (&second.id, &second.body));
    assert_eq!((&first.id, &first.body), (&third.id, &third.body));
    server.logged("a hook failed and is tried again: status 500");
    // A chat that took over a second is told in several requests.
    let mut all = third.body;
    while !all.contains("connection.closed") {
        all.push_str(&told.recv_timeout(LONGEST).expect("told").body);
    }
}

#[test]
fn an_endpoint_that_is_gone_is_told_nothing_more() {
    let (url, told) = receiver(&["410 Gone"]);
    let folder = config(&url, &[KEY]);
    let mut server = serve(&folder, &[]);
    chat(&server.authority);
    told.recv_timeout(LONGEST).expect("told once");
    let line = server.logged("answered 410");
    assert!(line.contains("/hook") && !line.contains("secret"), "{line}");
    chat(&server.authority);
    server.signal("TERM");
    assert_eq!(server.ended().code(), Some(0));
    assert!(told.try_recv().is_err(), "told again");
}

#[test]
fn a_server_that_ends_tells_what_it_ended() {
    let (url, told) = receiver(&["200 OK"]);
    let folder = config(&url, &[KEY]);
    for threads in ["--threads=1", "--threads=2"] {
        let mut server = serve(&folder, &[threads, "--close-wait-ms=200"]);
        let _open = super::ann(&server.authority);
        server.signal("TERM");
        assert_eq!(server.ended().code(), Some(0));
        // The receiver answers before it says what it was told, so that may come later.
        let mut all = String::new();
        for event in ["connection.opened", r#""by":"server","code":1001"#] {
            while !all.contains(event) {
                all.push_str(&told.recv_timeout(LONGEST).expect(event).body);
            }
        }
    }
}

#[test]
fn a_key_that_cannot_be_read_ends_the_start() {
    let folder = config("http://127.0.0.1:1/", &["env:NO_SUCH_KEY"]);
    let file = folder.path().join("rooms.toml");
    let (code, said) = run(&[
        "serve",
        "--listen=127.0.0.1:0",
        "--config",
        &file.to_string_lossy(),
    ]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("the variable NO_SUCH_KEY of `keys` is not set"),
        "{said}"
    );
}

#[test]
fn a_server_that_is_killed_tells_after_its_next_start_what_it_had_accepted() {
    let (url, requests) = backend();
    let folder = config(&url, &[KEY]);
    let store = folder.path().join("store");
    let flags = ["--store", &store.to_string_lossy()];
    let mut server = serve(&folder, &flags);
    chat(&server.authority);
    asked(&requests).answer(500, "");
    // Not answered before the kill: an answer would begin another attempt.
    let held = asked(&requests);
    server.until("all seven events are stored", |server| {
        metric(&server.authority, "roomcast_hook_events_waiting") == Some(7)
    });
    drop(server);
    let _server = serve(&folder, &flags);
    let mut told: Vec<serde_json::Value> = Vec::new();
    while told.len() < 7 {
        let again = asked(&requests);
        assert_eq!(again.question["epoch"], held.question["epoch"]);
        let events = again.question["events"].as_array();
        told.extend(events.expect("events").iter().cloned());
        again.answer(204, "");
    }
    for (at, event) in (1..).zip(&told) {
        assert_eq!(event["seq"], at, "{told:?}");
    }
    assert_eq!(told[3]["type"], "message.published", "{told:?}");
    assert_eq!(told[6]["type"], "connection.closed", "{told:?}");
}
