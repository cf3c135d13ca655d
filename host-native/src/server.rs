//! A running server, from anywhere.

use std::{
    fmt,
    ops::RangeBounds,
    rc::Rc,
    sync::{Arc, PoisonError, RwLock},
};

use roomcast_core::{
    Audience, CloseCode, ConnId, Delivery, EncodeError, Event, Frame, Hub, JoinError, UnknownConn,
    hub::{ConnectionSummary, Counts, RoomSummary},
    room::{HistoryPage, PageError, Position, PresencePage},
};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

use crate::shard::{Batch, Mail, Shard, home_of};

/// One namespace of a server, from anywhere: other tasks and threads, HTTP routes, the application
/// itself. Cheap to clone.
///
/// What is asked of it runs on the thread of the namespace, between messages, and goes into the
/// journal like a call of the HTTP API. It can be made before the server runs, and outlive it: its
/// methods say [`NotRunning`](ServerError::NotRunning) before [`Host::run`](crate::Host::run) is
/// called and after it is done.
///
/// An application may keep the handle of its own namespace: a future of
/// [`Context::spawn`](crate::Context::spawn) awaits its methods like any other task. Only a handler
/// must not block on them: it would wait for itself.
///
/// Nothing happens before a method's future is awaited. One that is dropped before it is done may
/// have done its work.
///
/// ```no_run
/// use roomcast::{Audience, Host, Settings};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let settings = Settings::default();
/// let listeners = roomcast::listen(&settings)?;
/// let host = Host::new(settings);
/// let server = host.server("default");
/// tokio::spawn(host.run(listeners, std::future::pending()));
///
/// server.send(Audience::room("orders"), "paid", &["order-7"]).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Server {
    switchboard: Arc<Switchboard>,
    namespace: Arc<str>,
}

