//! Users whom a proxy names, and clients' addresses that it tells: raw clients on loopback stand
//! for the proxy.

use serde_json::Value;

use crate::{
    crowd::policies,
    peer::{Peer, Said, call, metric},
    process::child::{Process, roomcast, run},
};

const USER: &str = "X-Auth-Request-User";
const FLAGS: [&str; 4] = ["--user-header", USER, "--api-key", "key"];
/// The counter of users that are refused.
const REFUSED: &str = "roomcast_refused_total{reason=\"user_header\"}";

/// A connection behind the proxy, of this user; gives its id too.
fn connect(process: &Process, user: &str) -> Client {
    let fields = match user {
        "" => String::new(),
        user => format!("{USER}: {user}\r\n"),
    };
    let (peer, welcome) = Peer::connect_with(&process.authority, &fields);
    let welcome: Value = serde_json::from_str(&welcome).expect("JSON");
    assert_eq!(welcome["data"]["user"], user);
    Client(peer)
}

struct Client(Peer);

impl Client {
    fn next(&mut self) -> Value {
        let said = self.0.next();
        let Said::Text(text) = said else {
            panic!("a message: {said:?}");
        };
        serde_json::from_str(&text).expect("JSON")
    }

    /// Sends a request with an id, and reads the answer, which has to be the next frame.
    fn ask(&mut self, request: &str) -> Value {
        self.0.say(request);
        let answer = self.next();
        assert!(answer["id"] == 1 && answer["error"].is_null(), "{answer}");
        answer
    }

    /// The events up to one, which is the last.
    fn events_up_to(&mut self, last: &str) -> Vec<(String, Value)> {
        let mut events = Vec::new();
        loop {
            let message = self.next();
            let event = message["event"].as_str().expect("an event").to_owned();
            let is_last = event == last;
            events.push((event, message));
            if is_last {
                return events;
            }
        }
    }
}

/// Makes a call of the API that has to succeed.
fn api(process: &Process, method: &str, path: &str, body: &str) -> Value {
    let (status, body) = call(&process.authority, (method, path), "key", body);
    assert_eq!(status, 200, "{method} {path}: {body}");
    serde_json::from_str(&body).expect("JSON")
}

