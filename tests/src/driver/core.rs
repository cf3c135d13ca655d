//! The core in this process: no socket, no clock, no waiting.

#![allow(clippy::wildcard_enum_match_arm)] // any other result is unexpected

use std::{collections::BTreeMap, fmt, rc::Rc};

use roomcast_core::{
    App, Applied, CloseCode, Command, Config, ConnId, Frame, Gateway, Handshake, Hub, Input,
    Limits, Outbox, Outcome, Policies, Timestamp,
    gateway::{CompleteError, HandlerError, Token},
    hub::HubState,
    journal::{Opening, Record},
    queue::{QueueLimits, SendQueue, Tag},
    room::HistoryMessage,
};

pub use self::stream::Overflows;
use self::{disk::Disk, stream::Streams, upgrades::Late, upgrades::Upgrades, work::UnderWay};
use super::{Driver, DriverError};
use crate::{Actor, Answer, Event, Op};

mod calls;
mod disk;
mod restart;
mod stream;
mod tokens;
mod upgrades;
mod work;

/// Sleep of a [`Core`] between two ops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sleep {
    /// No sleep: the hubs stay in memory.
    #[default]
    Never,
    /// The core saves the whole state of its hubs as text, forgets them, and restores them.
    Saved,
    /// The same, except that the state of a connection is the one saved at its last
    /// [`Command::Persist`](roomcast_core::Command::Persist).
    Persisted,
}

/// An in-process server: one [`App`] for each namespace, without an application by default.
///
/// Its clients read at once what they are sent, except for stalled ones. Their frames wait in a
/// [`SendQueue`], as in a host, and the hub is told when that closes a connection. The server may
/// crash, and restart from what it stored.
///
/// It checks every command that the hub gives: recipients are sorted, unique and connected, and
/// nothing follows a close.
#[derive(Clone)]
pub struct Core<G = ()> {
    limits: Limits,
    policies: Policies,
    gateways: Rc<dyn Fn(&str) -> G>,
    now: Timestamp,
    apps: BTreeMap<Box<str>, App<G>>,
    /// The last connection of every actor, ended or not.
    conns: BTreeMap<Actor, (Box<str>, ConnId)>,
    /// The actors that are connected.
    live: BTreeMap<(Box<str>, ConnId), Actor>,
    /// Events with their actors, in order.
    inbox: Vec<(Actor, Event)>,
    sleep: Sleep,
    persisted: BTreeMap<(Box<str>, ConnId), String>,
    disk: Disk,
    streams: Streams,
    /// True when clients must show a token.
    tokens: bool,
    /// The number of times that the server lost all its data.
    starts: u32,
    /// The reason why the last op was refused, when its answer is only a status.
    refusal: Option<String>,
    commands: Vec<String>,
    journal: Vec<String>,
    under_way: UnderWay,
    upgrades: Upgrades,
    /// Answers to upgrade requests that have waited.
    late: Vec<Late>,
}

impl Core {
    /// A server without connections, with these limits for each namespace.
    pub fn new(limits: &Limits) -> Self {
        Self::with_gateways(limits, |_| ())
    }
}

impl<G: Gateway> Core<G> {
    /// A server without connections, with these limits and an application for each namespace, made
    /// from its name.
    pub fn with_gateways(limits: &Limits, gateways: impl Fn(&str) -> G + 'static) -> Self {
        Self {
            limits: limits.clone(),
            policies: Policies::default(),
            gateways: Rc::new(gateways),
            now: Timestamp::ZERO,
            apps: BTreeMap::new(),
            conns: BTreeMap::new(),
            live: BTreeMap::new(),
            inbox: Vec::new(),
            sleep: Sleep::Never,
            persisted: BTreeMap::new(),
            disk: Disk::default(),
            streams: Streams::new(QueueLimits::default()),
            tokens: false,
            starts: 0,
            refusal: None,
            commands: Vec::new(),
            journal: Vec::new(),
            under_way: UnderWay::default(),
            upgrades: Upgrades::default(),
            late: Vec::new(),
        }
    }

    /// The same with these room policies.
    #[must_use]
    pub fn with_policies(mut self, policies: Policies) -> Self {
        self.policies = policies;
        self
    }

