//! A namespace: its application, and the way of commands to its connections.

mod application;
mod batch;
mod deliver;
mod fan_out;
mod keep;
mod work;

use std::{
    cell::{Cell, RefCell},
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use roomcast_core::{
    App, Applied, CloseCode, Config, ConnId, Gateway, Handshake, Hub, Input, Outcome, Rejection,
    Timestamp,
    gateway::{Admission, Token},
    hub::{HubState, RestoreError},
    journal::Opening,
};
use roomcast_http::Reason;

pub(crate) use self::fan_out::Link;
use self::{application::Application, fan_out::FanOut, work::Tasks};
use crate::{
    denial::Farewell, http::OwnedUpgradeRequest, panics::said, shard::Shard, store::NamespaceHeader,
};

/// One namespace, on the one shard that is its home.
///
/// Nothing that it calls calls it back: what an application wants of its own namespace from outside
/// of its hooks waits in the mail of the shard.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) name: Arc<str>,
    drained: Cell<bool>,
    inner: RefCell<Inner>,
}

#[derive(Debug)]
struct Inner {
    application: Application,
    fan_out: FanOut,
    tasks: Tasks,
    /// Whether the run is to be ended with the turn.
    listed: bool,
    /// What must not be forgotten of the namespace; `None` when nothing is kept.
    life: Option<NamespaceHeader>,
    /// Bytes that its histories count for among those of all namespaces.
    history_bytes: usize,
}

impl Namespace {
    pub(crate) fn new(
        shard: &Shard,
        name: Arc<str>,
        mut config: Config,
        state: HubState,
        gateway: Box<dyn Gateway>,
        life: Option<NamespaceHeader>,
    ) -> Result<Self, RestoreError> {
        // As the application will have it, for the journal.
        (config.raw, config.notify_presence) = (gateway.is_raw(), gateway.wants_presence());
        shard.record_opening(&name, || Opening::new(config.clone(), state.clone()));
        let app = App::restore(config, gateway, state.into(), [])?;
        Ok(Self {
            name,
            drained: Cell::new(false),
            inner: RefCell::new(Inner {
                application: Application::new(app),
                fan_out: FanOut::default(),
                tasks: Tasks::default(),
                listed: false,
                life,
                history_bytes: 0,
            }),
        })
    }

    /// Asks the hub something.
    pub(crate) fn ask<R>(&self, question: impl FnOnce(&Hub) -> R) -> R {
        question(self.inner.borrow().application.app().hub())
    }

    /// The way to a live connection.
    pub(crate) fn link(&self, conn: ConnId) -> Option<Link> {
        self.inner.borrow().fan_out.link(conn).cloned()
    }

    /// Asks the application whether a request is to be granted.
    pub(crate) fn upgrade(&self, request: &OwnedUpgradeRequest) -> Result<Admission, Rejection> {
        let inner = self.inner.borrow();
        let app = inner.application.app();
        let ask = AssertUnwindSafe(|| request.ask(|request| app.upgrade(request)));
        let asked = catch_unwind(ask);
        let cause = match &asked {
            Ok(Err(rejection)) => rejection.cause().map(Into::into),
            Err(panic) => Some(said(&**panic)),
            Ok(Ok(_)) => None,
        };
        if let Some(error) = cause {
            let (namespace, event) = (&*self.name, "upgrade");
            tracing::error!(namespace, event, error, "the application failed");
        }
        asked.unwrap_or_else(|_| Err(Rejection::internal()))
    }

    pub(crate) fn connect(
        self: &Rc<Self>,
        shard: &Shard,
        handshake: Handshake,
        link: Link,
    ) -> Result<ConnId, Farewell> {
        let now = shard.now();
        let inner = &mut *self.inner.borrow_mut();
        let input = Input::Connect(handshake);
        let Applied::Connected(connected) = inner.put(shard, &self.name, now, &input) else {
            return Err(Farewell::FULL); // no other answer to this input
        };
        if let Ok(conn) = connected {
            inner.fan_out.enter(conn, link);
            if let Some(life) = &mut inner.life {
                life.next_serial = life.next_serial.max(conn.serial() + 1);
            }
        }
        if inner.application.app().next_schedule().is_some() {
            // Perhaps with this connection, for it may be the first.
            shard.look_at_schedules();
        }
        self.finish(shard, now, inner);
        let raw = inner.application.app().gateway().is_raw();
        connected.map_err(|fault| Farewell::new(fault, raw))
    }

