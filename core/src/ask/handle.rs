//! The handle of a namespace, for code outside its handlers.

use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::{fmt, ops::RangeBounds};

use serde::Serialize;
use serde_json::value::RawValue;

use super::{answer::Answer, answer::AskError, nodes::unanswered, request::Ask};
use crate::explain::{Explained, Explanation};
use crate::hub::{Audience, ConnId, ConnectionSummary, Counts, Delivery, RoomSummary};
use crate::room::{HistoryPage, Position, PresencePage};
use crate::wire::{CloseCode, EncodeError, Event, Frame};

/// The connection of a host to its namespaces, wherever they are.
pub trait Transport: Clone {
    /// A pending answer. It is [`AskError::NotRunning`] or [`AskError::Unavailable`] when the
    /// namespace cannot be reached.
    type Asking: Future<Output = Result<Answer, AskError>>;

    /// Asks a namespace, between two of its messages. The answer comes after its changes are saved.
    fn ask(&self, namespace: &Arc<str>, ask: Ask) -> Self::Asking;
}

/// Handle of a namespace, for use from anywhere: other tasks and threads, HTTP routes, futures of
/// the application itself. Cheap to clone. Each host has it as `Namespace`, with a [`Transport`] of
/// its own; a function that is generic over it is for all hosts:
///
/// ```
/// use roomcast_core::{Audience, Context, Failure, NamespaceHandle, Router, ask::Transport};
///
/// /// Tells the namespace `audit` who comes, and the one who comes how many are there.
/// fn door<T: Transport + 'static>(namespace: &NamespaceHandle<T>) -> Router {
///     let audit = namespace.namespace("audit");
///     Router::default().on("come", move |cx: &mut Context, name: String| {
///         let audit = audit.clone();
///         cx.spawn(async move {
///             audit.send(Audience::all(), "came", &name).await?;
///             Ok::<_, Failure>(audit.counts().await?.connections)
///         })
///     })
/// }
/// # let _ = door::<roomcast_core::ask::Nowhere>;
/// ```
///
/// Each request is an input of its own, between messages, and in the journal like a call of the
/// HTTP API. An application may keep the handle of its own namespace: a future of
/// [`Context::spawn`](crate::Context::spawn) awaits its methods like any other task. Only a handler
/// must not block on them: it would wait for itself.
///
/// Nothing happens before a method's future is awaited. A future that is dropped before it is done
/// may have done its work. Where nobody is connected, a namespace is as if it were empty.
///
/// # Many nodes
///
/// On servers with a relay, each method is for the namespace on all nodes. Those that do not answer
/// within a second are missing: lists and counts are then of the others, or an error for a handle
/// [that needs all](Self::needing_all_nodes). A request about a connection that may be on one of
/// them is an error that names them; it may be repeated. A [withdrawal](Self::withdraw) reaches
/// them when they are back. In [`counts`](Self::counts) a room counts once for each node with a
/// member.
#[derive(Clone)]
pub struct NamespaceHandle<T> {
    name: Arc<str>,
    transport: T,
    needs_all: bool,
}

/// No host: every answer is [`AskError::NotRunning`]. For tests of applications that take a handle
/// and do not use it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nowhere;

impl Transport for Nowhere {
    type Asking = core::future::Ready<Result<Answer, AskError>>;

    fn ask(&self, _namespace: &Arc<str>, _ask: Ask) -> Self::Asking {
        core::future::ready(Err(AskError::NotRunning))
    }
}

/// Awaits one kind of answer.
macro_rules! expect {
    ($asking:expr, $answer:ident) => {
        match $asking.await? {
            Answer::$answer(answer) => Ok(answer),
            _ => Err(unexpected()),
        }
    };
}

/// The error for an answer of the wrong kind.
#[cold]
fn unexpected() -> AskError {
    AskError::Unavailable("it answered something else: is it of another version?".into())
}

impl<T: Transport> NamespaceHandle<T> {
    /// The handle of a namespace, by the way of a host.
    pub fn new(name: impl Into<Arc<str>>, transport: T) -> Self {
        Self {
            name: name.into(),
            transport,
            needs_all: false,
        }
    }

