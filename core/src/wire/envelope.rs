//! The JSON envelope that clients send.

use alloc::{borrow::Cow, boxed::Box};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    conn_id::ConnId, error::EncodeError, error::EnvelopeError, head::Address,
    head::EVENT_BYTES_MAX, head::RequestId, members::Text, members::Typed, members::Untyped,
    once::Once, payload::Payload,
};

/// Checks that the application may send an event of this name.
pub(crate) fn check_event(event: &str) -> Result<(), EncodeError> {
    if (1..=EVENT_BYTES_MAX).contains(&event.len()) && !event.starts_with('$') {
        Ok(())
    } else {
        Err(EncodeError::Event)
    }
}

/// An envelope that the application decides about: a room publish or an application event.
///
/// It borrows from the frame it was decoded from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message<'a> {
    /// The sender.
    pub conn: ConnId,
    /// The event name: 1 to 128 bytes, not starting with `$`.
    pub event: Cow<'a, str>,
    /// Present when the sender wants an answer.
    pub id: Option<RequestId<'a>>,
    /// The room to publish to; a valid name.
    pub room: Option<Cow<'a, str>>,
    /// True when a sender that is a member receives its own message too; `None`: as the room's
    /// policy says.
    pub echo: Option<bool>,
    /// The payload.
    pub data: Payload<'a>,
    /// Behind a pointer, since few messages have a key.
    pub(crate) once: Option<Box<Once<'a>>>,
}

// There is one per arriving message, moved from the decoder to the gateway.
const _: () = assert!(size_of::<Message<'_>>() <= 112);

/// A frame that is not an envelope, with the readable members that address the answer.
#[derive(Debug)]
pub(crate) struct Malformed<'a> {
    pub(crate) error: EnvelopeError,
    pub(crate) event: Option<Cow<'a, str>>,
    pub(crate) id: Option<RequestId<'a>>,
    pub(crate) room: Option<Cow<'a, str>>,
}

impl<'a> Message<'a> {
    /// The idempotency key of the sender, 1 to 64 bytes; `None` when the message has none.
    ///
    /// The hub delivers a publish only once per key. An application that handles a message itself
    /// may do the same, or ignore the key.
    pub fn key(&self) -> Option<&str> {
        self.once.as_ref().map(|once| &*once.key)
    }

    /// The members that address the answer.
    pub(crate) fn address(&self) -> Address<'_> {
        Address {
            event: &self.event,
            id: self.id.as_ref(),
            room: self.room.as_deref(),
        }
    }

    /// A verb for this room, as if the connection had sent it.
    pub(crate) const fn verb(conn: ConnId, event: &'a str, room: &'a str) -> Self {
        Self {
            conn,
            event: Cow::Borrowed(event),
            id: None,
            room: Some(Cow::Borrowed(room)),
            echo: None,
            once: None,
            data: Payload::NULL,
        }
    }

    /// Decodes one text message of a connection, which may be a protocol verb. Allocates only for
    /// strings with escapes.
    pub(crate) fn decode(conn: ConnId, text: &'a str) -> Result<Self, Malformed<'a>> {
        let wire: Typed<'a> = serde_json::from_str(text).map_err(|_| malformed(text))?;
        let refuse = |error, event, id, room: Option<Text<'a>>| {
            Err(Malformed {
                error,
                event,
                id,
                room: room.map(|Text(room)| room),
            })
        };
        let event = match wire.event {
            Some(Text(event)) if (1..=EVENT_BYTES_MAX).contains(&event.len()) => event,
            _ => return refuse(EnvelopeError::Event, None, wire.id, wire.room),
        };
        let data = match wire.data.map_or(Ok(Payload::NULL), Payload::from_raw) {
            Ok(data) => data,
            Err(error) => return refuse(error.into(), Some(event), wire.id, wire.room),
        };
        let once = match wire.key.map(|key| Once::read(key, wire.conn)) {
            None => None,
            Some(Ok(once)) => Some(once),
            Some(Err(error)) => return refuse(error, Some(event), wire.id, wire.room),
        };
        Ok(Self {
            conn,
            event,
            id: wire.id,
            room: wire.room.map(|Text(room)| room),
            echo: wire.echo,
            data,
            once,
        })
    }
}

