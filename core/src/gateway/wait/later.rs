//! Values that may take time.

use alloc::boxed::Box;
use core::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// A value that takes time: a future that owns what it needs; see [`later`]. The host polls it, on
/// the thread of its namespace.
#[must_use = "nothing is done before it is returned or awaited"]
pub struct Later<T>(Pin<Box<dyn Future<Output = T>>>);

/// Wraps a future to return it where a value can also be returned at once: in guards, in
/// `on_upgrade` and in `on_connect`.
///
/// ```
/// use roomcast_core::{Rejection, Router, gateway::Admission, later};
///
/// # async fn user_of(session: &str) -> Result<String, std::fmt::Error> { Ok(session.into()) }
/// let router = Router::default().on_upgrade(|request, ()| {
///     let session = request.cookie("sid").map(str::to_owned);
///     later(async move {
///         let session = session.ok_or(Rejection::unauthorized("sign in first"))?;
///         Ok(Admission::new().with_user(user_of(&session).await?))
///     })
/// });
/// # let _ = router;
/// ```
pub fn later<T>(work: impl Future<Output = T> + 'static) -> Later<T> {
    Later(Box::pin(work))
}

impl<T> Future for Later<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.0.as_mut().poll(cx)
    }
}

impl<T> fmt::Debug for Later<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Later").finish_non_exhaustive()
    }
}

/// A value that is available now, or a future of it.
#[derive(Debug)]
#[must_use]
pub enum NowOrLater<T> {
    /// The value.
    Now(T),
    /// A future of it.
    Later(Later<T>),
}

impl<T> NowOrLater<T> {
    /// The value, if it is available now.
    pub fn now(self) -> Option<T> {
        match self {
            Self::Now(value) => Some(value),
            Self::Later(_) => None,
        }
    }
}

impl<T> From<T> for NowOrLater<T> {
    fn from(value: T) -> Self {
        Self::Now(value)
    }
}

impl<T> From<Later<T>> for NowOrLater<T> {
    fn from(value: Later<T>) -> Self {
        Self::Later(value)
    }
}

/// Values that a guard, or a hook that decides, may return: a `T`, or a [`Later<T>`](Later).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is nothing that this guard or hook can return",
    note = "it returns `{T}`, or a future of that in `roomcast_core::later(async move {{ .. }})`"
)]
pub trait IntoNowOrLater<T> {
    /// The value, or the future of it.
    fn into_now_or_later(self) -> NowOrLater<T>;
}

impl<T> IntoNowOrLater<T> for T {
    fn into_now_or_later(self) -> NowOrLater<T> {
        NowOrLater::Now(self)
    }
}

impl<T> IntoNowOrLater<T> for Later<T> {
    fn into_now_or_later(self) -> NowOrLater<T> {
        NowOrLater::Later(self)
    }
}
