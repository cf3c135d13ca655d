//! A namespace that is at home on this shard, and the way of commands to its connections.

use std::{
    cell::{Cell, RefCell},
    mem,
    rc::Rc,
    sync::Arc,
};

use roomcast_core::{
    App, Applied, CloseCode, Config, ConnId, Frame, Gateway, Handshake, Hub, Input, Outbox,
    Outcome, Rejection, Timestamp,
    gateway::{Admission, Token},
    hub::{HubState, RequestError, RestoreError},
    journal::Opening,
    room::{Recoveries, RecoveryOutcome},
};
use roomcast_http::{Reason, TokenRefusal};

use super::{
    state::{FanOut, Hosted, Inner, Link, Shard},
    tasks::Tasks,
};
use crate::{
    namespace::{Namespace, OwnedUpgradeRequest, log_failure, refusal::Refusal},
    store::NamespaceHeader,
};

impl Hosted {
    pub(crate) fn new(
        shard: &Shard,
        name: Arc<str>,
        mut config: Config,
        state: HubState,
        gateway: Box<dyn Gateway>,
        header: Option<NamespaceHeader>,
    ) -> Result<Self, RestoreError> {
        // As the application will have it, for the journal.
        (config.raw, config.notify_presence) = (gateway.is_raw(), gateway.wants_presence());
        shard.record_opening(&name, || Opening::new(config.clone(), state.clone()));
        let app = App::restore(config, gateway, state.into(), [])?;
        let recorder = shard.shared.recorder.clone();
        Ok(Self {
            name: name.clone(),
            drained: Cell::new(false),
            inner: RefCell::new(Inner {
                namespace: Namespace::new(name, app, recorder),
                fan_out: FanOut::default(),
                tasks: Tasks::default(),
                listed: false,
                header,
                history_bytes: 0,
                client_keys: 0,
                rate_refusals: 0,
                recoveries: Recoveries::default(),
            }),
        })
    }

    /// The time at which an input or work of the namespace begins.
    fn begin(self: &Rc<Self>, shard: &Shard) -> Timestamp {
        let now = shard.now();
        let metrics = shard.metrics();
        metrics.inputs.add(1);
        shard.turn_watch.enter(now, metrics.turn.numbers(), self);
        now
    }

    /// Asks the hub something.
    pub(crate) fn ask<R>(&self, question: impl FnOnce(&Hub) -> R) -> R {
        question(self.inner.borrow().namespace.app().hub())
    }

    /// True when its messages are the application's own, without envelopes.
    pub(crate) fn is_raw(&self) -> bool {
        self.inner.borrow().namespace.app().gateway().is_raw()
    }

    /// The way to a live connection.
    pub(crate) fn link(&self, conn: ConnId) -> Option<Link> {
        self.inner.borrow().fan_out.members.get(conn).cloned()
    }

    /// Asks the application whether a request is to be granted.
    pub(crate) fn upgrade(&self, request: &OwnedUpgradeRequest) -> Result<Admission, Rejection> {
        self.inner.borrow().namespace.upgrade(request)
    }

    pub(crate) fn connect(
        self: &Rc<Self>,
        shard: &Shard,
        handshake: Handshake,
        link: Link,
    ) -> Result<ConnId, Refusal> {
        let now = self.begin(shard);
        let inner = &mut *self.inner.borrow_mut();
        let input = Input::Connect(handshake);
        let Applied::Connected(connected) = inner.namespace.apply(now, &input) else {
            return Err(Refusal::FULL); // no other answer to this input
        };
        if let Ok(conn) = connected {
            inner.fan_out.members.insert(conn, link);
            if let Some(header) = &mut inner.header {
                header.next_serial = header.next_serial.max(conn.serial() + 1);
            }
        }
        if inner.namespace.app().next_schedule().is_some() {
            // Perhaps with this connection, for it may be the first.
            shard.tick_schedules();
        }
        self.finish(shard, now, inner);
        let raw = inner.namespace.app().gateway().is_raw();
        connected.map_err(|fault| Refusal::new(fault, raw))
    }

