//! A namespace, from anywhere.

use std::{cell::RefCell, collections::VecDeque, fmt, ops::RangeBounds, pin::Pin, rc::Rc};

use futures_channel::oneshot;
use roomcast_core::{
    Audience, CloseCode, ConnId, Delivery, EncodeError, Event, Frame,
    hub::{ConnectionSummary, Counts, RoomSummary},
    room::{HistoryPage, Position, PresencePage},
};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    ask::{Answer, Ask, ServerError, WireError},
    notify::Notifier,
};

/// One namespace of the Worker, from anywhere in an application: what a factory is given for
/// [`mount`](crate::mount), to be kept and awaited in the futures of
/// [`Context::spawn`](roomcast_core::Context::spawn). Cheap to clone.
///
/// What is asked of it is an input of its own, between messages: done when it is saved. Another
/// namespace is another object, maybe elsewhere in the world: asking it takes a request to it.
///
/// The methods are those of the native host's `Server`, by name and meaning: an application that takes one
/// changes hosts by one `use`.
///
/// ```
/// use roomcast_core::{Audience, Context, Failure, Router};
/// use roomcast_worker::Server;
///
/// /// Tells the namespace `audit` who comes, and the one who comes how many are there.
/// fn door(server: &Server) -> Router {
///     let audit = server.namespace("audit");
///     Router::default().on("come", move |cx: &mut Context, name: String| {
///         let audit = audit.clone();
///         cx.spawn(async move {
///             audit.send(Audience::all(), "came", &name).await?;
///             Ok::<_, Failure>(audit.counts().await?.connections)
///         })
///     })
/// }
/// # let _ = door;
/// ```
#[derive(Clone)]
pub struct Server {
    name: Rc<str>,
    own: bool,
    mailbox: Rc<Mailbox>,
}

/// Asks another namespace, in the form that travels; what comes back is in that form too, or says
/// why there is none.
pub(crate) type Remote =
    Box<dyn Fn(&str, String) -> Pin<Box<dyn Future<Output = Result<String, String>>>>>;

/// What an object is asked for by its own application, and the way to others.
pub(crate) struct Mailbox {
    asks: RefCell<VecDeque<Letter>>,
    notifier: Notifier,
    remote: Remote,
}

/// What is asked, and where the answer goes.
pub(crate) type Letter = (Ask, oneshot::Sender<Result<Answer, ServerError>>);

impl Mailbox {
    pub(crate) fn new(notifier: Notifier, remote: Remote) -> Rc<Self> {
        Rc::new(Self {
            asks: RefCell::default(),
            notifier,
            remote,
        })
    }

    /// What is to be done next.
    pub(crate) fn take(&self) -> Option<Letter> {
        self.asks.borrow_mut().pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.asks.borrow().is_empty()
    }
}

impl Server {
    pub(crate) fn new(name: &str, mailbox: Rc<Mailbox>) -> Self {
        Self {
            name: name.into(),
            own: true,
            mailbox,
        }
    }

