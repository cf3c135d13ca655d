//! Shard: one I/O thread, with its sockets, the namespaces at home on it, and its turn.
//!
//! A turn reads all input that is ready, then flushes each socket that got something once. The mail
//! to other shards leaves in one message per shard and turn.

mod ask;
mod batch;
mod cork;
mod durable;
mod fan_out;
mod flow;
mod histories;
mod home;
mod hosted;
mod keep;
mod mail;
mod schedule;
mod sweep;
mod tasks;
mod trim;
mod turn;

use std::{
    borrow::Cow,
    cell::{Cell, Ref, RefCell},
    collections::BTreeMap,
    rc::{Rc, Weak},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use bytes::Bytes;
use roomcast_core::{
    CloseCode, Config, Input, Policies, Timestamp,
    hub::HubState,
    journal::Opening,
    queue::{Pushed, QueueLimits, Tag},
};
use slab::Slab;
use tokio::{
    net::tcp::OwnedWriteHalf,
    sync::{Notify, oneshot},
};

pub(crate) use self::{
    ask::Reached,
    fan_out::Link,
    home::Home,
    hosted::Hosted,
    mail::{Mail, MailBatch, Open, Posts, Switchboard},
    sweep::SWEEP,
};
use self::{cork::Cork, durable::Durable, flow::Flow, trim::HighWater, turn::Backlog};
use crate::{
    metrics::Metrics, patience::Patience, refusal::OpenError, shared::Shared,
    store::NamespaceHeader,
};

/// A socket of a shard.
pub(crate) type Socket = crate::socket::Socket<Home>;

#[derive(Debug)]
pub(crate) struct Shard {
    weak: Weak<Self>,
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    /// The way to each shard.
    pub(crate) posts: Posts,
    /// Buffer for all reads of the thread: an idle connection holds none.
    pub(crate) read_buffer: RefCell<Box<[u8]>>,
    sockets: RefCell<Slab<Rc<Socket>>>,
    /// Keys of sockets for which something may become due. Keys, so that a socket whose task has
    /// ended is closed at once.
    watched: RefCell<Vec<u32>>,
    high_water: HighWater,
    namespaces: RefCell<BTreeMap<Arc<str>, Rc<Hosted>>>,
    /// Room policies in force.
    policies: RefCell<Policies>,
    /// No namespace that begins here gives out a serial number below it: ids are never reused,
    /// not even by a namespace of the same name.
    serial: Cell<u64>,
    runs: RefCell<Vec<Rc<Hosted>>>,
    dirty: RefCell<Vec<Rc<Socket>>>,
    backlog: Backlog,
    corked: RefCell<Cork>,
    outgoing: RefCell<Vec<Vec<Mail>>>,
    has_mail: Cell<bool>,
    flow: Flow,
    durable: Durable,
    /// True when histories passed their limit in this turn.
    histories_full: Cell<bool>,
    /// True when deadlines may be called passed.
    patience: Patience,
    /// Rung when there is something to do at the end of the turn.
    bell: Notify,
    /// The wall-clock time of the zero of the clock, as the namespaces know it.
    unix_zero_ms: Cell<u64>,
    /// Rung when schedules have begun.
    begun: Notify,
}

impl Shard {
    pub(crate) fn new(index: usize, shared: Arc<Shared>, posts: Posts) -> Rc<Self> {
        let shards = posts.len();
        let serial = Cell::new(shared.first_serial);
        let unix_zero_ms = Cell::new(shared.clock.unix_zero_ms());
        let policies = RefCell::new(shared.settings.policies.clone());
        Rc::new_cyclic(|weak| Self {
            weak: weak.clone(),
            index,
            shared,
            posts,
            read_buffer: RefCell::new(vec![0; 64 * 1024].into()),
            sockets: RefCell::default(),
            watched: RefCell::default(),
            high_water: HighWater::default(),
            namespaces: RefCell::default(),
            policies,
            serial,
            runs: RefCell::default(),
            dirty: RefCell::default(),
            backlog: Backlog::default(),
            corked: RefCell::default(),
            outgoing: RefCell::new((0..shards).map(|_| Vec::new()).collect()),
            has_mail: Cell::default(),
            flow: Flow::new(shards),
            durable: Durable::default(),
            histories_full: Cell::default(),
            patience: Patience::new(Instant::now()),
            bell: Notify::new(),
            unix_zero_ms,
            begun: Notify::new(),
        })
    }

    /// For tasks that must not keep the shard alive.
    pub(crate) fn weak(&self) -> Weak<Self> {
        self.weak.clone()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.shared.metrics[self.index]
    }

    // Namespaces.

    pub(crate) fn home_of(&self, namespace: &str) -> usize {
        mail::home_of(namespace, self.posts.len())
    }

    pub(crate) fn namespace(&self, name: &str) -> Option<Rc<Hosted>> {
        self.namespaces.borrow().get(name).cloned()
    }

    pub(crate) fn namespaces(&self) -> Vec<Rc<Hosted>> {
        self.namespaces.borrow().values().cloned().collect()
    }

    /// The namespace, begun if it was not there.
    pub(crate) fn open_namespace(&self, name: &Arc<str>) -> Result<Rc<Hosted>, OpenError> {
        if let Some(namespace) = self.namespace(name) {
            return Ok(namespace);
        }
        let permits = &self.shared.namespaces;
        if permits.reserve().is_err() {
            self.retire_one();
            let reserved = permits.reserve();
            reserved.map_err(|limit| OpenError::Full { limit })?;
        }
        let opened = self.begin_namespace(name);
        if let Err(fault) = &opened {
            let namespace = &**name;
            tracing::error!(namespace, %fault, "the namespace could not start");
            self.shared.namespaces.release();
        }
        opened
    }

    fn begin_namespace(&self, name: &Arc<str>) -> Result<Rc<Hosted>, OpenError> {
        let gateway = self.shared.gateways.make(name)?;
        let settings = &self.shared.settings;
        let mut limits = settings.hub.clone();
        // What is replayed is queued: more would make who comes back too slow at once.
        limits.recovery_bytes = limits.recovery_bytes.min(settings.outbox_bytes_max);
        limits.recovery_messages = limits.recovery_messages.min(settings.outbox_frames_max);
        // What an earlier namespace of the name left behind is in the store, or is not.
        self.commit();
        let store = self.shared.store.as_ref();
        let room_name_bytes = limits.room_name_bytes;
        let kept = store.map(|store| store.load(name, room_name_bytes));
        let kept = kept.transpose()?.flatten();
        let (life, rooms, keys) = match kept {
            Some(kept) => (kept.life, kept.rooms, kept.keys),
            None => {
                let epoch = self.shared.epoch().into();
                let life = NamespaceHeader {
                    epoch,
                    histories_opened: 0,
                    next_serial: 0,
                };
                (life, Vec::new(), Vec::new())
            }
        };
        let config = Config::new(&*life.epoch)
            .with_limits(limits)
            .with_policies(self.policies().clone())
            .with_durable(store.is_some())
            .with_unix_zero_ms(self.unix_zero_ms.get());
        let state = HubState::from_serial(self.serial.get().max(life.next_serial))
            .with_histories_opened(life.histories_opened)
            .with_rooms(rooms.iter().map(|room| room.state.clone()))
            .with_keys(keys);
        let messages = |room| store.map_or(Ok(Vec::new()), |store| store.messages(name, room));
        let messages: Vec<_> = rooms.iter().map(messages).collect::<Result<_, _>>()?;
        let life = store.map(|_| life);
        let namespace = Hosted::new(self, name.clone(), config, state, gateway, life.clone())?;
        let namespace = Rc::new(namespace);
        self.namespaces
            .borrow_mut()
            .insert(name.clone(), namespace.clone());
        for (room, messages) in rooms.iter().map(|room| &room.state).zip(messages) {
            if namespace.ask(|hub| hub.room_state(room.room())).is_some() {
                let (room, messages) = (room.room().into(), Cow::Borrowed(&*messages));
                namespace.apply(self, &Input::HistoryLoaded { room, messages });
            } else if let Some(life) = &life {
                // By the policies of now it keeps nothing.
                self.keep(|batch| batch.set_room(name, life.clone(), room.room(), None));
            }
        }
        Ok(namespace)
    }

    /// Begins the namespaces that were kept and are at home here. When one cannot begin, its name
    /// comes with the error.
    pub(crate) fn wake_namespaces(&self) -> Result<(), (Arc<str>, OpenError)> {
        for name in &self.shared.kept {
            if self.home_of(name) == self.index {
                let opened = self.open_namespace(name);
                opened.map_err(|fault| (name.clone(), fault))?;
            }
        }
        Ok(())
    }

    /// Begins the namespaces that have a gateway of their own and are at home here. When one cannot
    /// begin, its name comes with the error.
    pub(crate) fn mount_gateways(&self) -> Result<Vec<Mounted>, (Arc<str>, OpenError)> {
        let mounted = self.shared.gateways.mounted();
        let at_home = mounted.filter(|name| self.home_of(name) == self.index);
        let mount = |name: &Arc<str>| {
            let opened = self.open_namespace(name);
            let namespace = opened.map_err(|fault| (name.clone(), fault))?;
            Ok(Mounted {
                namespace: name.clone(),
                events: namespace.events(),
            })
        };
        at_home.map(mount).collect()
    }

    /// Room policies.
    pub(crate) fn policies(&self) -> Ref<'_, Policies> {
        self.policies.borrow()
    }

    /// Puts other policies in the place of those in force, in all namespaces that are at home here.
    pub(crate) fn set_policies(&self, policies: Policies) {
        for namespace in self.namespaces() {
            let policies = Cow::Borrowed(&policies);
            namespace.apply(self, &Input::SetPolicies { policies });
        }
        self.policies.replace(policies);
    }

    /// Runs a task where a namespace is at home, and gives its result when what it changed is
    /// committed; `None` when it cannot be, or that shard has ended.
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
            let result = task(self);
            self.committed().await?;
            return Some(result);
        }
        let (answer, answered) = oneshot::channel();
        let task = move |shard: &Rc<Self>| {
            let result = task(shard);
            shard.when_committed(move || {
                let _ = answer.send(result); // who asked may be gone
            });
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

    /// Queues frames for a socket of this shard; it is flushed at the end of the turn.
    pub(crate) fn push(
        &self,
        socket: &Rc<Socket>,
        now: Timestamp,
        bytes: Bytes,
        frames: u32,
        tag: Tag,
    ) -> Pushed {
        if self.is_corked(socket) {
            // What the cork holds is older.
            let spilt = self.spill(socket, now);
            if spilt == Pushed::Overflow {
                return spilt;
            }
        }
        let len = bytes.len();
        let pushed = socket.push(now, bytes, frames, tag, || self.commit());
        let metrics = self.metrics();
        match &pushed {
            Pushed::Queued if socket.blocked_since().is_some() => self.watch(socket),
            Pushed::Queued => self.mark_dirty(socket, len),
            Pushed::Ended => {}
            Pushed::Overflow => {
                metrics.overflows_closed.fetch_add(1, Relaxed);
            }
            Pushed::Dropped { count } => {
                metrics.overflows_dropped.fetch_add(1, Relaxed);
                metrics.messages_dropped.fetch_add((*count).into(), Relaxed);
                self.watch(socket);
            }
            Pushed::Replaced { count } => {
                metrics.overflows_replaced.fetch_add(1, Relaxed);
                metrics.messages_dropped.fetch_add((*count).into(), Relaxed);
                self.watch(socket);
            }
        }
        pushed
    }

    /// Has so many more bytes written at the end of the turn. One that the kernel takes no more of
    /// writes by itself when it does.
    fn mark_dirty(&self, socket: &Rc<Socket>, bytes: usize) {
        if socket.blocked_since().is_some() {
            return;
        }
        socket.waiting.set(socket.waiting.get() + bytes);
        self.backlog.add(bytes);
        if !socket.dirty.replace(true) {
            self.dirty.borrow_mut().push(socket.clone());
            self.bell.notify_one();
        }
    }

    /// Delivers one frame to one connection, wherever its socket is.
    pub(crate) fn deliver_one(
        &self,
        link: &Link,
        now: Timestamp,
        bytes: Bytes,
        tag: Tag,
    ) -> Pushed {
        match link {
            Link::Local(socket) => self.push(socket, now, bytes, 1, tag),
            &Link::Remote { shard, key } => {
                let keys = Box::new([key]);
                self.post(
                    shard,
                    Mail::Deliver {
                        keys,
                        bytes,
                        frames: 1,
                        tag,
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
                self.watch(socket);
                self.mark_dirty(socket, 0);
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

    /// Ends a connection whose peer has said goodbye, behind all that is queued for it.
    pub(crate) fn answer_close(&self, socket: &Rc<Socket>, code: Option<CloseCode>, answer: &[u8]) {
        let now = self.now();
        socket.answer_close(code, answer);
        self.commit();
        socket.flush(now);
        self.watch(socket);
    }

    /// Has the hub of a socket close it, wherever it is.
    pub(crate) fn ask_close(&self, socket: &Socket, code: CloseCode, reason: &'static str) {
        if let Some((home, conn)) = socket.home() {
            // It may be closed already.
            home.input(self, Input::close(*conn, code, reason));
        }
    }

    /// Has the hub of a socket of this shard close it when what was queued for it was too much.
    pub(crate) fn settle(&self, socket: &Socket, pushed: &Pushed) {
        if *pushed == Pushed::Overflow {
            self.too_slow(socket);
        }
    }

    pub(crate) fn too_slow(&self, socket: &Socket) {
        self.ask_close(
            socket,
            CloseCode::TOO_SLOW,
            "too slow: the outbox passed its limit",
        );
    }

    pub(crate) fn record_opening(&self, namespace: &Arc<str>, opening: impl FnOnce() -> Opening) {
        if let Some(recorder) = &self.shared.recorder {
            let application = self.shared.gateways.covers(namespace);
            let opening = opening().with_application(application);
            recorder.opening(namespace, self.now(), opening);
        }
    }
}

/// A namespace that began with the server, and the events that its gateway handles.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mounted {
    pub(crate) namespace: Arc<str>,
    pub(crate) events: Vec<String>,
}
