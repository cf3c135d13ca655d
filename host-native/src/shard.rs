//! One I/O thread: its sockets, the namespaces at home on it, and its turn.
//!
//! A turn reads all input that is ready, then flushes each socket that got something once. What
//! goes to other shards leaves in one message per shard and turn.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt,
    rc::Rc,
    sync::Arc,
};

use bytes::Bytes;
use roomcast_core::{CloseCode, Config, ConnId, HubState, Input, Opening, Timestamp};
use slab::Slab;
use tokio::{
    net::tcp::OwnedWriteHalf,
    sync::{Notify, mpsc, oneshot},
    task,
};

use crate::{
    metrics::Metrics,
    namespace::{Link, Namespace},
    server::Shared,
    socket::{Home, Pushed, QueueLimits, Socket},
    ws,
};

/// What one shard tells another.
pub(crate) enum Mail {
    /// A text message for a namespace that is at home there.
    Text {
        namespace: Arc<str>,
        conn: ConnId,
        text: Box<str>,
    },
    /// Frames for sockets that are there.
    Deliver {
        keys: Box<[u32]>,
        bytes: Bytes,
        frames: u32,
    },
    /// Anything else: off the hot path.
    Task(Task),
}

/// What a shard does for another.
type Task = Box<dyn FnOnce(&Rc<Shard>) + Send>;

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text { .. } => "Text",
            Self::Deliver { .. } => "Deliver",
            Self::Task(_) => "Task",
        })
    }
}

/// Replies to the connection whose input is being processed: they leave in one write.
#[derive(Debug, Default)]
struct Cork {
    key: Option<u32>,
    bytes: Vec<u8>,
    frames: u32,
}

/// A cork this full goes to the queue, where it counts against the limit.
const CORK_BYTES_MAX: usize = 64 * 1024;
/// Sockets flushed before other rooms' input gets its turn again.
const FLUSH_SLICE: usize = 512;

#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    /// One for all reads of the thread: an idle connection holds none.
    pub(crate) read_buffer: RefCell<Box<[u8]>>,
    sockets: RefCell<Slab<Rc<Socket>>>,
    namespaces: RefCell<BTreeMap<Arc<str>, Rc<Namespace>>>,
    /// No namespace that begins here gives out a serial number below it: ids are never reused,
    /// not even by a namespace of the same name.
    serial: Cell<u64>,
    runs: RefCell<Vec<Rc<Namespace>>>,
    dirty: RefCell<Vec<Rc<Socket>>>,
    corked: RefCell<Cork>,
    outgoing: RefCell<Vec<Vec<Mail>>>,
    /// Rung when there is something to do at the end of the turn.
    bell: Notify,
}

