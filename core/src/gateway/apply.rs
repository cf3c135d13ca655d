//! Inputs, the calls of the gateway's hooks after a change, and recovery after a handler that
//! unwound.

use alloc::boxed::Box;
use core::time::Duration;

use serde_json::value::RawValue;

use super::{
    app::App, app::Connecting, context::Context, failure::Failure, hooks::Decision, hooks::Gateway,
    input::Applied, input::Input, namespace_context::NamespaceContext, rejection::Rejection,
    wait::Entry, wait::Passed, wait::written,
};
use crate::hub::{
    Audience, RequestError, SendError, UnknownConn, change::Change, receive::Received,
};
use crate::wire::{ConnId, EncodeError, Event, Frame, Message, Payload};
use crate::{
    identity::Identity, outbox::Outbox, policy::Policies, policy::Subscriptions, time::Timestamp,
};

impl<G: Gateway> App<G> {
    /// Applies an input: the only way to change the namespace. The commands that follow are
    /// appended to the outbox.
    ///
    /// Work: that of the hub's method, and of the hooks that it causes.
    #[allow(clippy::wildcard_enum_match_arm)] // all others are matched in `apply_other`
    pub fn apply(&mut self, now: Timestamp, input: &Input<'_>, out: &mut Outbox) -> Applied {
        let (conn, frame) = match input {
            Input::Text { conn, text } => (*conn, Frame::Text(text)),
            Input::Binary { conn, bytes } => (*conn, Frame::Binary(bytes)),
            Input::Activity(conn) => return self.hub.note_activity(now, *conn).into(),
            input => return self.apply_other(now, input, out),
        };
        if self.replies.waiting.holds(conn) {
            return self.wait(now, conn, frame, out).into();
        }
        match self.hub.check_rate(now, conn, frame, out) {
            Ok(true) => {
                let received = self.hub.read(now, conn, frame, out);
                self.act_on(now, conn, (received, frame), Passed::default(), out);
            }
            Ok(false) => self.call_hooks(now, out),
            Err(fault) => return Applied::UnknownConn(fault),
        }
        Applied::Done
    }