/// Finds the fault in a text that did not decode, and the members that address the answer; off the
/// hot path.
#[cold]
#[inline(never)]
fn malformed(text: &str) -> Malformed<'_> {
    let Ok(loose) = serde_json::from_str::<Untyped<'_>>(text) else {
        return Malformed {
            error: EnvelopeError::Object,
            event: None,
            id: None,
            room: None,
        };
    };
    fn read<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Result<Option<T>, ()> {
        match raw {
            Some(raw) => serde_json::from_str(raw.get()).map(Some).map_err(|_| ()),
            None => Ok(None),
        }
    }
    let event = read::<Text<'_>>(loose.event);
    let id = read::<RequestId<'_>>(loose.id);
    let room = read::<Text<'_>>(loose.room);
    let error = match (&event, &id, &room) {
        (Err(()), ..) => EnvelopeError::Event,
        (_, Err(()), _) => EnvelopeError::Id,
        (.., Err(())) => EnvelopeError::Room,
        _ => EnvelopeError::Echo,
    };
    Malformed {
        error,
        event: event
            .ok()
            .flatten()
            .map(|Text(event)| event)
            .filter(|event| (1..=EVENT_BYTES_MAX).contains(&event.len())),
        id: id.ok().flatten(),
        room: room.ok().flatten().map(|Text(room)| room),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::error::{Coded, ErrorCode};

    fn fault(text: &str) -> (ErrorCode, Option<Cow<'_, str>>, Option<RequestId<'_>>) {
        let fault = Message::decode(ConnId::NOBODY, text).expect_err(text);
        (fault.error.code(), fault.event, fault.id)
    }

    #[test]
    fn strings_without_escapes_are_borrowed() {
        let envelope = Message::decode(
            ConnId::NOBODY,
            r#"{"event":"a","room":"b","id":"c","data":[1]}"#,
        )
        .expect("valid");
        assert!(matches!(envelope.event, Cow::Borrowed("a")));
        assert!(matches!(envelope.room, Some(Cow::Borrowed("b"))));
        assert!(matches!(
            envelope.id,
            Some(RequestId::Text(Cow::Borrowed("c")))
        ));
        let envelope = Message::decode(ConnId::NOBODY, r#"{"event":"\u0061"}"#).expect("valid");
        assert_eq!(envelope.event, "a");
    }

    #[test]
    fn null_is_absent_and_unknown_members_are_ignored() {
        let text = r#"{"event":"a","id":null,"room":null,"echo":null,"data":null,"x":1,"x":[2]}"#;
        let envelope = Message::decode(ConnId::NOBODY, text).expect("valid");
        assert!(envelope.id.is_none() && envelope.room.is_none() && envelope.echo.is_none());
        assert_eq!(envelope.data, Payload::NULL);
    }

    #[test]
    fn what_can_be_read_of_a_bad_frame_addresses_its_answer() {
        use ErrorCode::{BadEnvelope, BadPayload};
        let (event, one) = (Some("a".into()), Some(RequestId::Number(1)));
        let bad = BadEnvelope;
        assert_eq!(fault(""), (bad, None, None));
        assert_eq!(fault("[\"a\"]"), (bad, None, None));
        assert_eq!(fault("\u{feff}{\"event\":\"a\"}"), (bad, None, None));
        assert_eq!(fault(r#"{"event":"a","event":"a"}"#), (bad, None, None));
        assert_eq!(
            fault(r#"{"event":"a","echo":1,"echo":1}"#),
            (bad, None, None)
        );
        assert_eq!(
            fault(r#"{"event":"a","data":1,"data":1}"#),
            (bad, None, None)
        );
        assert_eq!(fault(r#"{"id":1}"#), (bad, None, one.clone()));
        assert_eq!(fault(r#"{"event":"","id":1}"#), (bad, None, one.clone()));
        assert_eq!(fault(r#"{"event":5,"id":1}"#), (bad, None, one.clone()));
        assert_eq!(
            fault(r#"{"event":"a","id":1.5}"#),
            (bad, event.clone(), None)
        );
        assert_eq!(
            fault(r#"{"event":"a","id":9007199254740992}"#),
            (bad, event.clone(), None)
        );
        assert_eq!(
            fault(r#"{"event":"a","id":1,"room":7}"#),
            (bad, event.clone(), one.clone())
        );
        assert_eq!(
            fault(r#"{"event":"a","id":1,"echo":"yes"}"#),
            (bad, event.clone(), one.clone())
        );
        for json in [
            "1",
            "\"\"",
            "[\"k\"]",
            r#""k","conn":"x""#,
            r#""k","conn":["1",2]"#,
        ] {
            let text = alloc::format!(r#"{{"event":"a","id":1,"key":{json}}}"#);
            assert_eq!(fault(&text), (bad, event.clone(), one.clone()), "{text}");
        }
        assert_eq!(
            fault(r#"{"event":"a","id":1,"data":"\ud800"}"#),
            (BadPayload, event, one)
        );
    }

    #[test]
    fn a_key_has_1_to_64_bytes_and_names_at_most_16_connections() {
        let known = |members: &str| {
            let text = alloc::format!(r#"{{"event":"a",{members}}}"#);
            let message = Message::decode(ConnId::NOBODY, &text).map_err(|fault| fault.error)?;
            let conns = message.once.as_ref().map_or(0, |once| once.conns.0.len());
            Ok((message.key().map(str::len), conns))
        };
        assert_eq!(known(r#""key":null,"conn":7"#), Ok((None, 0)));
        assert_eq!(known(r#""key":"k""#), Ok((Some(1), 0)));
        assert_eq!(known(r#""key":"k","conn":null"#), Ok((Some(1), 0)));
        assert_eq!(known(r#""key":"\u006b","conn":"7""#), Ok((Some(1), 1)));
        for (bytes, fits) in [(64, true), (65, false)] {
            let key = alloc::format!(r#""key":"{}""#, "k".repeat(bytes));
            let expected = if fits {
                Ok((Some(bytes), 0))
            } else {
                Err(EnvelopeError::Key)
            };
            assert_eq!(known(&key), expected);
        }
        for (count, fits) in [(16, true), (17, false)] {
            let conns = alloc::vec![r#""7""#; count].join(",");
            let key = alloc::format!(r#""key":"k","conn":[{conns}]"#);
            let expected = if fits {
                Ok((Some(1), count))
            } else {
                Err(EnvelopeError::Conn)
            };
            assert_eq!(known(&key), expected);
        }
    }

    #[test]
    fn depth_bombs_in_ignored_members_are_ignored() {
        let bomb = alloc::format!(
            r#"{{"event":"a","x":{}1{}}}"#,
            "[".repeat(30_000),
            "]".repeat(30_000)
        );
        assert!(Message::decode(ConnId::NOBODY, &bomb).is_ok());
        let open = alloc::format!(r#"{{"event":"a","x":{}"#, "[".repeat(30_000));
        assert_eq!(fault(&open), (ErrorCode::BadEnvelope, None, None));
    }
}
