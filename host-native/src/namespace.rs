//! A namespace: its application, and the way of commands to its connections.

mod application;
mod batch;
mod fan_out;
mod keep;
mod outside;
mod work;

use std::{
    cell::{Cell, RefCell},
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use roomcast_core::{
    App, CloseCode, Config, ConnId, DisconnectReason, Frame, Gateway, Handshake, Hub, Input,
    Outbox, Outcome, Rejection, Timestamp, UnknownConn,
    gateway::{Admission, ConnectError, Token},
    hub::{HubState, RestoreError},
    journal::Opening,
};
use roomcast_http::Reason;

pub(crate) use self::{application::said, fan_out::Link};
use self::{
    application::{AnyApp, Application, Panicked},
    fan_out::FanOut,
    work::Tasks,
};
use crate::{denial::Farewell, http::OwnedUpgradeRequest, shard::Shard, store::NamespaceHeader};

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
        handshake: &Handshake,
        link: Link,
    ) -> Result<ConnId, Farewell> {
        let now = shard.now();
        let input = || Input::Connect(handshake.clone());
        shard.record(&self.name, now, input);
        let inner = &mut *self.inner.borrow_mut();
        let connected = inner.application.perform(now, input, |app, out| {
            app.connect(now, handshake.clone(), out)
        });
        let connected = match connected {
            Ok(connected) => connected,
            Err(Panicked) => Err(ConnectError::Rejected(Rejection::internal())),
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

    /// A text message: the hot path.
    pub(crate) fn text(self: &Rc<Self>, shard: &Shard, conn: ConnId, text: &str) {
        let input = || Input::Text {
            conn,
            text: text.into(),
        };
        self.receive(shard, conn, Frame::Text(text), input);
    }

    pub(crate) fn binary(self: &Rc<Self>, shard: &Shard, conn: ConnId, bytes: &[u8]) {
        let input = || Input::Binary {
            conn,
            bytes: bytes.into(),
        };
        self.receive(shard, conn, Frame::Binary(bytes), input);
    }

    fn receive<'a>(
        self: &Rc<Self>,
        shard: &Shard,
        conn: ConnId,
        frame: Frame<'_>,
        input: impl Fn() -> Input<'a>,
    ) {
        shard.metrics().messages_in.fetch_add(1, Relaxed);
        // A connection that was closed meanwhile is heard no more. A panic was answered.
        let _ = self.drive(shard, input, |app, now, out| {
            let before = app.hub().rate_refusals();
            let received = app.receive(now, conn, frame, out);
            if app.hub().rate_refusals() != before {
                shard.metrics().count_refusal(Reason::Rate);
            }
            received
        });
    }

    pub(crate) fn heard(self: &Rc<Self>, shard: &Shard, conn: ConnId) {
        let input = || Input::Heard(conn);
        // It may have been closed meanwhile.
        let _ = self.drive(shard, input, |app, now, _| app.heard(now, conn));
    }

    pub(crate) fn disconnect(
        self: &Rc<Self>,
        shard: &Shard,
        conn: ConnId,
        reason: DisconnectReason,
    ) {
        let input = || Input::Disconnect { conn, reason };
        let gone = self.drive(shard, input, |app, now, out| {
            app.disconnect(now, conn, reason, out)
        });
        if !matches!(gone, Ok(Err(UnknownConn(_)))) {
            self.inner.borrow_mut().fan_out.forget(conn);
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
        shard.record(&self.name, now, || Input::Complete {
            token,
            outcome: outcome.clone(),
        });
        // For what is done about a panic, in which the outcome has no part.
        let input = || Input::Complete {
            token,
            outcome: Outcome::Done,
        };
        // Also when nobody waits for it: then it is over.
        let _ = inner.application.perform(now, input, |app, out| {
            app.complete(now, token, outcome, out)
        });
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
            // A panic was noted down.
            let _ = self.drive(shard, || Input::Drain, |app, now, out| app.drain(now, out));
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
            let input = || Input::Timeout;
            // What panicked is due no more, and the rest is at the next look.
            let _ = self.drive(shard, input, |app, now, out| app.handle_timeout(now, out));
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

    /// Has the application act on an input, and carries out what it commands.
    fn drive<'a, R>(
        self: &Rc<Self>,
        shard: &Shard,
        input: impl Fn() -> Input<'a>,
        act: impl FnOnce(&mut AnyApp, Timestamp, &mut Outbox) -> R,
    ) -> Result<R, Panicked> {
        let now = shard.now();
        shard.record(&self.name, now, &input);
        let inner = &mut *self.inner.borrow_mut();
        let act = |app: &mut AnyApp, out: &mut Outbox| act(app, now, out);
        let result = inner.application.perform(now, input, act);
        self.finish(shard, now, inner);
        result
    }

    #[cold]
    fn take_news(self: &Rc<Self>, shard: &Shard, inner: &mut Inner) {
        inner.application.log_faults(&self.name);
        let (app, _) = inner.application.app_mut();
        // First the work: some of it may be cancelled already.
        for (token, work) in app.take_work() {
            inner.tasks.begin(shard, self, token, work);
        }
        for token in app.take_cancelled() {
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
            let (code, reason) = (CloseCode::TOO_SLOW, "too slow: the outbox passed its limit");
            let input = || Input::Close {
                conn,
                code,
                reason: reason.into(),
                away_ms: 0,
            };
            shard.record(name, now, input);
            self.fan_out.part(shard, now, conn);
            // It may be closed already.
            let _ = self.application.perform(now, input, |app, out| {
                app.close(now, conn, code, reason, out)
            });
            self.carry_out(shard, name, now);
        }
    }
}