    /// The same, sleeping between any two ops.
    #[must_use]
    pub const fn with_sleep(mut self, sleep: Sleep) -> Self {
        self.sleep = sleep;
        self
    }

    /// The same with these limits for the queue of each connection.
    #[must_use]
    pub const fn with_queues(mut self, limits: QueueLimits) -> Self {
        self.streams.limits = limits;
        self
    }

    /// The same with histories and idempotency keys that outlive the server.
    #[must_use]
    pub const fn with_store(mut self, store: bool) -> Self {
        self.disk.store = store;
        self
    }

    /// Returns the queue of a client that does not read; `None` for a client that does. The queue
    /// outlives the close by the server, until the client reads all of it or connects again.
    pub fn queue(&self, actor: &Actor) -> Option<&SendQueue<Rc<[u8]>>> {
        self.streams.queue(actor)
    }

    /// Counts of the outcomes of queues that passed their limits.
    pub const fn overflows(&self) -> Overflows {
        self.streams.overflows()
    }

    /// The hub of a namespace; `None` before the first op in it.
    pub fn hub(&self, namespace: &str) -> Option<&Hub> {
        self.apps.get(namespace).map(App::hub)
    }

    /// The application of a namespace; `None` before the first op in it.
    pub fn app(&self, namespace: &str) -> Option<&App<G>> {
        self.apps.get(namespace)
    }

    /// All existing rooms, each with its namespace.
    pub(crate) fn rooms(&self) -> impl Iterator<Item = (&str, &str)> {
        self.apps.iter().flat_map(|(namespace, app)| {
            let rooms = app.hub().rooms("", None);
            rooms.map(move |room| (&**namespace, room.name))
        })
    }

    /// The time on the driver's clock.
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// The commands that the last op led to, as text.
    pub fn commands(&self) -> &[String] {
        &self.commands
    }

    /// Every input so far, as the lines of a journal.
    pub fn journal(&self) -> &[String] {
        &self.journal
    }

    /// Checks the internal consistency of the hubs, and that they have the same connections as this
    /// driver.
    ///
    /// # Panics
    ///
    /// When a hub is broken.
    pub fn assert_consistent(&self) {
        for (namespace, app) in &self.apps {
            let hub = app.hub();
            hub.assert_consistent();
            let live = self.live.keys().filter(|(other, _)| other == namespace);
            assert_eq!(hub.counts().connections, live.count(), "{namespace}");
        }
        for (namespace, id) in self.live.keys() {
            let known = self.hub(namespace).and_then(|hub| hub.connection(*id));
            assert!(known.is_some(), "{namespace}/{id} is forgotten");
        }
    }

    /// Takes the events of all actors since the last call, in order.
    pub(crate) fn take_all(&mut self) -> Vec<(Actor, Event)> {
        std::mem::take(&mut self.inbox)
    }

    pub(crate) fn is_connected(&self, actor: &Actor) -> bool {
        self.is_live(actor)
    }

