//! The connection that a hook or a handler is called for, and the operations on it.

use core::{any::Any, fmt, future::Future, ops::Deref, ops::DerefMut};

use alloc::{boxed::Box, vec::Vec};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    namespace_context::NamespaceContext, outcome::IntoOutcome, outcome::Outcome, outcome::Token,
    upgrade::check_user, wait::Hold, wait::Next, wait::Passed,
};
use crate::hub::change::EndedConnection;
use crate::hub::{Audience, Delivery, JoinError, SessionError, SetUserError};
use crate::policy::Right;
use crate::wire::{CloseCode, ConnId, EncodeError, Event, Frame};

/// The connection that a hook or a handler is called for, and through it the whole namespace: all
/// operations of a [`NamespaceContext`], and shorter ones for this connection.
///
/// Each meaning that "broadcast" has elsewhere has its own name here, and none of them excludes
/// anyone by default:
///
/// | to | |
/// |---|---|
/// | this connection | `cx.emit(..)` |
/// | every connection, this one included | `cx.broadcast(..)` |
/// | every connection except this one | `cx.to(cx.others()).emit(..)` |
/// | the members of a room | `cx.to(cx.room("r")).emit(..)` |
/// | the members of a room except this one | `cx.to(cx.room("r").except_self()).emit(..)` |
/// | the members of the room that the message names | `cx.to(cx.room_here()).emit(..)` |
/// | all others that share a room with this one | `cx.to(cx.my_rooms().except_self()).emit(..)` |
/// | any other audience | `cx.to(Audience::user("ann")).emit(..)` |
///
/// Each of them can carry a label: `cx.at("/alerts").emit(..)`, `cx.to(..).at("/alerts").emit(..)`.
#[derive(Debug)]
pub struct Context<'a> {
    namespace: NamespaceContext<'a>,
    conn: ConnId,
    /// The room of the message at hand.
    here: Option<&'a str>,
    /// The connection as it was at its end; `None` while it is alive.
    ended: Option<&'a EndedConnection>,
    passed: usize,
}

impl<'a> Context<'a> {
    pub(super) const fn new(namespace: NamespaceContext<'a>, conn: ConnId) -> Self {
        Self {
            namespace,
            conn,
            here: None,
            ended: None,
            passed: 0,
        }
    }

    pub(super) const fn with_here(mut self, here: Option<&'a str>) -> Self {
        self.here = here;
        self
    }

    pub(super) const fn with_passed(mut self, passed: usize) -> Self {
        self.passed = passed;
        self
    }

    pub(super) const fn set_passed(&mut self, passed: usize) {
        self.passed = passed;
    }

    pub(super) const fn with_ended(mut self, ended: Option<&'a EndedConnection>) -> Self {
        self.ended = ended;
        self
    }

