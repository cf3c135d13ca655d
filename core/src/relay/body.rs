//! The form of a message between nodes.
//!
//! A version, a kind, then fields, each as a netstring or as `-` when it is absent. Nearly always
//! it is text, so that it can be read in the relay. Other bytes are foreign.

use alloc::{boxed::Box, vec::Vec};

use crate::wire::ConnId;

/// The version of the form. A node drops messages of another version, and reports it.
const VERSION: u8 = b'1';
/// Digits of a length, at most: no message has a terabyte.
const LENGTH_DIGITS_MAX: usize = 12;

/// A message between nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Body<'a> {
    pub(crate) kind: BodyKind,
    /// The node that published it.
    pub(crate) node: &'a str,
    /// The token of the publish at that node.
    pub(crate) token: u64,
    /// The publisher, when that is a client.
    pub(crate) conn: Option<ConnId>,
    pub(crate) user: Option<&'a str>,
    /// True when the publisher gets it too.
    pub(crate) echo: bool,
    /// The recipients as JSON; `None`: the members of the room.
    pub(crate) audience: Option<&'a str>,
    pub(crate) event: &'a str,
    pub(crate) path: Option<&'a str>,
    /// The JSON of an event, or a whole frame.
    pub(crate) payload: &'a [u8],
}

/// The kind of a message between nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyKind {
    /// An event with a payload.
    Event,
    /// A whole text frame of an application.
    Text,
    /// A whole binary frame of an application.
    Binary,
}

impl BodyKind {
    const fn byte(self) -> u8 {
        match self {
            Self::Event => b'e',
            Self::Text => b't',
            Self::Binary => b'b',
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            b'e' => Self::Event,
            b't' => Self::Text,
            b'b' => Self::Binary,
            _ => return None,
        })
    }
}

impl<'a> Body<'a> {
    pub(crate) fn encode(&self) -> Box<[u8]> {
        let mut bytes = Vec::with_capacity(96 + self.event.len() + self.payload.len());
        bytes.extend([VERSION, self.kind.byte()]);
        let mut buffer = itoa::Buffer::new();
        push(&mut bytes, Some(self.node.as_bytes()));
        push(&mut bytes, Some(buffer.format(self.token).as_bytes()));
        let conn = self.conn.map(|conn| buffer.format(conn.as_u64()));
        push(&mut bytes, conn.map(str::as_bytes));
        push(&mut bytes, self.user.map(str::as_bytes));
        push(&mut bytes, self.echo.then_some(b"1"));
        push(&mut bytes, self.audience.map(str::as_bytes));
        push(&mut bytes, Some(self.event.as_bytes()));
        push(&mut bytes, self.path.map(str::as_bytes));
        push(&mut bytes, Some(self.payload));
        bytes.into()
    }

    /// Reads a message; `None` when it is foreign.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let [VERSION, kind, rest @ ..] = bytes else {
            return None;
        };
        let mut fields = Fields(rest);
        let body = Self {
            kind: BodyKind::from_byte(*kind)?,
            node: fields.text()??,
            token: fields.text()??.parse().ok()?,
            conn: match fields.text()? {
                Some(conn) => Some(conn.parse().ok()?),
                None => None,
            },
            user: fields.text()?,
            echo: fields.next()?.is_some(),
            audience: fields.text()?,
            event: fields.text()??,
            path: fields.text()?,
            payload: fields.next()??,
        };
        fields.0.is_empty().then_some(body)
    }
}

fn push(bytes: &mut Vec<u8>, field: Option<&[u8]>) {
    let Some(field) = field else {
        return bytes.push(b'-');
    };
    bytes.extend(itoa::Buffer::new().format(field.len()).as_bytes());
    bytes.push(b':');
    bytes.extend(field);
    bytes.push(b',');
}

/// Fields that are still to be read.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The next field; `None` when there is no valid one.
    fn next(&mut self) -> Option<Option<&'a [u8]>> {
        if let [b'-', rest @ ..] = self.0 {
            self.0 = rest;
            return Some(None);
        }
        let digits = self.0.iter().take(LENGTH_DIGITS_MAX + 1);
        let digits = digits.take_while(|byte| byte.is_ascii_digit()).count();
        let (length, rest) = self.0.split_at(digits);
        let length: usize = core::str::from_utf8(length).ok()?.parse().ok()?;
        let rest = rest.strip_prefix(b":")?;
        let (field, rest) = rest.split_at_checked(length)?;
        self.0 = rest.strip_prefix(b",")?;
        Some(Some(field))
    }

    fn text(&mut self) -> Option<Option<&'a str>> {
        Some(match self.next()? {
            Some(field) => Some(core::str::from_utf8(field).ok()?),
            None => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body() -> Body<'static> {
        Body {
            kind: BodyKind::Event,
            node: "n1",
            token: 7,
            conn: Some(ConnId::new(3, 1)),
            user: Some("ann"),
            echo: true,
            audience: None,
            event: "said",
            path: Some("/a"),
            payload: br#"{"text":"hi"}"#,
        }
    }

    #[test]
    fn a_message_comes_back_as_it_was() {
        let plain = Body {
            kind: BodyKind::Binary,
            conn: None,
            user: None,
            echo: false,
            audience: Some(r#"{"all":true}"#),
            path: None,
            event: "",
            payload: &[0, 0xff],
            ..body()
        };
        for body in [body(), plain] {
            assert_eq!(Body::decode(&body.encode()), Some(body));
        }
        let text = "1e2:n1,1:7,7:3145729,3:ann,1:1,-4:said,2:/a,13:{\"text\":\"hi\"},";
        assert_eq!(&*body().encode(), text.as_bytes());
    }

    #[test]
    fn anything_else_is_foreign() {
        let whole = body().encode();
        for end in 0..whole.len() {
            assert_eq!(Body::decode(&whole[..end]), None, "cut off at {end}");
        }
        let more: Vec<u8> = whole.iter().copied().chain([b'-']).collect();
        assert_eq!(Body::decode(&more), None);
        for at in 0..whole.len() {
            for byte in [0, b'-', b'9', b':', 0xff] {
                let mut other = whole.to_vec();
                other[at] = byte;
                // No panic, and nothing is read beyond the end.
                if let Some(read) = Body::decode(&other) {
                    assert!(read.payload.len() <= whole.len());
                }
            }
        }
        for bytes in [
            &b""[..],
            b"2e",
            b"1x2:n1,",
            b"1e99999999999999999999:",
            b"1e-",
        ] {
            assert_eq!(Body::decode(bytes), None);
        }
    }
}
