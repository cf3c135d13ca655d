//! Functions as handlers: their arguments by position, their result as an outcome.

use super::extract::{Extract, Request, ViaPayload, ViaSelf};
use crate::gateway::{Context, Failure};

/// A function that a [`Router`](crate::Router) can call.
///
/// Its first argument is `&mut Context`, the second, if wanted, `&mut S`, the state of the router;
/// then up to four that are made from the message, see [`Extract`]. `A` stands for the arguments
/// and is never written.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no handler for a router with the state `{S}`: one of its arguments does not fit",
    note = "the arguments are `&mut Context`, then `&mut {S}` where the state is wanted, then up to four \
            that are made from the message; write the types of a closure's arguments down: \
            `|cx: &mut Context, data: Data| ..`",
    note = "a payload, an argument such as `data: Data`, implements `serde::Deserialize` and borrows \
            nothing: `#[derive(serde::Deserialize)] struct Data`"
)]
pub trait Handler<S, A> {
    /// True when the handler can change the state.
    const STATEFUL: bool;

    /// The way in which the arguments are made from the message; see [`OnePayload`].
    type Arguments;

    /// The type that the handler returns; see [`IntoAnswer`](super::IntoAnswer).
    type Returned;

    /// Calls the handler.
    ///
    /// # Errors
    ///
    /// When the message does not fit its arguments; it is not called then.
    fn call(
        &mut self,
        cx: &mut Context<'_>,
        state: &mut S,
        request: &Request<'_>,
    ) -> Result<Self::Returned, Failure>;
}

/// Marks handlers that take the state.
#[derive(Debug)]
pub enum WithState {}

/// Marks handlers that do not take the state.
#[derive(Debug)]
pub enum WithoutState {}

macro_rules! handlers {
    ($($argument:ident $marker:ident),*) => {
        handlers!(WithoutState, false, state []; $($argument $marker),*);
        handlers!(WithState, true, state [&mut S, state]; $($argument $marker),*);
    };
    ($kind:ident, $stateful:literal, $state:ident [$($taken:ty, $given:ident)?]; $($argument:ident $marker:ident),*) => {
        impl<S, F, R, $($argument, $marker,)*> Handler<S, ($kind, $(($argument, $marker),)*)> for F
        where
            F: FnMut(&mut Context<'_>, $($taken,)? $($argument),*) -> R,
            $($argument: Extract<$marker>,)*
        {
            const STATEFUL: bool = $stateful;
            type Arguments = ($($marker,)*);
            type Returned = R;

            fn call(&mut self, cx: &mut Context<'_>, $state: &mut S, request: &Request<'_>) -> Result<R, Failure> {
                let _ = (&$state, request);
                Ok(self(cx, $($given,)? $($argument::extract(request)?),*))
            }
        }
    };
}

handlers!();
handlers!(T1 M1);
handlers!(T1 M1, T2 M2);
handlers!(T1 M1, T2 M2, T3 M3);
handlers!(T1 M1, T2 M2, T3 M3, T4 M4);

/// Arguments of which at most one is the payload: two would each be read from all of `data`.
#[diagnostic::on_unimplemented(
    message = "a handler takes one payload, and this one has several",
    label = "make one tuple or struct of these arguments",
    note = "as in `|cx: &mut Context, (room, text): (String, String)| ..`"
)]
pub trait OnePayload {}

macro_rules! one_payload {
    ($($markers:tt),*) => {
        // A list of these tuples in a compiler error helps nobody.
        $(
            #[diagnostic::do_not_recommend]
            impl OnePayload for $markers {}
        )*
    };
}

one_payload!(
    (),
    (ViaSelf,),
    (ViaPayload,),
    (ViaSelf, ViaSelf),
    (ViaPayload, ViaSelf),
    (ViaSelf, ViaPayload),
    (ViaSelf, ViaSelf, ViaSelf),
    (ViaPayload, ViaSelf, ViaSelf),
    (ViaSelf, ViaPayload, ViaSelf),
    (ViaSelf, ViaSelf, ViaPayload),
    (ViaSelf, ViaSelf, ViaSelf, ViaSelf),
    (ViaPayload, ViaSelf, ViaSelf, ViaSelf),
    (ViaSelf, ViaPayload, ViaSelf, ViaSelf),
    (ViaSelf, ViaSelf, ViaPayload, ViaSelf),
    (ViaSelf, ViaSelf, ViaSelf, ViaPayload)
);