    /// Applies an input that is not a client's message, and tells the gateway what it changed.
    #[inline(never)]
    fn apply_other(&mut self, now: Timestamp, input: &Input<'_>, out: &mut Outbox) -> Applied {
        // A host addresses a socket by its slot until the commands are carried out: a connection
        // that opens must not get the slot of one that they close.
        if !self.abandoned.is_empty() && !matches!(input, Input::Connect(_)) {
            if let Input::Disconnect { conn, .. } = input {
                self.abandoned.retain(|other| other != conn); // there is nothing to close
            }
            self.close_abandoned(now, out);
        }
        let hub = &mut self.hub;
        let applied = match input {
            Input::Connect(handshake) => {
                return Applied::Connected(self.connect(now, handshake.clone(), out));
            }
            Input::Authenticate {
                conn,
                text,
                identity,
                unavailable,
            } => {
                let refusal = match unavailable {
                    true => RequestError::TokenUnavailable,
                    false => RequestError::Token,
                };
                let identity = identity.as_deref().ok_or(refusal);
                return self.authenticate(now, *conn, text, identity, out);
            }
            Input::Withdraw { user, not_before_s } => {
                self.unsaved = true;
                Applied::Withdrawn(hub.withdraw(now, user, *not_before_s, out))
            }
            Input::Timeout => return self.handle_timeout(now, out),
            Input::SkipDue => return self.skip_due(now),
            Input::Complete { token, outcome } => {
                return Applied::Completed(self.complete(now, *token, outcome, out));
            }
            Input::Drain => return self.drain(now, out),
            Input::Relay(event) => {
                hub.take_event(now, event, out);
                Applied::Done
            }
            Input::Send {
                key,
                audience,
                event,
                path,
                data,
            } => {
                let event = Event::new(event).with_path(path.as_deref());
                if hub.is_clustered() {
                    return self.submit(key.as_deref(), audience, (event, data), out);
                }
                let send = |data| match key {
                    Some(key) => hub.send_once(now, key, audience, event, data, out),
                    None => Ok(hub.send(now, audience, event, data, out)?),
                };
                let data = Payload::from_raw(data).map_err(EncodeError::from);
                self.unsaved |= key.is_some();
                return Applied::Sent(data.map_err(SendError::from).and_then(send));
            }
            Input::SendText { audience, text } => {
                return self.send_frame(now, audience, Frame::Text(text), out);
            }
            Input::SendBinary { audience, bytes } => {
                return self.send_frame(now, audience, Frame::Binary(bytes), out);
            }
            Input::SetDelivery { key, delivery } => {
                hub.set_delivery(key, *delivery);
                return Applied::Done;
            }
            Input::WallClock { unix_zero_ms } => {
                hub.set_unix_zero_ms(*unix_zero_ms);
                return Applied::Done;
            }
            Input::TrimHistories { bytes_max } => {
                hub.trim_histories(*bytes_max, out);
                return Applied::Done;
            }
            Input::TrimClientKeys { keys_max } => {
                hub.trim_client_keys(now, *keys_max, out);
                return Applied::Done;
            }
            Input::Disconnect { conn, reason } => hub.disconnect(now, *conn, *reason, out).into(),
            Input::Close {
                conn,
                code,
                reason,
                away_ms,
            } => {
                let away = Duration::from_millis(*away_ms);
                hub.close_for(now, *conn, *code, reason, away, out).into()
            }
            Input::Join { conn, .. } if hub.is_opening(*conn) => {
                Applied::Joined(Err(UnknownConn(*conn).into()))
            }
            Input::Join { conn, room, meta } => {
                let meta = meta.as_deref().map_or(Ok(Payload::NULL), Payload::from_raw);
                let meta = meta.map_err(|fault| EncodeError::from(fault).into());
                let joined = meta.and_then(|meta| hub.join_with(now, *conn, room, meta, out));
                Applied::Joined(joined.map(|joined| joined.already))
            }
            Input::Leave { conn, room } => {
                let left = hub.leave(now, *conn, room, out);
                left.map_or_else(Applied::UnknownConn, Applied::Left)
            }
            Input::HistoryLoaded { room, messages } => {
                hub.history_loaded(now, room, messages.iter().cloned(), out);
                let page = |offsets, limit| hub.history_page(now, room, offsets, limit);
                self.replies.reads.answer(room, page);
                Applied::Done
            }
            Input::SetPolicies { policies } => {
                hub.set_policies(now, Policies::clone(policies), out);
                Applied::Done
            }
            Input::SetBackends {
                subscriptions,
                asks_join,
            } => {
                hub.set_backends(Subscriptions::clone(subscriptions), *asks_join);
                return Applied::Done;
            }
            Input::Text { .. } | Input::Binary { .. } | Input::Activity(_) => Applied::Done,
        };
        self.call_hooks(now, out);
        applied
    }

    /// Applies an `$auth`, by which a client says who it is, for the first time or again.
    fn authenticate(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        text: &str,
        identity: Result<&Identity, RequestError>,
        out: &mut Outbox,
    ) -> Applied {
        let frame = Frame::Text(text);
        match self.hub.check_auth_rate(now, conn, frame, out) {
            Err(fault) => return Applied::UnknownConn(fault),
            Ok(true) => match self.hub.read(now, conn, frame, out) {
                Received::Verb(request) => self.identify(now, &request, identity, out),
                // Not an envelope, or in a namespace that has none.
                Received::Message(_) | Received::Raw(_) | Received::Answered => {}
            },
            Ok(false) => {}
        }
        self.call_hooks(now, out);
        Applied::Done
    }

    fn identify(
        &mut self,
        now: Timestamp,
        request: &Message<'_>,
        identity: Result<&Identity, RequestError>,
        out: &mut Outbox,
    ) {
        let conn = request.conn;
        // It is alive.
        let is_first = self.hub.authenticate(now, request, identity, out);
        let (Ok(identity), Ok(true)) = (identity, is_first) else {
            return;
        };
        let mark = out.mark();
        if self.hub.tells() {
            self.hub.tell_opened(conn, out);
        }
        let connecting = Connecting {
            conn,
            mark,
            admitted: false,
            is_open: true,
            late: true,
        };
        self.connecting = Some(connecting);
        let decided = match self.ask_connect(now, conn, 0, out) {
            Decision::Allow => Ok(true),
            Decision::Refuse(rejection) => Err(rejection),
            Decision::Later(token) => {
                let entry = Entry {
                    welcome: false,
                    rooms: identity.rooms.clone(),
                    late: true,
                    deadline: None,
                };
                let held = self.hold_connection(now, (conn, mark), token, entry, out);
                held.map(|()| false)
            }
        };
        self.decide_open(now, connecting, decided, &identity.rooms, out);
    }

