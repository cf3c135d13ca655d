//! A backend that receives events.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;

/// A receiver of webhooks, which keeps what it is told.
pub(super) struct Backend {
    address: String,
    events: Arc<Mutex<Vec<Value>>>,
}

impl Backend {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let events: Arc<Mutex<Vec<Value>>> = Arc::default();
        let kept = events.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let kept = kept.clone();
                thread::spawn(move || serve(stream, &kept));
            }
        });
        Self { address, events }
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
        let events = self.events.lock().expect("no panic");
        let told = events.iter().filter(|event| event["type"] == kind);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let told = told.map(|event| (text(&event["room"]), text(&event["user"])));
        let mut told: Vec<_> = told.collect();
        told.sort_unstable();
        told
    }
}

/// Takes requests of a connection until it ends.
fn serve(stream: TcpStream, kept: &Mutex<Vec<Value>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if !matches!(reader.read_line(&mut line), Ok(1..)) {
                return;
            }
            let line = line.trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a number");
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("the whole body");
        let batch: Value = serde_json::from_slice(&body).expect("JSON");
        let events = batch["events"].as_array().expect("events");
        kept.lock()
            .expect("no panic")
            .extend(events.iter().cloned());
        let answered = reader
            .get_mut()
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
        if answered.is_err() {
            return;
        }
    }
}
