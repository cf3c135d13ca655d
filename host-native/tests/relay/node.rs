//! A server in a process of its own, and calls of it over HTTP.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{PATIENCE, client::Client};

/// Rooms `log...` have a history, others none.
const CONFIG: &str = "[[rooms]]\nmatch = \"log*\"\nhistory.messages = 10000\n";

/// The key of the API of servers that have one.
pub(super) const KEY: &str = "test-key";

/// A server on a port of its own, which ends with the test.
pub(super) struct Node {
    process: Child,
    address: String,
    /// The name that other servers know it by.
    pub(super) id: String,
    /// True when an answer was not whole, so that it was asked again.
    asked_again: AtomicBool,
    _folder: TempDir,
}

impl Node {
    pub(super) fn start(relay: &str) -> Self {
        Self::start_with(relay, CONFIG, &[])
    }

    /// Starts one with another file of settings, and flags.
    pub(super) fn start_with(relay: &str, settings: &str, flags: &[&str]) -> Self {
        let started = Self::try_start(relay, settings, flags, |line| eprintln!("{line}"));
        started.expect("the server says where it listens")
    }

    /// Starts a server that sends its log elsewhere, line by line; `None` if it ends at once, as it
    /// does without the relay.
    pub(super) fn try_start(
        relay: &str,
        settings: &str,
        flags: &[&str],
        mut log: impl FnMut(&str) + Send + 'static,
    ) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("rooms.toml");
        std::fs::write(&config, settings).expect("written");
        let config = config.to_str().expect("a path");
        let mut process = serve(relay, &[&["--config", config], flags].concat());
        let mut lines = BufReader::new(process.stderr.take().expect("a pipe")).lines();
        let mut id = String::new();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .inspect(|line| log(line))
            .inspect(|line| {
                if let Some((_, found)) = line.split_once(" node=") {
                    let is_of_id = |letter: &char| letter.is_ascii_alphanumeric();
                    let found = found.trim_start_matches('"').chars();
                    id = found.take_while(is_of_id).collect();
                }
            })
            .find_map(|line| Some(line.split_once("listening on http://")?.1.to_owned()));
        let Some(address) = address else {
            let _ = process.kill(); // it has ended
            let _ = process.wait();
            return None;
        };
        // A pipe that nobody empties would stop the server some day.
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                log(&line);
            }
        });
        Some(Self {
            process,
            address,
            id,
            asked_again: AtomicBool::new(false),
            _folder: folder,
        })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) async fn connect(&self) -> Client {
        Client::connect(&format!("ws://{}/ws", self.address), None).await
    }

    /// A client of a user whom a proxy names.
    pub(super) async fn connect_as(&self, user: &str) -> Client {
        Client::connect(&format!("ws://{}/ws", self.address), Some(user)).await
    }

    /// A client that has joined a room, with the answer.
    pub(super) async fn join(&self, room: &str) -> (Client, Value) {
        let mut client = self.connect().await;
        let answer = client.join(room, None).await;
        (client, answer)
    }

    /// The status and the body of a call.
    pub(super) fn http(&self, head: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let (address, length) = (&self.address, body.len());
        let head = head.trim_end();
        let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
        let headers = headers.replace('\n', "\r\n");
        let headers = if headers.is_empty() {
            headers
        } else {
            headers + "\r\n"
        };
        let request = format!(
            "{line} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
             content-length: {length}\r\n{headers}\r\n{body}"
        );
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).expect("a status");
        (status.parse().expect("a number"), body.to_owned())
    }

    /// The status and the answer of a call of the API.
    pub(super) fn api(&self, method: &str, path: &str) -> (u16, Value) {
        // Behind a proxy, servers have a key.
        let head = format!("{method} /api/v1/default/{path}\nauthorization: Bearer {KEY}");
        let (status, body) = self.http(&head, "");
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    /// The answer to a call that is answered whole.
    pub(super) fn get(&self, path: &str) -> Value {
        let (status, answer) = self.get_whole(path);
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// The status and the answer of a call, once they are whole. On a busy machine a server, or the
    /// relay, may stand still for longer than the second that it is waited for.
    pub(super) fn get_whole(&self, path: &str) -> (u16, Value) {
        let began = Instant::now();
        loop {
            let asked = Instant::now();
            let (status, answer) = self.api("GET", path);
            let missing = &answer["missing"];
            if status != 503 && missing.is_null() {
                return (status, answer);
            }
            // No server is called missing before that second is over.
            let waited = asked.elapsed() >= Duration::from_secs(1);
            let is_told = status == 503 || *missing == json!(["relay"]);
            assert!(waited || is_told, "{path}: {answer}");
            assert!(began.elapsed() < PATIENCE, "{path}: {answer}");
            self.asked_again.store(true, Relaxed);
        }
    }

    /// True when an answer was not whole.
    pub(super) fn asked_again(&self) -> bool {
        self.asked_again.load(Relaxed)
    }

    /// Sends as a backend does.
    pub(super) fn send(&self, key: &str, room: &str, data: &Value) -> (u16, Value) {
        let body = json!({"audience": {"rooms": [room]}, "event": "told", "data": data});
        let head = format!("POST /api/v1/default/send\nidempotency-key: {key}");
        let (status, body) = self.http(&head, &body.to_string());
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    /// Does the same, again while the relay is unavailable, which a busy machine causes.
    pub(super) fn send_surely(&self, key: &str, room: &str, data: &Value) -> (u16, Value) {
        let began = Instant::now();
        loop {
            let answer = self.send(key, room, data);
            if answer.0 != 503 || began.elapsed() > PATIENCE {
                return answer;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.http("GET /readyz", "").0 == 200
    }

    /// The findings of `roomcast doctor`, as a health check asks for them.
    pub(super) fn doctor(&self) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
        let url = format!("http://{}", self.address);
        let output = command.args(["doctor", &url, "--ready"]).output();
        String::from_utf8(output.expect("it runs").stdout).expect("text")
    }

    /// A number of `/metrics`.
    pub(super) fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.http("GET /metrics", "");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = line.unwrap_or_else(|| panic!("no {name} in {text}"));
        value.parse().expect("a number")
    }

    pub(super) fn signal(&self, signal: Signal) {
        send_signal(&self.process, signal);
    }

    /// Ends it without a word.
    pub(super) fn kill(mut self) {
        self.process.kill().expect("it lives");
        let _ = self.process.wait();
    }

    /// Shuts it down gracefully.
    pub(super) fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.process.wait().expect("it ends")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends a signal to a process; waits until it stands still, if that is what the signal asks for.
pub(super) fn send_signal(process: &Child, signal: Signal) {
    let process = Pid::from_child(process);
    kill_process(process, signal).expect("it lives");
    if signal == Signal::STOP {
        // Its threads stop one after the other.
        let stopped = waitpid(Some(process), WaitOptions::UNTRACED);
        assert!(stopped.expect("a child").is_some(), "it stands still");
    }
}

/// Starts a server, with nothing from the environment of whoever runs the test.
pub(super) fn serve(relay: &str, flags: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--relay", relay]);
    command.args(["--inbound-rate", "off"]).args(flags);
    command.env_clear().stderr(Stdio::piped());
    command.spawn().expect("the server starts")
}