    /// Puts an input in, and carries out what the application commands.
    pub(crate) fn apply(self: &Rc<Self>, shard: &Shard, input: &Input<'_>) -> Applied {
        let now = shard.now();
        let inner = &mut *self.inner.borrow_mut();
        let applied = inner.put(shard, &self.name, now, input);
        self.finish(shard, now, inner);
        applied
    }

    /// An input that the socket of a client gave: the hot path. A connection that was closed meanwhile
    /// is heard no more.
    #[allow(clippy::wildcard_enum_match_arm)] // the others are applied as they are
    pub(crate) fn receive(self: &Rc<Self>, shard: &Shard, input: &Input<'_>) {
        match input {
            Input::Text { .. } | Input::Binary { .. } => {
                shard.metrics().messages_in.fetch_add(1, Relaxed);
                let before = self.ask(Hub::rate_refusals);
                self.apply(shard, input);
                if self.ask(Hub::rate_refusals) != before {
                    shard.metrics().count_refusal(Reason::Rate);
                }
            }
            Input::Disconnect { conn, .. } => {
                if !matches!(self.apply(shard, input), Applied::UnknownConn(_)) {
                    self.inner.borrow_mut().fan_out.forget(*conn);
                }
            }
            input => drop(self.apply(shard, input)),
        }
    }

    /// Work of the application's is done.
    fn complete(self: &Rc<Self>, shard: &Shard, token: Token, outcome: Outcome) {
        let now = shard.now();
        let inner = &mut *self.inner.borrow_mut();
        inner.tasks.end(token);
        if !inner.application.app().is_pending(token) {
            self.drop_outcome(token, &outcome);
        }
        // Also when nobody waits for it: then it is over.
        inner.put(shard, &self.name, now, &Input::Complete { token, outcome });
        self.finish(shard, now, inner);
    }

    /// Nobody waits for what this work gave: its handler answered otherwise.
    fn drop_outcome(&self, token: Token, outcome: &Outcome) {
        if let Outcome::Fail(failure) = outcome
            && let Some(error) = failure.cause()
        {
            let (namespace, conn) = (&*self.name, tracing::field::display(token.conn()));
            tracing::error!(
                namespace,
                event = "work",
                conn,
                error,
                "the application failed"
            );
        }
    }

    /// Whether nothing is lost with it: nobody is connected, nothing is remembered or under way, and
    /// its application has nothing to keep.
    pub(crate) fn is_idle(&self, now: Timestamp) -> bool {
        let inner = self.inner.borrow();
        inner.tasks.is_empty()
            && inner.application.app().hub().is_idle(now)
            && !inner.application.has_something_to_lose()
    }

    /// Whether nothing is lost with it but the positions of rooms that hold no message, and nobody is
    /// connected.
    pub(crate) fn is_spare(&self, now: Timestamp) -> bool {
        let inner = self.inner.borrow();
        let hub = inner.application.app().hub();
        let counts = hub.counts();
        inner.tasks.is_empty()
            && (counts.connections, counts.history_bytes) == (0, 0)
            && !hub.remembers_keys(now)
            && !inner.application.has_something_to_lose()
    }

    /// Tells the application, once, that all connections will be closed.
    pub(crate) fn drain(self: &Rc<Self>, shard: &Shard) {
        if !self.drained.replace(true) {
            self.apply(shard, &Input::Drain);
        }
    }

    /// What the gateway has handlers for.
    pub(crate) fn events(&self) -> Vec<String> {
        self.inner.borrow().application.app().gateway().events()
    }