    /// Puts an input in, and carries out what the application commands: the hot path. A connection
    /// that was closed meanwhile is heard no more.
    #[allow(clippy::wildcard_enum_match_arm)] // the others say nothing of sockets
    pub(crate) fn apply(self: &Rc<Self>, shard: &Shard, input: &Input<'_>) -> Applied {
        let now = self.begin(shard);
        let inner = &mut *self.inner.borrow_mut();
        match input {
            Input::Text { .. } | Input::Binary { .. } => shard.metrics().messages_in.add(1),
            Input::Authenticate { identity, .. } => {
                shard.metrics().messages_in.add(1);
                let hub = inner.namespace.app().hub();
                if identity.as_ref().is_some_and(|it| hub.has_withdrawn(it)) {
                    shard.tell_token(&TokenRefusal::Withdrawn);
                }
            }
            Input::Close { conn, .. } => inner.fan_out.part(shard, now, *conn),
            _ => {}
        }
        let folded_s = inner.namespace.app().hub().not_before_s();
        let applied = inner.namespace.apply(now, input);
        if let Input::Withdraw { user, .. } = input {
            inner.end_withdrawal(shard, user, folded_s);
        }
        self.finish(shard, now, inner);
        if let Input::Disconnect { conn, .. } = input {
            inner.fan_out.members.remove(*conn);
        }
        applied
    }

    /// Answers a message that the host refuses. The namespace stays as it is, so that the journal
    /// has nothing of it.
    #[cold]
    pub(crate) fn decline(
        self: &Rc<Self>,
        shard: &Shard,
        conn: ConnId,
        text: &str,
        error: RequestError,
    ) {
        let now = self.begin(shard);
        let inner = &mut *self.inner.borrow_mut();
        let mut out = Outbox::default();
        let hub = inner.namespace.app().hub();
        if hub
            .decline(conn, Frame::Text(text), error, &mut out)
            .is_ok()
        {
            inner.fan_out.carry_out(shard, now, &out);
        }
        self.finish(shard, now, inner);
    }

    /// Puts an input in. Of a send it says what became of it: the queues are looked at, not only
    /// the rooms.
    #[allow(clippy::wildcard_enum_match_arm)] // only sends reach queues
    pub(crate) fn give(self: &Rc<Self>, shard: &Shard, input: &Input<'_>) -> Applied {
        let key = match input {
            Input::Send { key, .. } => key.as_deref(),
            Input::SendText { .. } | Input::SendBinary { .. } => None,
            input => return self.apply(shard, input),
        };
        let now = self.begin(shard);
        let inner = &mut *self.inner.borrow_mut();
        inner.fan_out.end_run(shard, now);
        inner.close_overflowed(shard, now);
        let mut applied = inner.namespace.apply(now, input);
        inner.carry_out(shard, now);
        inner.fan_out.end_run(shard, now);
        let dropped = inner.fan_out.overflowed.len();
        if let Applied::Sent(Ok(delivery)) = &mut applied {
            // A repeated key answers what the first one did, and that may be a loss.
            delivery.dropped += dropped;
            delivery.queued -= dropped.min(delivery.queued);
            if let Some(key) = key {
                if delivery.dropped > 0 {
                    let (key, delivery) = (key.into(), *delivery);
                    let set_delivery = Input::SetDelivery { key, delivery };
                    inner.namespace.apply(now, &set_delivery);
                }
                inner.persist_key(shard, now, key);
            }
        }
        self.finish(shard, now, inner);
        applied
    }

    /// Work of the application's is done.
    pub(super) fn complete(self: &Rc<Self>, shard: &Shard, token: Token, outcome: Outcome) {
        let now = self.begin(shard);
        let inner = &mut *self.inner.borrow_mut();
        inner.tasks.end(token);
        if !inner.namespace.app().is_pending(token) {
            // Nobody waits for what this work gave: its handler answered otherwise.
            if let Outcome::Fail(failure) = &outcome
                && let Some(error) = failure.cause()
            {
                log_failure(&self.name, Some(token.conn()), "work", error);
            }
        }
        // Also when nobody waits for it: then it is over.
        let completed = Input::Complete { token, outcome };
        inner.namespace.apply(now, &completed);
        self.finish(shard, now, inner);
    }

