//! The dialect of a Roomcast server.

use std::{borrow::Cow, io::Write as _};

use memchr::{memchr, memmem};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    dialect::{Dialect, Limits, Refusal, What},
    stamp::{Stamp, number},
};

/// The event of everything published.
const EVENT: &str = "bench";

/// The protocol `roomcast.v1`.
#[derive(Debug, Clone)]
pub struct Roomcast {
    path: String,
    rooms: String,
    echo: &'static str,
    greets: bool,
}

impl Roomcast {
    /// A server whose WebSocket has this path. The name of a room is `rooms` followed by its
    /// number.
    pub fn new(path: impl Into<String>, rooms: impl Into<String>) -> Self {
        let (path, rooms) = (path.into(), rooms.into());
        let (echo, greets) = ("", true);
        Self {
            path,
            rooms,
            echo,
            greets,
        }
    }

    /// Asks that each message is delivered to its publisher too, if that is a member.
    #[must_use]
    pub fn with_echo(self) -> Self {
        let echo = r#","echo":true"#;
        Self { echo, ..self }
    }

    /// Takes a connection for ready after its upgrade, without waiting for `$welcome`: a server has
    /// less to do when the first request arrives with the upgrade.
    #[must_use]
    pub fn without_welcome(self) -> Self {
        let greets = false;
        Self { greets, ..self }
    }

