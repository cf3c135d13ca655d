//! The hub of a namespace with its application, and what carries out their commands.

use std::rc::Rc;

use roomcast_core::{
    Applied, CloseCode, Config, ConnId, DisconnectReason, Frame, Gateway, Handshake, Input, Limits,
    Outbox, Policies, RoomPolicy, Timestamp,
    ask::{Ask, Asked},
    gateway::ConnectError,
    hub::RequestError,
    policy::PresencePolicy,
    wire::Counted,
};
use roomcast_http::{Answer, ApiCall, Problem};

use crate::{
    attachment,
    handle::{Mailbox, Namespace as Handle, Objects},
    hooks::{Asker, Backends, Hooks},
    mount::{AnyApp, Application},
    platform::{Attachments, Platform, PlatformError},
    tasks::{Tasks, notify::Notify},
    wake::{Wake, wake},
};

mod admission;
mod application;
mod asked;
mod authenticate;
mod awake;
mod commands;
mod kept;
#[cfg(test)]
mod tests;
mod told;
pub(crate) mod upgrades;

use self::{awake::Awake, upgrades::Upgrades};

/// A namespace, as its object runs it.
///
/// Each input is done in this order: the application and the hub; messages of histories that they
/// ask for; messages and closes, which the platform holds back until the input is done; the
/// attachments; the storage. When something cannot be saved, nothing of the input is sent, and the
/// namespace is made anew from the saved state, as if the input had never been.
#[derive(Debug)]
pub(crate) struct Namespace<P> {
    platform: P,
    name: Box<str>,
    limits: Limits,
    policies: Policies,
    hooks: Hooks,
    asker: Option<Asker>,
    application: Application,
    /// The application's handle of the namespace, and the mailbox of its requests to the namespace.
    handle: Handle,
    mailbox: Rc<Mailbox>,
    /// `None` before it has woken.
    app: Option<AnyApp>,
    tasks: Tasks,
    upgrades: Upgrades,
    /// Calls of handles reach the namespace for as long as this lives.
    notify: Notify,
    out: Outbox,
    /// By slot.
    conns: Vec<Option<ConnId>>,
    /// Buffers to save with.
    attachments: Attachments,
    changed: Vec<ConnId>,
    /// The application's state, as it is saved.
    saved: String,
    /// The number of histories that have begun, as it is saved.
    histories_opened: u64,
    /// Rooms that are saved, and that the hub has nothing to remember of.
    forgotten: Vec<String>,
    /// The time at which the platform is to call.
    alarm: Option<Timestamp>,
}

impl<P: Platform> Namespace<P> {
    pub(crate) fn new(
        platform: P,
        mut limits: Limits,
        policies: Policies,
        name: &str,
        application: Application,
        has_tokens: bool,
        backends: Backends,
    ) -> Self {
        let notify = Notify::new(platform.call());
        let mailbox = Mailbox::new(notify.notifier(), platform.remote());
        let Backends { told, asked } = backends;
        let shown = |policy: &RoomPolicy| policy.presence == PresencePolicy::Members;
        attachment::fit(
            &mut limits,
            application.is_some(),
            policies.iter().any(shown),
            has_tokens || application.is_some() || asked.is_some() || !policies.grants().is_empty(),
            asked.as_ref().is_some_and(|(settings, _)| settings.on.join),
        );
        let asker = asked.map(|asked| Asker::new(asked, platform.random()));
        Self {
            platform,
            name: name.into(),
            limits,
            policies,
            hooks: Hooks::new(told),
            asker,
            application,
            handle: Objects::own(name, Rc::clone(&mailbox)),
            mailbox,
            app: None,
            tasks: Tasks::new(notify.notifier()),
            upgrades: Upgrades::new(notify.notifier()),
            notify,
            out: Outbox::new(),
            conns: Vec::new(),
            attachments: Attachments::default(),
            changed: Vec::new(),
            saved: String::new(),
            histories_opened: 0,
            forgotten: Vec::new(),
            alarm: None,
        }
    }

    /// Makes the hub of what is saved, unless it is there. Every input does this first.
    pub(crate) fn wake(&mut self) -> Result<(), PlatformError> {
        self.awake().map(|_| ())
    }