    /// Joins the rooms that an identity names, each with the same answer as a `$join`.
    pub(super) fn join_at_once(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        rooms: &[Box<str>],
        out: &mut Outbox,
    ) {
        let mut rooms = rooms.iter().take(self.hub.limits().rooms_per_connection);
        while !self.replies.waiting.holds(conn) {
            let Some(room) = rooms.next().filter(|_| self.hub.connection(conn).is_some()) else {
                return;
            };
            let request = Message::verb(conn, "$join", room);
            self.verb(now, &request, Passed::default(), out);
            self.call_hooks(now, out);
        }
        // The remaining joins wait, in front of the client's messages.
        for room in rooms.rev() {
            let text = written(&Message::verb(conn, "$join", room)).into();
            let waiting = &mut self.replies.waiting;
            waiting.push_first(conn, text, Passed::default());
        }
    }

    /// Hands the message of a backend to the relay, which may refuse it.
    fn submit(
        &mut self,
        key: Option<&str>,
        audience: &Audience,
        (event, data): (Event<'_>, &RawValue),
        out: &mut Outbox,
    ) -> Applied {
        let data = Payload::from_raw(data).map_err(EncodeError::from);
        let data = data.map_err(SendError::from);
        let submitted = data.and_then(|data| self.hub.submit(key, audience, (event, data), out));
        submitted.map_or_else(|error| Applied::Sent(Err(error)), Applied::Relayed)
    }

    fn send_frame(
        &mut self,
        now: Timestamp,
        audience: &Audience,
        frame: Frame<'_>,
        out: &mut Outbox,
    ) -> Applied {
        if self.hub.is_clustered() {
            let submitted = self.hub.submit_frame(audience, frame, out);
            return submitted.map_or_else(|error| Applied::Sent(Err(error)), Applied::Relayed);
        }
        let sent = self.hub.send_frame(now, audience, frame, out);
        Applied::Sent(sent.map_err(Into::into))
    }
}

/// Calls of the gateway's hooks.
impl<G: Gateway> App<G> {
    /// The length of a chain of hooks that cause each other, at most; the rest is cut off. An
    /// application that leaves each room that it joins, and joins each room that it leaves, must
    /// not hang its host.
    const HOOKS_DEEP_MAX: usize = 64;

    /// Reports changes to the gateway, and the changes that its hooks cause.
    pub(super) fn call_hooks(&mut self, now: Timestamp, out: &mut Outbox) {
        if self.hub.records_changes() {
            self.collect(0);
            // Changes may cause others, but in total no more than one full chain for each change
            // and each connection.
            let chains = self.changes.len() + self.hub.counts().connections;
            let mut more = chains.saturating_mul(Self::HOOKS_DEEP_MAX);
            while let Some((deep, change)) = self.changes.pop_front() {
                // A connection ends only once, so these changes cannot go on forever.
                if deep > 0 && !change.is_of_the_end() {
                    if more == 0 || deep as usize >= Self::HOOKS_DEEP_MAX {
                        let error = "hooks cause each other without an end: not called any more";
                        self.replies.report(change.conn(), "hooks", error.into());
                        continue;
                    }
                    more -= 1;
                }
                self.telling = Some((deep, change));
                self.tell(now, out);
                self.told();
            }
        }
        self.unsaved |= if self.hub.counts().connections == 0 {
            self.timetable.stop()
        } else {
            self.timetable.start(now)
        };
    }

    /// Ends the report of a change: the gateway has handled it, or unwound.
    pub(super) fn told(&mut self) -> Option<(u32, Change)> {
        let told = self.telling.take()?;
        self.collect(told.0 + 1);
        Some(told)
    }

