//! Values as outcomes: a reply, several, none, a failure.

use alloc::{string::ToString, vec::Vec};

use serde::Serialize;

use super::{failure::Failure, outcome::Outcome, outcome::Reply, token::Token};

/// Values that a handler may return.
///
/// | it returns | the sender gets |
/// |---|---|
/// | a value that can be serialised | the value, under the event of the message |
/// | what is `null` in JSON: `()`, `None` | nothing; `"data":null` when the message had an `id` |
/// | `Reply`, `Option<Reply>` | this frame, perhaps under another event |
/// | `Vec<Reply>` | these frames; the last is the answer |
/// | `Failure` | an error |
/// | `Result` of any of these, with an error that is or becomes a [`Failure`] | the one or the other |
/// | [`Token`] | an answer, later |
/// | a future of any of these | the same, later |
/// | [`Outcome`] | that |
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
pub struct ViaResult<M>(core::marker::PhantomData<M>);

/// Marks what says itself what is to be answered.
#[derive(Debug)]
pub enum ViaOutcome {}

impl<T: Serialize> IntoOutcome<ViaValue> for T {
    fn into_outcome(self) -> Outcome {
        match Reply::new(&self) {
            Ok(reply) if &*reply.data == "null" => Outcome::Done,
            Ok(reply) => Outcome::Reply(reply),
            Err(fault) => {
                // Once more, for the words of the serialiser.
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