    /// Reads the frames that are frequent, in the exact form that servers write: a fast path.
    fn usual(&self, text: &[u8]) -> Option<What> {
        const MESSAGE: &[u8] = br#"{"event":"bench","room":""#;
        if let Some(rest) = text.strip_prefix(MESSAGE) {
            let room = rest.strip_prefix(self.rooms.as_bytes())?;
            let room = number(&room[..memchr(b'"', room)?])?;
            let stamp = Stamp::read(text.strip_suffix(br#""}"#)?)?;
            return (room == u64::from(stamp.room)).then_some(What::Message(stamp));
        }
        let event = text.strip_prefix(br#"{"event":""#)?;
        let what = match event[..memchr(b'"', event)?] {
            [b'a', b's', b'k'] => What::Answered,
            [b'$', b'j', b'o', b'i', b'n'] => What::Joined,
            [b'$', b'l', b'e', b'a', b'v', b'e'] => What::Left,
            [b'$', b'w', ..] if !self.greets => What::Other,
            _ => return None,
        };
        memmem::find(event, br#","error":"#)
            .is_none()
            .then_some(what)
    }

    fn any(&self, text: &[u8]) -> What {
        #[derive(Deserialize)]
        struct Frame<'a> {
            #[serde(borrow)]
            event: Cow<'a, str>,
            #[serde(borrow)]
            room: Option<Cow<'a, str>>,
            #[serde(borrow)]
            data: Option<&'a RawValue>,
            error: Option<Error>,
        }
        #[derive(Deserialize)]
        struct Error {
            code: String,
            message: String,
        }
        #[derive(Deserialize)]
        struct Welcome {
            #[serde(default)]
            limits: Limits,
        }
        let Ok(frame) = serde_json::from_slice::<Frame<'_>>(text) else {
            return What::Stray;
        };
        let data = frame.data.map_or("", RawValue::get);
        match (&*frame.event, frame.error) {
            (event, Some(Error { code, message })) => What::Refusal(Box::new(Refusal {
                published: event == EVENT,
                code,
                message,
            })),
            ("$welcome", None) => {
                let limits = serde_json::from_str(data).map(|Welcome { limits }| limits);
                What::Ready(limits.unwrap_or_default())
            }
            ("$join", None) => What::Joined,
            ("$leave", None) => What::Left,
            ("ask", None) => What::Answered,
            (EVENT, None) => {
                let stamp = Stamp::read(data.trim_end_matches('"').as_bytes());
                let ours = |stamp: &Stamp| {
                    let room = frame.room.as_deref()?.strip_prefix(&self.rooms)?;
                    Some(number(room.as_bytes())? == u64::from(stamp.room))
                };
                let ours = stamp.filter(|stamp| ours(stamp) == Some(true));
                ours.map_or(What::Stray, What::Message)
            }
            _ => What::Other,
        }
    }
}

impl Dialect for Roomcast {
    fn path(&self) -> &str {
        &self.path
    }

    fn protocol(&self) -> Option<&str> {
        Some("roomcast.v1")
    }

    fn greets(&self) -> bool {
        self.greets
    }

    fn join(&self, room: u32) -> String {
        format!(
            r#"{{"event":"$join","id":1,"room":"{}{room}"}}"#,
            self.rooms
        )
    }

    fn leave(&self, room: u32) -> String {
        format!(
            r#"{{"event":"$leave","id":2,"room":"{}{room}"}}"#,
            self.rooms
        )
    }

    /// A message whose `data` is a string of `bytes` bytes. It has no id, like most messages of
    /// applications: an answer to each would be additional load.
    fn publish(&self, stamp: Stamp, bytes: usize, out: &mut Vec<u8>) {
        let Self { rooms, echo, .. } = self;
        let room = stamp.room;
        let _ = write!(
            out,
            r#"{{"event":"{EVENT}","room":"{rooms}{room}"{echo},"data":""#
        );
        stamp.write(bytes, out);
        out.extend_from_slice(br#""}"#);
    }

    /// A publish to a room without members, which the server reads, checks, looks up and answers.
    fn ask(&self, bytes: usize) -> String {
        let data = "x".repeat(bytes);
        format!(r#"{{"event":"ask","id":3,"room":"nobody","data":"{data}"}}"#)
    }

    fn read(&self, text: &[u8]) -> What {
        self.usual(text).unwrap_or_else(|| self.any(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        room: 7,
        number: 1_234,
    };

    fn roomcast() -> Roomcast {
        Roomcast::new("/ws", "r-")
    }

    #[test]
    fn the_payload_is_as_long_as_was_asked_for() {
        for dialect in [roomcast(), roomcast().with_echo()] {
            for bytes in [Stamp::BYTES, 128, 100_000] {
                let mut text = Vec::new();
                dialect.publish(STAMP, bytes, &mut text);
                let value: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
                assert_eq!(value["data"].as_str().map(str::len), Some(bytes));
            }
        }
    }

    #[test]
    fn a_push_brings_back_what_was_sent() {
        let mut sent = Vec::new();
        roomcast().publish(STAMP, 100, &mut sent);
        let sent = String::from_utf8(sent).expect("text");
        let data = &sent[sent.find(r#""data":"#).expect("a member")..];
        let head = r#"{"event":"bench","room":"r-7","from":{"conn":"5"},"#;
        let push = format!("{head}{data}");
        assert_eq!(
            roomcast().usual(push.as_bytes()),
            Some(What::Message(STAMP))
        );
        let unusual = push.replace(r#"{"event""#, r#"{ "event""#);
        for text in [&push, &unusual] {
            assert_eq!(roomcast().read(text.as_bytes()), What::Message(STAMP));
            for room in ["r-8", "s-7", "7"] {
                let elsewhere = text.replace("r-7", room);
                assert_eq!(roomcast().read(elsewhere.as_bytes()), What::Stray);
            }
        }
    }

    #[test]
    fn frames_are_told_apart() {
        let limits = Limits {
            message_bytes: Some(65_536),
            inbound_messages_per_s: None,
        };
        let refused = |published, message: &str| {
            let (code, message) = ("rate_limited".to_owned(), message.to_owned());
            What::Refusal(Box::new(Refusal {
                published,
                code,
                message,
            }))
        };
        for (text, what) in [
            (
                r#"{"event":"$welcome","data":{"conn":"1","limits":{"message_bytes":65536,"x":1}}}"#,
                What::Ready(limits),
            ),
            (
                r#"{"event":"$join","id":1,"room":"r-7","data":{"already":false}}"#,
                What::Joined,
            ),
            (
                r#"{"event":"$leave","id":2,"room":"r-7","data":{"was":true}}"#,
                What::Left,
            ),
            (
                r#"{"event":"ask","id":3,"room":"nobody","data":{"reached":0}}"#,
                What::Answered,
            ),
            (
                r#"{"event":"ask","id":3,"error":{"code":"rate_limited","message":"no"}}"#,
                refused(false, "no"),
            ),
            (
                r#"{"event":"bench","room":"r-7","error":{"code":"rate_limited","message":"\"slow\""}}"#,
                refused(true, "\"slow\""),
            ),
            (
                r#"{"event":"bench","room":"r-7","data":{"n":-1}}"#,
                What::Stray,
            ),
            (r#"{"event":"news","data":null}"#, What::Other),
            (r#"{"event":"$bye","data":{"code":1001}}"#, What::Other),
            ("[]", What::Stray),
        ] {
            assert_eq!(roomcast().read(text.as_bytes()), what, "{text}");
        }
    }
}
