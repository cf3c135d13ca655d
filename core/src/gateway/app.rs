//! A hub together with the application in front of it.

use alloc::{boxed::Box, collections::VecDeque, string::String, vec::Vec};
use core::fmt;

use serde::{Deserialize, Serialize};

use super::{
    context::Context, failure::HandlerError, hooks::Decision, hooks::Gateway, hooks::RoomAction,
    input::Applied, namespace_context::NamespaceContext, outcome::Outcome, outcome::Token,
    rejection::Rejection, timetable::Timetable, upgrade::Admission, upgrade::UpgradeRequest,
    wait::NowOrLater, wait::Passed, wait::PendingReplies, wait::Resumed, wait::later,
    wait::written,
};
use crate::hub::{Config, ConnState, Delivery, Hub, HubState, RestoreError, SendError};
use crate::policy::Right;
use crate::wire::{ConnId, Frame, Message, OwnedAddress};
use crate::{
    hub::change::Change, hub::receive::Received, outbox::Mark, outbox::Outbox, time::Timestamp,
};

/// A namespace with its application: a [`Hub`] and a [`Gateway`].
///
/// A host uses it in place of a bare hub. With `()` as the gateway it behaves exactly like the hub,
/// byte for byte.
///
/// 1. **Input**: [`apply`](Self::apply) takes every change of the namespace as an
///    [`Input`](crate::Input), asks the gateway where it has to decide, and appends commands to the
///    [`Outbox`].
/// 2. **News** for the host after an input: [`take_errors`](Self::take_errors),
///    [`take_work`](Self::take_work), [`take_cancelled`](Self::take_cancelled).
/// 3. **Queries**: [`hub`](Self::hub), [`upgrade`](Self::upgrade),
///    [`next_timeout`](Self::next_timeout).
/// 4. **Sleep and wake**: [`state`](Self::state), [`restore`](Self::restore),
///    [`take_unsaved`](Self::take_unsaved).
///
/// # When a handler panics
///
/// The core cannot catch the panic. A host that does (`std::panic::catch_unwind`) passes the same
/// input to [`unwound`](Self::unwound) and carries out the outbox as it is. The changes that the
/// gateway had made to rooms and connections remain, no operation is left half done, the client is
/// answered `internal`, and the remaining hooks run.
#[derive(Clone)]
pub struct App<G> {
    pub(super) hub: Hub,
    pub(super) gateway: G,
    pub(super) replies: PendingReplies,
    /// Changes not yet reported to the hooks, each with the length of the chain of hooks that led
    /// to it.
    pub(super) changes: VecDeque<(u32, Change)>,
    /// The change that is being reported to the gateway.
    pub(super) telling: Option<(u32, Change)>,
    pub(super) timetable: Timetable,
    /// False when the hub handles all messages without the gateway.
    decides: bool,
    /// False when the gateway has no hooks and no schedules, so that there is nothing to call.
    has_hooks: bool,
    pub(super) connecting: Option<Connecting>,
    /// Connections whose `connect` was pending when the namespace went to sleep, until they are
    /// closed.
    pub(super) abandoned: Vec<ConnId>,
    /// The request that the gateway's `resume` is working on.
    pub(super) continuing: Option<(ConnId, OwnedAddress)>,
    /// The connection whose outcome is being applied, until its waiting messages are handled.
    pub(super) completing: Option<ConnId>,
    /// The hook that was called last, and its connection: the report of a panic names them.
    pub(super) called: (&'static str, Option<ConnId>),
    /// True while the gateway decides about a message or verb that has no answer yet.
    pub(super) answering: bool,
    /// The connection whose waiting messages are being handled.
    pub(super) resumed: Option<Resumed>,
    pub(super) unsaved: bool,
}

/// A connection that the gateway is deciding about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Connecting {
    pub(super) conn: ConnId,
    /// The position in the outbox where its commands begin.
    pub(super) mark: Mark,
    /// True when the gateway has admitted the connection.
    pub(super) admitted: bool,
    /// False until the host is given its id.
    pub(super) is_open: bool,
    /// True when the client was greeted before it authenticated.
    pub(super) late: bool,
}

/// The ground state of an [`App`], without the states of its connections.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AppState {
    /// The state of the hub.
    pub hub: HubState,
    #[serde(default)]
    timetable: Timetable,
    /// The state that the gateway saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gateway: Option<Box<str>>,
}

