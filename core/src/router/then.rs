//! Handlers and hooks that continue after work, with the state and a new context.

use alloc::boxed::Box;
use core::{any::Any, fmt, future::Future, marker::PhantomData};

use serde::{Serialize, de::DeserializeOwned};

use crate::gateway::{
    Context, Failure, IntoNowOrLater, IntoOutcome, Later, NowOrLater, Outcome, Rejection, Token,
    later,
};

/// Work, and what a handler or a hook does with its result: see [`Later::then`].
#[must_use = "nothing is done before it is returned"]
pub struct Then<S> {
    work: Later<Outcome>,
    next: Next<S>,
}

/// The continuation, which gets the result as JSON.
pub(super) type Next<S> = Box<dyn FnOnce(&mut Context<'_>, &mut S, &str) -> Answer<S>>;

/// An answer of a handler, or of its continuation after work.
#[derive(Debug)]
#[must_use]
pub enum Answer<S> {
    /// The outcome, or a token for it.
    Outcome(Outcome),
    /// Work, and its continuation.
    Then(Then<S>),
}

/// The decision of an `on_connect`, or the work that it waits for.
#[derive(Debug)]
#[must_use]
pub enum Connecting<S> {
    /// The decision, or a future of it.
    Decided(NowOrLater<Result<(), Rejection>>),
    /// Work, and its continuation.
    Then(Then<S>),
}

/// Return types of handlers: anything that implements [`IntoOutcome`]; a future of it that owns
/// what it needs, which is started as by [`Context::spawn`]; or a [`Then`] with the state of the
/// router.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no answer of a handler",
    note = "an answer implements `serde::Serialize`: `#[derive(serde::Serialize)] struct Answer`",
    note = "it may also be a `Reply`, `Vec<Reply>`, `Failure`, `Token`, `Outcome`, a `Result` of one of \
            these with an error that becomes a `Failure`, such as `roomcast_core::ok(answer)`, or a future \
            of any that is `'static`, such as `async move {{ .. }}`"
)]
pub trait IntoAnswer<S, M> {
    /// Converts this into an answer; a future is started.
    fn into_answer(self, cx: &mut Context<'_>) -> Answer<S>;
}

/// Marks values that are available now.
#[derive(Debug)]
pub struct Now<M>(PhantomData<M>);

/// Marks futures.
#[derive(Debug)]
pub struct Waits<M>(PhantomData<M>);

/// Marks work with a continuation.
#[derive(Debug)]
pub enum Continued {}

/// Marks results that may be work with a continuation.
#[derive(Debug)]
pub enum MayContinue {}

/// Marks decisions about a connection.
#[derive(Debug)]
pub enum Decided {}

impl<S, T: IntoOutcome<M>, M> IntoAnswer<S, Now<M>> for T {
    fn into_answer(self, _: &mut Context<'_>) -> Answer<S> {
        Answer::Outcome(self.into_outcome())
    }
}

impl<S, F: Future<Output: IntoOutcome<M>> + 'static, M: 'static> IntoAnswer<S, Waits<M>> for F {
    fn into_answer(self, cx: &mut Context<'_>) -> Answer<S> {
        Answer::Outcome(Outcome::Later(cx.spawn(self)))
    }
}

impl<S> IntoAnswer<S, Continued> for Then<S> {
    fn into_answer(self, _: &mut Context<'_>) -> Answer<S> {
        Answer::Then(self)
    }
}

impl<S, E: Into<Failure>> IntoAnswer<S, MayContinue> for Result<Then<S>, E> {
    fn into_answer(self, _: &mut Context<'_>) -> Answer<S> {
        match self {
            Ok(then) => Answer::Then(then),
            Err(error) => Answer::Outcome(Outcome::Fail(error.into())),
        }
    }
}

impl<S> IntoAnswer<S, Decided> for Result<(), Rejection> {
    fn into_answer(self, _: &mut Context<'_>) -> Answer<S> {
        Answer::Outcome(match self {
            Ok(()) => Outcome::Done,
            Err(rejection) => reject(rejection),
        })
    }
}

impl<T: Serialize + DeserializeOwned + 'static> Later<T> {
    /// Continues after the work, as a separate input: with a new context, the state at that time,
    /// and the result. For a handler of a [`Router`](crate::Router) with the state `S`, and for
    /// [`on_connect`](crate::Router::on_connect). `next` returns anything that a handler may
    /// return, also further work with a continuation; for `on_connect` also
    /// `Result<(), Rejection>`.
    ///
    /// The result is in the journal, as JSON: a replay continues with it, and repeats no work.
    ///
    /// Until the work ends, further messages of the connection wait. If the connection ends first,
    /// the work is dropped, and `next` is not called.
    ///
    /// ```
    /// use roomcast_core::{Context, Router, later};
    ///
    /// # async fn price(of: String) -> u32 { 1 }
    /// let shop = Router::new(0_u32).on("buy", |_: &mut Context, of: String| {
    ///     later(price(of)).then(|cx: &mut Context, total: &mut u32, price| {
    ///         *total += price;
    ///         cx.broadcast("total", total).map(|_| price)
    ///     })
    /// });
    /// # let _ = shop;
    /// ```
    pub fn then<S, R, M>(
        self,
        next: impl FnOnce(&mut Context<'_>, &mut S, T) -> R + 'static,
    ) -> Then<S>
    where
        R: IntoAnswer<S, M>,
    {
        let work = async move { resume(&self.await) };
        Then::new(later(work), next)
    }
}

impl<T: Serialize + DeserializeOwned + 'static> Later<Result<T, Failure>> {
    /// Continues after work that succeeded, as [`then`](Self::then) does. A failure is the answer;
    /// in `on_connect` it refuses the connection.
    ///
    /// ```
    /// use roomcast_core::{Context, Router, later};
    ///
    /// # async fn find(session: String) -> Result<String, std::fmt::Error> { Ok(session) }
    /// let router = Router::default().on_connect(|cx, ()| {
    ///     let session = cx.session::<String>();
    ///     let found = later(async move { Ok(find(session?.unwrap_or_default()).await?) });
    ///     found.and_then(|cx: &mut Context, (), user| {
    ///         cx.set_user(&user)?;
    ///         cx.join("lobby")?;
    ///         roomcast_core::ok(())
    ///     })
    /// });
    /// # let _ = router;
    /// ```
    pub fn and_then<S, R, M>(
        self,
        next: impl FnOnce(&mut Context<'_>, &mut S, T) -> R + 'static,
    ) -> Then<S>
    where
        R: IntoAnswer<S, M>,
    {
        let work = async move {
            match self.await {
                Ok(value) => resume(&value),
                Err(failure) => Outcome::Fail(failure),
            }
        };
        Then::new(later(work), next)
    }
}

/// The result of work as an outcome, in the form that the journal has.
fn resume<T: Serialize>(value: &T) -> Outcome {
    match serde_json::to_string(value) {
        Ok(json) => Outcome::Resume(json.into()),
        Err(fault) => internal("cannot be written", &fault),
    }
}

fn internal(what: &str, fault: &serde_json::Error) -> Outcome {
    let text = alloc::format!("the result of work {what} as JSON: {fault}");
    Outcome::Fail(Failure::internal(text))
}

impl<S> Then<S> {
    fn new<T, R, M>(
        work: Later<Outcome>,
        next: impl FnOnce(&mut Context<'_>, &mut S, T) -> R + 'static,
    ) -> Self
    where
        T: DeserializeOwned,
        R: IntoAnswer<S, M>,
    {
        let next =
            move |cx: &mut Context<'_>, state: &mut S, json: &str| match serde_json::from_str(json)
            {
                Ok(result) => next(cx, state, result).into_answer(cx),
                Err(fault) => Answer::Outcome(internal("cannot be read", &fault)),
            };
        let next = Box::new(next);
        Self { work, next }
    }

    /// The same continuation for a larger state that contains this one.
    pub(super) fn within<U: 'static>(self, part_mut: fn(&mut U) -> &mut S) -> Then<U>
    where
        S: 'static,
    {
        let Self { work, next } = self;
        let next = move |cx: &mut Context<'_>, whole: &mut U, json: &str| {
            next(cx, part_mut(whole), json).within(part_mut)
        };
        let next = Box::new(next);
        Then { work, next }
    }
}

impl<S: 'static> Then<S> {
    /// Starts the work, and returns its token.
    pub(super) fn begin(self, cx: &mut Context<'_>, passed: usize) -> Token {
        let next: Box<dyn Any> = Box::new(self.next);
        cx.spawn_then(passed, self.work, next)
    }
}