#[test]
fn two_users_of_a_proxy_have_three_connections() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = policies(
        folder.path(),
        "[[rooms]]\nmatch = \"den\"\npresence = \"members\"\n",
    );
    let mut flags = vec!["--trusted-proxy=127.0.0.1", &config];
    flags.extend(FLAGS);
    let process = Process::start(&flags);
    let join = r#"{"event":"$join","id":1,"room":"den"}"#;
    let leave = r#"{"event":"$leave","id":1,"room":"den"}"#;

    let mut ben = connect(&process, "ben@example.com");
    ben.ask(join);
    let mut anns = [connect(&process, "ann"), connect(&process, "ann")];
    for ann in &mut anns {
        ann.ask(join);
    }
    let members = api(&process, "GET", "rooms/den/members", "");
    assert_eq!(
        (&members["users"], &members["conns"]),
        (&2.into(), &3.into())
    );
    let of_ann = api(&process, "GET", "connections?user=ann", "");
    assert_eq!(of_ann["connections"].as_array().map(Vec::len), Some(2));

    let to_ann = r#"{"audience":{"users":["ann"]},"event":"to-ann"}"#;
    assert_eq!(api(&process, "POST", "send", to_ann)["queued"], 2);
    let others = r#"{"audience":{"rooms":["den"],"except_users":["ann"]},"event":"others"}"#;
    assert_eq!(api(&process, "POST", "send", others)["queued"], 1);
    let url = format!("http://{}", process.authority);
    let mut send = roomcast();
    send.args([
        "send",
        "--user",
        "ben@example.com",
        "mark",
        "--api-key",
        "key",
    ]);
    let sent = send.args(["--url", &url]).output().expect("a process");
    let said = String::from_utf8_lossy(&sent.stdout);
    assert!(said.contains(r#""queued":1"#), "{sent:?}");

    assert_eq!(anns[0].events_up_to("to-ann").len(), 1, "nothing before it");
    anns[0].ask(r#"{"event":"said","id":1,"room":"den"}"#);
    let heard = anns[1].events_up_to("said");
    let [(first, _), (_, said)] = &heard[..] else {
        panic!("two messages: {heard:?}");
    };
    assert_eq!((&**first, &said["from"]["user"]), ("to-ann", &"ann".into()));
    for ann in &mut anns {
        ann.ask(leave);
    }
    let end = r#"{"audience":{"users":["ben@example.com"]},"event":"end"}"#;
    assert_eq!(api(&process, "POST", "send", end)["queued"], 1);
    let events = ben.events_up_to("end");
    let names: Vec<&str> = events.iter().map(|(event, _)| event.as_str()).collect();
    assert_eq!(names, ["$joined", "others", "mark", "said", "$left", "end"]);
    for at in [0, 4] {
        assert_eq!(events[at].1["data"]["user"], "ann");
    }
    let disconnected = api(&process, "DELETE", "connections?user=ann", "");
    assert_eq!(disconnected["disconnected"], 2);
    // Without the header the proxy has a visitor who has not signed in.
    connect(&process, "");
    assert_eq!(metric(&process.authority, REFUSED), Some(0));
}

/// The head of the answer to a request for a WebSocket, with these header fields.
fn answer(process: &Process, fields: &str) -> String {
    Peer::silent(&process.authority).ask(&process.authority, "/ws", fields)
}

#[test]
fn a_stranger_who_names_a_user_is_refused_counted_and_logged_without_the_user() {
    let mut flags = vec![
        "--trusted-proxy=10.0.0.0/8",
        "--trusted-proxy=2001:db8::7",
        "--log=debug",
    ];
    flags.extend(FLAGS);
    let mut process = Process::start(&flags);
    for value in ["s3cret", "", "s3cret,s3cret"] {
        // The address that it claims is not trusted.
        let fields = format!("{USER}: {value}\r\nX-Forwarded-For: 10.0.0.1\r\n");
        let refused = answer(&process, &fields);
        assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    }
    connect(&process, "");
    assert_eq!(metric(&process.authority, REFUSED), Some(3));
    let mut told = Peer::silent(&process.authority);
    let fields = format!("{USER}: s3cret\r\n");
    let head = told.ask(&process.authority, "/ws?refuse=close", &fields);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let [Said::Text(error), Said::Close(4403)] = &told.rest()[..] else {
        panic!("an error and a close");
    };
    assert!(
        error.contains("--trusted-proxy") && !error.contains("s3cret"),
        "{error}"
    );
    process.signal("TERM");
    let log = process.rest_of_log();
    let warned = log.matches("add --trusted-proxy 127.0.0.1 (ROOMCAST_TRUSTED_PROXY)");
    assert_eq!(warned.count(), 1, "once a minute: {log}");
    assert!(!log.contains("s3cret"), "{log}");
}

#[test]
fn a_proxy_that_names_no_valid_user_is_told_what_to_change() {
    let mut flags = vec!["--trusted-proxy=127.0.0.0/8"];
    flags.extend(FLAGS);
    let mut process = Process::start(&flags);
    let long = "x".repeat(201);
    let cases = [
        (
            format!("{USER}: ann\r\n{USER}: mallory\r\n"),
            "replace the header field",
        ),
        (
            format!("{USER}: mallory, ann\r\n"),
            "replace the header field",
        ),
        (format!("{USER}:\r\n"), "leave the header field out"),
        (format!("{USER}: {long}\r\n"), "1 to 200 bytes"),
    ];
    for (fields, _) in &cases {
        let refused = answer(&process, fields);
        assert!(refused.starts_with("HTTP/1.1 400 "), "{fields}: {refused}");
    }
    assert_eq!(
        metric(&process.authority, REFUSED),
        Some(cases.len() as u64)
    );
    process.signal("TERM");
    let log = process.rest_of_log();
    for (fields, advice) in &cases {
        assert!(log.contains(advice), "{fields}: {log}");
    }
    assert!(!log.contains("mallory") && !log.contains(&long), "{log}");
}

#[test]
fn limits_per_address_count_the_clients_of_a_trusted_proxy() {
    let limit = "--connections-per-address-max=1";
    let from = |addresses: &str| format!("X-Forwarded-For: {addresses}\r\n");
    let process = Process::start(&[limit, "--trusted-proxy=127.0.0.1"]);
    let (first, _) = Peer::connect_with(&process.authority, &from("203.0.113.1"));
    let (second, _) = Peer::connect_with(&process.authority, &from("203.0.113.1, 203.0.113.2"));
    // Addresses to the left come from the client itself.
    for again in [
        "203.0.113.1",
        "203.0.113.9, 203.0.113.2",
        "203.0.113.9,127.0.0.1,203.0.113.1",
    ] {
        let refused = answer(&process, &from(again));
        assert!(refused.starts_with("HTTP/1.1 503 "), "{again}: {refused}");
    }
    drop((first, second));

    let process = Process::start(&[limit]);
    let (kept, _) = Peer::connect_with(&process.authority, &from("203.0.113.1"));
    let refused = answer(&process, &from("203.0.113.2"));
    assert!(
        refused.starts_with("HTTP/1.1 503 "),
        "no proxy is trusted: {refused}"
    );
    drop(kept);
}

#[test]
fn a_trusted_proxy_ends_the_api_without_a_key() {
    let mut process = Process::start(&["--trusted-proxy=127.0.0.1"]);
    let line = process.logged("mounted: ");
    assert!(line.contains("off: no --api-key"), "{line}");
    assert_eq!(process.get("/api/v1/default/rooms"), Some(403));
}

#[test]
fn settings_that_would_let_anybody_name_users_stop_the_server() {
    for (flags, says) in [
        (
            &["--user-header", "X-User"][..],
            &["--user-header", "--trusted-proxy"][..],
        ),
        (
            &["--trusted-proxy", "10.1.2.3/8"],
            &["--trusted-proxy", "10.0.0.0/8"],
        ),
        (
            &["--trusted-proxy", "0.0.0.0/0"],
            &["--trusted-proxy", "every address"],
        ),
        (
            &["--trusted-proxy", "proxy.internal"],
            &["--trusted-proxy", "IP address"],
        ),
        (
            &["--trusted-proxy", "::1", "--user-header", "Cookie"],
            &["--user-header", "no browser sends"],
        ),
    ] {
        let flags: Vec<&str> = ["serve"].iter().chain(flags).copied().collect();
        let (code, said) = run(&flags);
        assert_eq!(
            (code, said.lines().count()),
            (Some(2), 1),
            "{flags:?}: {said}"
        );
        for word in says {
            assert!(said.contains(word), "{flags:?}: {said}");
        }
    }
}