    /// Sends an event to this connection; in a message handler it comes before the answer. Matches
    /// nobody once the connection has ended.
    ///
    /// # Errors
    ///
    /// When the event or the value cannot be sent.
    pub fn emit<'e, T: Serialize + ?Sized>(
        &mut self,
        event: impl Into<Event<'e>>,
        data: &T,
    ) -> Result<Delivery, EncodeError> {
        self.namespace.send(&Audience::conn(self.conn), event, data)
    }

    /// Sends a raw frame to this connection; see [`NamespaceContext::send_frame`].
    pub fn emit_frame(&mut self, frame: Frame<'_>) -> Delivery {
        // The audience names no room, so it cannot be invalid.
        self.namespace
            .send_frame(&Audience::conn(self.conn), frame)
            .unwrap_or_default()
    }

    /// Selects the recipients; nothing is sent before [`To::emit`].
    pub fn to(&mut self, audience: impl Into<Audience>) -> To<'_, 'a> {
        To {
            namespace: &mut self.namespace,
            audience: audience.into(),
            path: None,
        }
    }

    /// Sets the label of an event for this connection; nothing is sent before [`To::emit`].
    pub fn at<'c>(&'c mut self, path: &'c str) -> To<'c, 'a> {
        self.to(Audience::conn(self.conn)).at(path)
    }

    /// Joins a room. Returns true if the connection was not in it before. The client is not
    /// notified.
    ///
    /// # Errors
    ///
    /// When the name is not valid, the connection is in too many rooms, or has ended. With `?` the
    /// client is told of the first two.
    pub fn join(&mut self, room: &str) -> Result<bool, JoinError> {
        self.namespace.join(self.conn, room)
    }

    /// Joins as [`join`](Self::join) does. Presence shows `meta` for this connection's user, if the
    /// room's policy shows members and the user is not in the room already.
    ///
    /// # Errors
    ///
    /// As for `join`; also when `meta` is over `Limits::meta_bytes` or cannot be serialized.
    pub fn join_with<T: Serialize + ?Sized>(
        &mut self,
        room: &str,
        meta: &T,
    ) -> Result<bool, JoinError> {
        self.namespace.join_with(self.conn, room, meta)
    }

    /// Joins the room that the message at hand names; false when it names none.
    ///
    /// # Errors
    ///
    /// As for [`join`](Self::join).
    pub fn join_here(&mut self) -> Result<bool, JoinError> {
        match self.here {
            Some(room) => self.join(room),
            None => Ok(false),
        }
    }

    /// Leaves a room. Returns true if the connection was in it.
    pub fn leave(&mut self, room: &str) -> bool {
        self.namespace.leave(self.conn, room).unwrap_or(false)
    }

    /// Leaves the room that the message at hand names. Returns true if the connection was in it.
    pub fn leave_here(&mut self) -> bool {
        self.here.is_some_and(|room| self.leave(room))
    }

    /// Closes this connection after all that was sent to it. The message at hand gets no answer
    /// then. Nothing happens if the connection has ended.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        // Fails only if there is nothing to close.
        let _ = self.namespace.disconnect(self.conn, code, reason);
    }

    /// Creates a token for an answer that comes later: return it as
    /// [`Outcome::Later`](crate::Outcome::Later), and complete it with
    /// [`Input::Complete`](crate::Input::Complete).
    pub fn later(&mut self) -> Token {
        self.namespace.replies.token(self.conn)
    }

    /// Starts a future whose output becomes the answer to the message at hand: return the token. A
    /// handler that returns a future does the same.
    ///
    /// The host polls the future, on the thread of the namespace. Its output is anything that a
    /// handler may return. Until it ends, further messages of this connection wait, in order, so
    /// that its requests never overtake each other; only `$ping` is answered at once. At most 64
    /// messages and 256 KiB wait, and messages beyond that are answered `overloaded`. When the
    /// connection ends, the future is dropped.
    ///
    /// The future cannot use the context, which would be out of date by then. Copy the values that
    /// it needs, and reach the namespace through the host's handle.
    ///
    /// If the token is not returned, no message waits for the future, and its output is discarded.
    /// A future that is started in [`Gateway::disconnect`](crate::Gateway::disconnect) runs to its
    /// end. A connection may have 256 futures running; further ones are dropped, which is logged,
    /// and answered `overloaded`.
    ///
    /// ```
    /// use roomcast_core::{Context, Router, ok};
    ///
    /// # async fn price(of: &str) -> Result<u32, std::num::ParseIntError> { of.parse() }
    /// let shop = Router::default()
    ///     .on("price", |_: &mut Context, of: String| async move { ok(price(&of).await?) })
    ///     .on("discount", |cx: &mut Context, of: String| match &*of {
    ///         "tea" => cx.spawn(async { 10 }),
    ///         _ => cx.spawn(async { 0 }),
    ///     });
    /// # let _ = shop;
    /// ```
    pub fn spawn<F, M>(&mut self, work: F) -> Token
    where
        F: Future<Output: IntoOutcome<M>> + 'static,
        M: 'static,
    {
        let work = Box::pin(async move { work.await.into_outcome() });
        self.namespace.replies.begin(self.conn, true, work)
    }

    /// Starts a future as [`spawn`](Self::spawn) does, but no message waits for it: later messages
    /// of this connection may be answered first.
    pub fn spawn_concurrent<F, M>(&mut self, work: F) -> Token
    where
        F: Future<Output: IntoOutcome<M>> + 'static,
        M: 'static,
    {
        let work = Box::pin(async move { work.await.into_outcome() });
        self.namespace.replies.begin(self.conn, false, work)
    }

    /// Starts work that decides about the connection or the message at hand, for a custom
    /// [`Gateway`](crate::Gateway): return the token. The work ends as
    /// [`Outcome::Done`](crate::Outcome::Done) to allow it, or with a failure or a rejection.
    /// When the gateway is asked again, [`passed`](Self::passed) returns this number.
    pub fn spawn_check(
        &mut self,
        passed: usize,
        work: impl Future<Output = Outcome> + 'static,
    ) -> Token {
        let hold = Hold::Check {
            passed: Passed {
                guards: passed,
                unclaimed: false,
            },
            text: Box::default(),
        };
        let replies = &mut self.namespace.replies;
        replies.begin_hold(self.conn, Box::pin(work), hold)
    }

    /// Starts work for a custom gateway, which continues with the result in
    /// [`Gateway::resume`](crate::Gateway::resume): return the token. The work ends as
    /// [`Outcome::Resume`](crate::Outcome::Resume), or with a failure or a rejection, which is the
    /// answer. For a connection, [`passed`](Self::passed) returns this number then.
    pub fn spawn_then(
        &mut self,
        passed: usize,
        work: impl Future<Output = Outcome> + 'static,
        next: Box<dyn Any>,
    ) -> Token {
        let next = Next(Some(next));
        let hold = Hold::Then { passed, next };
        let replies = &mut self.namespace.replies;
        replies.begin_hold(self.conn, Box::pin(work), hold)
    }

    /// The number of guards or hooks that the message or the connection at hand has already passed;
    /// 0 on the first call. See [`spawn_check`](Self::spawn_check).
    pub const fn passed(&self) -> usize {
        self.passed
    }

    /// Reports an error of this connection for the host to log; clients are not told.
    pub fn report(&mut self, place: &str, error: impl fmt::Display) {
        let error = alloc::format!("{error}");
        self.namespace.replies.report(Some(self.conn), place, error);
    }

    /// The [`NamespaceContext`] itself, for its methods whose names this type shadows.
    pub const fn namespace(&mut self) -> &mut NamespaceContext<'a> {
        &mut self.namespace
    }

    /// The connection's id.
    pub const fn id(&self) -> ConnId {
        self.conn
    }

    /// Returns the session of this connection, a value that the application stored; `None` when
    /// there is none. It is a part of the connection's ground state, so it survives sleep.
    ///
    /// ```
    /// use roomcast_core::{Context, Router, ok};
    ///
    /// let router = Router::default().on("seen", |cx: &mut Context| {
    ///     let times = cx.session::<u32>()?.unwrap_or_default() + 1;
    ///     cx.set_session(&times)?;
    ///     ok(times)
    /// });
    /// # let _ = router;
    /// ```
    ///
    /// # Errors
    ///
    /// When the stored value is of another type.
    pub fn session<T: DeserializeOwned>(&self) -> Result<Option<T>, SessionError> {
        let json = match self.ended {
            Some(ended) => ended.session.as_deref(),
            None => self.namespace.hub.session(self.conn),
        };
        let value = json.map(serde_json::from_str).transpose();
        value.map_err(|_| SessionError::Type)
    }

    /// Stores a value as the session of this connection, replacing the previous one. A value that
    /// is `null` in JSON, such as `()`, removes the session.
    ///
    /// # Errors
    ///
    /// When the value cannot be serialized as JSON, is over `Limits::session_bytes`, or the
    /// connection has ended; the previous session stays.
    pub fn set_session<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), SessionError> {
        let json = serde_json::to_string(value).map_err(|_| SessionError::Value)?;
        let json = (json != "null").then_some(json.into_boxed_str());
        let NamespaceContext { hub, out, .. } = &mut self.namespace;
        hub.set_session(self.conn, json, out)
    }

    /// Sets the user of this connection, which must have none and be in no room yet: in
    /// [`Gateway::connect`](crate::Gateway::connect), so that `$welcome` names the user, or later,
    /// before the first join. From then on it has the rights that the
    /// [`Policies`](crate::Policies) give to users, and its identity counts as issued then. A host
    /// that limits users counts only those that it knows before: by `on_upgrade`, or a token.
    ///
    /// # Errors
    ///
    /// When the connection has another user, is in a room, or has ended; when the name is not
    /// valid, or identities of the user were withdrawn. Nothing changes then.
    pub fn set_user(&mut self, user: &str) -> Result<(), SetUserError> {
        check_user(user)?;
        let NamespaceContext { hub, out, now, .. } = &mut self.namespace;
        hub.set_user(*now, self.conn, user, out)
    }

    /// Returns the user of the connection; `None` if it is anonymous.
    pub fn user(&self) -> Option<&str> {
        match self.ended {
            Some(ended) => ended.user.as_deref(),
            None => self.namespace.hub.connection(self.conn)?.user,
        }
    }

    /// True when the connection has a right in a room: for handlers of messages to rooms, which the
    /// hub does not check.
    pub fn allows(&self, right: Right, room: &str) -> bool {
        let NamespaceContext { hub, now, .. } = &self.namespace;
        hub.allows(*now, self.conn, right, room)
    }

    /// The rooms of this connection, sorted. In [`Gateway::disconnect`](crate::Gateway::disconnect)
    /// the rooms that it was in at its end.
    pub fn rooms(&self) -> Vec<&str> {
        match self.ended {
            Some(ended) => ended.rooms.iter().map(|room| &**room).collect(),
            None => self.namespace.hub.rooms_of(self.conn).unwrap_or_default(),
        }
    }

    /// True when this connection is in a room, or was when it ended.
    pub fn is_in(&self, room: &str) -> bool {
        match self.ended {
            Some(ended) => ended.rooms.iter().any(|name| **name == *room),
            None => self
                .namespace
                .members(room)
                .binary_search(&self.conn)
                .is_ok(),
        }
    }

    /// The room that the message at hand names.
    pub const fn here(&self) -> Option<&'a str> {
        self.here
    }

    /// Every live connection except this one.
    pub fn others(&self) -> Audience {
        Audience::all().except_conn(self.conn)
    }

    /// The members of a room.
    pub fn room(&self, room: &str) -> Scope {
        self.scope(Audience::room(room))
    }

    /// The members of the room that the message at hand names; nobody when it names none.
    pub fn room_here(&self) -> Scope {
        self.scope(self.here.map_or_else(Audience::none, Audience::room))
    }

    /// The members of all rooms that this connection is in, itself among them.
    pub fn my_rooms(&self) -> Scope {
        self.scope(Audience::rooms(self.rooms()))
    }

    const fn scope(&self, audience: Audience) -> Scope {
        let conn = self.conn;
        Scope { audience, conn }
    }
}

