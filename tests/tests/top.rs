//! `roomcast top`, beside a server with traffic.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use roomcast_tests::server_binary;
use serde_json::Value;

use crate::{
    peer::Peer,
    process::child::{Process, roomcast},
};

const KEY: &str = "test-key";

/// A view that runs beside the test; it ends with this value.
struct View(Child);

impl Drop for View {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

impl View {
    fn start(server: &Process) -> Self {
        let mut command = roomcast();
        command.args(["top", &url(server), "--json", "--interval-ms", "100"]);
        command.args(["--api-key", KEY]).stdout(Stdio::piped());
        Self(command.spawn().expect("a process"))
    }

    /// Reads objects until this holds of one, and does something before each.
    fn until(&mut self, mut before: impl FnMut(), holds: impl Fn(&Value) -> bool) -> Value {
        let lines = BufReader::new(self.0.stdout.as_mut().expect("piped")).lines();
        for line in lines {
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
    let mut reader = Peer::connect_small(&server.authority, "");
    reader.join("busy");
    let mut publisher = Peer::connect(&server.authority, "");
    let data = "x".repeat(60_000);
    let mut view = View::start(&server);
    let publish = || {
        publisher.say(&format!(
            r#"{{"event":"said","room":"busy","data":"{data}"}}"#
        ));
    };
    // The reader reads nothing more.
    let figures = view.until(publish, |figures| {
        figures["slow_readers"] == 1 && figures["slowest_readers"][0]["queued_bytes"].is_u64()
    });
    assert_eq!(figures["connections"], 2);
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
    let program = server_binary().display();
    let line = format!("{program} top {} --count 1 --interval-ms 100", url(&server));
    // Runs it in a terminal of its own.
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .stdin(Stdio::null())
        .output();
    let output = output.expect("script of util-linux runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
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
