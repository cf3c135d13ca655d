//! The hub of a namespace with its application, and the code that carries out their commands.

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
/// Each input is processed in this order: the application and the hub; messages of histories that
/// they ask for; messages and closes, which the platform holds back until the input is done; the
/// attachments; the storage. When something cannot be saved, nothing of the input is sent, and the
/// namespace is restored from the saved state, as if the input had never arrived.
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
    /// The hub with its application; `None` until the namespace has woken.
    app: Option<AnyApp>,
    tasks: Tasks,
    upgrades: Upgrades,
    /// Keeps handles connected: their calls reach the namespace as long as this value exists.
    notify: Notify,
    out: Outbox,
    /// By slot.
    conns: Vec<Option<ConnId>>,
    /// Buffers that are reused for saving.
    attachments: Attachments,
    changed: Vec<ConnId>,
    /// The application's state, as it is saved.
    saved: String,
    /// The number of histories that have begun, as it is saved.
    histories_opened: u64,
    /// Rooms that are in the storage although the hub has no state of them to keep.
    forgotten: Vec<String>,
    /// The time for which the platform's alarm is set.
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

    /// Restores the hub from the saved state, unless it is in memory. Every input does this first.
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
        // This includes rooms whose policy was removed.
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

    /// Opens the connection for the socket that the platform is about to accept.
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

    /// Saves and carries out the commands of a connect, even of one that the application refused.
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

    /// Processes a message of a connection.
    ///
    /// # Errors
    ///
    /// When the message could not be processed and its sender cannot be told: the caller closes it.
    pub(crate) fn receive(&mut self, slot: usize, frame: Frame<'_>) -> Result<(), PlatformError> {
        self.try_receive(slot, frame).or_else(|fault| {
            let text = format!("a message was not processed: {fault}");
            self.platform.log(&text);
            self.decline(slot, frame, RequestError::Unsaved)
        })
    }

    fn try_receive(&mut self, slot: usize, frame: Frame<'_>) -> Result<(), PlatformError> {
        let Some(conn) = self.conn(slot)? else {
            return Ok(()); // the hub has closed it: its messages are ignored
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
                    let _ = app.hub().decline(conn, frame, error, out); // it is connected
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

    /// Removes a connection whose socket has ended.
    pub(crate) fn disconnect(
        &mut self,
        slot: usize,
        reason: DisconnectReason,
    ) -> Result<(), PlatformError> {
        if let Some(conn) = self.conn(slot)? {
            // This does nothing when the hub had already closed it.
            self.awake()?.apply(&Input::Disconnect { conn, reason });
            self.conns[slot] = None;
            self.finish(None)?;
        }
        Ok(())
    }

    /// Closes a connection that reads too slowly.
    pub(crate) fn too_slow(&mut self, slot: usize) -> Result<(), PlatformError> {
        if let Some(conn) = self.conn(slot)? {
            let (code, reason) = (CloseCode::TOO_SLOW, CloseCode::TOO_SLOW_REASON);
            self.give(&Input::close(conn, code, reason))?;
        }
        Ok(())
    }

    /// Carries out an API call.
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
            // The queues of the platform have no limit.
            answer.resolve(roomcast_core::queue::QueueFate::Kept);
        }
        let saved = self.save_key(now, learned);
        let saved = saved.and_then(|()| self.save_withdrawn(ask, folded_s));
        let saved = saved.and_then(|()| self.do_and_save(None, None));
        self.end_input(saved)?;
        Ok(answer)
    }

    /// Processes the alarm.
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

    /// Processes an input that has no answer.
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

    /// Saves and carries out the commands of an input. `heard` is the connection that sent it.
    fn finish(&mut self, heard: Option<ConnId>) -> Result<(), PlatformError> {
        let saved = self.do_and_save(heard, None);
        self.end_input(saved)
    }

    /// Ends an input. When saving failed, the input is rolled back and the hub, which has already
    /// applied it, is dropped.
    fn end_input(&mut self, saved: Result<(), PlatformError>) -> Result<(), PlatformError> {
        self.out.clear();
        let Some(app) = &mut self.app else {
            return saved;
        };
        for fault in app.take_errors() {
            self.platform.log(&fault.to_string());
        }
        if saved.is_err() {
            // Work in flight is lost too; after the next wake the platform tells the clients that
            // wait for it.
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

    /// Sets the alarm for the next timeout. An early alarm is harmless, and setting one costs a
    /// write: so an alarm that is set stays, unless it is too late.
    fn schedule(&mut self, next: Option<Timestamp>) {
        if let Some(next) = next
            && self.alarm.is_none_or(|alarm| next < alarm)
        {
            // The platform rejects an alarm at 0, the timeout of a room whose members were lost
            // without an input.
            self.platform.wake_at(next.max(Timestamp::from_millis(1)));
            self.alarm = Some(next);
        }
    }
}