/// Something that a [`Server`] could not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The server has not started yet, or has ended.
    #[error("the server is not running: it has not started yet, or it has ended")]
    NotRunning,
    /// The namespace is to keep the message, and could not start.
    #[error("the namespace could not start; see the server log")]
    NotOpened,
    /// The message cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The connection cannot join.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// No such connection.
    #[error(transparent)]
    UnknownConn(#[from] UnknownConn),
    /// There is no such page.
    #[error(transparent)]
    Page(#[from] PageError),
}

impl Server {
    pub(crate) const fn new(switchboard: Arc<Switchboard>, namespace: Arc<str>) -> Self {
        Self {
            switchboard,
            namespace,
        }
    }

    /// Another namespace of the same server.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Self {
        Self::new(self.switchboard.clone(), name.into())
    }

    /// The name of the namespace.
    pub fn name(&self) -> &str {
        &self.namespace
    }

    /// Sends to an audience. The frame has no `from`; it names its room when the audience is one
    /// room, and its label when the event has one. Connections whose queues are full are counted as `dropped`, and closed.
    ///
    /// # Errors
    ///
    /// When the event, its label, the value or a room name cannot be sent; nothing is sent then. When the
    /// server is not running.
    pub fn send<'e, T: Serialize + ?Sized>(
        &self,
        audience: impl Into<Audience>,
        event: impl Into<Event<'e>>,
        data: &T,
    ) -> impl Future<Output = Result<Delivery, ServerError>> + Send {
        let audience: Audience = audience.into();
        let event: Event<'_> = event.into();
        let (event, path): (Box<str>, _) =
            (event.name().into(), event.path().map(Box::<str>::from));
        // Here, so that the future does not hold the value.
        let data = written(data);
        async move {
            let data = data?;
            let send = move |shard: &Rc<Shard>, name: &Arc<str>| {
                let event = Event::new(&event).with_path(path.as_deref());
                let sent = match shard.namespace(name) {
                    Some(namespace) => namespace.send(shard, &audience, event, &data),
                    // Kept for those who come later.
                    None if audience.as_room().is_some_and(|room| shard.keeps(room)) => {
                        let opened = shard.open_namespace(name);
                        let namespace = opened.map_err(|_| ServerError::NotOpened)?;
                        namespace.send(shard, &audience, event, &data)
                    }
                    None => shard.send_to_nobody(&audience, event, &data),
                };
                sent.map_err(ServerError::from)
            };
            self.call(send).await?
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
    ) -> impl Future<Output = Result<Delivery, ServerError>> + Send {
        self.send(Audience::all(), event, data)
    }

    /// Sends a frame of one's own, text or binary: for clients that do not speak in envelopes.
    ///
    /// # Errors
    ///
    /// When a room name is not valid; nothing is sent then. When the server is not running.
    pub fn send_frame(
        &self,
        audience: impl Into<Audience>,
        frame: Frame<'_>,
    ) -> impl Future<Output = Result<Delivery, ServerError>> + Send {
        let audience: Audience = audience.into();
        let frame = OwnedFrame::from(frame);
        async move {
            let send = move |shard: &Rc<Shard>, name: &Arc<str>| match shard.namespace(name) {
                Some(namespace) => namespace.send_frame(shard, &audience, frame.borrow()),
                None => Ok(Delivery::default()),
            };
            Ok(self.call(send).await??)
        }
    }

    /// Puts a connection into a room; says whether it is new there. The client is not told.
    ///
    /// # Errors
    ///
    /// When the connection is not alive, the name is not valid, the room is full or the connection is
    /// in too many rooms. When the server is not running.
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
    ) -> impl Future<Output = Result<bool, ServerError>> + Send {
        // Here, so that the future does not hold the value.
        let meta = written(meta);
        async move { self.enter(conn, room, Some(meta?)).await }
    }

    /// Takes a connection out of a room; says whether it was in.
    ///
    /// # Errors
    ///
    /// When the connection is not alive, or the server is not running.
    pub async fn leave(&self, conn: ConnId, room: &str) -> Result<bool, ServerError> {
        let room: Box<str> = room.into();
        let leave = move |shard: &Rc<Shard>, name: &Arc<str>| {
            let namespace = shard.namespace(name).ok_or(UnknownConn(conn))?;
            namespace.leave(shard, conn, &room)
        };
        Ok(self.call(leave).await??)
    }

    /// Closes a connection, behind what was sent to it. It leaves all its rooms. A reason over 123
    /// bytes is cut.
    ///
    /// # Errors
    ///
    /// When the connection is not alive, or the server is not running.
    pub async fn disconnect(
        &self,
        conn: ConnId,
        code: CloseCode,
        reason: &str,
    ) -> Result<(), ServerError> {
        let reason: Box<str> = reason.into();
        let close = move |shard: &Rc<Shard>, name: &Arc<str>| {
            let namespace = shard.namespace(name).ok_or(UnknownConn(conn))?;
            namespace.close(shard, conn, code, &reason)
        };
        Ok(self.call(close).await??)
    }

    /// Rooms whose name starts with `prefix`, sorted by name. Work: these rooms.
    ///
    /// # Errors
    ///
    /// When the server is not running.
    pub async fn rooms(&self, prefix: &str) -> Result<Vec<RoomSummary>, ServerError> {
        let prefix: Box<str> = prefix.into();
        self.ask(move |hub| hub.rooms(&prefix, None).map(Into::into).collect())
            .await
    }

    /// Where a room stands: the life that its offsets count in, and the offset of its last message.
    ///
    /// # Errors
    ///
    /// When the server is not running.
    pub async fn position(&self, room: &str) -> Result<Position<'static>, ServerError> {
        let room: Box<str> = room.into();
        let position = move |hub: &Hub| hub.position(&room).into_owned();
        self.ask_or_nobody(move |_, hub| position(hub)).await
    }

    /// A page of a room's history; which offsets give which messages, see
    /// [`NamespaceContext::history`](roomcast_core::NamespaceContext::history).
    ///
    /// ```no_run
    /// # async fn example(server: roomcast::Server) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut page = server.history("chat:lobby", .., 50).await?;
    /// while let Some(oldest) = page.messages.first().map(|message| message.offset) {
    ///     // ... and then those before them.
    ///     page = server.history("chat:lobby", ..oldest, 50).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Work: the page.
    ///
    /// # Errors
    ///
    /// When the room keeps no history, or the server is not running.
    pub fn history(
        &self,
        room: &str,
        offsets: impl RangeBounds<u64>,
        limit: usize,
    ) -> impl Future<Output = Result<HistoryPage, ServerError>> + Send {
        let offsets = (offsets.start_bound().cloned(), offsets.end_bound().cloned());
        let room: Box<str> = room.into();
        let page =
            move |shard: &Shard, hub: &Hub| hub.history_page(shard.now(), &room, offsets, limit);
        async move { Ok(self.ask_or_nobody(page).await??) }
    }

    /// A page of those who are in a room, users by name; see
    /// [`NamespaceContext::presence`](roomcast_core::NamespaceContext::presence).
    ///
    /// ```no_run
    /// # async fn example(server: roomcast::Server) -> Result<(), Box<dyn std::error::Error>> {
    /// let page = server.presence("chat:lobby", None, 100).await?;
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
    /// When the room shows nobody, `after` is not the [`next`](PresencePage::next) of a page, or the
    /// server is not running.
    pub async fn presence(
        &self,
        room: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<PresencePage, ServerError> {
        let (room, after): (Box<str>, Option<Box<str>>) = (room.into(), after.map(Into::into));
        let page = move |_: &Shard, hub: &Hub| hub.presence(&room, after.as_deref(), limit);
        Ok(self.ask_or_nobody(page).await??)
    }

    /// The connections in a room, sorted; empty when there is no such room. Work: these connections.
    ///
    /// # Errors
    ///
    /// When the server is not running.
    pub async fn members(&self, room: &str) -> Result<Vec<ConnId>, ServerError> {
        let room: Box<str> = room.into();
        self.ask(move |hub| hub.members(&room).to_vec()).await
    }

    /// The rooms of a connection, sorted; `None` when it is not alive.
    ///
    /// # Errors
    ///
    /// When the server is not running.
    pub async fn rooms_of(&self, conn: ConnId) -> Result<Option<Vec<String>>, ServerError> {
        let owned = |rooms: Vec<&str>| rooms.into_iter().map(Into::into).collect();
        self.ask(move |hub| hub.rooms_of(conn).map(owned)).await
    }

    /// A live connection; `None` when it is not alive.
    ///
    /// # Errors
    ///
    /// When the server is not running.
    pub async fn connection(&self, conn: ConnId) -> Result<Option<ConnectionSummary>, ServerError> {
        let connection = move |shard: &Rc<Shard>, name: &Arc<str>| {
            let summary = |hub: &Hub| hub.connection(conn).map(|info| shard.summary(info));
            shard.namespace(name)?.ask(summary)
        };
        self.call(connection).await
    }

    /// All live connections, the oldest first. Work: all of them; the namespace does nothing else
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// When the server is not running.
    pub async fn connections(&self) -> Result<Vec<ConnectionSummary>, ServerError> {
        let connections = |shard: &Rc<Shard>, name: &Arc<str>| {
            let all = |hub: &Hub| hub.connections().map(|info| shard.summary(info)).collect();
            shard.namespace(name).map_or_else(Vec::new, |n| n.ask(all))
        };
        let mut connections = self.call(connections).await?;
        connections.sort_unstable_by_key(|conn| conn.id);
        Ok(connections)
    }

    /// How much of everything there is.
    ///
    /// # Errors
    ///
    /// When the server is not running.
    pub async fn counts(&self) -> Result<Counts, ServerError> {
        self.ask(Hub::counts).await
    }

    async fn enter(
        &self,
        conn: ConnId,
        room: &str,
        meta: Option<Box<RawValue>>,
    ) -> Result<bool, ServerError> {
        let room: Box<str> = room.into();
        let join = move |shard: &Rc<Shard>, name: &Arc<str>| {
            let namespace = shard.namespace(name).ok_or(UnknownConn(conn))?;
            namespace.join(shard, conn, &room, meta.as_deref())
        };
        let already = self.call(join).await??;
        Ok(!already)
    }

    /// Asks the hub; one that does not live is as if it were empty.
    async fn ask_or_nobody<R: Send + 'static>(
        &self,
        question: impl FnOnce(&Shard, &Hub) -> R + Send + 'static,
    ) -> Result<R, ServerError> {
        let ask = |shard: &Rc<Shard>, name: &Arc<str>| {
            let question = |hub: &Hub| question(shard, hub);
            match shard.namespace(name) {
                Some(namespace) => namespace.ask(question),
                None => shard.ask_nobody(question),
            }
        };
        self.call(ask).await
    }

    /// Asks the hub; one that does not live has nothing.
    async fn ask<R: Default + Send + 'static>(
        &self,
        question: impl FnOnce(&Hub) -> R + Send + 'static,
    ) -> Result<R, ServerError> {
        let ask = |shard: &Rc<Shard>, name: &Arc<str>| {
            let namespace = shard.namespace(name);
            namespace.map_or_else(R::default, |namespace| namespace.ask(question))
        };
        self.call(ask).await
    }

    /// Runs a task on the thread of the namespace.
    async fn call<R: Send + 'static>(
        &self,
        task: impl FnOnce(&Rc<Shard>, &Arc<str>) -> R + Send + 'static,
    ) -> Result<R, ServerError> {
        let posts = self.switchboard.posts().ok_or(ServerError::NotRunning)?;
        if posts.is_empty() {
            return Err(ServerError::NotRunning);
        }
        let home = home_of(&self.namespace, posts.len());
        let (name, (answer, answered)) = (self.namespace.clone(), oneshot::channel());
        let task = move |shard: &Rc<Shard>| {
            let result = task(shard, &name);
            shard.when_committed(move || {
                let _ = answer.send(result); // who asked may be gone
            });
        };
        let mail = vec![Mail::Task(Box::new(task))];
        // As if from itself: a task counts in no account between shards.
        let posted = posts[home].send(Batch::new(home, mail));
        posted.map_err(|_| ServerError::NotRunning)?;
        answered.await.map_err(|_| ServerError::NotRunning)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("namespace", &self.namespace)
            .field("running", &self.switchboard.posts().is_some())
            .finish()
    }
}