    /// Another namespace of the same host.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Self {
        Self {
            name: name.into(),
            ..self.clone()
        }
    }

    /// The same handle, with an error for each answer that lacks a node: see [many
    /// nodes](Self#many-nodes).
    #[must_use]
    pub const fn needing_all_nodes(mut self) -> Self {
        self.needs_all = true;
        self
    }

    /// The name of the namespace.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends to an audience. The frame has no `from`; it names its room when the audience is one
    /// room, and its label when the event has one. Connections whose queues are full are counted as
    /// `dropped`, and closed, where the host knows its queues.
    ///
    /// # Errors
    ///
    /// When the event, its label, the value or a room name cannot be sent; nothing is sent then.
    /// When the namespace cannot be reached.
    pub fn send<'e, V: Serialize + ?Sized>(
        &self,
        audience: impl Into<Audience>,
        event: impl Into<Event<'e>>,
        data: &V,
    ) -> impl Future<Output = Result<Delivery, AskError>> {
        let (audience, event): (_, Event<'_>) = (Box::new(audience.into()), event.into());
        let (event, path) = (event.name().into(), event.path().map(Into::into));
        // Here, so that the future does not hold the value.
        let ask = to_raw_json(data).map(|data| Ask::Send {
            key: None,
            audience,
            event,
            path,
            data,
        });
        async move { expect!(self.ask(ask?), Sent) }
    }

    /// Sends to every live connection of the namespace.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub fn broadcast<'e, V: Serialize + ?Sized>(
        &self,
        event: impl Into<Event<'e>>,
        data: &V,
    ) -> impl Future<Output = Result<Delivery, AskError>> {
        self.send(Audience::all(), event, data)
    }

    /// Sends a raw frame, text or binary, for clients without envelopes.
    ///
    /// # Errors
    ///
    /// When a room name is not valid; nothing is sent then. When the namespace cannot be reached.
    pub fn send_frame(
        &self,
        audience: impl Into<Audience>,
        frame: Frame<'_>,
    ) -> impl Future<Output = Result<Delivery, AskError>> {
        let audience = Box::new(audience.into());
        let ask = match frame {
            Frame::Text(text) => Ask::SendText {
                audience,
                text: text.into(),
            },
            Frame::Binary(bytes) => Ask::SendBinary {
                audience,
                bytes: bytes.into(),
            },
        };
        async move { expect!(self.ask(ask), Sent) }
    }

    /// Puts a connection into a room; returns true when it is new there. The client is not told.
    ///
    /// # Errors
    ///
    /// When the connection is not alive, the name is not valid, the room is full or the connection
    /// is in too many rooms. When the namespace cannot be reached.
    pub async fn join(&self, conn: ConnId, room: &str) -> Result<bool, AskError> {
        self.enter(conn, room, None).await
    }

    /// Joins like [`join`](Self::join); presence shows `meta` for the user, if the room's policy
    /// shows members and the user is not there already.
    ///
    /// # Errors
    ///
    /// As for `join`; also when `meta` has no form in JSON or is over
    /// [`Limits::meta_bytes`](crate::Limits::meta_bytes).
    pub fn join_with<V: Serialize + ?Sized>(
        &self,
        conn: ConnId,
        room: &str,
        meta: &V,
    ) -> impl Future<Output = Result<bool, AskError>> {
        // Here, so that the future does not hold the value.
        let meta = to_raw_json(meta);
        async move { self.enter(conn, room, Some(meta?)).await }
    }

    async fn enter(
        &self,
        conn: ConnId,
        room: &str,
        meta: Option<Box<RawValue>>,
    ) -> Result<bool, AskError> {
        let room = room.into();
        let already: bool = expect!(self.ask(Ask::Join { conn, room, meta }), Joined)?;
        Ok(!already)
    }

    /// Removes a connection from a room; returns true when it was a member.
    ///
    /// # Errors
    ///
    /// When the connection is not alive, or the namespace cannot be reached.
    pub async fn leave(&self, conn: ConnId, room: &str) -> Result<bool, AskError> {
        let room = room.into();
        expect!(self.ask(Ask::Leave { conn, room }), Left)
    }

    /// Closes a connection, after what was sent to it. It leaves all its rooms. A reason over 123
    /// bytes is cut.
    ///
    /// # Errors
    ///
    /// When the connection is not alive, or the namespace cannot be reached.
    pub async fn disconnect(
        &self,
        conn: ConnId,
        code: CloseCode,
        reason: &str,
    ) -> Result<(), AskError> {
        let reason = reason.into();
        let ask = Ask::Disconnect { conn, code, reason };
        expect!(self.ask(ask), Disconnected).map(|_| ())
    }

    /// Refuses tokens of a user that were issued before a time, in seconds since 1970, and closes
    /// the connections that came with one; returns their number. Tokens without an issue time are
    /// refused too.
    ///
    /// The withdrawal applies to this namespace, for as long as its state is remembered.
    ///
    /// # Errors
    ///
    /// When the time is too far ahead, or the namespace cannot be reached.
    pub async fn withdraw(&self, user: &str, not_before_s: u64) -> Result<usize, AskError> {
        let user = user.into();
        expect!(self.ask(Ask::Withdraw { user, not_before_s }), Disconnected)
    }

    /// Rooms whose name starts with `prefix`, sorted by name. Work: these rooms.
    ///
    /// # Errors
    ///
    /// When the namespace cannot be reached.
    pub async fn rooms(&self, prefix: &str) -> Result<Vec<RoomSummary>, AskError> {
        let ask = Ask::Rooms {
            prefix: prefix.into(),
            after: None,
            limit: usize::MAX,
        };
        expect!(self.ask(ask), Rooms)
    }

    /// The position of a room: the history that its offsets count in, and the offset of its last
    /// message.
    ///
    /// # Errors
    ///
    /// When the namespace cannot be reached.
    pub async fn position(&self, room: &str) -> Result<Position<'static>, AskError> {
        let room = room.into();
        expect!(self.ask(Ask::Position { room }), Position)
    }

    /// A page of a room's history; which offsets give which messages, see
    /// [`NamespaceContext::history`](crate::NamespaceContext::history).
    ///
    /// ```
    /// # use roomcast_core::{NamespaceHandle, ask::{AskError, Transport}};
    /// # async fn example<T: Transport>(namespace: NamespaceHandle<T>) -> Result<(), AskError> {
    /// let mut page = namespace.history("chat:lobby", .., 50).await?;
    /// while let Some(oldest) = page.messages.first().map(|message| message.offset) {
    ///     // ... and then those before them.
    ///     page = namespace.history("chat:lobby", ..oldest, 50).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Work: the page, and the room's messages where they have to be read from the storage.
    ///
    /// # Errors
    ///
    /// When the room keeps no history, or the namespace cannot be reached.
    pub fn history(
        &self,
        room: &str,
        offsets: impl RangeBounds<u64>,
        limit: usize,
    ) -> impl Future<Output = Result<HistoryPage, AskError>> {
        let ask = Ask::History {
            room: room.into(),
            offsets: (offsets.start_bound().cloned(), offsets.end_bound().cloned()),
            limit,
        };
        async move { expect!(self.ask(ask), History) }
    }

    /// A page of the users in a room, by name; see [`Hub::presence`](crate::Hub::presence).
    ///
    /// ```
    /// # use roomcast_core::{NamespaceHandle, ask::Transport};
    /// # async fn example<T: Transport>(
    /// #     namespace: NamespaceHandle<T>,
    /// # ) -> Result<(), Box<dyn std::error::Error>> {
    /// let page = namespace.presence("chat:lobby", None, 100).await?;
    /// println!("{} are there", page.users);
    /// for member in page.members {
    ///     let name = member.meta::<String>()?.or(member.user);
    ///     println!("{}", name.as_deref().unwrap_or("a guest"));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Work: the page.
    ///
    /// # Errors
    ///
    /// When the room has no presence, `after` is not the [`next`](PresencePage::next) of a page, or
    /// the namespace cannot be reached.
    pub async fn presence(
        &self,
        room: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<PresencePage, AskError> {
        let (room, after) = (room.into(), after.map(Into::into));
        expect!(self.ask(Ask::Presence { room, after, limit }), Presence)
    }

    /// The connections in a room, sorted; empty when there is no such room. Work: these
    /// connections.
    ///
    /// # Errors
    ///
    /// When the namespace cannot be reached.
    pub async fn members(&self, room: &str) -> Result<Vec<ConnId>, AskError> {
        let room = room.into();
        expect!(self.ask(Ask::Members { room }), Members)
    }

    /// The rooms of a connection, sorted; `None` when it is not alive.
    ///
    /// # Errors
    ///
    /// When the namespace cannot be reached.
    pub async fn rooms_of(&self, conn: ConnId) -> Result<Option<Vec<String>>, AskError> {
        expect!(self.ask(Ask::RoomsOf { conn }), RoomsOf)
    }

    /// The rooms that a user is in by any connection, sorted, without duplicates.
    ///
    /// # Errors
    ///
    /// When the namespace cannot be reached.
    pub async fn rooms_of_user(&self, user: &str) -> Result<Vec<String>, AskError> {
        let user = user.into();
        expect!(self.ask(Ask::RoomsOfUser { user }), RoomsOfUser)
    }

    /// A live connection; `None` when it is not alive.
    ///
    /// # Errors
    ///
    /// When the namespace cannot be reached.
    pub async fn connection(&self, conn: ConnId) -> Result<Option<ConnectionSummary>, AskError> {
        expect!(self.ask(Ask::Connection { conn }), Connection)
    }

    /// All live connections, the oldest first. Work: all of them; the namespace does nothing else
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// When the namespace cannot be reached.
    pub async fn connections(&self) -> Result<Vec<ConnectionSummary>, AskError> {
        let ask = Ask::Connections {
            user: None,
            after: None,
            limit: usize::MAX,
        };
        expect!(self.ask(ask), Connections)
    }

    /// Totals of the namespace.
    ///
    /// # Errors
    ///
    /// When the namespace cannot be reached.
    pub async fn counts(&self) -> Result<Counts, AskError> {
        expect!(self.ask(Ask::Counts), Counts)
    }

    /// The reason why a connection gets a message or does not; see
    /// [`Hub::explain`](crate::Hub::explain).
    ///
    /// ```
    /// # use roomcast_core::{ConnId, Explained, NamespaceHandle, ask::{AskError, Transport}};
    /// # async fn example<T: Transport>(
    /// #     namespace: NamespaceHandle<T>,
    /// #     conn: ConnId,
    /// # ) -> Result<(), AskError> {
    /// let explanation = namespace.explain(Explained::past("chat:lobby", 7), conn).await?;
    /// if explanation.reason.received() == Some(false) {
    ///     println!("{}", explanation.reason);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When the namespace cannot be reached.
    pub fn explain(
        &self,
        send: impl Into<Explained>,
        conn: ConnId,
    ) -> impl Future<Output = Result<Explanation, AskError>> {
        let send = send.into();
        async move { expect!(self.ask(Ask::Explain { send, conn }), Explanation) }
    }

    async fn ask(&self, ask: Ask) -> Result<Answer, AskError> {
        let answer = self.transport.ask(&self.name, ask).await?;
        let Answer::Part { answer, missing } = answer else {
            return Ok(answer);
        };
        if self.needs_all {
            return Err(AskError::Unavailable(unanswered(&missing)));
        }
        Ok(*answer)
    }
}

fn to_raw_json<V: Serialize + ?Sized>(value: &V) -> Result<Box<RawValue>, EncodeError> {
    serde_json::value::to_raw_value(value).map_err(|_| EncodeError::Value)
}

impl<T> fmt::Debug for NamespaceHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamespaceHandle")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
