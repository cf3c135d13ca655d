//! Functions as handlers: their arguments by position, their result as an outcome.

use core::future::Future;

use super::extract::{Extract, Request};
use crate::gateway::{Context, IntoOutcome, Outcome};

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