    /// Another namespace of the same Worker. Its object begins with what is asked of it.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Self {
        Self {
            name: name.into(),
            own: self.own && *self.name == *name,
            mailbox: Rc::clone(&self.mailbox),
        }
    }

    /// The name of the namespace.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends to an audience. The frame has no `from`; it names its room when the audience is one
    /// room, and its label when the event has one.
    ///
    /// # Errors
    ///
    /// When the event, its label, the value or a room name cannot be sent; nothing is sent then. When the
    /// namespace is not available.
    pub fn send<'e, T: Serialize + ?Sized>(
        &self,
        audience: impl Into<Audience>,
        event: impl Into<Event<'e>>,
        data: &T,
    ) -> impl Future<Output = Result<Delivery, ServerError>> {
        let (audience, event): (_, Event<'_>) = (audience.into(), event.into());
        let (event, path) = (event.name().into(), event.path().map(Into::into));
        // Here, so that the future does not hold the value.
        let data = serde_json::value::to_raw_value(data);
        async move {
            let data = data.map_err(|_| EncodeError::Value)?;
            let ask = Ask::Send {
                audience,
                event,
                path,
                data,
            };
            let Answer::Sent(delivery) = self.ask(ask).await? else {
                return Err(unexpected());
            };
            Ok(delivery)
        }
    }

    /// Sends to every live connection of the namespace.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub fn broadcast<'e, T: Serialize + ?Sized>(
        &self,
        event: impl Into<Event<'e>>,
        data: &T,
    ) -> impl Future<Output = Result<Delivery, ServerError>> {
        self.send(Audience::all(), event, data)
    }

    /// Sends a frame of one's own, text or binary: for clients that do not speak in envelopes.
    ///
    /// # Errors
    ///
    /// When a room name is not valid; nothing is sent then. When the namespace is not available.
    pub fn send_frame(
        &self,
        audience: impl Into<Audience>,
        frame: Frame<'_>,
    ) -> impl Future<Output = Result<Delivery, ServerError>> {
        let audience = audience.into();
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
        async move {
            let Answer::Sent(delivery) = self.ask(ask).await? else {
                return Err(unexpected());
            };
            Ok(delivery)
        }
    }

    /// Puts a connection into a room; says whether it is new there. The client is not told.
    ///
    /// # Errors
    ///
    /// When the connection is not alive, the name is not valid, the room is full or the connection is
    /// in too many rooms. When the namespace is not available.
    pub async fn join(&self, conn: ConnId, room: &str) -> Result<bool, ServerError> {
        self.enter(conn, room, None).await
    }

    /// [`join`](Self::join), and presence shows `meta` of the user, where the room's policy shows
    /// members and the user is not there already.
    ///
    /// # Errors
    ///
    /// As for `join`; also when `meta` has no form in JSON or is over
    /// [`Limits::meta_bytes`](roomcast_core::Limits::meta_bytes).
    pub fn join_with<T: Serialize + ?Sized>(
        &self,
        conn: ConnId,
        room: &str,
        meta: &T,
    ) -> impl Future<Output = Result<bool, ServerError>> {
        // Here, so that the future does not hold the value.
        let meta = serde_json::value::to_raw_value(meta);
        async move {
            let meta = meta.map_err(|_| EncodeError::Value)?;
            self.enter(conn, room, Some(meta)).await
        }
    }

    /// Takes a connection out of a room; says whether it was in.
    ///
    /// # Errors
    ///
    /// When the connection is not alive, or the namespace is not available.
    pub async fn leave(&self, conn: ConnId, room: &str) -> Result<bool, ServerError> {
        let room = room.into();
        let Answer::Changed(was) = self.ask(Ask::Leave { conn, room }).await? else {
            return Err(unexpected());
        };
        Ok(was)
    }

    /// Closes a connection, behind what was sent to it. It leaves all its rooms. A reason over 123
    /// bytes is cut.
    ///
    /// # Errors
    ///
    /// When the connection is not alive, or the namespace is not available.
    pub async fn disconnect(
        &self,
        conn: ConnId,
        code: CloseCode,
        reason: &str,
    ) -> Result<(), ServerError> {
        let reason = reason.into();
        let Answer::Disconnected = self.ask(Ask::Disconnect { conn, code, reason }).await? else {
            return Err(unexpected());
        };
        Ok(())
    }

    /// Rooms whose name starts with `prefix`, sorted by name. Work: these rooms.
    ///
    /// # Errors
    ///
    /// When the namespace is not available.
    pub async fn rooms(&self, prefix: &str) -> Result<Vec<RoomSummary>, ServerError> {
        let prefix = prefix.into();
        let Answer::Rooms(rooms) = self.ask(Ask::Rooms { prefix }).await? else {
            return Err(unexpected());
        };
        Ok(rooms)
    }

    /// Where a room stands: the life that its offsets count in, and the offset of its last message.
    ///
    /// # Errors
    ///
    /// When the namespace is not available.
    pub async fn position(&self, room: &str) -> Result<Position<'static>, ServerError> {
        let room = room.into();
        let Answer::Position(position) = self.ask(Ask::Position { room }).await? else {
            return Err(unexpected());
        };
        Ok(position)
    }

    /// A page of a room's history, read from the storage when the room has slept; which offsets give
    /// which messages, see [`NamespaceContext::history`](roomcast_core::NamespaceContext::history).
    ///
    /// Work: the page, and the room's messages after a sleep.
    ///
    /// # Errors
    ///
    /// When the room keeps no history, or the namespace is not available.
    pub fn history(
        &self,
        room: &str,
        offsets: impl RangeBounds<u64>,
        limit: usize,
    ) -> impl Future<Output = Result<HistoryPage, ServerError>> {
        let ask = Ask::History {
            room: room.into(),
            offsets: (offsets.start_bound().cloned(), offsets.end_bound().cloned()),
            limit,
        };
        async move {
            let Answer::History(page) = self.ask(ask).await? else {
                return Err(unexpected());
            };
            Ok(page)
        }
    }

    /// A page of those who are in a room, users by name; see
    /// [`NamespaceContext::presence`](roomcast_core::NamespaceContext::presence).
    ///
    /// # Errors
    ///
    /// When the room shows nobody, `after` is not the [`next`](PresencePage::next) of a page, or the
    /// namespace is not available.
    pub async fn presence(
        &self,
        room: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<PresencePage, ServerError> {
        let (room, after) = (room.into(), after.map(Into::into));
        let ask = Ask::Presence { room, after, limit };
        let Answer::Presence(page) = self.ask(ask).await? else {
            return Err(unexpected());
        };
        Ok(page)
    }

    /// The connections in a room, sorted; empty when there is no such room. Work: these connections.
    ///
    /// # Errors
    ///
    /// When the namespace is not available.
    pub async fn members(&self, room: &str) -> Result<Vec<ConnId>, ServerError> {
        let room = room.into();
        let Answer::Members(members) = self.ask(Ask::Members { room }).await? else {
            return Err(unexpected());
        };
        Ok(members)
    }

    /// The rooms of a connection, sorted; `None` when it is not alive.
    ///
    /// # Errors
    ///
    /// When the namespace is not available.
    pub async fn rooms_of(&self, conn: ConnId) -> Result<Option<Vec<String>>, ServerError> {
        let Answer::RoomsOf(rooms) = self.ask(Ask::RoomsOf { conn }).await? else {
            return Err(unexpected());
        };
        Ok(rooms)
    }

    /// A live connection; `None` when it is not alive.
    ///
    /// # Errors
    ///
    /// When the namespace is not available.
    pub async fn connection(&self, conn: ConnId) -> Result<Option<ConnectionSummary>, ServerError> {
        let Answer::Connection(connection) = self.ask(Ask::Connection { conn }).await? else {
            return Err(unexpected());
        };
        Ok(connection)
    }

    /// All live connections, the oldest first. Work: all of them; the namespace does nothing else
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// When the namespace is not available.
    pub async fn connections(&self) -> Result<Vec<ConnectionSummary>, ServerError> {
        let Answer::Connections(connections) = self.ask(Ask::Connections).await? else {
            return Err(unexpected());
        };
        Ok(connections)
    }

    /// How much of everything there is.
    ///
    /// # Errors
    ///
    /// When the namespace is not available.
    pub async fn counts(&self) -> Result<Counts, ServerError> {
        let Answer::Counts(counts) = self.ask(Ask::Counts).await? else {
            return Err(unexpected());
        };
        Ok(counts)
    }

    async fn enter(
        &self,
        conn: ConnId,
        room: &str,
        meta: Option<Box<RawValue>>,
    ) -> Result<bool, ServerError> {
        let room = room.into();
        let Answer::Changed(new) = self.ask(Ask::Join { conn, room, meta }).await? else {
            return Err(unexpected());
        };
        Ok(new)
    }

    async fn ask(&self, ask: Ask) -> Result<Answer, ServerError> {
        if self.own {
            let (sender, answer) = oneshot::channel();
            self.mailbox.asks.borrow_mut().push_back((ask, sender));
            self.mailbox.notifier.notify();
            return answer.await.unwrap_or_else(|_| {
                let why = "its object failed and begins anew";
                Err(ServerError::Unavailable(why.into()))
            });
        }
        let unavailable = |fault: serde_json::Error| ServerError::Unavailable(fault.to_string());
        let question = serde_json::to_string(&ask).map_err(unavailable)?;
        let answer = (self.mailbox.remote)(&self.name, question).await;
        let answer = answer.map_err(ServerError::Unavailable)?;
        let answer: Result<Answer, WireError> =
            serde_json::from_str(&answer).map_err(unavailable)?;
        Ok(answer?)
    }
}

/// It answers another question.
fn unexpected() -> ServerError {
    let why = "its object answered something else: is it of another version?";
    ServerError::Unavailable(why.to_owned())
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox")
            .field("asks", &self.asks.borrow().len())
            .finish_non_exhaustive()
    }
}