    pub(crate) fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }

    pub(crate) fn take_errors(&mut self, namespace: &str) -> Vec<HandlerError> {
        let app = self.apps.get_mut(namespace);
        app.map(App::take_errors).unwrap_or_default()
    }

    pub(crate) fn complete(
        &mut self,
        namespace: &str,
        token: Token,
        outcome: Outcome,
    ) -> Result<Result<(), CompleteError>, DriverError> {
        match self.call(namespace, Input::Complete { token, outcome })? {
            Applied::Completed(completed) => Ok(completed),
            other => Err(unexpected(&other)),
        }
    }

    /// Notifies the application that all connections will be closed soon. They stay open.
    pub(crate) fn drain(&mut self, namespace: &str) -> Result<(), DriverError> {
        self.commands.clear();
        self.call(namespace, Input::Drain)?;
        Ok(())
    }

    fn is_live(&self, actor: &Actor) -> bool {
        let conn = self.conns.get(actor);
        conn.is_some_and(|conn| self.live.contains_key(conn))
    }

    fn config(&self, namespace: &str) -> Config {
        let epoch = match self.starts {
            0 => format!("epoch of {namespace}"),
            starts => format!("epoch {starts} of {namespace}"),
        };
        Config::new(epoch)
            .with_limits(self.limits.clone())
            .with_policies(self.policies.clone())
            .with_durable(self.sleep != Sleep::Never || self.disk.store)
    }

    /// Records an input of an application, applies it, and carries out its commands.
    fn call(&mut self, namespace: &str, input: Input<'_>) -> Result<Applied, DriverError> {
        let (applied, out) = self.begin(namespace, input);
        self.finish(namespace, &out)?;
        Ok(applied)
    }

    /// Makes the application of a namespace, unless it exists.
    pub(crate) fn open(&mut self, namespace: &str) {
        if self.apps.contains_key(namespace) {
            return;
        }
        let config = self.config(namespace);
        let opening = Opening::new(config.clone(), HubState::default());
        self.write_down(namespace, Record::Open(opening));
        let app = App::new(config, (self.gateways)(namespace));
        self.apps.insert(namespace.into(), app);
    }

    fn begin(&mut self, namespace: &str, input: Input<'_>) -> (Applied, Outbox) {
        self.open(namespace);
        let (config, mut out) = (self.config(namespace), Outbox::new());
        let app = self.apps.entry(namespace.into());
        let app = app.or_insert_with(|| App::new(config, (self.gateways)(namespace)));
        let applied = app.apply(self.now, &input, &mut out);
        self.write_down(namespace, Record::Input(input));
        (applied, out)
    }

    fn finish(&mut self, namespace: &str, out: &Outbox) -> Result<(), DriverError> {
        self.carry_all_out(namespace, out)?;
        self.close_overflowed(namespace)?;
        if self.sleep != Sleep::Never {
            self.nap(namespace)?;
        }
        Ok(())
    }

    /// Closes connections whose queues overflowed, until no further queue overflows.
    fn close_overflowed(&mut self, namespace: &str) -> Result<(), DriverError> {
        while let Some(conn) = self.streams.take_overflowed() {
            // The connection may be closed already.
            let Some(actor) = self.actor(namespace, conn) else {
                continue;
            };
            self.streams.admit_bye(&actor);
            let (code, reason) = (CloseCode::TOO_SLOW, CloseCode::TOO_SLOW_REASON);
            let (_, out) = self.begin(namespace, Input::close(conn, code, reason));
            self.carry_all_out(namespace, &out)?;
        }
        Ok(())
    }

    /// Polls the futures of handlers, as far as they get without waiting.
    pub(crate) fn proceed(&mut self) -> Result<(), DriverError> {
        self.upgrade_on()?;
        let mut under_way = std::mem::take(&mut self.under_way);
        loop {
            for (namespace, app) in &mut self.apps {
                under_way.extend(namespace, App::take_work(app));
            }
            let Some((namespace, token, outcome)) = under_way.take_done() else {
                break;
            };
            // If nobody waits for the outcome, nothing happens.
            let _ = self.complete(&namespace, token, outcome)?;
        }
        for (namespace, app) in &mut self.apps {
            under_way.cancel(namespace, &app.take_cancelled());
        }
        self.under_way = under_way;
        Ok(())
    }

    fn carry_all_out(&mut self, namespace: &str, out: &Outbox) -> Result<(), DriverError> {
        for command in out {
            let kept = matches!(
                command,
                Command::Append { .. }
                    | Command::PersistRoom { .. }
                    | Command::PersistKey { .. }
                    | Command::LoadHistory { .. }
                    | Command::Relay(_)
                    | Command::Tell { .. }
            );
            // Commands that only some hosts need are left out, so that all drivers list the same.
            if !kept {
                self.commands.push(format!("{command:?}"));
            }
            self.carry_out(namespace, &command)?;
        }
        Ok(())
    }

    fn write_down(&mut self, namespace: &str, record: Record<'_>) {
        let entry = roomcast_core::journal::Entry::new(self.now, namespace, record);
        self.journal.push(entry.to_line());
    }

    fn carry_out(&mut self, namespace: &str, command: &Command<'_>) -> Result<(), DriverError> {
        let broken = |what: &str| Err(DriverError::Command(format!("{what}: {command:?}")));
        match *command {
            Command::Send { to, frame, class } => {
                // Encoded at most once, for recipients that do not read.
                let mut encoded = None;
                if to.is_empty() || !to.is_sorted_by(|a, b| a < b) {
                    return broken("recipients must be sorted and unique");
                }
                for &id in to {
                    let Some(actor) = self.actor(namespace, id) else {
                        return broken("a recipient is not connected");
                    };
                    if self.streams.is_stalled(&actor) {
                        let encoded = encoded.get_or_insert_with(|| {
                            let tag: Tag = class.into();
                            (stream::frame(frame), tag)
                        });
                        let (bytes, tag) = encoded.clone();
                        self.streams.push(&actor, id, bytes, tag);
                        continue;
                    }
                    let event = match frame {
                        Frame::Text(text) => Event::Text(text.into()),
                        Frame::Binary(bytes) => Event::Binary(bytes.into()),
                    };
                    self.tell(&actor, event);
                }
            }
            Command::Close { conn, code, reason } => {
                let Some(actor) = self.live.remove(&(namespace.into(), conn)) else {
                    return broken("nobody to close");
                };
                self.persisted.remove(&(namespace.into(), conn));
                let code = code.as_u16();
                if self.streams.is_stalled(&actor) {
                    self.streams.push_last(&actor, stream::close(code, reason));
                } else {
                    let reason = reason.into();
                    self.tell(&actor, Event::Closed { code, reason });
                }
            }
            Command::Ping { conn } => match self.actor(namespace, conn) {
                Some(actor) if self.streams.is_stalled(&actor) => {
                    self.streams
                        .push(&actor, conn, stream::ping(), Tag::Control);
                }
                Some(actor) => self.tell(&actor, Event::Ping),
                None => return broken("nobody to ping"),
            },
            Command::Persist { conn } => {
                let hub = self.hub(namespace);
                // If it was closed in the same turn, the hub no longer knows it.
                if let Some(Ok(state)) = hub.map(|hub| hub.conn_state(conn)) {
                    let text = serde_json::to_string(&state).unwrap_or_default();
                    self.persisted.insert((namespace.into(), conn), text);
                }
            }
            Command::Append {
                room,
                offset,
                at,
                frame,
                except,
            } => {
                let message = HistoryMessage::new(offset, at, frame, except.clone());
                self.disk.append(namespace, room, &message);
                self.persist_room(namespace, room);
            }
            Command::PersistRoom { room } => self.persist_room(namespace, room),
            Command::PersistKey { client, key } => self.persist_client_key(namespace, client, key),
            Command::LoadHistory { room } => {
                let (room, messages) = (room.into(), self.disk.messages(namespace, room)?.into());
                let (_, out) = self.begin(namespace, Input::HistoryLoaded { room, messages });
                self.carry_all_out(namespace, &out)?;
            }
            Command::Relay(_) | Command::Tell { .. } => {}
        }
        Ok(())
    }

    pub(crate) fn actor(&self, namespace: &str, id: ConnId) -> Option<Actor> {
        self.live.get(&(namespace.into(), id)).cloned()
    }

    fn tell(&mut self, actor: &Actor, event: Event) {
        self.inbox.push((actor.clone(), event));
    }
}