impl Shard {
    pub(crate) fn new(index: usize, shared: Arc<Shared>) -> Rc<Self> {
        let shards = shared.posts.len();
        let serial = Cell::new(shared.first_serial);
        Rc::new(Self {
            index,
            shared,
            read_buffer: RefCell::new(vec![0; 64 * 1024].into()),
            sockets: RefCell::default(),
            namespaces: RefCell::default(),
            serial,
            runs: RefCell::default(),
            dirty: RefCell::default(),
            corked: RefCell::default(),
            outgoing: RefCell::new((0..shards).map(|_| Vec::new()).collect()),
            bell: Notify::new(),
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.shared.metrics[self.index]
    }

    // Namespaces.

    /// The shard where a namespace is at home: the same for everybody who asks.
    pub(crate) fn home_of(&self, namespace: &str) -> usize {
        let hash = namespace.bytes().fold(0_usize, |hash, byte| {
            hash.wrapping_mul(31).wrapping_add(byte.into())
        });
        hash % self.shared.posts.len()
    }

    pub(crate) fn namespace(&self, name: &str) -> Option<Rc<Namespace>> {
        self.namespaces.borrow().get(name).cloned()
    }

    pub(crate) fn namespaces(&self) -> Vec<Rc<Namespace>> {
        self.namespaces.borrow().values().cloned().collect()
    }

    /// The namespace, begun if it was not there; `None` when there are as many as there may be.
    pub(crate) fn open_namespace(&self, name: &Arc<str>) -> Option<Rc<Namespace>> {
        if let Some(namespace) = self.namespace(name) {
            return Some(namespace);
        }
        self.shared.namespaces.reserve()?;
        let limits = self.shared.settings.hub.clone();
        let config = Config::new(self.shared.epoch()).with_limits(limits);
        let state = HubState::from_serial(self.serial.get());
        let namespace = Rc::new(Namespace::new(self, name.clone(), config, state));
        self.namespaces
            .borrow_mut()
            .insert(name.clone(), namespace.clone());
        Some(namespace)
    }

    /// Ends namespaces that have nothing left to lose.
    fn retire_namespaces(&self) {
        let now = self.now();
        self.namespaces.borrow_mut().retain(|_, namespace| {
            let idle = namespace.ask(|hub| hub.is_idle(now));
            if idle {
                let next = namespace.ask(|hub| hub.state().next_serial());
                self.serial.set(self.serial.get().max(next));
                self.shared.namespaces.release();
            }
            !idle
        });
    }

    /// Runs a task where a namespace is at home, and gives its result; `None` when that shard has
    /// ended.
    pub(crate) async fn at_home<R: Send + 'static>(
        self: &Rc<Self>,
        namespace: &str,
        task: impl FnOnce(&Rc<Self>) -> R + Send + 'static,
    ) -> Option<R> {
        self.on_shard(self.home_of(namespace), task).await
    }

    pub(crate) async fn on_shard<R: Send + 'static>(
        self: &Rc<Self>,
        index: usize,
        task: impl FnOnce(&Rc<Self>) -> R + Send + 'static,
    ) -> Option<R> {
        if index == self.index {
            return Some(task(self));
        }
        let (answer, answered) = oneshot::channel();
        let task = move |shard: &Rc<Self>| {
            let _ = answer.send(task(shard)); // who asked may be gone
        };
        self.post(index, Mail::Task(Box::new(task)));
        answered.await.ok()
    }

    // Sockets.

    pub(crate) fn add_socket(&self, io: OwnedWriteHalf) -> Rc<Socket> {
        let settings = &self.shared.settings;
        let limits = QueueLimits {
            bytes_max: settings.outbox_bytes_max,
            frames_max: settings.outbox_frames_max,
        };
        let mut sockets = self.sockets.borrow_mut();
        let entry = sockets.vacant_entry();
        let key = u32::try_from(entry.key()).unwrap_or(u32::MAX);
        let socket = Rc::new(Socket::new(key, io, limits));
        entry.insert(socket.clone());
        socket
    }

    /// Frees the socket's key. For one with a distant hub only after the hub's last word.
    pub(crate) fn remove_socket(&self, key: u32) {
        self.sockets.borrow_mut().try_remove(key as usize);
    }

    pub(crate) fn socket(&self, key: u32) -> Option<Rc<Socket>> {
        self.sockets.borrow().get(key as usize).cloned()
    }

    pub(crate) fn sockets(&self) -> Vec<Rc<Socket>> {
        let sockets = self.sockets.borrow();
        sockets.iter().map(|(_, socket)| socket.clone()).collect()
    }

    /// Queues frames for a socket of this shard; it is flushed at the end of the turn.
    pub(crate) fn push(
        &self,
        socket: &Rc<Socket>,
        now: Timestamp,
        bytes: Bytes,
        frames: u32,
    ) -> Pushed {
        if self.is_corked(socket) {
            // What the cork holds is older.
            let spilt = self.spill(socket, now);
            if spilt == Pushed::Overflow {
                return spilt;
            }
        }
        let pushed = socket.push(now, bytes, frames);
        if pushed == Pushed::Queued {
            self.mark_dirty(socket);
        }
        pushed
    }

    fn mark_dirty(&self, socket: &Rc<Socket>) {
        if socket.blocked_since().is_none() && !socket.dirty.replace(true) {
            self.dirty.borrow_mut().push(socket.clone());
            self.bell.notify_one();
        }
    }

    /// One frame for one connection, wherever its socket is.
    pub(crate) fn deliver_one(&self, link: &Link, now: Timestamp, bytes: Bytes) -> Pushed {
        match link {
            Link::Local(socket) => self.push(socket, now, bytes, 1),
            &Link::Remote { shard, key } => {
                let keys = Box::new([key]);
                self.post(
                    shard,
                    Mail::Deliver {
                        keys,
                        bytes,
                        frames: 1,
                    },
                );
                Pushed::Queued
            }
        }
    }