impl<S: 'static> Answer<S> {
    pub(super) fn within<U: 'static>(self, part_mut: fn(&mut U) -> &mut S) -> Answer<U> {
        match self {
            Self::Outcome(outcome) => Answer::Outcome(outcome),
            Self::Then(then) => Answer::Then(then.within(part_mut)),
        }
    }

    /// Starts the work, if any, and returns the outcome for the hub.
    pub(super) fn begin(self, cx: &mut Context<'_>, passed: usize) -> Outcome {
        match self {
            Self::Outcome(outcome) => outcome,
            Self::Then(then) => Outcome::Later(then.begin(cx, passed)),
        }
    }
}

impl<S: 'static> Connecting<S> {
    pub(super) fn within<U: 'static>(self, part_mut: fn(&mut U) -> &mut S) -> Connecting<U> {
        match self {
            Self::Decided(decided) => Connecting::Decided(decided),
            Self::Then(then) => Connecting::Then(then.within(part_mut)),
        }
    }
}

impl<S> fmt::Debug for Then<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Then").finish_non_exhaustive()
    }
}

/// Values that an `on_connect` of a router with the state `S` may return.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is nothing that `on_connect` can return",
    note = "it returns `Result<(), Rejection>`, a future of that in `roomcast_core::later(..)`, or \
            `later(..).then(..)` with the router's own state"
)]
pub trait IntoConnecting<S> {
    /// The decision, or the work that it waits for.
    fn into_connecting(self) -> Connecting<S>;
}

impl<S> IntoConnecting<S> for Result<(), Rejection> {
    fn into_connecting(self) -> Connecting<S> {
        Connecting::Decided(self.into_now_or_later())
    }
}

impl<S> IntoConnecting<S> for Later<Result<(), Rejection>> {
    fn into_connecting(self) -> Connecting<S> {
        Connecting::Decided(NowOrLater::Later(self))
    }
}

impl<S> IntoConnecting<S> for Then<S> {
    fn into_connecting(self) -> Connecting<S> {
        Connecting::Then(self)
    }
}

/// Converts the decision of a guard's work into an outcome.
pub(super) async fn check<E>(work: Later<Result<(), E>>, refuse: fn(E) -> Outcome) -> Outcome {
    work.await.map_or_else(refuse, |()| Outcome::Done)
}

/// A rejection as an outcome.
pub(super) fn reject(rejection: Rejection) -> Outcome {
    Outcome::Reject(Box::new(rejection))
}