    /// True when nothing is lost with the namespace: nobody is connected, nothing is remembered or
    /// under way, and its application has nothing to keep.
    pub(crate) fn is_idle(&self, now: Timestamp) -> bool {
        let inner = self.inner.borrow();
        inner.tasks.is_empty()
            && inner.namespace.app().hub().is_idle(now)
            && !inner.namespace.has_something_to_lose()
    }

    /// True when nobody is connected, and nothing is lost with the namespace but the positions of
    /// rooms that hold no message, and idempotency keys of clients.
    pub(crate) fn is_spare(&self, now: Timestamp) -> bool {
        let inner = self.inner.borrow();
        let hub = inner.namespace.app().hub();
        let counts = hub.counts();
        inner.tasks.is_empty()
            && (counts.connections, counts.history_bytes) == (0, 0)
            && !hub.remembers_keys(now)
            && hub.withdrawn().next().is_none()
            && hub.not_before_s() == 0
            && !inner.namespace.has_something_to_lose()
    }

    /// Tells the application, once, that all connections will be closed.
    pub(crate) fn drain(self: &Rc<Self>, shard: &Shard) {
        if !self.drained.replace(true) {
            self.apply(shard, &Input::Drain);
        }
    }

    /// Events that the gateway has handlers for.
    pub(crate) fn events(&self) -> Vec<String> {
        self.inner.borrow().namespace.app().gateway().events()
    }

    /// Bytes that its histories count for among those of all namespaces.
    pub(crate) fn history_bytes(&self) -> usize {
        self.inner.borrow().history_bytes
    }

    /// Idempotency keys that its clients count for among those of all namespaces.
    pub(crate) fn client_keys(&self) -> usize {
        self.inner.borrow().client_keys
    }

    /// The time at which a schedule is due next.
    pub(crate) fn next_schedule(&self) -> Option<Timestamp> {
        self.inner.borrow().namespace.app().next_schedule()
    }

    /// Does what is due.
    pub(crate) fn timeout(self: &Rc<Self>, shard: &Shard) {
        let next = self.inner.borrow().namespace.app().next_timeout();
        if next.is_some_and(|due| due <= shard.now()) {
            // What panicked is due no more, and the rest is at the next look.
            self.apply(shard, &Input::Timeout);
        }
    }

    /// Gives memory back that a larger crowd needed.
    pub(crate) fn shrink_to_fit(&self) {
        let inner = &mut *self.inner.borrow_mut();
        inner.namespace.shrink_to_fit();
        inner.fan_out.members.shrink_to_fit();
    }

    /// Logs the largest fan-out since the last call.
    pub(crate) fn tell_largest(&self) {
        self.inner.borrow_mut().fan_out.largest.tell(&self.name);
    }

    /// Sends the run that is open, if any, at the end of a turn; unless it has more recipients than
    /// that. Says whether it did.
    pub(crate) fn end_run(self: &Rc<Self>, shard: &Shard, recipients_max: usize) -> bool {
        let now = shard.now();
        shard
            .turn_watch
            .enter(now, shard.metrics().turn.numbers(), self);
        let inner = &mut *self.inner.borrow_mut();
        if inner.fan_out.batch.recipients() > recipients_max {
            return false;
        }
        inner.listed = false;
        inner.fan_out.end_run(shard, now);
        if !inner.fan_out.overflowed.is_empty() {
            self.finish(shard, now, inner);
        }
        true
    }

    /// Sends what there is for a connection so far: nothing that it caused is held back any more.
    pub(crate) fn finish_for(self: &Rc<Self>, shard: &Shard, conn: ConnId) {
        let now = shard.now();
        let inner = &mut *self.inner.borrow_mut();
        if inner.fan_out.batch.reaches(conn) {
            inner.fan_out.end_run(shard, now);
            self.finish(shard, now, inner);
        }
    }