    /// Bytes that its histories count for among those of all namespaces.
    pub(crate) fn history_bytes(&self) -> usize {
        self.inner.borrow().history_bytes
    }

    /// When a schedule is due next.
    pub(crate) fn next_schedule(&self) -> Option<Timestamp> {
        self.inner.borrow().application.app().next_schedule()
    }

    /// Does what is due.
    pub(crate) fn timeout(self: &Rc<Self>, shard: &Shard) {
        let next = self.inner.borrow().application.app().next_timeout();
        if next.is_some_and(|due| due <= shard.now()) {
            // What panicked is due no more, and the rest is at the next look.
            self.apply(shard, &Input::Timeout);
        }
    }

    /// Gives memory back that a larger crowd needed.
    pub(crate) fn shrink_to_fit(&self) {
        let inner = &mut *self.inner.borrow_mut();
        inner.application.shrink_to_fit();
        inner.fan_out.shrink_to_fit();
    }

    /// Sends the run that is open, if any, at the end of a turn; unless it has more recipients than
    /// that. Says whether it did.
    pub(crate) fn end_run(self: &Rc<Self>, shard: &Shard, recipients_max: usize) -> bool {
        let now = shard.now();
        let inner = &mut *self.inner.borrow_mut();
        if inner.fan_out.batch().recipients() > recipients_max {
            return false;
        }
        inner.listed = false;
        inner.fan_out.end_run(shard, now);
        self.finish(shard, now, inner);
        true
    }

    /// Sends what there is for a connection so far: nothing that it caused is held back any more.
    pub(crate) fn finish_for(self: &Rc<Self>, shard: &Shard, conn: ConnId) {
        let now = shard.now();
        let inner = &mut *self.inner.borrow_mut();
        if inner.fan_out.batch().reaches(conn) {
            inner.fan_out.end_run(shard, now);
            self.finish(shard, now, inner);
        }
    }

    #[cold]
    fn take_news(self: &Rc<Self>, shard: &Shard, inner: &mut Inner) {
        inner.application.log_faults(&self.name);
        // First the work: some of it may be cancelled already.
        let (begun, cancelled) = inner.application.take_work();
        for (token, work) in begun {
            inner.tasks.begin(shard, self, token, work);
        }
        for token in cancelled {
            inner.tasks.cancel(token);
        }
    }

    fn finish(self: &Rc<Self>, shard: &Shard, now: Timestamp, inner: &mut Inner) {
        inner.carry_out(shard, &self.name, now);
        inner.settle_overflow(shard, &self.name, now);
        inner.count_histories(shard, &self.name, now);
        if inner.application.app().has_news() {
            self.take_news(shard, inner);
        }
        if !inner.fan_out.batch().is_empty() && !mem::replace(&mut inner.listed, true) {
            shard.list_run(self);
        }
    }
}

impl Inner {
    /// Writes an input down and puts it in.
    fn put(
        &mut self,
        shard: &Shard,
        name: &Arc<str>,
        now: Timestamp,
        input: &Input<'_>,
    ) -> Applied {
        shard.record(name, now, input);
        if let Input::Close { conn, .. } = input {
            self.fan_out.part(shard, now, *conn);
        }
        self.application.apply(now, input)
    }

    fn carry_out(&mut self, shard: &Shard, name: &Arc<str>, now: Timestamp) {
        if !self.application.out().is_empty() {
            self.keep(shard, name);
            self.fan_out.carry_out(shard, now, self.application.out());
            self.application.clear_out();
        }
    }

    /// Closes those who were too slow: what others are told of that may again be too much for some. The queues of those that were seen to are
    /// below their limits by then, so that this ends.
    fn settle_overflow(&mut self, shard: &Shard, name: &Arc<str>, now: Timestamp) {
        while let Some(conn) = self.fan_out.take_overflowed() {
            let reason = "too slow: the outbox passed its limit";
            // It may be closed already.
            self.put(
                shard,
                name,
                now,
                &Input::close(conn, CloseCode::TOO_SLOW, reason),
            );
            self.carry_out(shard, name, now);
        }
    }
}
