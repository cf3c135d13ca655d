//! Functions as handlers: their arguments by position, their result as an outcome.

use alloc::{string::ToString, vec::Vec};
use core::future::Future;

use serde::Serialize;

use super::{
    context::Context,
    extract::{Extract, Request},
    failure::Failure,
    later::Token,
    outcome::{Outcome, Reply},
};

/// A function that a [`Router`](crate::Router) can call.
///
/// Its first argument is `&mut Context`, the second, if wanted, `&mut S`, the state of the router;
/// then up to four that are made from the message, see [`Extract`]. Its result is anything that
/// implements [`IntoOutcome`], or a future of it that owns what it needs: that is begun as
/// [`Context::spawn`] does. `A` stands for the arguments and is never written.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no handler for a router with the state `{S}`",
    note = "a handler is `fn(&mut Context, [&mut {S},] up to four arguments) -> impl IntoOutcome` or a \
            future of one that is `'static`, such as `async move {{ .. }}`; \
            write the types of a closure's arguments down: `|cx: &mut Context, data: Data| ..`",
    note = "its payload, an argument such as `data: Data`, implements `serde::Deserialize` and borrows \
            nothing: `#[derive(serde::Deserialize)] struct Data`",
    note = "its answer implements `serde::Serialize`, or is a `Reply`, `Vec<Reply>`, `Failure`, `Token`, \
            `Outcome`, or a `Result` of one of these with an error that becomes a `Failure`: \
            `#[derive(serde::Serialize)] struct Answer`; `roomcast_core::ok(answer)` is a `Result` whose \
            error is a `Failure`"
)]
pub trait Handler<S, A> {
    /// Whether the handler can change the state.
    const STATEFUL: bool;

    /// How many of its arguments are the payload; see [`Extract::IS_PAYLOAD`].
    const PAYLOADS: usize;

    /// Calls it.
    fn call(&mut self, cx: &mut Context<'_>, state: &mut S, request: &Request<'_>) -> Outcome;
}

/// Marks handlers that take the state.
#[derive(Debug)]
pub enum WithState {}

/// Marks handlers that do not.
#[derive(Debug)]
pub enum WithoutState {}

/// Marks handlers that return a future.
#[derive(Debug)]
pub struct Async<M>(core::marker::PhantomData<M>);

macro_rules! handlers {
    ($($argument:ident $marker:ident),*) => {
        impl<S, F, R, O, $($argument, $marker,)*>
            Handler<S, (WithoutState, O, $(($argument, $marker),)*)> for F
        where
            F: FnMut(&mut Context<'_>, $($argument),*) -> R,
            R: IntoOutcome<O>,
            $($argument: Extract<$marker>,)*
        {
            const STATEFUL: bool = false;
            const PAYLOADS: usize = 0 $(+ $argument::IS_PAYLOAD as usize)*;

            fn call(&mut self, cx: &mut Context<'_>, _: &mut S, request: &Request<'_>) -> Outcome {
                let _ = request;
                self(cx, $(match $argument::extract(request) {
                    Ok(argument) => argument,
                    Err(failure) => return Outcome::Fail(failure),
                }),*).into_outcome()
            }
        }

        impl<S, F, R, O, $($argument, $marker,)*>
            Handler<S, (Async<WithoutState>, O, $(($argument, $marker),)*)> for F
        where
            F: FnMut(&mut Context<'_>, $($argument),*) -> R,
            R: Future<Output: IntoOutcome<O>> + 'static,
            O: 'static,
            $($argument: Extract<$marker>,)*
        {
            const STATEFUL: bool = false;
            const PAYLOADS: usize = 0 $(+ $argument::IS_PAYLOAD as usize)*;

            fn call(&mut self, cx: &mut Context<'_>, _: &mut S, request: &Request<'_>) -> Outcome {
                let _ = request;
                let work = self(cx, $(match $argument::extract(request) {
                    Ok(argument) => argument,
                    Err(failure) => return Outcome::Fail(failure),
                }),*);
                Outcome::Later(cx.spawn(work))
            }
        }

        impl<S, F, R, O, $($argument, $marker,)*>
            Handler<S, (Async<WithState>, O, $(($argument, $marker),)*)> for F
        where
            F: FnMut(&mut Context<'_>, &mut S, $($argument),*) -> R,
            R: Future<Output: IntoOutcome<O>> + 'static,
            O: 'static,
            $($argument: Extract<$marker>,)*
        {
            const STATEFUL: bool = true;
            const PAYLOADS: usize = 0 $(+ $argument::IS_PAYLOAD as usize)*;

            fn call(&mut self, cx: &mut Context<'_>, state: &mut S, request: &Request<'_>) -> Outcome {
                let _ = request;
                let work = self(cx, state, $(match $argument::extract(request) {
                    Ok(argument) => argument,
                    Err(failure) => return Outcome::Fail(failure),
                }),*);
                Outcome::Later(cx.spawn(work))
            }
        }

        impl<S, F, R, O, $($argument, $marker,)*>
            Handler<S, (WithState, O, $(($argument, $marker),)*)> for F
        where
            F: FnMut(&mut Context<'_>, &mut S, $($argument),*) -> R,
            R: IntoOutcome<O>,
            $($argument: Extract<$marker>,)*
        {
            const STATEFUL: bool = true;
            const PAYLOADS: usize = 0 $(+ $argument::IS_PAYLOAD as usize)*;

            fn call(&mut self, cx: &mut Context<'_>, state: &mut S, request: &Request<'_>) -> Outcome {
                let _ = request;
                self(cx, state, $(match $argument::extract(request) {
                    Ok(argument) => argument,
                    Err(failure) => return Outcome::Fail(failure),
                }),*).into_outcome()
            }
        }
    };
}

handlers!();
handlers!(T1 M1);
handlers!(T1 M1, T2 M2);
handlers!(T1 M1, T2 M2, T3 M3);
handlers!(T1 M1, T2 M2, T3 M3, T4 M4);

/// What a handler may return.
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
    note = "return a value that implements `serde::Serialize`, `()`, `Reply`, `Vec<Reply>`, \
            `Failure`, `Token`, `Outcome`, or a `Result` of one of these"
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

impl IntoOutcome<ViaOutcome> for Outcome {
    fn into_outcome(self) -> Outcome {
        self
    }
}

impl IntoOutcome<ViaOutcome> for Reply {
    fn into_outcome(self) -> Outcome {
        Outcome::Reply(self)
    }
}

/// `None` is [`Outcome::Done`].
impl IntoOutcome<ViaOutcome> for Option<Reply> {
    fn into_outcome(self) -> Outcome {
        self.map_or(Outcome::Done, Outcome::Reply)
    }
}

impl IntoOutcome<ViaOutcome> for Vec<Reply> {
    fn into_outcome(self) -> Outcome {
        Outcome::Replies(self)
    }
}

impl IntoOutcome<ViaOutcome> for Failure {
    fn into_outcome(self) -> Outcome {
        Outcome::Fail(self)
    }
}

impl IntoOutcome<ViaOutcome> for Token {
    fn into_outcome(self) -> Outcome {
        Outcome::Later(self)
    }
}
