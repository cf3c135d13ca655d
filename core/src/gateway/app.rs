//! A hub and the application before it.

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
/// It takes the place of the hub in a host. With `()` for a gateway it does what the hub does, byte
/// for byte.
///
/// 1. **The way in**: [`apply`](Self::apply) takes whatever may change the namespace as an
///    [`Input`](crate::Input), lets the gateway decide where it has something to decide, and
///    appends commands to the [`Outbox`].
/// 2. **News** for the host behind that: [`take_errors`](Self::take_errors),
///    [`take_work`](Self::take_work), [`take_cancelled`](Self::take_cancelled).
/// 3. **Questions**: [`hub`](Self::hub), [`upgrade`](Self::upgrade),
///    [`next_timeout`](Self::next_timeout).
/// 4. **Sleep and wake**: [`state`](Self::state), [`restore`](Self::restore),
///    [`take_unsaved`](Self::take_unsaved).
///
/// # When a handler panics
///
/// The core cannot catch it. A host that does (`std::panic::catch_unwind`) gives the same input to
/// [`unwound`](Self::unwound) and carries out the outbox as it is: whatever the gateway had done to
/// rooms and connections stays done, nothing is left half done, the client is answered `internal`,
/// and the remaining hooks run.
#[derive(Clone)]
pub struct App<G> {
    pub(super) hub: Hub,
    pub(super) gateway: G,
    pub(super) replies: PendingReplies,
    /// Changes that hooks have yet to be called for, each with the number of hooks that led to it.
    pub(super) changes: VecDeque<(u32, Change)>,
    /// The change that the gateway is being told.
    pub(super) telling: Option<(u32, Change)>,
    pub(super) timetable: Timetable,
    /// False when messages are the hub's alone.
    decides: bool,
    /// False when the gateway has no hooks and no schedules, so that there is nothing to call.
    has_hooks: bool,
    pub(super) connecting: Option<Connecting>,
    /// Connections whose `connect` waited when the namespace fell asleep, until they are closed.
    pub(super) abandoned: Vec<ConnId>,
    /// The request that the gateway goes on with.
    pub(super) continuing: Option<(ConnId, OwnedAddress)>,
    /// The connection that an outcome is for, until it has gone on.
    pub(super) completing: Option<ConnId>,
    /// The hook that was called last, and its connection: a panic in it is reported with them.
    pub(super) called: (&'static str, Option<ConnId>),
    /// True while the gateway is asked about a message or verb that was not answered yet.
    pub(super) answering: bool,
    /// The connection whose messages need not wait any more, until there are none.
    pub(super) resumed: Option<Resumed>,
    pub(super) unsaved: bool,
}

/// A connection about which the gateway is being asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Connecting {
    pub(super) conn: ConnId,
    /// The beginning of its commands.
    pub(super) mark: Mark,
    /// True when the gateway let the connection in.
    pub(super) admitted: bool,
    /// False while the host has not been told its id.
    pub(super) is_open: bool,
    /// True when the client has been greeted, and said later who it is.
    pub(super) late: bool,
}

/// The ground state of an [`App`] that belongs to no connection.
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
    /// A namespace that nobody is connected to.
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

    /// The namespace in the state that was saved. Whatever happens next, it answers as the saved
    /// one would have; only answers that were under way are lost.
    ///
    /// # Errors
    ///
    /// When the states contradict each other or the limits, or the gateway does not take its own.
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
    /// Where the gateway waits, the future has all that it needs: whatever happens to the namespace
    /// meanwhile, the host polls it, and drops it when the client is gone or out of time.
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

    /// Lets the gateway decide about a message that arrived, and the hub about what it left.
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

    /// Does what is due: first in the hub, then for hooks and guards that took too long, then each
    /// schedule at most once, the earliest first.
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

    /// Lets the schedules that are due wait for their next time, as if they had run.
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

    /// The time at which the next schedule is due, for hosts that look for other deadlines less
    /// often; `None` when none runs.
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

    /// True when one of [`take_errors`](Self::take_errors), [`take_work`](Self::take_work) and
    /// [`take_cancelled`](Self::take_cancelled) has anything, which is seldom.
    #[inline]
    pub fn has_news(&self) -> bool {
        self.replies.has_news()
    }

    /// Takes the failures of the gateway since this was last called, to be logged; at most 256 are
    /// kept.
    pub fn take_errors(&mut self) -> Vec<HandlerError> {
        core::mem::take(&mut self.replies.errors)
    }

    /// Takes the answers of the relay to what backends sent, each with the token that
    /// [`Applied::Relayed`] gave. There are some only behind an [`Input::Relay`](crate::Input).
    pub fn take_send_outcomes(&mut self) -> Vec<(u64, Result<Delivery, SendError>)> {
        self.hub.take_send_outcomes()
    }

    /// Answers that nobody waits for any more, since their connections ended.
    pub fn take_cancelled(&mut self) -> Vec<Token> {
        core::mem::take(&mut self.replies.cancelled)
    }

    /// True when [`state`](Self::state) may have changed since this was last called: hosts that can
    /// be evicted then save it at the end of a turn. Idempotency keys that expire do not count.
    pub fn take_unsaved(&mut self) -> bool {
        let changed = self.gateway.take_changed();
        let histories = self.hub.take_unsaved();
        core::mem::take(&mut self.unsaved) | changed | histories
    }

    /// The ground state that belongs to no connection; that of a connection is
    /// [`Hub::conn_state`].
    pub fn state(&self) -> AppState {
        AppState {
            hub: self.hub.state(),
            timetable: self.timetable.clone(),
            gateway: self.gateway.save().map(String::into_boxed_str),
        }
    }

    /// The hub, to be asked.
    pub const fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The gateway.
    pub const fn gateway(&self) -> &G {
        &self.gateway
    }

    /// True when no answer is under way. Sleep would lose an answer under way and the messages that
    /// wait for it: hosts stay awake until there is none.
    pub fn is_idle(&self) -> bool {
        self.replies.is_idle()
    }

    /// True when this answer is awaited.
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