    fn tell(&mut self, now: Timestamp, out: &mut Outbox) {
        let Some((_, change)) = &self.telling else {
            return;
        };
        let hook = match change {
            Change::Joined { .. } => "joined",
            Change::Left { .. } => "left",
            Change::Ended(_) | Change::Abandoned(_) => "disconnect",
            Change::Present { .. } => "present",
            Change::Absent { .. } => "absent",
        };
        self.called = (hook, change.conn());
        let mut namespace = NamespaceContext {
            now,
            hub: &mut self.hub,
            out,
            replies: &mut self.replies,
        };
        let gateway = &mut self.gateway;
        match change {
            Change::Joined { conn, room } => {
                gateway.joined(&mut Context::new(namespace, *conn), room);
            }
            Change::Left { conn, room, ended } => {
                let cx = Context::new(namespace, *conn);
                gateway.left(&mut cx.with_ended(ended.as_deref()), room);
            }
            Change::Ended(ended) => {
                let cx = Context::new(namespace, ended.id);
                gateway.disconnect(&mut cx.with_ended(Some(ended)), ended.reason);
            }
            Change::Abandoned(_) => {} // never told
            Change::Present { room, user, .. } => gateway.present(&mut namespace, room, user),
            Change::Absent { room, user, .. } => gateway.absent(&mut namespace, room, user),
        }
    }

    /// Appends the changes that the hub recorded to those that are still to be reported.
    fn collect(&mut self, deep: u32) {
        for change in self.hub.take_changes() {
            if let Change::Abandoned(conn) = change {
                self.replies.cancel(conn);
                continue;
            }
            if let Change::Ended(ended) = &change {
                self.replies.cancel(ended.id);
                // Room by room, so that a hook that panics does not keep the others from running.
                for room in &ended.rooms {
                    let left = Change::Left {
                        conn: ended.id,
                        room: room.clone(),
                        ended: Some(ended.clone()),
                    };
                    self.changes.push_back((deep, left));
                }
            }
            self.changes.push_back((deep, change));
        }
    }
}

/// Recovery of a namespace after a handler that unwound.
impl<G: Gateway> App<G> {
    /// Recovers after the gateway unwound during this input: for hosts that catch panics.
    ///
    /// The outbox must be the one that the input was applied with. A message is answered
    /// `internal`. A connection that was opening is removed as if it had been refused, and the host
    /// refuses it as [`Rejection::internal`](crate::Rejection::internal). Then the remaining hooks
    /// run. If they unwind too, call this again, with [`Input::Timeout`], until it does: no
    /// hook runs twice. The text is among the errors of
    /// [`take_errors`](Self::take_errors).
    pub fn unwound(&mut self, now: Timestamp, input: &Input<'_>, text: &str, out: &mut Outbox) {
        let answering = core::mem::take(&mut self.answering);
        let continued = self.continuing.take();
        let resumed = self.resumed.as_mut();
        let resumed = resumed.map(|resumed| (resumed.conn, resumed.text.take()));
        let asked = match (&resumed, input) {
            (Some((conn, text)), _) => text.as_deref().map(|text| (*conn, text)),
            (None, Input::Text { conn, text }) => Some((*conn, &**text)),
            (None, _) => None,
        };
        if let Some(connecting) = self.connecting.take() {
            let conn = Some(connecting.conn);
            self.replies.report(conn, "connect", text.into());
            if connecting.is_open {
                self.refuse_open(now, connecting, &Rejection::internal(), out);
            } else {
                self.take_back(now, connecting, out);
            }
        } else if let Some((conn, to)) = &continued {
            let mut namespace = self.namespace(now, out);
            namespace.fail(*conn, to.borrow(), &Failure::internal(text));
        } else if let Some((conn, frame)) = asked
            && answering
        {
            self.answer_internal(now, conn, frame, text, out);
        } else {
            let (hook, conn) = self.called;
            self.replies.report(conn, hook, text.into());
        }
        let unfinished = self.gateway.take_unfinished();
        match self.told() {
            Some(change) if unfinished => self.changes.push_front(change),
            None if unfinished && self.called.0 == "drain" => {
                self.drain(now, out);
            }
            _ => {}
        }
        self.call_hooks(now, out);
        if let Some(conn) = resumed.map(|(conn, _)| conn).or(self.completing) {
            self.resume(now, conn, out);
        }
        self.completing = None;
    }

    /// Answers the message `internal`. The frame is decoded again, a cost that only panics incur.
    fn answer_internal(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        frame: &str,
        text: &str,
        out: &mut Outbox,
    ) {
        let Ok(request) = Message::decode(conn, frame) else {
            return self.replies.report(Some(conn), "$error", text.into());
        };
        let failure = Failure::internal(text);
        let mut namespace = self.namespace(now, out);
        namespace.fail(conn, request.address(), &failure);
    }
}
