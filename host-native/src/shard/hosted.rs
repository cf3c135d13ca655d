//! A namespace on its home shard: it takes inputs, and its commands go out.

mod durable;
mod relayed;
mod totals;

use std::{
    cell::{Cell, RefCell},
    mem,
    sync::Arc,
};

use roomcast_core::{
    App, Applied, CloseCode, Config, ConnId, Frame, Gateway, Handshake, Hub, Input, Outbox,
    Outcome, Rejection, Timestamp,
    gateway::{Admission, NowOrLater, Token, Work},
    hub::{HubState, RequestError, RestoreError},
    room::{Recoveries, RecoveryOutcome},
};
use roomcast_http::{Reason, TokenRefusal};

use super::{
    egress::{Egress, Link},
    fan_out::FanOut,
    tasks::Tasks,
};
use crate::{
    namespace::{
        Namespace, OwnedUpgradeRequest, log_failure, recorder::Recorder, refusal::Refusal,
    },
    store::NamespaceHeader,
};

/// A namespace, on the one shard that is its home.
///
/// It is never re-entered: requests of an application to its own namespace, from outside of its
/// hooks, wait in the mail of the shard.
#[derive(Debug)]
pub(crate) struct Hosted {
    pub(crate) name: Arc<str>,
    /// The number of this start of the namespace: events of the relay for an earlier one are
    /// ignored.
    pub(in crate::shard) instance: u64,
    drained: Cell<bool>,
    /// True when the relay has said who is withdrawn on other nodes.
    knows_withdrawn: Cell<bool>,
    inner: RefCell<Inner>,
}

struct Inner {
    namespace: Namespace,
    fan_out: FanOut,
    tasks: Tasks,
    /// True when the batch is to be ended with the turn.
    listed: bool,
    /// Header of the namespace in the store; `None` when it is not stored.
    header: Option<NamespaceHeader>,
    /// Bytes that its histories count for among those of all namespaces.
    history_bytes: usize,
    /// Keys that its clients count for among those of all namespaces.
    client_keys: usize,
    /// Messages refused for their rate, as far as they are in the metrics.
    rate_refusals: u64,
    /// Recoveries, likewise.
    recoveries: Recoveries,
    relayed: relayed::Relayed,
}

/// Work of the shard that follows an input.
#[must_use]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct FollowUp {
    /// A batch has begun, and is to be ended with the turn.
    pub(super) batch: bool,
    /// Work of the application has begun or is cancelled: [`Hosted::take_work`].
    pub(super) work: bool,
    /// The limit on histories was passed.
    pub(super) histories_full: bool,
    /// The limit on idempotency keys of clients was passed.
    pub(super) client_keys_full: bool,
}

/// Work of the application.
#[derive(Default)]
pub(super) struct AppWork {
    pub(super) begun: Vec<(Token, Work)>,
    /// Joins that a backend is asked for.
    pub(super) asked: Vec<(Token, Option<Box<str>>, Box<str>)>,
    pub(super) cancelled: Vec<Token>,
}

