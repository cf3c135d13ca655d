//! The members of the JSON object that clients send.

use alloc::borrow::Cow;
use core::{fmt, marker::PhantomData};

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::head::RequestId;

/// A string that borrows where it has no escapes; `Option<Cow<str>>` alone would always copy.
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.into())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// The members as they are on the wire: strings, an id, a flag and the payload. Unknown ones are
/// ignored, a repeated one is an error.
///
/// They are read by hand: the derived code costs each message a thirtieth more.
pub(super) struct Members<S, I, B, D> {
    pub(super) event: Option<S>,
    pub(super) id: Option<I>,
    pub(super) room: Option<S>,
    pub(super) echo: Option<B>,
    pub(super) data: Option<D>,
    /// Read by `Once::read`, off the path of messages without a key.
    pub(super) key: Option<D>,
    pub(super) conn: Option<D>,
}

pub(super) type Typed<'a> = Members<Text<'a>, RequestId<'a>, bool, &'a RawValue>;

/// The same members without their types, to find out which of them is wrong.
pub(super) type Untyped<'a> = Members<&'a RawValue, &'a RawValue, &'a RawValue, &'a RawValue>;

/// The name of a member.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    Event,
    Id,
    Room,
    Echo,
    Data,
    Key,
    Conn,
    /// Members that only the server sends: ignored, but an error when repeated.
    From,
    Offset,
    Error,
    Unknown,
}

impl Name {
    fn of(name: &[u8]) -> Self {
        match name {
            b"event" => Self::Event,
            b"id" => Self::Id,
            b"room" => Self::Room,
            b"echo" => Self::Echo,
            b"data" => Self::Data,
            b"key" => Self::Key,
            b"conn" => Self::Conn,
            b"from" => Self::From,
            b"offset" => Self::Offset,
            b"error" => Self::Error,
            _ => Self::Unknown,
        }
    }
}

/// Reads a name. There is one type per kind of members, so that the code that reads names has a
/// single caller, and is inlined.
struct NameVisitor<T>(PhantomData<T>);

impl<'de, T> DeserializeSeed<'de> for NameVisitor<T> {
    type Value = Name;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<T> Visitor<'_> for NameVisitor<T> {
    type Value = Name;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of a member")
    }

    #[inline]
    fn visit_str<E: Error>(self, name: &str) -> Result<Name, E> {
        Ok(Name::of(name.as_bytes()))
    }
}

struct MembersVisitor<S, I, B, D>(PhantomData<Members<S, I, B, D>>);

impl<'de, S, I, B, D> Visitor<'de> for MembersVisitor<S, I, B, D>
where
    S: Deserialize<'de>,
    I: Deserialize<'de>,
    B: Deserialize<'de>,
    D: Deserialize<'de>,
{
    type Value = Members<S, I, B, D>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Members {
            event: None,
            id: None,
            room: None,
            echo: None,
            data: None,
            key: None,
            conn: None,
        };
        let mut seen = 0_u16;
        while let Some(name) = map.next_key_seed(NameVisitor(self.0))? {
            if name != Name::Unknown {
                let bit = 1 << name as u16;
                if seen & bit != 0 {
                    return Err(Error::custom("a repeated member"));
                }
                seen |= bit;
            }
            match name {
                Name::Event => members.event = map.next_value()?,
                Name::Id => members.id = map.next_value()?,
                Name::Room => members.room = map.next_value()?,
                Name::Echo => members.echo = map.next_value()?,
                Name::Data => members.data = map.next_value()?,
                Name::Key => members.key = map.next_value()?,
                Name::Conn => members.conn = map.next_value()?,
                Name::From | Name::Offset | Name::Error | Name::Unknown => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(members)
    }
}

impl<'de, S, I, B, D> Deserialize<'de> for Members<S, I, B, D>
where
    S: Deserialize<'de>,
    I: Deserialize<'de>,
    B: Deserialize<'de>,
    D: Deserialize<'de>,
{
    #[inline]
    fn deserialize<E: Deserializer<'de>>(deserializer: E) -> Result<Self, E::Error> {
        deserializer.deserialize_map(MembersVisitor(PhantomData))
    }
}
