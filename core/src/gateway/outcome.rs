//! Outcomes of handlers, and the values that convert into them.

use alloc::{borrow::Cow, boxed::Box, string::ToString, vec::Vec};
use core::marker::PhantomData;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::value::RawValue;

use super::failure::{Failure, Kind};
use super::rejection::{Rejection, WireRejection};
use crate::policy::Rights;
use crate::wire::{ConnId, EncodeError, Payload, check_event};

/// The outcome of a message.
///
/// In every case the sender gets exactly one answer if the message had an `id`. Without an `id` it
/// gets the frames of the outcome, if there are any.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// An answer of one frame.
    Reply(Reply),
    /// Several frames in this order. The last is the answer; the others have no `id`.
    Replies(Vec<Reply>),
    /// The message is handled and needs no answer: a message with an `id` is answered
    /// `"data":null`.
    Done,
    /// A failure. Errors are answered with or without `id`.
    Fail(Failure),
    /// The answer comes later, with [`Input::Complete`](crate::Input::Complete).
    Later(Token),
    /// The rights that a backend gives to the connection in the room, for a join from
    /// [`App::take_asked`](crate::App::take_asked); not for handlers. With the right to join, the
    /// join continues; without it, the answer is `forbidden`.
    Grant(Rights),
    /// The result of work, as JSON, for a token of
    /// [`Context::spawn_then`](crate::Context::spawn_then): the gateway continues with it in
    /// [`Gateway::resume`](crate::Gateway::resume).
    Resume(Box<str>),
    /// The refusal of a connection whose [`connect`](crate::Gateway::connect) has waited.
    Reject(Box<Rejection>),
    /// No handler took the message: with a room it is published, without one the answer is
    /// `unknown_event`.
    Unclaimed,
}

/// Names an answer that is still to come; see [`Context::later`](crate::Context::later).
///
/// It names one answer to one connection, and is never used for another while the
/// [`App`](crate::App) lives. Pending answers do not survive sleep, since the work on them would be
/// lost as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(remote = "Self")] // a handler that returns one does not return a value
pub struct Token(pub(super) ConnId, pub(super) u64);

// There is one for each pending answer, in several indexes.
const _: () = assert!(size_of::<Token>() <= 16);

impl Token {
    /// The connection that waits for the answer.
    pub const fn conn(self) -> ConnId {
        self.0
    }
}

/// A frame to the sender of a message.
///
/// It has the event and the `room` of the message and, if it is the answer, the `id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The event; `None` stands for the event of the message.
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
            data: to_json(value)?,
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
            data: to_json(value)?,
        })
    }
}

/// A value as JSON that may be relayed.
pub(super) fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<Box<str>, EncodeError> {
    let json = serde_json::to_string(value).map_err(|_| EncodeError::Value)?;
    Payload::from_serialized(&json)?;
    Ok(json.into())
}

/// Values that a handler may return.
///
/// | it returns | the sender gets |
/// |---|---|
/// | a value that can be serialised | the value, under the event of the message |
/// | a value that is `null` in JSON: `()`, `None` | nothing; `"data":null` if there was an `id` |
/// | `Reply`, `Option<Reply>` | this frame, perhaps under another event |
/// | `Vec<Reply>` | these frames; the last is the answer |
/// | `Failure` | an error |
/// | `Result` of any of these, with an error that is or becomes a [`Failure`] | either of them |
/// | [`Token`] | an answer, later |
/// | a future of any of these | the same, later |
/// | [`Outcome`] | as it says |
///
/// A value that cannot be serialised is an internal error.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is nothing that a handler can return",
    note = "an answer implements `serde::Serialize`: `#[derive(serde::Serialize)] struct Answer`",
    note = "it may also be a `Reply`, `Vec<Reply>`, `Failure`, `Token`, `Outcome`, or a `Result` of one of \
            these with an error that becomes a `Failure`"
)]
pub trait IntoOutcome<M> {
    /// The outcome.
    fn into_outcome(self) -> Outcome;
}

/// Marks values.
#[derive(Debug)]
pub enum ViaValue {}

/// Marks results.
#[derive(Debug)]
pub struct ViaResult<M>(PhantomData<M>);

/// Marks types that determine the answer themselves.
#[derive(Debug)]
pub enum ViaOutcome {}

