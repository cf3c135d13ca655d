//! A namespace on its home shard: applies inputs, and carries out commands.

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

/// A namespace, on its home shard.
///
/// Calls never re-enter: requests of an application to its own namespace, from outside its hooks,
/// wait in the mail of the shard.
#[derive(Debug)]
pub(crate) struct Hosted {
    pub(crate) name: Arc<str>,
    /// The number of this start of the namespace: relay events for an earlier start are ignored.
    pub(in crate::shard) instance: u64,
    drained: Cell<bool>,
    /// True when the relay has reported the withdrawals of other nodes.
    knows_withdrawn: Cell<bool>,
    inner: RefCell<Inner>,
}

struct Inner {
    namespace: Namespace,
    fan_out: FanOut,
    tasks: Tasks,
    /// True when the batch is registered to be ended with the turn.
    listed: bool,
    /// The header of the namespace in the store; `None` when it is not stored.
    header: Option<NamespaceHeader>,
    /// Bytes that its histories count in the total of all namespaces.
    history_bytes: usize,
    /// Client idempotency keys that it counts in the total of all namespaces.
    client_keys: usize,
    /// The number of rate refusals that are in the metrics already.
    rate_refusals: u64,
    /// The recoveries that are in the metrics already.
    recoveries: Recoveries,
    relayed: relayed::Relayed,
}

/// Work for the shard after an input.
#[must_use]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct FollowUp {
    /// A batch has started, and must be ended with the turn.
    pub(super) batch: bool,
    /// The application has started or cancelled work: [`Hosted::take_work`].
    pub(super) work: bool,
    /// The limit on histories was exceeded.
    pub(super) histories_full: bool,
    /// The limit on client idempotency keys was exceeded.
    pub(super) client_keys_full: bool,
}

/// Changes in the work of an application.
#[derive(Default)]
pub(super) struct AppWork {
    pub(super) begun: Vec<(Token, Work)>,
    /// Joins that a backend must be asked about.
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

    /// Queries the hub.
    pub(crate) fn ask<R>(&self, question: impl FnOnce(&Hub) -> R) -> R {
        question(self.inner.borrow().namespace.app().hub())
    }

    /// True when messages are in a format of the application, without envelopes.
    pub(crate) fn is_raw(&self) -> bool {
        self.inner.borrow().namespace.app().gateway().is_raw()
    }

    /// The link to a live connection.
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
            // This input has no other result.
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

    /// Applies an input, and carries out the commands: the hot path. Input of a connection that has
    /// been closed is ignored.
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

    /// Answers a message that the host refuses. The namespace does not change, so the journal does
    /// not record it.
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

    /// Applies an input. The result of a send also counts queues that overflowed.
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
            // A repeated key returns the first result, which may include drops.
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

    /// Completes work of the application.
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
            // The outcome is not awaited: the handler has answered otherwise.
            if let Outcome::Fail(failure) = &outcome
                && let Some(error) = failure.cause()
            {
                log_failure(&self.name, Some(token.conn()), "work", error);
            }
        }
        // Applied even if the outcome is not awaited, to end the work.
        let completed = Input::Complete { token, outcome };
        inner.namespace.apply(now, &completed);
        inner.finish(egress, now)
    }

    /// True when nothing is lost if the namespace ends: there are no connections, nothing is
    /// remembered or in flight, and its application has no state to keep.
    pub(crate) fn is_idle(&self, now: Timestamp) -> bool {
        let inner = self.inner.borrow();
        inner.tasks.is_empty()
            && !inner.awaits_relay()
            && inner.namespace.app().hub().is_idle(now)
            && !inner.namespace.has_something_to_lose()
    }

    /// True when there are no connections, and the end of the namespace loses only positions of
    /// rooms without messages, and client idempotency keys.
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

    /// Returns true on the first call: the application is notified once that all connections will
    /// be closed.
    pub(super) fn begins_drain(&self) -> bool {
        !self.drained.replace(true)
    }

    /// The events that the gateway handles.
    pub(crate) fn events(&self) -> Vec<String> {
        self.inner.borrow().namespace.app().gateway().events()
    }

    /// Bytes that its histories count in the total of all namespaces.
    pub(crate) fn history_bytes(&self) -> usize {
        self.inner.borrow().history_bytes
    }

    /// Client idempotency keys that it counts in the total of all namespaces.
    pub(crate) fn client_keys(&self) -> usize {
        self.inner.borrow().client_keys
    }

    /// The time at which the next schedule is due.
    pub(crate) fn next_schedule(&self) -> Option<Timestamp> {
        self.inner.borrow().namespace.app().next_schedule()
    }

    /// The time at which the next timeout is due.
    pub(super) fn next_timeout(&self) -> Option<Timestamp> {
        self.inner.borrow().namespace.app().next_timeout()
    }

    /// Releases memory that a larger number of connections needed.
    pub(crate) fn shrink_to_fit(&self) {
        let inner = &mut *self.inner.borrow_mut();
        inner.namespace.shrink_to_fit();
        inner.fan_out.members.shrink_to_fit();
    }

    /// Logs the largest fan-out since the last call.
    pub(crate) fn tell_largest(&self) {
        self.inner.borrow_mut().fan_out.largest.tell(&self.name);
    }

    /// Sends the open batch, if any, at the end of a turn. Returns `None` if it has more than
    /// `recipients_max` recipients.
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

    /// Sends all output for a connection so far: nothing for it is held back any more.
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

    /// Takes started and cancelled work of the application; logs its errors.
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

    /// Starts work, and calls `then` with its outcome.
    pub(super) fn begin_work(
        &self,
        token: Token,
        work: Work,
        then: impl FnOnce(Outcome) + 'static,
    ) {
        self.inner.borrow_mut().tasks.begin(token, work, then);
    }

    /// Cancels work whose outcome is not awaited.
    pub(super) fn cancel_work(&self, token: Token) {
        self.inner.borrow_mut().tasks.cancel(token);
    }
}

impl Inner {
    /// Carries out the commands of an input, updates counts, and returns the work that remains for
    /// the shard.
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
        // The batch is sent when the turn ends.
        follow_up.batch = !self.fan_out.batch.is_empty() && !mem::replace(&mut self.listed, true);
        follow_up
    }

    /// Adds the hub's refusals and recoveries since the last call to the metrics.
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

    /// Carries out the application's commands, and clears them.
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

    /// Closes connections that were too slow. The notices to others may overflow further queues, so
    /// this repeats. It terminates, since the queues of closed connections are below their limits.
    #[cold]
    fn close_overflowed<S>(&mut self, egress: &Egress<S>, now: Timestamp) {
        while let Some(conn) = self.fan_out.overflowed.pop() {
            self.fan_out.admit_bye(egress, now, conn);
            // An already closed connection is ignored.
            let close = Input::close(conn, CloseCode::TOO_SLOW, CloseCode::TOO_SLOW_REASON);
            self.namespace.apply(now, &close);
            self.carry_out(egress, now);
        }
    }
}
