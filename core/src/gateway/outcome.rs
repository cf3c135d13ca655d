//! Answers of a handler.

use alloc::{borrow::Cow, boxed::Box, vec::Vec};

use serde::Serialize;

use super::{failure::Failure, token::Token};
use crate::wire::{EncodeError, Payload, check_event};

/// The outcome of a message.
///
/// Whatever it is, the sender gets exactly one answer when the message had an `id`; without one it
/// gets the frames of the outcome, if there are any.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// An answer of one frame.
    Reply(Reply),
    /// Several frames in this order. The last is the answer; the others have no `id`.
    Replies(Vec<Reply>),
    /// The message is dealt with and needs no answer: a message with an `id` is answered
    /// `"data":null`.
    Done,
    /// It failed. Errors are answered with or without `id`.
    Fail(Failure),
    /// The answer comes later, with [`Input::Complete`](crate::Input::Complete).
    Later(Token),
    /// No handler for it: with a room it is published, without one it is an `unknown_event`.
    Unclaimed,
}

/// A frame to the sender of a message.
///
/// It has the event, the `room` and, as the answer, the `id` of the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// `None` is the message's own.
    pub(super) event: Option<Cow<'static, str>>,
    /// JSON that may be relayed.
    pub(super) data: Box<str>,
}

impl Reply {
    /// The value, under the event of the message.
    ///
    /// # Errors
    ///
    /// When the value has no form in JSON or may not be relayed.
    pub fn new<T: Serialize + ?Sized>(value: &T) -> Result<Self, EncodeError> {
        Ok(Self {
            event: None,
            data: written(value)?,
        })
    }

    /// The value, under another event.
    ///
    /// # Errors
    ///
    /// As for `new`; also when the event is not valid.
    pub fn event<T: Serialize + ?Sized>(
        event: impl Into<Cow<'static, str>>,
        value: &T,
    ) -> Result<Self, EncodeError> {
        let event = event.into();
        check_event(&event)?;
        Ok(Self {
            event: Some(event),
            data: written(value)?,
        })
    }
}

/// A value as JSON that may be relayed.
pub(super) fn written<T: Serialize + ?Sized>(value: &T) -> Result<Box<str>, EncodeError> {
    let json = serde_json::to_string(value).map_err(|_| EncodeError::Value)?;
    Payload::from_written(&json)?;
    Ok(json.into())
}

/// Outcomes in a journal. They are not `Serialize` themselves: a handler that returns one would
/// then be taken for one that returns a value.
pub(crate) mod wire {
    use alloc::{borrow::Cow, boxed::Box, string::String, vec::Vec};

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
    use serde_json::value::RawValue;

    use super::{Outcome, Reply};
    use crate::{
        gateway::failure::{Failure, Kind},
        wire::{envelope::check_event, payload::Payload},
    };

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Wire<'a> {
        Replies(Vec<WireReply<'a>>),
        Fail {
            code: Cow<'a, str>,
            message: Cow<'a, str>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            details: Option<Box<RawValue>>,
        },
        Internal(Cow<'a, str>),
        /// An outcome that is no answer; the caller was told so.
        None,
    }

    #[derive(Serialize, Deserialize)]
    struct WireReply<'a> {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        event: Option<Cow<'a, str>>,
        data: Box<RawValue>,
    }

    pub(crate) fn serialize<S: Serializer>(
        outcome: &Outcome,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let replies: &[Reply] = match outcome {
            Outcome::Reply(reply) => core::slice::from_ref(reply),
            Outcome::Replies(replies) => replies,
            Outcome::Done => &[],
            Outcome::Fail(Failure(kind)) => {
                return match &**kind {
                    Kind::Told {
                        code,
                        message,
                        details,
                    } => Wire::Fail {
                        code: code.as_ref().into(),
                        message: message.as_ref().into(),
                        details: details.as_deref().map(raw).transpose()?,
                    },
                    Kind::Internal(text) => Wire::Internal(text.into()),
                }
                .serialize(serializer);
            }
            Outcome::Later(_) | Outcome::Unclaimed => return Wire::None.serialize(serializer),
        };
        let replies = replies.iter().map(|Reply { event, data }| {
            let event = event.as_deref().map(Cow::Borrowed);
            raw(data).map(|data| WireReply { event, data })
        });
        Wire::Replies(replies.collect::<Result<_, _>>()?).serialize(serializer)
    }

    fn raw<E: ser::Error>(json: &str) -> Result<Box<RawValue>, E> {
        RawValue::from_string(json.into()).map_err(E::custom)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Outcome, D::Error> {
        let checked = |json: Box<RawValue>| -> Result<Box<str>, D::Error> {
            Payload::parse(json.get()).map_err(de::Error::custom)?;
            Ok(json.into())
        };
        Ok(match Wire::deserialize(deserializer)? {
            Wire::Replies(replies) => {
                let replies = replies.into_iter().map(|WireReply { event, data }| {
                    let event = event.map(|event| Cow::Owned(event.into_owned()));
                    if let Some(event) = &event {
                        check_event(event).map_err(de::Error::custom)?;
                    }
                    let data = checked(data)?;
                    Ok(Reply { event, data })
                });
                Outcome::Replies(replies.collect::<Result<_, _>>()?)
            }
            Wire::Fail {
                code,
                message,
                details,
            } => Outcome::Fail(Failure(Box::new(Kind::Told {
                code: Cow::Owned(code.into_owned()),
                message: Cow::Owned(message.into_owned()),
                details: details.map(checked).transpose()?,
            }))),
            Wire::None => Outcome::Unclaimed,
            Wire::Internal(text) => {
                let text: String = text.into_owned();
                Outcome::Fail(Failure(Box::new(Kind::Internal(text))))
            }
        })
    }
}
