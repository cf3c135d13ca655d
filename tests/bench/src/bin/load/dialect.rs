//! The languages of the servers that Roomcast is compared with.

use std::io::Write as _;

use roomcast_load::{Dialect, Limits, Roomcast, Stamp, What};
use serde_json::{Value, json};

pub fn named(name: &str) -> Box<dyn Dialect> {
    let roomcast = Roomcast::new("/ws", "room");
    let roomcast = roomcast.with_echo().without_welcome();
    match name {
        "plain" => Box::new(Plain),
        "roomcast" => Box::new(roomcast),
        "roomcast-checked" => Box::new(Checked(roomcast)),
        "socket.io" => Box::new(SocketIo),
        _ => panic!("no dialect {name}"),
    }
}

/// A letter, and an operand.
#[derive(Debug)]
struct Plain;

impl Dialect for Plain {
    fn path(&self) -> &str {
        "/"
    }

    fn join(&self, room: u32) -> String {
        format!("+room{room}")
    }

    fn leave(&self, room: u32) -> String {
        format!("-room{room}")
    }

    fn publish(&self, stamp: Stamp, bytes: usize, out: &mut Vec<u8>) {
        let _ = write!(out, "!room{} ", stamp.room);
        stamp.write(bytes, out);
    }

    fn ask(&self, bytes: usize) -> String {
        format!("?{}", "x".repeat(bytes))
    }

    fn read(&self, text: &[u8]) -> What {
        match text.first() {
            Some(b'!') => said(text),
            Some(b'?') => What::Answered,
            Some(b'+') => What::Joined,
            Some(b'-') => What::Left,
            _ => What::Other,
        }
    }
}

#[derive(Debug)]
struct SocketIo;

impl Dialect for SocketIo {
    fn path(&self) -> &str {
        "/socket.io/?EIO=4&transport=websocket"
    }

    fn greets(&self) -> bool {
        true
    }

    fn join(&self, room: u32) -> String {
        format!(r#"421["join","room{room}"]"#)
    }

    fn leave(&self, room: u32) -> String {
        format!(r#"422["leave","room{room}"]"#)
    }

    fn publish(&self, stamp: Stamp, bytes: usize, out: &mut Vec<u8>) {
        let _ = write!(out, r#"42["publish","room{}",""#, stamp.room);
        stamp.write(bytes, out);
        out.extend_from_slice(br#""]"#);
    }

    fn ask(&self, bytes: usize) -> String {
        format!(r#"423["ask","{}"]"#, "x".repeat(bytes))
    }

    fn read(&self, text: &[u8]) -> What {
        match text {
            [b'4', b'2', ..] => said(text.strip_suffix(br#""]"#).unwrap_or(text)),
            [b'4', b'3', b'1', ..] => What::Joined,
            [b'4', b'3', b'2', ..] => What::Left,
            [b'4', b'3', ..] => What::Answered,
            [b'4', b'0', ..] => What::Ready(Limits::default()),
            [b'0', ..] => What::Reply("40"),
            [b'2'] => What::Reply("3"),
            _ => What::Other,
        }
    }
}

/// Roomcast's, with everything that is delivered parsed and held to what it has to be. That costs
/// the generator more than a server: not for runs that count.
#[derive(Debug)]
struct Checked(Roomcast);

impl Dialect for Checked {
    fn path(&self) -> &str {
        self.0.path()
    }

    fn protocol(&self) -> Option<&str> {
        self.0.protocol()
    }

    fn greets(&self) -> bool {
        self.0.greets()
    }

    fn join(&self, room: u32) -> String {
        self.0.join(room)
    }

    fn leave(&self, room: u32) -> String {
        self.0.leave(room)
    }

    fn publish(&self, stamp: Stamp, bytes: usize, out: &mut Vec<u8>) {
        self.0.publish(stamp, bytes, out);
    }

    fn ask(&self, bytes: usize) -> String {
        self.0.ask(bytes)
    }

    fn read(&self, text: &[u8]) -> What {
        let what = self.0.read(text);
        if let What::Message(stamp) = what {
            check(text, stamp);
        }
        what
    }
}

fn said(text: &[u8]) -> What {
    Stamp::read(text).map_or(What::Other, What::Message)
}

/// Holds a push to its whole form: members, and the stamp where the payload has it.
fn check(text: &[u8], stamp: Stamp) {
    let push = serde_json::from_slice::<Value>(text).expect("a push is JSON");
    let (event, room, data) = (&push["event"], &push["room"], &push["data"]);
    let conn = &push["from"]["conn"];
    let expected = json!({ "event": event, "room": room, "from": { "conn": conn }, "data": data });
    assert!(push == expected && event.is_string(), "not a push: {push}");
    let conn = conn.as_str().and_then(|conn| conn.parse::<u64>().ok());
    let data = data.as_str().unwrap_or_default();
    assert!(
        *room == format!("room{}", stamp.room)
            && conn.is_some()
            && Stamp::read(data.as_bytes()) == Some(stamp),
        "not a push: {push}"
    );
}
