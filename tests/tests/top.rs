//! `roomcast top`, beside a server with traffic.

use std::{
    io::{BufRead, BufReader, Lines, Write},
    net::TcpListener,
    process::{Child, ChildStdout, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::{
    peer::Peer,
    process::{
        child::{Process, roomcast},
        terminal::Terminal,
    },
};

const KEY: &str = "test-key";

/// A view that runs beside the test; it ends with this value.
struct View {
    process: Child,
    /// The only reader: another would begin behind what this one has taken, within a line.
    lines: Lines<BufReader<ChildStdout>>,
}

impl Drop for View {
    fn drop(&mut self) {
        let _ = self.process.kill(); // it may have ended
        let _ = self.process.wait();
    }
}

impl View {
    fn start(server: &Process, flags: &[&str]) -> Self {
        let mut command = roomcast();
        command.args(["top", &url(server), "--json", "--interval-ms", "100"]);
        command.args(["--api-key", KEY]).args(flags);
        command.stdout(Stdio::piped());
        let mut process = command.spawn().expect("a process");
        let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        Self { process, lines }
    }

    /// Reads objects until this holds of one, and does something before each.
    fn until(&mut self, mut before: impl FnMut(), holds: impl Fn(&Value) -> bool) -> Value {
        for line in &mut self.lines {
            let line = line.expect("text");
            let figures = serde_json::from_str(&line).expect("JSON");
            if holds(&figures) {
                return figures;
            }
            before();
        }
        panic!("the view ended");
    }
}

fn url(server: &Process) -> String {
    format!("http://{}", server.authority)
}

#[test]
fn rooms_rates_and_slow_readers_are_seen() {
    let server = Process::start(&[
        "--api-key",
        KEY,
        "--inbound-rate=off",
        "--outbox-bytes-max=100000000",
    ]);
    // A page of connections is before it.
    let _others: Vec<_> = (0..400)
        .map(|_| Peer::connect(&server.authority, ""))
        .collect();
    let mut reader = Peer::connect_small(&server.authority, "");
    reader.join("busy");
    let mut publisher = Peer::connect(&server.authority, "");
    let data = "x".repeat(60_000);
    let mut view = View::start(&server, &[]);
    let publish = || {
        publisher.say(&format!(
            r#"{{"event":"said","room":"busy","data":"{data}"}}"#
        ));
    };
    // The reader reads nothing more.
    let figures = view.until(publish, |figures| {
        figures["slow_readers"] == 1 && figures["slowest_readers"][0]["queued_bytes"].is_u64()
    });
    assert_eq!(figures["connections"], 402);
    assert_eq!(figures["partial"], false);
    assert_eq!(figures["rooms"], 1);
    assert_eq!(figures["largest_rooms"][0]["room"], "busy");
    assert_eq!(figures["largest_rooms"][0]["members"], 1);
    assert!(figures["slow_reader_bytes"].as_u64() > Some(0), "{figures}");
    let publish = || {
        publisher.say(r#"{"event":"said","room":"other","data":1}"#);
    };
    let figures = view.until(publish, |figures| {
        figures["messages_received_per_s"].as_f64() > Some(0.0)
    });
    assert!(figures["turn_p99_s"].as_f64() > Some(0.0), "{figures}");
}

/// Rooms of a connection in its entry: with them a page of connections is longer than an answer
/// that is read.
const ROOMS: usize = 100;

#[test]
fn slow_readers_are_found_among_connections_in_many_rooms() {
    let server = Process::start(&[
        "--api-key",
        KEY,
        "--inbound-rate=off",
        "--outbox-bytes-max=100000000",
    ]);
    // A quotation mark takes two bytes in JSON, here and in the answer.
    let name = |number| format!("{}{number:03}", "\\\"".repeat(190));
    let _others: Vec<_> = (0..36)
        .map(|_| {
            let mut peer = Peer::connect(&server.authority, "");
            for number in 1..ROOMS {
                let room = name(number);
                peer.say(&format!(r#"{{"event":"$join","room":"{room}"}}"#));
            }
            peer.join(&name(0));
            peer
        })
        .collect();
    let mut reader = Peer::connect_small(&server.authority, "");
    reader.join("busy");
    let mut publisher = Peer::connect(&server.authority, "");
    let data = "x".repeat(60_000);
    let publish = || {
        publisher.say(&format!(
            r#"{{"event":"said","room":"busy","data":"{data}"}}"#
        ));
    };
    let mut view = View::start(&server, &[]);
    let figures = view.until(publish, |figures| {
        figures["slowest_readers"][0]["queued_bytes"].is_u64()
    });
    assert_eq!(figures["without_api"], Value::Null, "{figures}");
    assert_eq!(figures["partial"], false);
    let rooms = figures["largest_rooms"].as_array().map(Vec::len);
    assert_eq!(rooms, Some(ROOMS));
}

#[test]
fn slow_readers_of_another_namespace_are_told_of() {
    let server = Process::start(&["--inbound-rate=off", "--outbox-bytes-max=100000000"]);
    let mut reader = Peer::connect_small(&server.authority, "game");
    reader.join("busy");
    let mut publisher = Peer::connect(&server.authority, "game");
    let data = "x".repeat(60_000);
    let mut publish = || {
        publisher.say(&format!(
            r#"{{"event":"said","room":"busy","data":"{data}"}}"#
        ));
    };
    let mut view = View::start(&server, &[]);
    let figures = view.until(&mut publish, |figures| figures["slow_readers"] == 1);
    assert_eq!(figures["slowest_readers"], Value::Array(Vec::new()));
    let why = figures["elsewhere"].as_str().expect("a reason");
    assert!(
        why.starts_with("namespace default has none of them: "),
        "{why}"
    );
    assert!(why.contains("--namespace"), "{why}");
    drop(view);
    let mut view = View::start(&server, &["--namespace", "game"]);
    let figures = view.until(publish, |figures| {
        figures["slowest_readers"][0]["queued_bytes"].is_u64()
    });
    assert_eq!(figures["namespace"], "game");
    assert_eq!(figures["elsewhere"], Value::Null);
}

#[test]
fn without_a_key_there_are_the_metrics_alone() {
    let server = Process::start(&["--api-key", KEY]);
    let mut command = roomcast();
    command.args(["top", &url(&server), "--count", "1", "--interval-ms", "100"]);
    let output = command.output().expect("a process");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{text}");
    assert!(text.contains("connections  0 of "), "{text}");
    assert!(
        text.contains("no rooms and no readers: ") && text.contains("--api-key"),
        "{text}"
    );
}

#[test]
fn a_terminal_is_given_back() {
    let server = Process::start(&[]);
    let flags = ["top", &*url(&server), "--count=1", "--interval-ms=100"];
    let (text, status) = Terminal::run(&flags).read_to_end();
    assert!(status.success(), "{text}");
    let (_, shown) = text
        .split_once("\x1b[?1049h\x1b[?25l")
        .expect("a screen of its own");
    let (shown, rest) = shown
        .split_once("\x1b[?25h\x1b[?1049l")
        .expect("given back");
    assert!(
        shown.contains("\x1b[Hroomcast ") || shown.contains("\x1b[1mroomcast "),
        "{shown:?}"
    );
    assert!(shown.contains("MEMBERS"), "{shown:?}");
    assert_eq!(rest.trim(), "");
}

/// A server that answers the requests of one sample, and then none; it tells when it is asked.
fn hanging_server() -> (String, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let (asked, is_asked) = mpsc::channel();
    thread::spawn(move || {
        let mut silent = Vec::new();
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.expect("a connection");
            let (status, body) = match number {
                0 => ("200 OK", "roomcast_connections 1\n"),
                1 => ("404 Not Found", r#"{"detail":"there is no API"}"#),
                _ => {
                    silent.push(stream);
                    let _ = asked.send(()); // the test may have ended
                    continue;
                }
            };
            // A connection that is closed before its request was read loses the answer too.
            let mut request = BufReader::new(&stream).lines();
            while request
                .next()
                .is_some_and(|line| !line.expect("a line").is_empty())
            {}
            let length = body.len();
            let head = format!("Content-Length: {length}\r\nConnection: close");
            let answer = format!("HTTP/1.1 {status}\r\n{head}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).expect("it reads");
        }
    });
    (url, is_asked)
}

#[test]
fn ctrl_c_ends_the_view_of_a_server_that_hangs() {
    let (url, is_asked) = hanging_server();
    let mut terminal = Terminal::run(&["top", &url, "--interval-ms=100"]);
    let asked = is_asked.recv_timeout(Duration::from_secs(60));
    asked.expect("a second sample");
    terminal.press(b"\x03");
    let (text, status) = terminal.read_to_end();
    // Without the signal it would go on, and tell of a sample that failed.
    assert!(status.success(), "{text}");
    assert!(!text.contains("no answer"), "{text}");
    // The terminal shows the key it took, perhaps only after the program has ended for it.
    let shown = text.strip_suffix("^C").unwrap_or(&text);
    assert!(shown.ends_with("\x1b[?25h\x1b[?1049l"), "{text:?}");
}

#[test]
fn a_server_without_metrics_is_told_of() {
    let server = Process::start(&["--metrics=off"]);
    let output = roomcast()
        .args(["top", &url(&server)])
        .output()
        .expect("a process");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("404"), "{said}");
}