    fn awake(&mut self) -> Result<Awake<'_, P>, PlatformError> {
        let app = match self.app.take() {
            Some(app) => app,
            None => self.restore()?,
        };
        Ok(Awake {
            now: self.platform.now(),
            app: self.app.insert(app),
            out: &mut self.out,
            platform: &mut self.platform,
        })
    }

    fn restore(&mut self) -> Result<AnyApp, PlatformError> {
        let mut saved = self.platform.load()?;
        let attachments = self.platform.attachments()?;
        self.saved.clone_from(&saved.application);
        self.histories_opened = saved.state.histories_opened();
        self.forgotten.clone_from(&saved.unreadable);
        if saved.damaged > 0 {
            let rows = Counted(saved.damaged, "row");
            let text = format!("the storage is damaged: {rows} of it left out");
            self.platform.log(&text);
        }
        self.load_lines(std::mem::take(&mut saved.lines));
        let rooms = saved.rooms.iter().map(|state| state.room().to_owned());
        let rooms: Vec<_> = rooms.collect();
        let gateway = || self.application.make(&self.handle);
        let config = Config::new(&*saved.epoch)
            .with_limits(self.limits.clone())
            .with_policies(self.policies.clone())
            .with_subscriptions(self.hooks.subscriptions())
            .with_asks_join(self.asks().is_some_and(|settings| settings.on.join))
            .with_durable(true);
        let Wake {
            app,
            assigned,
            unfit,
        } = wake(&config, saved, &attachments, gateway)?;
        for room in self.forgotten.iter().chain(&unfit) {
            let text = format!("the history of {room:?} is lost: its saved state cannot be read");
            self.platform.log(&text);
        }
        // Also those whose policy has gone.
        let nothing = |room: &String| app.hub().room_state(room).is_none();
        self.forgotten.extend(rooms.into_iter().filter(nothing));
        self.conns.clear();
        let mut slots = Vec::with_capacity(assigned.len());
        for slot in assigned {
            match &slot {
                Ok(conn) => self.assign(*conn),
                Err(why) => self.platform.log(&format!(
                    "a connection was closed: its saved state cannot be read: {why}"
                )),
            }
            slots.push(slot.ok().map(ConnId::slot));
        }
        self.platform.assign(&slots);
        self.alarm = None;
        self.schedule(app.next_timeout());
        self.tell();
        Ok(app)
    }

    /// Opens the connection whose socket the platform has ready.
    pub(crate) fn connect(
        &mut self,
        handshake: Handshake,
    ) -> Result<Result<(), ConnectError>, PlatformError> {
        let Applied::Connected(opened) = self.awake()?.apply(&Input::Connect(handshake)) else {
            let why = "the core answered something else";
            return Err(PlatformError::new("a connection", why));
        };
        if !matches!(opened, Err(ConnectError::Hub(_))) {
            let saved = self.open(opened.as_ref().ok().copied());
            self.end_input(saved)?;
        }
        if let (Ok(conn), Some(app)) = (&opened, &self.app)
            && app.is_waiting(*conn)
        {
            // For the word of the application: without it there is no connection.
            self.platform.wait(conn.slot(), true);
        }
        Ok(opened.map(|_| ()))
    }

    /// Saves and carries out what a connection caused, also one that the application refused.
    fn open(&mut self, conn: Option<ConnId>) -> Result<(), PlatformError> {
        let serial = match conn {
            Some(conn) => {
                self.assign(conn);
                conn.serial() + 1
            }
            None => self.awake()?.app.state().hub.next_serial(),
        };
        self.platform.save_serial(serial)?;
        self.do_and_save(None, conn)?;
        if let Some(conn) = conn {
            self.attachments.clear();
            self.attach(conn)?;
            self.platform.open(conn.slot(), &self.attachments.bytes)?;
        }
        Ok(())
    }

    /// A message arrived.
    ///
    /// # Errors
    ///
    /// When it could not be processed, and its sender is to be closed: there is no way to tell it.
    pub(crate) fn receive(&mut self, slot: usize, frame: Frame<'_>) -> Result<(), PlatformError> {
        self.try_receive(slot, frame).or_else(|fault| {
            let text = format!("a message was not processed: {fault}");
            self.platform.log(&text);
            self.decline(slot, frame, RequestError::Unsaved)
        })
    }

    fn try_receive(&mut self, slot: usize, frame: Frame<'_>) -> Result<(), PlatformError> {
        let Some(conn) = self.conn(slot)? else {
            return Ok(()); // the hub closed it meanwhile: it is heard no more
        };
        self.hear(conn, &Input::message(conn, frame))
    }

    /// Gives an input that a connection sent. Its later messages may have to wait.
    fn hear(&mut self, conn: ConnId, input: &Input<'_>) -> Result<(), PlatformError> {
        let mut awake = self.awake()?;
        awake.apply(input);
        let waits = awake.app.is_waiting(conn);
        self.finish(Some(conn))?;
        if waits {
            self.platform.wait(conn.slot(), true);
        }
        Ok(())
    }

    /// Tells the sender of a message that it was not processed.
    pub(crate) fn decline(
        &mut self,
        slot: usize,
        frame: Frame<'_>,
        error: RequestError,
    ) -> Result<(), PlatformError> {
        match self.conn(slot) {
            Ok(Some(_)) if self.is_raw() => {
                let why = "its namespace has no frames that say so";
                Err(PlatformError::new("a sender cannot be told", why))
            }
            Ok(Some(conn)) => {
                if let Ok(Awake { app, out, .. }) = self.awake() {
                    let _ = app.hub().decline(conn, frame, error, out); // it is alive
                    self.carry_out();
                    self.out.clear();
                }
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(fault) => {
                let text = format!("the namespace cannot wake: {fault}");
                self.platform.log(&text);
                let reason = "the server could not read its state";
                self.platform.close(slot, CloseCode::INTERNAL, reason);
                Ok(())
            }
        }
    }

    /// A connection is gone.
    pub(crate) fn disconnect(
        &mut self,
        slot: usize,
        reason: DisconnectReason,
    ) -> Result<(), PlatformError> {
        if let Some(conn) = self.conn(slot)? {
            // Or the hub had closed it.
            self.awake()?.apply(&Input::Disconnect { conn, reason });
            self.conns[slot] = None;
            self.finish(None)?;
        }
        Ok(())
    }

    /// Closes a connection that takes too little of what it is sent.
    pub(crate) fn too_slow(&mut self, slot: usize) -> Result<(), PlatformError> {
        if let Some(conn) = self.conn(slot)? {
            let (code, reason) = (CloseCode::TOO_SLOW, CloseCode::TOO_SLOW_REASON);
            self.give(&Input::close(conn, code, reason))?;
        }
        Ok(())
    }

    /// Does what an API call asks for.
    #[allow(clippy::wildcard_enum_match_arm)] // only sends have keys
    pub(crate) fn call(
        &mut self,
        call: &ApiCall,
    ) -> Result<Result<Answer, Problem>, PlatformError> {
        let ask = call.ask();
        if let Err(fault) = self.load_for(ask) {
            self.end_input(Err(fault))?;
        }
        let folded_s = self.folded_s();
        let mut awake = self.awake()?;
        let now = awake.now;
        let key = match ask {
            Ask::Send { key, .. } => key.as_deref(),
            _ => None,
        };
        let learned = key.filter(|key| awake.app.hub().key_state(now, key).is_none());
        let mut answer = call.run(now, &mut awake);
        if let Ok(answer) = &mut answer {
            // The platform queues without end.
            answer.resolve(roomcast_core::queue::QueueFate::Kept);
        }
        let saved = self.save_key(now, learned);
        let saved = saved.and_then(|()| self.save_withdrawn(ask, folded_s));
        let saved = saved.and_then(|()| self.do_and_save(None, None));
        self.end_input(saved)?;
        Ok(answer)
    }

    /// The time came that was asked for.
    pub(crate) fn timeout(&mut self) -> Result<(), PlatformError> {
        self.alarm = None;
        self.wake()?;
        for (slot, at) in self.platform.last_heard() {
            if let Some(conn) = self.conn(slot)? {
                let Awake { app, out, .. } = self.awake()?;
                let info = app.hub().connection(conn);
                if info.is_some_and(|info| info.last_activity < at) {
                    app.apply(at, &Input::Activity(conn), out);
                }
            }
        }
        self.give(&Input::Timeout)
    }

    /// Gives an input that has no answer.
    fn give(&mut self, input: &Input<'_>) -> Result<(), PlatformError> {
        self.awake()?.apply(input);
        self.finish(None)
    }

    /// True when messages are the application's own, without envelopes.
    pub(crate) fn is_raw(&self) -> bool {
        self.app.as_ref().is_some_and(|app| app.gateway().is_raw())
    }

    /// True when there is an application.
    pub(crate) const fn has_application(&self) -> bool {
        self.application.is_some()
    }

    fn conn(&mut self, slot: usize) -> Result<Option<ConnId>, PlatformError> {
        self.wake()?;
        Ok(self.conns.get(slot).copied().flatten())
    }

    fn assign(&mut self, conn: ConnId) {
        if self.conns.len() <= conn.slot() {
            self.conns.resize(conn.slot() + 1, None);
        }
        self.conns[conn.slot()] = Some(conn);
    }

    /// Carries out and saves what an input caused. `heard` is whose message it was.
    fn finish(&mut self, heard: Option<ConnId>) -> Result<(), PlatformError> {
        let saved = self.do_and_save(heard, None);
        self.end_input(saved)
    }

    /// After a fault nothing has happened: the hub, which knows better, is dropped.
    fn end_input(&mut self, saved: Result<(), PlatformError>) -> Result<(), PlatformError> {
        self.out.clear();
        let Some(app) = &mut self.app else {
            return saved;
        };
        for fault in app.take_errors() {
            self.platform.log(&fault.to_string());
        }
        if saved.is_err() {
            // What is under way goes with it; when it wakes, the platform says so to who waits.
            self.app = None;
            self.tasks.clear();
            if let Some(asker) = &mut self.asker {
                asker.forget_all_joins();
            }
            self.platform.undo();
            return saved;
        }
        let next = app.next_timeout();
        self.begin_work();
        self.begin_asking();
        self.schedule(next);
        self.tell();
        saved
    }

    /// An alarm that comes early is harmless, and each one that is set is a write: so the one that
    /// is set stays, unless it is too late.
    fn schedule(&mut self, next: Option<Timestamp>) {
        if let Some(next) = next
            && self.alarm.is_none_or(|alarm| next < alarm)
        {
            // The platform knows no alarm at 0, which a room has that lost its members unnoticed.
            self.platform.wake_at(next.max(Timestamp::from_millis(1)));
            self.alarm = Some(next);
        }
    }
}