impl From<HubState> for AppState {
    fn from(hub: HubState) -> Self {
        Self {
            hub,
            ..Self::default()
        }
    }
}

impl<G: Gateway> App<G> {
    /// Creates a namespace without connections.
    pub fn new(mut config: Config, gateway: G) -> Self {
        gateway_wants(&mut config, &gateway);
        Self::around(Hub::new(config), gateway)
    }

    fn around(mut hub: Hub, gateway: G) -> Self {
        let hooks = gateway.wants_membership() || gateway.wants_presence();
        hub.record_changes(hooks);
        let schedules = gateway.schedules();
        Self {
            hub,
            timetable: Timetable::new(&schedules),
            decides: gateway.wants_messages(),
            has_hooks: hooks || !schedules.is_empty(),
            gateway,
            replies: PendingReplies::default(),
            changes: VecDeque::new(),
            telling: None,
            connecting: None,
            abandoned: Vec::new(),
            continuing: None,
            completing: None,
            called: ("hooks", None),
            answering: false,
            resumed: None,
            unsaved: false,
        }
    }

    /// Restores a namespace from its saved state. It continues exactly as the saved one would have;
    /// only pending answers are lost.
    ///
    /// # Errors
    ///
    /// When the states contradict each other or the limits, or the gateway cannot restore its own.
    pub fn restore(
        mut config: Config,
        mut gateway: G,
        state: AppState,
        conns: impl IntoIterator<Item = ConnState>,
    ) -> Result<Self, RestoreError> {
        if let Some(saved) = &state.gateway
            && !gateway.restore(saved)
        {
            return Err(RestoreError::Gateway);
        }
        gateway_wants(&mut config, &gateway);
        let mut app = Self::around(Hub::restore(config, state.hub, conns)?, gateway);
        app.timetable.resume(&state.timetable);
        app.abandoned.extend(app.hub.opening());
        for &conn in &app.abandoned {
            app.replies.abandon(conn);
        }
        Ok(app)
    }

    /// Asks the gateway whether a request for a WebSocket is to be granted; see
    /// [`Gateway::upgrade`]. It is not an input, since it changes nothing: the admission goes into
    /// the handshake of [`Input::Connect`](crate::Input::Connect).
    ///
    /// When the gateway needs time, the future owns all that it needs. The host polls it
    /// independently of the namespace, and drops it when the client is gone or its time is up.
    pub fn upgrade(
        &self,
        request: &UpgradeRequest<'_>,
    ) -> NowOrLater<Result<Admission, Rejection>> {
        let bytes_max = self.hub.limits().session_bytes;
        match self.gateway.upgrade(request) {
            NowOrLater::Now(said) => {
                NowOrLater::Now(said.and_then(|said| said.fit(bytes_max, request.subprotocols())))
            }
            NowOrLater::Later(saying) => {
                let offered = request.subprotocols().map(Into::into);
                let offered: Vec<Box<str>> = offered.collect();
                NowOrLater::Later(later(async move {
                    let offered = offered.iter().map(|item| &**item);
                    saying.await?.fit(bytes_max, offered)
                }))
            }
        }
    }

    /// Lets the gateway handle a message that arrived, or the hub if the gateway leaves it
    /// unclaimed.
    #[inline]
    pub(super) fn act_on(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        (received, frame): (Received<'_>, Frame<'_>),
        passed: Passed,
        out: &mut Outbox,
    ) {
        match received {
            Received::Message(message) if !self.decides => {
                let _ = self.hub.publish(now, &message, out);
            }
            Received::Message(message) => {
                self.answering = true;
                let room = message.room.as_deref();
                let (gateway, namespace) = self.parts(now, out);
                let mut cx = Context::new(namespace, conn)
                    .with_here(room)
                    .with_passed(passed.guards);
                let mut outcome = Outcome::Unclaimed;
                if !passed.unclaimed {
                    outcome = gateway.message(&mut cx, &message);
                    cx.set_passed(0);
                }
                let is_unclaimed = matches!(outcome, Outcome::Unclaimed);
                if let Some(room) = room.filter(|_| is_unclaimed)
                    && cx.allows(Right::Publish, room)
                {
                    match gateway.admit(&mut cx, RoomAction::Publish, room) {
                        Decision::Allow => {}
                        Decision::Refuse(failure) => outcome = Outcome::Fail(failure),
                        Decision::Later(token) => outcome = Outcome::Later(token),
                    }
                }
                self.answering = false;
                if matches!(outcome, Outcome::Unclaimed) {
                    // The gateway may have closed the connection.
                    let _ = self.hub.publish(now, &message, out);
                } else if let Outcome::Later(token) = outcome {
                    if let Frame::Text(text) = frame {
                        self.replies.keep(token, text, is_unclaimed);
                    }
                    let mut namespace = self.namespace(now, out);
                    namespace.wait(conn, token, message.address());
                } else {
                    let mut namespace = self.namespace(now, out);
                    namespace.answer(conn, message.address(), &outcome);
                }
            }
            Received::Verb(request) => self.verb(now, &request, passed, out),
            Received::Raw(frame) => {
                self.called = ("frame", Some(conn));
                self.with_here(now, out, conn, None, |gateway, cx| gateway.frame(cx, frame));
            }
            Received::Answered => {}
        }
        if self.has_hooks {
            self.call_hooks(now, out);
        }
    }

