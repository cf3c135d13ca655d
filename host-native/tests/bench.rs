//! `roomcast bench` against the server of the same build.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Output, Stdio},
    thread,
};

use serde_json::Value;

/// A server on a port of its own; ends with the test.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start(flags: &[&str]) -> Self {
        let mut process = roomcast(&["serve", "--listen", "127.0.0.1:0"])
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut lines = BufReader::new(process.stderr.take().expect("a pipe")).lines();
        let url = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("listening on http://")?.1.to_owned()))
            .map(|address| format!("ws://{address}/ws"))
            .expect("the server says where it listens");
        // An unread pipe would eventually block the server.
        thread::spawn(move || lines.for_each(drop));
        Self { process, url }
    }

    fn bench(&self, flags: &[&str]) -> Output {
        let command = ["bench", &self.url, "--json", "--duration-s", "1"];
        let output = roomcast(&command).args(flags).output();
        output.expect("the command starts")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The command, without settings from the caller's environment.
fn roomcast(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    command.args(args).env_clear();
    command
}

fn summary(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.lines().count(), 1, "{output:?}");
    serde_json::from_str(&text).expect("a line of JSON")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn everything_is_delivered() {
    let server = Server::start(&[]);
    let load = ["--connections", "20", "--rooms", "4", "--rate", "200"];
    let output = server.bench(&[&load[..], &["--warmup-s", "1"]].concat());
    let summary = summary(&output);
    assert_eq!(output.status.code(), Some(0), "{summary}");
    assert_eq!(summary["ok"], true);
    assert_eq!(summary["connections"]["open_at_end"], 20);
    // Two seconds including the warm-up, with four receivers in each room. A busy machine may send
    // less.
    let sent = summary["messages"]["sent"].as_u64().expect("a number");
    assert!((1..=400).contains(&sent), "{summary}");
    let deliveries = &summary["deliveries"];
    assert_eq!(deliveries["expected"], sent * 4);
    assert_eq!(deliveries["received"], sent * 4);
    for fault in ["lost", "cut_off", "duplicated", "out_of_order", "stray"] {
        assert_eq!(deliveries[fault], 0, "{fault}");
    }
    assert!(summary["latency_ms"]["p99"].is_f64(), "{summary}");
    assert!(said(&output).contains("connected 20"), "{output:?}");
}

#[test]
fn what_the_server_refuses_is_not_called_lost() {
    let server = Server::start(&["--inbound-rate", "1", "--inbound-burst", "5"]);
    let load = ["--connections", "4", "--rooms", "2", "--rate", "100"];
    let output = server.bench(&[&load[..], &["--warmup-s", "0"]].concat());
    let summary = summary(&output);
    assert_eq!(output.status.code(), Some(1), "{summary}");
    let refused = summary["messages"]["refused"].as_u64().expect("a number");
    assert!(refused > 0, "{summary}");
    assert_eq!(summary["errors"]["rate_limited"], refused);
    let sent = summary["messages"]["sent"].as_u64().expect("a number");
    assert_eq!(summary["deliveries"]["expected"], sent - refused);
    assert_eq!(summary["deliveries"]["received"], sent - refused);
    assert_eq!(summary["deliveries"]["lost"], 0);
    assert!(
        said(&output).contains("100 connections share"),
        "{output:?}"
    );
}

#[test]
fn connections_that_find_no_place_are_counted() {
    let server = Server::start(&["--connections-max", "4"]);
    let load = ["--connections", "6", "--rooms", "2", "--rate", "10"];
    let output = server.bench(&[&load[..], &["--warmup-s", "0"]].concat());
    let summary = summary(&output);
    assert_eq!(output.status.code(), Some(1), "{summary}");
    assert_eq!(summary["connections"]["opened"], 4);
    assert!(said(&output).contains("--connections-max"), "{output:?}");
    assert_eq!(summary["deliveries"]["lost"], 0);
}

#[test]
fn another_machine_is_refused_unless_it_is_meant() {
    let output = roomcast(&["bench", "ws://192.0.2.1/ws"])
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("--allow-remote"), "{output:?}");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_server_that_is_not_there_has_its_own_exit_code() {
    // A port that was free might be another test's by then.
    let output = roomcast(&["bench", "ws://127.0.0.1:1/ws"]).output();
    let output = output.expect("runs");
    assert_eq!(output.status.code(), Some(3));
    assert!(said(&output).contains("connection refused"), "{output:?}");
}