fn written<T: Serialize + ?Sized>(data: &T) -> Result<Box<RawValue>, EncodeError> {
    serde_json::value::to_raw_value(data).map_err(|_| EncodeError::Value)
}

/// A frame on its way.
enum OwnedFrame {
    Text(Box<str>),
    Binary(Box<[u8]>),
}

impl From<Frame<'_>> for OwnedFrame {
    fn from(frame: Frame<'_>) -> Self {
        match frame {
            Frame::Text(text) => Self::Text(text.into()),
            Frame::Binary(bytes) => Self::Binary(bytes.into()),
        }
    }
}

impl OwnedFrame {
    fn borrow(&self) -> Frame<'_> {
        match self {
            Self::Text(text) => Frame::Text(text),
            Self::Binary(bytes) => Frame::Binary(bytes),
        }
    }
}

/// The way of [`Server`]s to the shards, while there are any.
#[derive(Debug, Default)]
pub(crate) struct Switchboard {
    posts: RwLock<Option<Posts>>,
    /// Held while settings are changed.
    pub(crate) reloading: tokio::sync::Mutex<()>,
}

/// The way to each shard.
pub(crate) type Posts = Arc<[mpsc::UnboundedSender<Batch>]>;

impl Switchboard {
    pub(crate) fn posts(&self) -> Option<Posts> {
        let posts = self.posts.read().unwrap_or_else(PoisonError::into_inner);
        posts.clone()
    }

    /// Opens, for as long as the value lives.
    pub(crate) fn open(self: &Arc<Self>, posts: Posts) -> Open {
        self.set(Some(posts));
        Open(self.clone())
    }

    fn set(&self, posts: Option<Posts>) {
        *self.posts.write().unwrap_or_else(PoisonError::into_inner) = posts;
    }
}

/// Closes the switchboard when dropped.
#[derive(Debug)]
pub(crate) struct Open(Arc<Switchboard>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(None);
    }
}
