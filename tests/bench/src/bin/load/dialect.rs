//! What each kind of server is told, and how its answers are read.

use serde_json::{Value, json};

use crate::payload;

/// The protocol that a server speaks.
#[derive(Clone, Copy, PartialEq)]
pub enum Dialect {
    Plain,
    Roomcast,
    /// The same, with everything that is received parsed and held to what it has to be. That costs
    /// the generator more than a server: not for runs that count.
    RoomcastChecked,
    SocketIo,
}

/// What a text message from a server means.
#[derive(PartialEq)]
pub enum Meaning {
    /// A published message, with the number in its payload.
    Said(u64),
    Answered,
    Joined,
    Left,
    /// The session has begun, where that takes more than the upgrade.
    Ready,
    /// This has to be sent back for the session to go on.
    Reply(&'static str),
    Nothing,
}

impl Dialect {
    pub fn named(name: &str) -> Self {
        match name {
            "plain" => Self::Plain,
            "roomcast" => Self::Roomcast,
            "roomcast-checked" => Self::RoomcastChecked,
            "socket.io" => Self::SocketIo,
            _ => panic!("no dialect {name}"),
        }
    }

    /// The request that opens a connection.
    pub fn upgrade(self, port: u16) -> String {
        let (path, more) = match self {
            Self::Plain => ("/", ""),
            // As a real client does; the price is one more frame, `$welcome`.
            Self::Roomcast | Self::RoomcastChecked => {
                ("/ws", "Sec-WebSocket-Protocol: roomcast.v1\r\n")
            }
            Self::SocketIo => ("/socket.io/?EIO=4&transport=websocket", ""),
        };
        format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n{more}\r\n"
        )
    }

    /// Whether a connection can be used as soon as it is upgraded.
    pub fn ready_at_once(self) -> bool {
        self != Self::SocketIo
    }

    pub fn join(self, room: &str) -> String {
        match self {
            Self::Plain => format!("+{room}"),
            Self::Roomcast | Self::RoomcastChecked => {
                format!(r#"{{"event":"$join","id":1,"room":"{room}"}}"#)
            }
            Self::SocketIo => format!(r#"421["join","{room}"]"#),
        }
    }

    pub fn leave(self, room: &str) -> String {
        match self {
            Self::Plain => format!("-{room}"),
            Self::Roomcast | Self::RoomcastChecked => {
                format!(r#"{{"event":"$leave","id":2,"room":"{room}"}}"#)
            }
            Self::SocketIo => format!(r#"422["leave","{room}"]"#),
        }
    }

    /// A message to all members, the publisher included when it is one.
    pub fn publish(self, room: &str, text: &str) -> String {
        match self {
            Self::Plain => format!("!{room} {text}"),
            Self::Roomcast | Self::RoomcastChecked => {
                format!(r#"{{"event":"said","room":"{room}","echo":true,"data":"{text}"}}"#)
            }
            Self::SocketIo => format!(r#"42["publish","{room}","{text}"]"#),
        }
    }

    /// A message that is answered to its sender alone. For Roomcast it is a publish to a room that
    /// has no members: read, checked, looked up and answered.
    pub fn ask(self, text: &str) -> String {
        match self {
            Self::Plain => format!("?{text}"),
            Self::Roomcast | Self::RoomcastChecked => {
                format!(r#"{{"event":"ask","id":3,"room":"nobody","data":"{text}"}}"#)
            }
            Self::SocketIo => format!(r#"423["ask","{text}"]"#),
        }
    }

    pub fn read(self, text: &[u8]) -> Meaning {
        match self {
            Self::Plain => match text.first() {
                Some(b'!') => said(text),
                Some(b'?') => Meaning::Answered,
                Some(b'+') => Meaning::Joined,
                Some(b'-') => Meaning::Left,
                _ => Meaning::Nothing,
            },
            Self::RoomcastChecked => {
                let meaning = Self::Roomcast.read(text);
                if let Meaning::Said(number) = meaning {
                    check(text, number);
                }
                meaning
            }
            Self::Roomcast => {
                let Some(event) = text.strip_prefix(br#"{"event":""#) else {
                    return Meaning::Nothing;
                };
                match event {
                    [b's', b'a', b'i', b'd', ..] => {
                        said(text.strip_suffix(br#""}"#).unwrap_or(text))
                    }
                    // An error costs less than what was asked for: it must not count as an answer.
                    _ if contains(text, br#","error":"#) => {
                        panic!("refused: {}", String::from_utf8_lossy(text))
                    }
                    [b'a', b's', b'k', ..] => Meaning::Answered,
                    [b'$', b'j', ..] => Meaning::Joined,
                    [b'$', b'l', ..] => Meaning::Left,
                    _ => Meaning::Nothing,
                }
            }
            Self::SocketIo => match text {
                [b'4', b'2', ..] => said(text.strip_suffix(br#""]"#).unwrap_or(text)),
                [b'4', b'3', b'1', ..] => Meaning::Joined,
                [b'4', b'3', b'2', ..] => Meaning::Left,
                [b'4', b'3', ..] => Meaning::Answered,
                [b'4', b'0', ..] => Meaning::Ready,
                [b'0', ..] => Meaning::Reply("40"),
                [b'2'] => Meaning::Reply("3"),
                _ => Meaning::Nothing,
            },
        }
    }
}

fn said(text: &[u8]) -> Meaning {
    payload::number(text).map_or(Meaning::Nothing, Meaning::Said)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Holds a push to its whole form: members, and the number where the payload has it.
fn check(text: &[u8], number: u64) {
    let push = serde_json::from_slice::<Value>(text).expect("a push is JSON");
    let (room, conn, data) = (&push["room"], &push["from"]["conn"], &push["data"]);
    let expected = json!({ "event": "said", "room": room, "from": { "conn": conn }, "data": data });
    assert!(push == expected && room.is_string(), "not a push: {push}");
    let conn = conn.as_str().and_then(|conn| conn.parse::<u64>().ok());
    let data = data.as_str().unwrap_or_default();
    assert!(
        conn.is_some() && said(data.as_bytes()) == Meaning::Said(number),
        "not a push: {push}"
    );
}