    /// Ends a connection as its hub decided, wherever its socket is.
    pub(crate) fn close(&self, link: &Link, now: Timestamp, code: CloseCode, reason: &str) {
        match link {
            Link::Local(socket) => {
                self.spill(socket, now);
                socket.close(now, code, reason);
                self.mark_dirty(socket);
            }
            &Link::Remote { shard, key } => {
                let reason: Box<str> = reason.into();
                self.post(
                    shard,
                    Mail::Task(Box::new(move |shard| {
                        if let Some(socket) = shard.socket(key) {
                            shard.close(&Link::Local(socket), shard.now(), code, &reason);
                        }
                    })),
                );
            }
        }
    }

    // The cork.

    /// From here on, replies to this socket are held back.
    pub(crate) fn begin_cork(&self, socket: &Socket) {
        let cork = &mut *self.corked.borrow_mut();
        debug_assert!(cork.bytes.is_empty());
        cork.key = Some(socket.key);
    }

    pub(crate) fn is_corked(&self, socket: &Socket) -> bool {
        self.corked.borrow().key == Some(socket.key)
    }

    /// Holds a reply back.
    pub(crate) fn cork(&self, socket: &Rc<Socket>, now: Timestamp, text: &str) -> Pushed {
        let full = {
            let cork = &mut *self.corked.borrow_mut();
            let (head, used) = ws::text_header(text.len());
            cork.bytes.extend_from_slice(&head[..used]);
            cork.bytes.extend_from_slice(text.as_bytes());
            cork.frames += 1;
            cork.bytes.len() >= CORK_BYTES_MAX
        };
        if full {
            self.spill(socket, now)
        } else {
            Pushed::Queued
        }
    }

    /// Moves what is held back to the queue.
    fn spill(&self, socket: &Rc<Socket>, now: Timestamp) -> Pushed {
        let (bytes, frames) = {
            let cork = &mut *self.corked.borrow_mut();
            if cork.key != Some(socket.key) || cork.bytes.is_empty() {
                return Pushed::Queued;
            }
            let bytes = Bytes::copy_from_slice(&cork.bytes);
            cork.bytes.clear();
            (bytes, std::mem::take(&mut cork.frames))
        };
        let pushed = socket.push(now, bytes, frames);
        if pushed == Pushed::Queued {
            self.mark_dirty(socket);
        }
        pushed
    }

    /// Sends what was held back: in one write of its own when nothing waits before it.
    pub(crate) fn end_cork(&self, socket: &Rc<Socket>, now: Timestamp) -> Pushed {
        let mut pushed = Pushed::Queued;
        if socket.is_idle() {
            let cork = &mut *self.corked.borrow_mut();
            if !cork.bytes.is_empty() {
                socket.write_now(now, &cork.bytes, cork.frames);
                cork.bytes.clear();
                cork.frames = 0;
            }
        } else {
            pushed = self.spill(socket, now);
        }
        let cork = &mut *self.corked.borrow_mut();
        cork.key = None;
        cork.bytes.clear(); // of a connection that ended meanwhile
        cork.frames = 0;
        cork.bytes.shrink_to(CORK_BYTES_MAX);
        pushed
    }

    // The turn.

    /// Has the namespace's run sent when the turn ends.
    pub(crate) fn list_run(&self, namespace: &Rc<Namespace>) {
        self.runs.borrow_mut().push(namespace.clone());
        self.bell.notify_one();
    }

    pub(crate) fn post(&self, shard: usize, mail: Mail) {
        self.outgoing.borrow_mut()[shard].push(mail);
        self.bell.notify_one();
    }

    /// Ends every turn, for as long as the shard lives.
    pub(crate) async fn end_turns(self: Rc<Self>) {
        let mut list = Vec::new();
        loop {
            self.bell.notified().await;
            self.end_runs();
            self.send_mail();
            std::mem::swap(&mut list, &mut *self.dirty.borrow_mut());
            let mut slices = list.chunks(FLUSH_SLICE).peekable();
            while let Some(slice) = slices.next() {
                let now = self.now();
                for socket in slice {
                    socket.flush(now);
                }
                if slices.peek().is_some() {
                    task::yield_now().await;
                }
            }
            list.clear();
            self.shared.flush_record();
        }
    }