    pub(super) fn verb(
        &mut self,
        now: Timestamp,
        request: &Message<'_>,
        passed: Passed,
        out: &mut Outbox,
    ) {
        if !self.decides && !self.hub.asks_joins() {
            return self.hub.verb(now, request, out);
        }
        let conn = request.conn;
        let room = request.room.as_deref();
        let action = match &*request.event {
            "$join" => Some(RoomAction::Join),
            "$leave" => Some(RoomAction::Leave),
            _ => None,
        };
        if action == Some(RoomAction::Join)
            && let Some(room) = room
            && let Err(error) = self.hub.check_right(now, conn, Right::Join, room)
        {
            if self.hub.asks_join(room, &error) {
                return self.ask_join(now, request, out);
            }
            return out.error(conn, request.address(), &error);
        }
        if let Some((action, room)) = action.zip(room) {
            let here = Some(room);
            self.answering = true;
            let admitted = self.with_here(now, out, conn, here, |gateway, cx| {
                cx.set_passed(passed.guards);
                gateway.admit(cx, action, room)
            });
            self.answering = false;
            match admitted {
                Decision::Allow => {}
                Decision::Refuse(failure) => {
                    let mut namespace = self.namespace(now, out);
                    return namespace.fail(conn, request.address(), &failure);
                }
                Decision::Later(token) => {
                    self.replies.keep(token, &written(request), false);
                    let mut namespace = self.namespace(now, out);
                    return namespace.wait(conn, token, request.address());
                }
            }
            if self.hub.connection(conn).is_none() {
                return;
            }
        }
        self.hub.verb(now, request, out);
    }

    /// Handles deadlines: first those of the hub, then those of hooks and guards that took too
    /// long, then each schedule that is due, at most once, the earliest first.
    pub(super) fn handle_timeout(&mut self, now: Timestamp, out: &mut Outbox) -> Applied {
        self.hub.handle_timeout(now, out);
        self.call_hooks(now, out);
        while let Some(token) = self.replies.waiting.take_late(now) {
            self.give_up(now, token, out);
        }
        while let Some(schedule) = self.timetable.take_due(now) {
            self.unsaved = true;
            self.called = ("schedule", None);
            let (gateway, mut namespace) = self.parts(now, out);
            gateway.tick(&mut namespace, schedule);
            self.call_hooks(now, out);
        }
        Applied::Done
    }

    /// Moves the schedules that are due to their next time, as if they had run.
    pub(super) fn skip_due(&mut self, now: Timestamp) -> Applied {
        while self.timetable.take_due(now).is_some() {
            self.unsaved = true;
        }
        Applied::Done
    }

    /// The time to give [`Input::Timeout`](crate::Input::Timeout) next; `None` when nothing is
    /// pending.
    pub fn next_timeout(&self) -> Option<Timestamp> {
        if !self.abandoned.is_empty() {
            return Some(Timestamp::ZERO);
        }
        let (hub, schedules) = (self.hub.next_timeout(), self.timetable.next());
        let waits = self.replies.waiting.next_deadline();
        hub.into_iter().chain(schedules).chain(waits).min()
    }

    /// The time at which the next schedule is due, for hosts that check other deadlines less often;
    /// `None` when no schedule runs.
    pub fn next_schedule(&self) -> Option<Timestamp> {
        self.timetable.next()
    }