impl<T: Serialize> IntoOutcome<ViaValue> for T {
    fn into_outcome(self) -> Outcome {
        match Reply::new(&self) {
            Ok(reply) if &*reply.data == "null" => Outcome::Done,
            Ok(reply) => Outcome::Reply(reply),
            Err(fault) => {
                // Serialized once more, for the serializer's message.
                let cause = serde_json::to_string(&self).err();
                let cause = cause.map_or_else(|| fault.to_string(), |cause| cause.to_string());
                let text = alloc::format!("the value that the handler returned: {cause}");
                Outcome::Fail(Failure::internal(text))
            }
        }
    }
}

impl<T: IntoOutcome<M>, M, E: Into<Failure>> IntoOutcome<ViaResult<M>> for Result<T, E> {
    fn into_outcome(self) -> Outcome {
        match self {
            Ok(value) => value.into_outcome(),
            Err(error) => Outcome::Fail(error.into()),
        }
    }
}

macro_rules! outcomes {
    ($($type:ty: $outcome:expr;)*) => {
        $(impl IntoOutcome<ViaOutcome> for $type {
            fn into_outcome(self) -> Outcome {
                $outcome(self)
            }
        })*
    };
}

outcomes! {
    Outcome: core::convert::identity;
    Reply: Outcome::Reply;
    Option<Reply>: |reply: Self| reply.map_or(Outcome::Done, Outcome::Reply);
    Vec<Reply>: Outcome::Replies;
    Failure: Outcome::Fail;
    Token: Outcome::Later;
}

/// An outcome in a journal.
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
    Grant(Rights),
    Resume(Box<RawValue>),
    Reject(WireRejection<'a>),
    /// An outcome that is not an answer; the caller got an error.
    None,
}

#[derive(Serialize, Deserialize)]
struct WireReply<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<Cow<'a, str>>,
    data: Box<RawValue>,
}

/// The form of outcomes in a journal. They do not implement `Serialize`: an outcome that a handler
/// returns would then be taken for a value.
impl Outcome {
    pub(crate) fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let replies: &[Reply] = match self {
            Self::Reply(reply) => core::slice::from_ref(reply),
            Self::Replies(replies) => replies,
            Self::Done => &[],
            Self::Fail(Failure(kind)) => {
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
            Self::Grant(rights) => return Wire::Grant(*rights).serialize(serializer),
            Self::Resume(json) => return Wire::Resume(raw(json)?).serialize(serializer),
            Self::Reject(rejection) => {
                return Wire::Reject((&**rejection).into()).serialize(serializer);
            }
            Self::Later(_) | Self::Unclaimed => return Wire::None.serialize(serializer),
        };
        let replies = replies.iter().map(|Reply { event, data }| {
            let event = event.as_deref().map(Cow::Borrowed);
            raw(data).map(|data| WireReply { event, data })
        });
        Wire::Replies(replies.collect::<Result<_, _>>()?).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Self, D::Error> {
        let checked = |json: Box<RawValue>| -> Result<Box<str>, D::Error> {
            Payload::parse(json.get()).map_err(de::Error::custom)?;
            Ok(json.into())
        };
        Ok(match Wire::deserialize(deserializer)? {
            // `Done` is serialized as no replies.
            Wire::Replies(replies) if replies.is_empty() => Self::Done,
            Wire::Replies(replies) => {
                let replies = replies.into_iter().map(|WireReply { event, data }| {
                    let event = event.map(|event| Cow::Owned(event.into_owned()));
                    if let Some(event) = &event {
                        check_event(event).map_err(de::Error::custom)?;
                    }
                    let data = checked(data)?;
                    Ok(Reply { event, data })
                });
                Self::Replies(replies.collect::<Result<_, _>>()?)
            }
            Wire::Fail {
                code,
                message,
                details,
            } => Self::Fail(Failure(Box::new(Kind::Told {
                code: Cow::Owned(code.into_owned()),
                message: Cow::Owned(message.into_owned()),
                details: details.map(checked).transpose()?,
            }))),
            Wire::Grant(rights) => Self::Grant(rights),
            Wire::Resume(json) => Self::Resume(json.into()),
            Wire::Reject(rejection) => Self::Reject(Box::new(rejection.into())),
            Wire::None => Self::Unclaimed,
            Wire::Internal(text) => {
                Self::Fail(Failure(Box::new(Kind::Internal(text.into_owned()))))
            }
        })
    }
}

fn raw<E: ser::Error>(json: &str) -> Result<Box<RawValue>, E> {
    RawValue::from_string(json.into()).map_err(E::custom)
}
