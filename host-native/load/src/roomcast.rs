//! The messages of a run: what is sent, and what arrives.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The event of everything published.
const EVENT: &str = "bench";

/// The smallest payload that holds the longest number, the latest time, and their names.
pub(super) const PAYLOAD_BYTES_MIN: usize = 48;
/// A message this large is more than any server takes.
pub(super) const PAYLOAD_BYTES_MAX: usize = 64 << 20;

/// What a server says its limits are; absent is none.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Limits {
    pub(super) message_bytes: Option<usize>,
    pub(super) inbound_messages_per_s: Option<u32>,
}

/// A frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrived<'a> {
    Welcome(Limits),
    Joined,
    /// A message of this run, by its number in the room.
    Message(Stamp),
    /// Something was refused.
    Refused {
        /// Whether that was a message of this run.
        published: bool,
        code: Cow<'a, str>,
        message: Cow<'a, str>,
    },
    /// A message of a run, but not one that belongs into this room.
    Stray,
    /// Notices, and what the application behind the server sends to everybody.
    Other,
}

/// What a message says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) struct Stamp {
    /// Counts the messages of a room.
    #[serde(rename = "n")]
    pub(super) number: u32,
    /// When it was sent, in microseconds since the start of the run.
    #[serde(rename = "at")]
    pub(super) at_us: u64,
}

/// A request to join a room.
pub(super) fn join(room: &str) -> String {
    format!(r#"{{"event":"$join","id":1,"room":"{room}"}}"#)
}

/// A message whose `data` is exactly so many bytes. It has no id, as most messages of an
/// application have none: an answer to each would be a load of its own.
pub(super) fn publish(room: &str, stamp: Stamp, payload_bytes: usize) -> String {
    let Stamp { number, at_us } = stamp;
    let head = format!(r#"{{"n":{number},"at":{at_us},"pad":""#);
    let pad = "x".repeat(payload_bytes.saturating_sub(head.len() + r#""}"#.len()));
    format!(r#"{{"event":"{EVENT}","room":"{room}","data":{head}{pad}"}}}}"#)
}

/// Bytes of a message, for a room whose name is that long.
pub(super) fn publish_bytes(room_bytes: usize, payload_bytes: usize) -> usize {
    let stamp = Stamp {
        number: 0,
        at_us: 0,
    };
    publish("", stamp, payload_bytes).len() + room_bytes
}

impl<'a> Arrived<'a> {
    /// Reads a frame that came to a member of `room`.
    pub(super) fn read(text: &'a str, room: &str) -> Self {
        /// Nearly every frame is one of these, and there are many.
        #[derive(Deserialize)]
        struct Push<'a> {
            event: &'a str,
            room: &'a str,
            data: Stamp,
        }
        match serde_json::from_str::<Push<'_>>(text) {
            Ok(push) if push.event == EVENT && push.room == room => Self::Message(push.data),
            _ => Self::read_any(text),
        }
    }

    fn read_any(text: &'a str) -> Self {
        #[derive(Deserialize)]
        struct Frame<'a> {
            #[serde(borrow)]
            event: Cow<'a, str>,
            #[serde(borrow)]
            data: Option<&'a RawValue>,
            #[serde(borrow)]
            error: Option<Fault<'a>>,
        }
        #[derive(Deserialize)]
        struct Fault<'a> {
            #[serde(borrow)]
            code: Cow<'a, str>,
            #[serde(borrow)]
            message: Cow<'a, str>,
        }
        #[derive(Deserialize)]
        struct Welcome {
            #[serde(default)]
            limits: Limits,
        }
        let Ok(frame) = serde_json::from_str::<Frame<'a>>(text) else {
            return Self::Stray;
        };
        if let Some(Fault { code, message }) = frame.error {
            return Self::Refused {
                published: frame.event == EVENT,
                code,
                message,
            };
        }
        match &*frame.event {
            "$welcome" => {
                let data = frame.data.map_or("", RawValue::get);
                let limits = serde_json::from_str(data).map(|Welcome { limits }| limits);
                Self::Welcome(limits.unwrap_or_default())
            }
            "$join" => Self::Joined,
            EVENT => Self::Stray,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_as_long_as_was_asked_for() {
        for (number, at_us) in [(0, 0), (12_345, 9_876_543), (u32::MAX, 999_999_999_999_999)] {
            for bytes in [PAYLOAD_BYTES_MIN, 128, 5_000, 100_000] {
                let text = publish("bench-1", Stamp { number, at_us }, bytes);
                let value: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert_eq!(value["data"].to_string().len(), bytes);
                assert_eq!(value["data"]["at"], at_us);
                assert_eq!(text.len(), publish_bytes("bench-1".len(), bytes));
            }
        }
    }

    #[test]
    fn a_push_brings_back_what_was_sent() {
        let stamp = Stamp {
            number: 7,
            at_us: 1_234,
        };
        let sent = publish("r", stamp, 100);
        let data = &sent[sent.find(r#""data":"#).unwrap()..];
        let push = format!(r#"{{"event":"bench","room":"r","from":{{"conn":"5"}},{data}"#);
        assert_eq!(Arrived::read(&push, "r"), Arrived::Message(stamp));
        assert_eq!(Arrived::read(&push, "other"), Arrived::Stray);
    }

    #[test]
    fn frames_are_told_apart() {
        let limits = Limits {
            message_bytes: Some(65_536),
            inbound_messages_per_s: None,
        };
        for (text, arrived) in [
            (
                r#"{"event":"$welcome","data":{"conn":"1","limits":{"message_bytes":65536,"x":1}}}"#,
                Arrived::Welcome(limits),
            ),
            (
                r#"{"event":"$join","id":1,"room":"r","data":{"already":false}}"#,
                Arrived::Joined,
            ),
            (
                r#"{"event":"bench","room":"r","error":{"code":"rate_limited","message":"\"slow\""}}"#,
                Arrived::Refused {
                    published: true,
                    code: "rate_limited".into(),
                    message: "\"slow\"".into(),
                },
            ),
            (
                r#"{"event":"bench","room":"r","data":{"n":-1}}"#,
                Arrived::Stray,
            ),
            (r#"{"event":"news","data":null}"#, Arrived::Other),
            (r#"{"event":"$bye","data":{"code":1001}}"#, Arrived::Other),
            ("[]", Arrived::Stray),
        ] {
            assert_eq!(Arrived::read(text, "r"), arrived, "{text}");
        }
    }
}