    #[cold]
    fn take_news(self: &Rc<Self>, shard: &Shard, inner: &mut Inner) {
        inner.namespace.log_faults();
        // First the work: some of it may be cancelled already.
        let (mut begun, cancelled) = inner.namespace.take_work();
        for (token, user, room) in inner.namespace.take_asked() {
            begun.push((token, shard.ask_join(&self.name, user, room)));
        }
        for (token, work) in begun {
            let (shard, namespace) = (shard.weak.clone(), Rc::downgrade(self));
            inner.tasks.begin(token, work, move |outcome| {
                if let Some((shard, namespace)) = shard.upgrade().zip(namespace.upgrade()) {
                    namespace.complete(&shard, token, outcome);
                }
            });
        }
        for token in cancelled {
            inner.tasks.cancel(token);
        }
    }

    pub(super) fn finish(self: &Rc<Self>, shard: &Shard, now: Timestamp, inner: &mut Inner) {
        inner.carry_out(shard, now);
        if !inner.fan_out.overflowed.is_empty() {
            inner.close_overflowed(shard, now);
        }
        let history_bytes = inner.namespace.app().hub().counts().history_bytes;
        if history_bytes != inner.history_bytes {
            inner.count_histories(shard, now, history_bytes);
        }
        let hub = inner.namespace.app().hub();
        if hub.rate_refusals() != inner.rate_refusals
            || hub.recoveries().total() != inner.recoveries.total()
        {
            inner.count(shard);
        }
        let client_keys = inner.namespace.app().hub().client_keys();
        if client_keys != inner.client_keys {
            inner.count_client_keys(shard, now, client_keys);
        }
        if inner.namespace.app().has_news() {
            self.take_news(shard, inner);
        }
        if !inner.fan_out.batch.is_empty() && !mem::replace(&mut inner.listed, true) {
            // It is sent when the turn ends.
            shard.runs.borrow_mut().push(self.clone());
            shard.ring();
        }
    }
}

impl Inner {
    /// Counts refusals and recoveries that the hub has counted since the last call.
    #[cold]
    fn count(&mut self, shard: &Shard) {
        let hub = self.namespace.app().hub();
        let (refusals, recoveries) = (hub.rate_refusals(), hub.recoveries());
        let more = refusals - mem::replace(&mut self.rate_refusals, refusals);
        if more > 0 {
            shard.metrics().count_refusals(Reason::Rate, more);
        }
        if recoveries.total() != self.recoveries.total() {
            let before = mem::replace(&mut self.recoveries, *recoveries);
            for outcome in RecoveryOutcome::ALL {
                let more = self.recoveries.count(outcome) - before.count(outcome);
                shard.metrics().count_recoveries(outcome, more);
            }
        }
    }

    /// Carries out what the application commanded, and forgets it.
    pub(super) fn carry_out(&mut self, shard: &Shard, now: Timestamp) {
        if self.namespace.out().is_empty() {
            return;
        }
        if self.header.is_some() {
            self.persist(shard, now);
        }
        if shard.shared.hooks.is_on() {
            self.note_told(shard, now);
        }
        self.fan_out.carry_out(shard, now, self.namespace.out());
        self.namespace.clear_out();
    }

    /// Closes those who were too slow: what others are told of that may again be too much for some.
    /// The queues of those that were seen to are below their limits by then, so that this ends.
    #[cold]
    pub(super) fn close_overflowed(&mut self, shard: &Shard, now: Timestamp) {
        while let Some(conn) = self.fan_out.overflowed.pop() {
            self.fan_out.part(shard, now, conn);
            // It may be closed already.
            let close = Input::close(conn, CloseCode::TOO_SLOW, CloseCode::TOO_SLOW_REASON);
            self.namespace.apply(now, &close);
            self.carry_out(shard, now);
        }
    }
}