    /// Tells the gateway that the host will close all connections soon.
    pub(super) fn drain(&mut self, now: Timestamp, out: &mut Outbox) -> Applied {
        self.called = ("drain", None);
        let (gateway, mut namespace) = self.parts(now, out);
        gateway.drain(&mut namespace);
        self.call_hooks(now, out);
        Applied::Done
    }

    /// [`Hub::shrink_to_fit`].
    pub fn shrink_to_fit(&mut self) {
        self.hub.shrink_to_fit();
        self.changes.shrink_to_fit();
    }

    /// True when [`take_errors`](Self::take_errors), [`take_work`](Self::take_work),
    /// [`take_cancelled`](Self::take_cancelled) or [`take_asked`](Self::take_asked) has anything to
    /// take, which is seldom.
    #[inline]
    pub fn has_news(&self) -> bool {
        self.replies.has_news()
    }

    /// Takes the gateway's failures since the last call, for the host to log; at most 256 are kept.
    pub fn take_errors(&mut self) -> Vec<HandlerError> {
        core::mem::take(&mut self.replies.errors)
    }

    /// Takes the relay's answers to the messages of backends, each with the token from
    /// [`Applied::Relayed`]. Only an [`Input::Relay`](crate::Input) adds any.
    pub fn take_send_outcomes(&mut self) -> Vec<(u64, Result<Delivery, SendError>)> {
        self.hub.take_send_outcomes()
    }

    /// Takes the tokens of answers that are not awaited any more: their connections ended, or the
    /// decision took too long.
    pub fn take_cancelled(&mut self) -> Vec<Token> {
        core::mem::take(&mut self.replies.cancelled)
    }

    /// True when [`state`](Self::state) may have changed since the last call: a host that can be
    /// evicted then saves it at the end of the turn. Expiry of idempotency keys does not count.
    pub fn take_unsaved(&mut self) -> bool {
        let changed = self.gateway.take_changed();
        let histories = self.hub.take_unsaved();
        core::mem::take(&mut self.unsaved) | changed | histories
    }

    /// The ground state without the connections; for the state of a connection see
    /// [`Hub::conn_state`].
    pub fn state(&self) -> AppState {
        AppState {
            hub: self.hub.state(),
            timetable: self.timetable.clone(),
            gateway: self.gateway.save().map(String::into_boxed_str),
        }
    }

    /// The hub, for queries.
    pub const fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The gateway.
    pub const fn gateway(&self) -> &G {
        &self.gateway
    }

    /// True when no answer is pending. Sleep would lose a pending answer and the messages that wait
    /// for it, so hosts stay awake until there is none.
    pub fn is_idle(&self) -> bool {
        self.replies.is_idle()
    }

    /// True when a request waits for this answer.
    pub fn is_pending(&self, token: Token) -> bool {
        self.replies.pending(token).is_some()
    }

    pub(super) fn parts<'a>(
        &'a mut self,
        now: Timestamp,
        out: &'a mut Outbox,
    ) -> (&'a mut G, NamespaceContext<'a>) {
        let namespace = NamespaceContext {
            now,
            hub: &mut self.hub,
            out,
            replies: &mut self.replies,
        };
        (&mut self.gateway, namespace)
    }

    pub(super) fn namespace<'a>(
        &'a mut self,
        now: Timestamp,
        out: &'a mut Outbox,
    ) -> NamespaceContext<'a> {
        self.parts(now, out).1
    }

    pub(super) fn with_here<R>(
        &mut self,
        now: Timestamp,
        out: &mut Outbox,
        conn: ConnId,
        here: Option<&str>,
        call: impl FnOnce(&mut G, &mut Context<'_>) -> R,
    ) -> R {
        let (gateway, namespace) = self.parts(now, out);
        call(gateway, &mut Context::new(namespace, conn).with_here(here))
    }
}

/// Sets the settings of the hub that depend on its gateway.
fn gateway_wants<G: Gateway>(config: &mut Config, gateway: &G) {
    config.raw = gateway.is_raw();
    config.notify_presence = gateway.wants_presence();
}

impl<G> fmt::Debug for App<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("hub", &self.hub)
            .field("replies", &self.replies)
            .field("timetable", &self.timetable)
            .finish_non_exhaustive()
    }
}