impl<'a> Deref for Context<'a> {
    type Target = NamespaceContext<'a>;

    fn deref(&self) -> &NamespaceContext<'a> {
        &self.namespace
    }
}

impl DerefMut for Context<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.namespace
    }
}

/// An audience from which the connection at hand can be excluded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    audience: Audience,
    conn: ConnId,
}

impl Scope {
    /// Excludes the connection at hand.
    #[must_use]
    pub fn except_self(self) -> Audience {
        self.audience.except_conn(self.conn)
    }
}

impl From<Scope> for Audience {
    fn from(scope: Scope) -> Self {
        scope.audience
    }
}

/// Recipients of an event that is to be sent; see [`Context::to`].
#[derive(Debug)]
#[must_use = "nothing is sent before `emit`"]
pub struct To<'c, 'a> {
    namespace: &'c mut NamespaceContext<'a>,
    audience: Audience,
    path: Option<&'c str>,
}

impl<'c> To<'c, '_> {
    /// Sets the label of the event: the member `path` of the envelope, for the client's code. It
    /// has 1 to 200 bytes, and no meaning to the protocol. A raw frame has no label.
    pub const fn at(mut self, path: &'c str) -> Self {
        self.path = Some(path);
        self
    }

    /// Sends an event to the recipients.
    ///
    /// # Errors
    ///
    /// As for [`NamespaceContext::send`].
    pub fn emit<'e, T: Serialize + ?Sized>(
        self,
        event: impl Into<Event<'e>>,
        data: &T,
    ) -> Result<Delivery, EncodeError> {
        let event = event.into();
        let event = event.with_path(self.path.or(event.path));
        self.namespace.send(&self.audience, event, data)
    }

    /// Sends a raw frame to the recipients; see [`NamespaceContext::send_frame`].
    ///
    /// # Errors
    ///
    /// When a room name is not valid; nothing is sent then.
    pub fn emit_frame(self, frame: Frame<'_>) -> Result<Delivery, EncodeError> {
        self.namespace.send_frame(&self.audience, frame)
    }
}
