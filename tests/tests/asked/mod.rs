//! A backend that the native server asks who connects, and what it may join.

mod backends;
mod documented;
mod joins;
mod reload;
mod spans;

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Mutex,
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    peer::Peer,
    process::child::{LONGEST, Process},
    tokens::{OFFER, ask, text},
};

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A folder with a file that names one backend.
fn config(url: &str, more: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    write(&folder, url, more);
    folder
}

/// A file that names one backend. It has as long as it may have, unless `more` says otherwise: the
/// default of a second passes while a busy machine runs neither the backend nor the test.
pub(crate) fn settings(url: &str, more: &str) -> String {
    let patience = if more.contains("timeout_ms") {
        ""
    } else {
        "timeout_ms = 10000\n"
    };
    format!(
        "[ask]\nurl = \"{url}\"\nkeys = [\"{KEY}\"]\non = [\"connect\", \"join\"]\n\
         headers = [\"cookie\"]\n{patience}{more}"
    )
}

fn write(folder: &TempDir, url: &str, more: &str) {
    let file = settings(url, more);
    std::fs::write(folder.path().join("rooms.toml"), file).expect("written");
}

fn serve(folder: &TempDir, flags: &[&str]) -> Process {
    let file = folder.path().join("rooms.toml");
    let file = file.to_string_lossy();
    Process::start(&[&["--config", &*file], flags].concat())
}

/// Asks for a WebSocket with further fields; gives the status, and the body of a refusal.
fn connect(server: &Process, fields: &[&str]) -> (u16, String) {
    let mut stream = TcpStream::connect(&server.authority).expect("a server");
    stream.set_read_timeout(Some(LONGEST)).expect("a socket");
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{}\r\n",
        server.authority,
        fields
            .iter()
            .map(|field| format!("{field}\r\n"))
            .collect::<String>()
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let (head, body) = read(&mut stream);
    let status = head.split(' ').nth(1).expect("a status");
    (status.parse().expect("a number"), body)
}

/// A client that is in, with a cookie.
fn client(server: &Process, cookie: &str) -> Peer {
    let cookie = format!("Cookie: session={cookie}");
    let (mut peer, head) = ask(&server.authority, "", &[OFFER, &cookie]);
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(text(&mut peer).contains("$welcome"));
    peer
}

/// Says something; gives the next frame.
fn answer(peer: &mut Peer, said: &str) -> String {
    peer.say(said);
    text(peer)
}

fn join(peer: &mut Peer, room: &str) -> String {
    answer(
        peer,
        &format!(r#"{{"event":"$join","id":1,"room":"{room}"}}"#),
    )
}

/// Reads a message of HTTP with its body.
fn read(stream: &mut TcpStream) -> (String, String) {
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let mut lines = head.lines().map(str::to_ascii_lowercase);
            let length =
                lines.find_map(|line| Some(line.strip_prefix("content-length:")?.trim().parse()));
            let length: usize = length.transpose().expect("a number").unwrap_or(0);
            if body.len() >= length {
                return (head.to_owned(), body.to_owned());
            }
        }
        let count = match stream.read(&mut buffer) {
            // The process was stopped meanwhile.
            Err(fault) if fault.kind() == ErrorKind::Interrupted => continue,
            read => read.expect("readable"),
        };
        assert!(count > 0, "a whole message: {text}");
        read.extend_from_slice(&buffer[..count]);
    }
}

/// A pending question. If dropped, it is never answered.
pub(crate) struct Asked {
    pub(crate) question: Value,
    pub(crate) head: String,
    pub(crate) answer: Sender<String>,
}

impl Asked {
    pub(crate) fn answer(self, status: u16, body: &str) {
        let length = body.len();
        // It is closed behind the answer; one that is kept would fail the next request.
        let head = format!("Content-Length: {length}\r\nConnection: close");
        let answer = format!("HTTP/1.1 {status} Yes\r\n{head}\r\n\r\n{body}");
        self.answer.send(answer).expect("it waits");
    }

    /// Admits a user with these rights in all rooms.
    pub(crate) fn allow(self, user: &str, can: &[&str]) {
        let body = format!(r#"{{"user":"{user}","grants":[{{"rooms":"*","can":{can:?}}}]}}"#);
        self.answer(200, &body);
    }
}

/// Questions in the order in which they came.
pub(crate) type Questions = Mutex<Receiver<Asked>>;

/// A backend whose answers the test gives.
pub(crate) fn backend() -> (String, Questions) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), tell) = (stream, tell.clone()) else {
                return;
            };
            thread::spawn(move || {
                let (head, body) = read(&mut stream);
                let (answer, given) = mpsc::channel::<String>();
                let question = serde_json::from_str(&body).expect("JSON");
                let asked = Asked {
                    question,
                    head: head.to_ascii_lowercase(),
                    answer,
                };
                if tell.send(asked).is_ok()
                    && let Ok(given) = given.recv()
                {
                    // Otherwise the next question may use this connection while it closes.
                    let given = given.replacen("\r\n", "\r\nConnection: close\r\n", 1);
                    let _ = stream.write_all(given.as_bytes()); // or the server gave up
                }
            });
        }
    });
    (format!("http://{address}/ask?a=secret"), Mutex::new(told))
}

/// The next question.
pub(crate) fn asked(questions: &Questions) -> Asked {
    let questions = questions.lock().expect("no panic");
    questions.recv_timeout(LONGEST).expect("a question")
}

/// True when there is no question.
pub(crate) fn is_quiet(questions: &Questions) -> bool {
    questions.lock().expect("no panic").try_recv().is_err()
}
