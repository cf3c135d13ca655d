//! The members that address a frame, and the writers of JSON text.

use alloc::{borrow::Cow, boxed::Box, string::String};
use core::fmt;

use serde::{Deserialize, Deserializer, de};

use super::conn_id::ConnId;

/// Bytes of an event name.
pub const EVENT_BYTES_MAX: usize = 128;
/// Bytes of a request id that is a string.
pub(crate) const ID_BYTES_MAX: usize = 64;
/// Bytes of the idempotency key of a client.
pub(crate) const KEY_BYTES_MAX: usize = 64;
/// The maximum number of earlier connections that a client may name. No honest client loses more of
/// them between two positions, or between retries of a message.
pub(crate) const PREVIOUS_CONNS_MAX: usize = 16;
/// Bytes of the label of a push.
pub(crate) const PATH_BYTES_MAX: usize = 200;
/// The largest magnitude of a request id that is a number: JavaScript's safe integers.
const ID_NUMBER_MAX: u64 = (1 << 53) - 1;

/// A client's name for a request; its answer carries the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestId<'a> {
    /// An integer of magnitude below 2<sup>53</sup>.
    Number(i64),
    /// A string of at most 64 bytes.
    Text(Cow<'a, str>),
}

impl RequestId<'_> {
    /// The same, borrowing nothing.
    pub(crate) fn into_owned(self) -> RequestId<'static> {
        match self {
            Self::Number(number) => RequestId::Number(number),
            Self::Text(text) => RequestId::Text(Cow::Owned(text.into_owned())),
        }
    }

    fn write(&self, text: &mut String) {
        match self {
            Self::Number(number) => text.push_str(itoa::Buffer::new().format(*number)),
            Self::Text(id) => write_string(text, id),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for RequestId<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = RequestId<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string of at most 64 bytes or an integer below 2^53")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<RequestId<'de>, E> {
                match i64::try_from(number) {
                    Ok(id) if number <= ID_NUMBER_MAX => Ok(RequestId::Number(id)),
                    _ => Err(E::invalid_value(de::Unexpected::Unsigned(number), &self)),
                }
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<RequestId<'de>, E> {
                if number.unsigned_abs() <= ID_NUMBER_MAX {
                    Ok(RequestId::Number(number))
                } else {
                    Err(E::invalid_value(de::Unexpected::Signed(number), &self))
                }
            }

            fn visit_borrowed_str<E: de::Error>(self, id: &'de str) -> Result<RequestId<'de>, E> {
                if id.len() <= ID_BYTES_MAX {
                    Ok(RequestId::Text(Cow::Borrowed(id)))
                } else {
                    Err(E::invalid_length(id.len(), &self))
                }
            }

            fn visit_str<E: de::Error>(self, id: &str) -> Result<RequestId<'de>, E> {
                if id.len() <= ID_BYTES_MAX {
                    Ok(RequestId::Text(Cow::Owned(id.into())))
                } else {
                    Err(E::invalid_length(id.len(), &self))
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// The members that address the answer to a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Address<'a> {
    pub(crate) event: &'a str,
    pub(crate) id: Option<&'a RequestId<'a>>,
    pub(crate) room: Option<&'a str>,
}

/// An [`Address`] that is kept until the request is answered.
#[derive(Debug, Clone)]
pub(crate) struct OwnedAddress {
    event: Box<str>,
    id: Option<RequestId<'static>>,
    room: Option<Box<str>>,
}

impl Address<'_> {
    pub(crate) fn to_owned(self) -> OwnedAddress {
        OwnedAddress {
            event: self.event.into(),
            id: self.id.cloned().map(RequestId::into_owned),
            room: self.room.map(Into::into),
        }
    }
}

impl OwnedAddress {
    pub(crate) fn borrow(&self) -> Address<'_> {
        Address {
            event: &self.event,
            id: self.id.as_ref(),
            room: self.room.as_deref(),
        }
    }
}

/// Appends `{"event":E` and the members that address the frame.
pub(crate) fn write_head(
    text: &mut String,
    event: &str,
    id: Option<&RequestId<'_>>,
    room: Option<&str>,
) {
    text.push_str(r#"{"event":""#);
    write_escaped(text, event);
    text.push('"');
    if let Some(id) = id {
        text.push_str(r#","id":"#);
        id.write(text);
    }
    if let Some(room) = room {
        text.push_str(r#","room":""#);
        write_escaped(text, room);
        text.push('"');
    }
}

/// Appends the member `from`.
pub(crate) fn write_from(text: &mut String, conn: ConnId, user: Option<&str>) {
    text.push_str(r#","from":{"conn":""#);
    text.push_str(itoa::Buffer::new().format(conn.as_u64()));
    if let Some(user) = user {
        text.push_str(r#"","user":""#);
        write_escaped(text, user);
    }
    text.push_str(r#""}"#);
}

/// Appends a number behind what stands before it, such as the name of its member.
#[inline]
pub(crate) fn write_number(text: &mut String, before: &str, number: impl itoa::Integer) {
    text.push_str(before);
    text.push_str(itoa::Buffer::new().format(number));
}

/// Appends `true` or `false` behind what stands before it.
pub(crate) fn write_bool(text: &mut String, before: &str, value: bool) {
    text.push_str(before);
    text.push_str(if value { "true" } else { "false" });
}

/// Appends a JSON string.
pub(crate) fn write_string(text: &mut String, value: &str) {
    text.push('"');
    write_escaped(text, value);
    text.push('"');
}

/// The bytes that must be escaped in a JSON string. With a table there is one test per byte.
const ESCAPED: [bool; 256] = {
    let mut escaped = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        escaped[byte] = true;
        byte += 1;
    }
    escaped[b'"' as usize] = true;
    escaped[b'\\' as usize] = true;
    escaped
};

fn is_escaped(byte: u8) -> bool {
    ESCAPED[usize::from(byte)]
}

/// Appends what is between the quotes of a JSON string.
// Names rarely have escapes, so that the code that writes them is out of line.
#[inline]
fn write_escaped(text: &mut String, value: &str) {
    if value.bytes().any(is_escaped) {
        write_escapes(text, value);
    } else {
        text.push_str(value);
    }
}

#[cold]
#[inline(never)]
fn write_escapes(text: &mut String, value: &str) {
    let mut rest = value;
    while let Some(at) = rest.bytes().position(is_escaped) {
        text.push_str(&rest[..at]);
        let byte = rest.as_bytes()[at];
        match byte {
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                text.push_str("\\u00");
                text.push(char::from(HEX[usize::from(byte >> 4)]));
                text.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
        rest = &rest[at + 1..];
    }
    text.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped() {
        let mut text = String::new();
        write_string(&mut text, "a\"\\\n\u{1}\u{7f}é");
        assert_eq!(text, "\"a\\\"\\\\\\n\\u0001\u{7f}é\"");
    }
}