impl Hosted {
    pub(super) fn new(
        name: Arc<str>,
        config: Config,
        state: HubState,
        gateway: Box<dyn Gateway>,
        header: Option<NamespaceHeader>,
        recorder: Option<Arc<Recorder>>,
        instance: u64,
    ) -> Result<Self, RestoreError> {
        let app = App::restore(config, gateway, state.into(), [])?;
        Ok(Self {
            name: name.clone(),
            instance,
            drained: Cell::new(false),
            knows_withdrawn: Cell::new(false),
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
                relayed: relayed::Relayed::default(),
            }),
        })
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
    pub(crate) fn upgrade(
        &self,
        request: &OwnedUpgradeRequest,
    ) -> NowOrLater<Result<Admission, Rejection>> {
        self.inner.borrow().namespace.upgrade(request)
    }

    pub(super) fn connect<S>(
        &self,
        egress: &Egress<S>,
        now: Timestamp,
        handshake: Handshake,
        link: Link,
    ) -> (Result<ConnId, Refusal>, FollowUp) {
        let inner = &mut *self.inner.borrow_mut();
        let input = Input::Connect(handshake);
        let Applied::Connected(connected) = inner.namespace.apply(now, &input) else {
            // No other answer to this input.
            return (Err(Refusal::unanswered()), FollowUp::default());
        };
        if let Ok(conn) = connected {
            inner.fan_out.members.insert(conn, link);
            if let Some(header) = &mut inner.header {
                header.next_serial = header.next_serial.max(conn.serial() + 1);
            }
        }
        let raw = inner.namespace.app().gateway().is_raw();
        let follow_up = inner.finish(egress, now);
        (
            connected.map_err(|fault| Refusal::new(fault, raw)),
            follow_up,
        )
    }

    /// Puts an input in, and carries out what the application commands: the hot path. A connection
    /// that was closed meanwhile is heard no more.
    #[allow(clippy::wildcard_enum_match_arm)] // the others say nothing of sockets
    pub(super) fn apply<S>(
        &self,
        egress: &Egress<S>,
        now: Timestamp,
        input: &Input<'_>,
    ) -> (Applied, FollowUp) {
        let inner = &mut *self.inner.borrow_mut();
        match input {
            Input::Text { .. } | Input::Binary { .. } => egress.metrics().messages_in.add(1),
            Input::Authenticate { identity, .. } => {
                egress.metrics().messages_in.add(1);
                let hub = inner.namespace.app().hub();
                if identity.as_ref().is_some_and(|it| hub.has_withdrawn(it)) {
                    egress.tell_token(&TokenRefusal::Withdrawn);
                }
            }
            Input::Close { conn, .. } => inner.fan_out.admit_bye(egress, now, *conn),
            _ => {}
        }
        let folded_s = inner.namespace.app().hub().not_before_s();
        let applied = inner.namespace.apply(now, input);
        if let Input::Withdraw { user, .. } = input {
            inner.end_withdrawal(egress, user, folded_s);
        }
        let follow_up = inner.finish(egress, now);
        if let Input::Disconnect { conn, .. } = input {
            inner.fan_out.members.remove(*conn);
        }
        (applied, follow_up)
    }

    /// Answers a message that the host refuses. The namespace stays as it is, so that the journal
    /// has nothing of it.
    #[cold]
    pub(super) fn decline<S>(
        &self,
        egress: &Egress<S>,
        now: Timestamp,
        conn: ConnId,
        text: &str,
        error: RequestError,
    ) -> FollowUp {
        let inner = &mut *self.inner.borrow_mut();
        let mut commands = Outbox::default();
        let hub = inner.namespace.app().hub();
        if hub
            .decline(conn, Frame::Text(text), error, &mut commands)
            .is_ok()
        {
            inner.fan_out.carry_out(egress, now, &commands);
        }
        inner.finish(egress, now)
    }

    /// Applies an input. For a send, the delivery also counts full queues.
    #[allow(clippy::wildcard_enum_match_arm)] // only sends reach queues
    pub(super) fn apply_and_report<S>(
        &self,
        egress: &Egress<S>,
        now: Timestamp,
        input: &Input<'_>,
    ) -> (Applied, FollowUp) {
        let key = match input {
            Input::Send { key, .. } => key.as_deref(),
            Input::SendText { .. } | Input::SendBinary { .. } => None,
            input => return self.apply(egress, now, input),
        };
        let inner = &mut *self.inner.borrow_mut();
        inner.fan_out.end_batch(egress, now);
        inner.close_overflowed(egress, now);
        let mut applied = inner.namespace.apply(now, input);
        inner.carry_out(egress, now);
        inner.fan_out.end_batch(egress, now);
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
                inner.persist_key(egress, now, key);
            }
        }
        let follow_up = inner.finish(egress, now);
        (applied, follow_up)
    }

    /// Work of the application's is done.
    pub(super) fn complete<S>(
        &self,
        egress: &Egress<S>,
        now: Timestamp,
        token: Token,
        outcome: Outcome,
    ) -> FollowUp {
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
        inner.finish(egress, now)
    }

    /// True when nothing is lost with the namespace: nobody is connected, nothing is remembered or
    /// under way, and its application has nothing to keep.
    pub(crate) fn is_idle(&self, now: Timestamp) -> bool {
        let inner = self.inner.borrow();
        inner.tasks.is_empty()
            && !inner.awaits_relay()
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
            && !inner.awaits_relay()
            && (counts.connections, counts.history_bytes) == (0, 0)
            && !hub.remembers_keys(now)
            && (hub.is_relay_up() || hub.withdrawn().next().is_none() && hub.not_before_s() == 0)
            && !inner.namespace.has_something_to_lose()
    }

    /// True the first time that it is asked: the application is told once that all connections will
    /// be closed.
    pub(super) fn begins_drain(&self) -> bool {
        !self.drained.replace(true)
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

    /// The time at which something is due next.
    pub(super) fn next_timeout(&self) -> Option<Timestamp> {
        self.inner.borrow().namespace.app().next_timeout()
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

    /// Sends the batch that is open, if any, at the end of a turn; unless it has more recipients
    /// than that: then there is `None`.
    pub(super) fn end_batch<S>(
        &self,
        egress: &Egress<S>,
        now: Timestamp,
        recipients_max: usize,
    ) -> Option<FollowUp> {
        let inner = &mut *self.inner.borrow_mut();
        if inner.fan_out.batch.recipients() > recipients_max {
            return None;
        }
        inner.listed = false;
        inner.fan_out.end_batch(egress, now);
        Some(if inner.fan_out.overflowed.is_empty() {
            FollowUp::default()
        } else {
            inner.finish(egress, now)
        })
    }

    /// Sends what there is for a connection so far: nothing that it caused is held back any more.
    pub(super) fn finish_for<S>(
        &self,
        egress: &Egress<S>,
        now: Timestamp,
        conn: ConnId,
    ) -> FollowUp {
        let inner = &mut *self.inner.borrow_mut();
        if !inner.fan_out.batch.reaches(conn) {
            return FollowUp::default();
        }
        inner.fan_out.end_batch(egress, now);
        inner.finish(egress, now)
    }

    /// Takes the work that the application began and cancelled; logs its faults.
    pub(super) fn take_work(&self) -> AppWork {
        let inner = &mut *self.inner.borrow_mut();
        inner.namespace.log_faults();
        let (begun, cancelled) = inner.namespace.take_work();
        let asked = inner.namespace.take_asked();
        AppWork {
            begun,
            asked: asked.into_iter().collect(),
            cancelled,
        }
    }

    /// Begins work, and does something with what comes of it.
    pub(super) fn begin_work(
        &self,
        token: Token,
        work: Work,
        then: impl FnOnce(Outcome) + 'static,
    ) {
        self.inner.borrow_mut().tasks.begin(token, work, then);
    }

    /// Gives up work that nobody waits for.
    pub(super) fn cancel_work(&self, token: Token) {
        self.inner.borrow_mut().tasks.cancel(token);
    }
}

impl Inner {
    /// Carries out what an input led to, and counts; says what is then to be done by the shard.
    fn finish<S>(&mut self, egress: &Egress<S>, now: Timestamp) -> FollowUp {
        let mut follow_up = FollowUp::default();
        self.carry_out(egress, now);
        if !self.fan_out.overflowed.is_empty() {
            self.close_overflowed(egress, now);
        }
        let hub = self.namespace.app().hub();
        let history_bytes = hub.counts().history_bytes;
        if history_bytes != self.history_bytes {
            follow_up.histories_full = self.count_histories(egress, now, history_bytes);
        }
        let hub = self.namespace.app().hub();
        if hub.rate_refusals() != self.rate_refusals
            || hub.recoveries().total() != self.recoveries.total()
        {
            self.count(egress);
        }
        let client_keys = self.namespace.app().hub().client_keys();
        if client_keys != self.client_keys {
            follow_up.client_keys_full = self.count_client_keys(egress, now, client_keys);
        }
        follow_up.work = self.namespace.app().has_news();
        // It is sent when the turn ends.
        follow_up.batch = !self.fan_out.batch.is_empty() && !mem::replace(&mut self.listed, true);
        follow_up
    }

    /// Counts refusals and recoveries that the hub has counted since the last call.
    #[cold]
    fn count<S>(&mut self, egress: &Egress<S>) {
        let hub = self.namespace.app().hub();
        let (refusals, recoveries) = (hub.rate_refusals(), hub.recoveries());
        let more = refusals - mem::replace(&mut self.rate_refusals, refusals);
        if more > 0 {
            egress.metrics().count_refusals(Reason::Rate, more);
        }
        if recoveries.total() != self.recoveries.total() {
            let before = mem::replace(&mut self.recoveries, *recoveries);
            for outcome in RecoveryOutcome::ALL {
                let more = self.recoveries.count(outcome) - before.count(outcome);
                egress.metrics().count_recoveries(outcome, more);
            }
        }
    }

    /// Carries out what the application commanded, and forgets it.
    fn carry_out<S>(&mut self, egress: &Egress<S>, now: Timestamp) {
        if self.namespace.out().is_empty() {
            return;
        }
        if self.header.is_some() {
            self.persist(egress, now);
        }
        if egress.shared.hooks.is_on() {
            self.note_told(egress, now);
        }
        if egress.shared.relay.is_some() {
            self.relay_out(egress);
        }
        self.fan_out.carry_out(egress, now, self.namespace.out());
        self.namespace.clear_out();
    }

    /// Closes connections that were too slow. Telling others of it may overflow further queues, so
    /// this repeats; it ends, since the queues of those already closed are below their limits.
    #[cold]
    fn close_overflowed<S>(&mut self, egress: &Egress<S>, now: Timestamp) {
        while let Some(conn) = self.fan_out.overflowed.pop() {
            self.fan_out.admit_bye(egress, now, conn);
            // It may be closed already.
            let close = Input::close(conn, CloseCode::TOO_SLOW, CloseCode::TOO_SLOW_REASON);
            self.namespace.apply(now, &close);
            self.carry_out(egress, now);
        }
    }
}
