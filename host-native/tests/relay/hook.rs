//! A backend that receives events.

use std::{
    collections::HashSet,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;

/// A receiver of webhooks, which keeps what it is told.
pub(super) struct Backend {
    address: String,
    told: Arc<Mutex<Told>>,
}

/// Events, and the identifiers of the requests that they came with.
#[derive(Default)]
struct Told {
    ids: HashSet<String>,
    events: Vec<Value>,
}

impl Backend {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let told: Arc<Mutex<Told>> = Arc::default();
        let kept = told.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let kept = kept.clone();
                thread::spawn(move || serve(stream, &kept));
            }
        });
        Self { address, told }
    }

    /// Returns a settings table that reports these events to the backend.
    pub(super) fn settings(&self, events: &[&str]) -> String {
        let address = &self.address;
        format!(
            "[[hooks]]\ntell = \"http://{address}/\"\nevents = {events:?}\n\
             keys = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]\n"
        )
    }

    /// The rooms and users of events of a kind, sorted.
    pub(super) fn told(&self, kind: &str) -> Vec<(String, String)> {
        let all = self.told.lock().expect("no panic");
        let told = all.events.iter().filter(|event| event["type"] == kind);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let told = told.map(|event| (text(&event["room"]), text(&event["user"])));
        let mut told: Vec<_> = told.collect();
        told.sort_unstable();
        told
    }
}

/// Takes requests of a connection until it ends.
fn serve(stream: TcpStream, kept: &Mutex<Told>) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut length, mut id) = (0, String::new());
        loop {
            let mut line = String::new();
            if !matches!(reader.read_line(&mut line), Ok(1..)) {
                return;
            }
            let line = line.trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a number");
            }
            if let Some(value) = line.strip_prefix("webhook-id:") {
                id = value.trim().to_owned();
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return; // the server was killed
        }
        let batch: Value = serde_json::from_slice(&body).expect("JSON");
        let events = batch["events"].as_array().expect("events");
        let mut told = kept.lock().expect("no panic");
        // A server that stands still before it has read the answer sends the request again.
        if told.ids.insert(id) {
            told.events.extend(events.iter().cloned());
        }
        drop(told);
        let answered = reader
            .get_mut()
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
        if answered.is_err() {
            return;
        }
    }
}