fn unexpected(applied: &Applied) -> DriverError {
    DriverError::Command(format!("an input came to {applied:?}"))
}

impl<G: Gateway> fmt::Debug for Core<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("now", &self.now)
            .field("apps", &self.apps)
            .field("live", &self.live)
            .finish_non_exhaustive()
    }
}

impl<G: Gateway> Driver for Core<G> {
    fn supports(&self, _op: &Op) -> bool {
        true
    }

    fn perform(&mut self, op: &Op) -> Result<Answer, DriverError> {
        self.commands.clear();
        self.refusal = None;
        let answer = self.dispatch(op)?;
        self.proceed()?;
        Ok(answer)
    }

    fn take(&mut self, actor: &Actor) -> Vec<Event> {
        let inbox = self.inbox.extract_if(.., |(to, _)| to == actor);
        inbox.map(|(_, event)| event).collect()
    }

    fn conn(&self, actor: &Actor) -> Option<String> {
        self.conns.get(actor).map(|(_, id)| id.to_string())
    }
}

/// A handshake as the op describes it.
fn handshake(user: Option<&str>, welcome: bool) -> Handshake {
    let handshake = Handshake::new().with_welcome(welcome);
    match user {
        Some(user) => handshake.with_user(user),
        None => handshake,
    }
}