    fn end_runs(&self) {
        // Ending a run may close slow connections, which publishes nothing: no run begins here.
        let runs = std::mem::take(&mut *self.runs.borrow_mut());
        for namespace in &runs {
            namespace.end_run(self);
        }
    }

    fn send_mail(&self) {
        for (post, mail) in self
            .shared
            .posts
            .iter()
            .zip(&mut *self.outgoing.borrow_mut())
        {
            if !mail.is_empty() {
                let _ = post.send(std::mem::take(mail)); // a shard that has ended reads no mail
            }
        }
    }

    /// Takes in what other shards say, for as long as the shard lives.
    pub(crate) async fn read_mail(self: Rc<Self>, mut post: mpsc::UnboundedReceiver<Vec<Mail>>) {
        while let Some(batch) = post.recv().await {
            for mail in batch {
                self.read_one(mail);
            }
        }
    }

    fn read_one(self: &Rc<Self>, mail: Mail) {
        match mail {
            Mail::Text {
                namespace,
                conn,
                text,
            } => {
                if let Some(namespace) = self.namespace(&namespace) {
                    namespace.text(self, conn, &text);
                }
            }
            Mail::Deliver {
                keys,
                bytes,
                frames,
            } => {
                let now = self.now();
                for &key in &keys {
                    if let Some(socket) = self.socket(key)
                        && self.push(&socket, now, bytes.clone(), frames) == Pushed::Overflow
                    {
                        self.too_slow(&socket);
                    }
                }
            }
            Mail::Task(task) => task(self),
        }
    }

    /// Has the hub of a socket close it, wherever it is.
    pub(crate) fn ask_close(&self, socket: &Socket, code: CloseCode, reason: &'static str) {
        match socket.home() {
            Some((Home::Local(namespace), conn)) => {
                let _ = namespace.close(self, *conn, code, reason); // or it was closed already
            }
            Some((Home::Remote { shard, namespace }, conn)) => {
                let (namespace, conn) = (namespace.clone(), *conn);
                self.post(
                    *shard,
                    Mail::Task(Box::new(move |shard| {
                        if let Some(namespace) = shard.namespace(&namespace) {
                            let _ = namespace.close(shard, conn, code, reason);
                        }
                    })),
                );
            }
            None => {}
        }
    }

    pub(crate) fn too_slow(&self, socket: &Socket) {
        self.ask_close(
            socket,
            CloseCode::TOO_SLOW,
            "too slow: the outbox passed its limit",
        );
    }

    /// What is done a few times a second, for all connections together instead of a timer each.
    pub(crate) fn sweep(self: &Rc<Self>) {
        for namespace in self.namespaces() {
            namespace.timeout(self);
        }
        for socket in self.sockets() {
            self.sweep_socket(&socket);
        }
        self.retire_namespaces();
        self.shared.flush_record();
    }

    fn sweep_socket(&self, socket: &Socket) {
        let (now, settings) = (self.now(), &self.shared.settings);
        use crate::socket::Stage;
        match socket.stage() {
            Stage::Open => {
                if let Some(since) = socket.blocked_since()
                    && now.saturating_since(since) >= settings.write_stall
                {
                    socket.discard();
                    self.ask_close(socket, CloseCode::TOO_SLOW, "too slow: nothing was taken");
                } else if let Some(since) = socket.message_since.get()
                    && now.saturating_since(since) >= settings.message_time
                {
                    self.ask_close(socket, CloseCode::POLICY, "a message took too long");
                }
            }
            Stage::Closing(since) => {
                if now.saturating_since(since) >= settings.close_wait {
                    socket.set_stage(Stage::Dead);
                }
            }
            Stage::Done => {
                if let Some(since) = socket.blocked_since()
                    && now.saturating_since(since) >= settings.close_wait
                {
                    socket.set_stage(Stage::Dead);
                }
            }
            Stage::Dead => {}
        }
    }

    pub(crate) fn record<'a>(
        &self,
        namespace: &Arc<str>,
        now: Timestamp,
        input: impl FnOnce() -> Input<'a>,
    ) {
        if let Some(recorder) = &self.shared.recorder {
            recorder.input(namespace, now, input());
        }
    }

    pub(crate) fn record_opening(&self, namespace: &Arc<str>, opening: impl FnOnce() -> Opening) {
        if let Some(recorder) = &self.shared.recorder {
            recorder.opening(namespace, self.now(), opening());
        }
    }
}
