//! Opening connections: the gateway's decision about them, at once or later.

use alloc::{boxed::Box, vec::Vec};
use core::{mem, time::Duration};

use super::{
    app::App, app::Connecting, context::Context, failure::Failure, hooks::Decision, hooks::Gateway,
    outcome::Outcome, outcome::Token, rejection::ConnectError, rejection::Rejection, wait::Entry,
    wait::Hold, wait::Next, wait::Opening, wait::OwnedFrame,
};
use crate::wire::{CloseCode, ConnId, DisconnectReason, Frame};
use crate::{hub::Handshake, outbox::Kind, outbox::Mark, outbox::Outbox, time::Timestamp};

/// The close reason when the namespace slept while `connect` was pending: its work is lost.
const ABANDONED: &str = "the server forgot this connection while it opened: connect again";

impl<G: Gateway> App<G> {
    /// Opens a connection, if the hub and the gateway accept it.
    ///
    /// # Errors
    ///
    /// When the hub or the gateway refuses the connection, which leaves no trace then.
    pub(super) fn connect(
        &mut self,
        now: Timestamp,
        handshake: Handshake,
        out: &mut Outbox,
    ) -> Result<ConnId, ConnectError> {
        let mark = out.mark();
        let rooms = handshake.identity.rooms.clone();
        let is_named = handshake.identity.user.is_some();
        let is_known = !handshake.unidentified;
        let welcome = handshake.welcome && !self.hub.is_raw();
        let conn = self.hub.connect(now, handshake, out)?;
        self.unsaved = true;
        if is_known && self.hub.tells() {
            self.hub.tell_opened(conn, out);
        }
        // The application is asked about a client once its identity is known.
        let decision = if is_known {
            self.connecting = Some(Connecting {
                conn,
                mark,
                admitted: false,
                is_open: false,
                late: false,
            });
            self.ask_connect(now, conn, 0, out)
        } else {
            Decision::Allow
        };
        let (late, deadline) = (false, None);
        let admitted = match decision {
            Decision::Allow => {
                let rooms = Vec::new();
                let entry = Entry {
                    welcome,
                    rooms,
                    late,
                    deadline,
                };
                self.name(now, conn, is_named, mark, &entry, out);
                Ok(true)
            }
            Decision::Refuse(rejection) => Err(rejection),
            Decision::Later(token) => {
                let rooms = rooms.clone();
                let entry = Entry {
                    welcome,
                    rooms,
                    late,
                    deadline,
                };
                let held = self.hold_connection(now, (conn, mark), token, entry, out);
                held.map(|()| false)
            }
        };
        match &admitted {
            Err(rejection) => {
                self.connecting = None;
                self.report_connect(conn, rejection);
                self.revoke(now, conn, mark, out);
            }
            Ok(true) => {
                if let Some(connecting) = &mut self.connecting {
                    connecting.admitted = true;
                }
            }
            Ok(false) => self.connecting = None,
        }
        self.call_hooks(now, out);
        if admitted == Ok(true) {
            self.join_at_once(now, conn, &rooms, out);
        }
        self.connecting = None;
        admitted.map_err(ConnectError::Rejected)?;
        Ok(conn)
    }

    /// Asks the gateway about a connection, from the first hook that it has not passed.
    pub(super) fn ask_connect(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        passed: usize,
        out: &mut Outbox,
    ) -> Decision<Rejection> {
        self.called = ("connect", Some(conn));
        let (gateway, namespace) = self.parts(now, out);
        gateway.connect(&mut Context::new(namespace, conn).with_passed(passed))
    }

    /// Makes a connection wait for the gateway's decision. Frames already sent to it are held back.
    pub(super) fn hold_connection(
        &mut self,
        now: Timestamp,
        (conn, mark): (ConnId, Mark),
        token: Token,
        mut entry: Entry,
        out: &mut Outbox,
    ) -> Result<(), Rejection> {
        // Counted from the first wait, even if more follow.
        let deadline = now + self.hub.limits().admission_timeout;
        let deadline = Some(*entry.deadline.get_or_insert(deadline));
        let Some(rooms) = self.hub.rooms_of(conn) else {
            // The gateway closed it.
            self.replies.cancel(conn);
            return Ok(());
        };
        let misuse = if !rooms.is_empty() {
            "the hook joined a room and then waits: let it join behind the wait, by `then`"
        } else if token.conn() != conn || !self.replies.hold_connection(token, deadline) {
            "the hook returned the token of something else, or too many tasks are running"
        } else {
            let frames = entry.hold_back(conn, mark, out);
            self.hub.set_opening(conn, true, out);
            let opening = Opening {
                token,
                entry,
                frames,
            };
            self.replies.opening.insert(conn, opening);
            return Ok(());
        };
        Err(Failure::internal(misuse).into())
    }

    /// Replaces the greeting of a connection if the gateway has named its user since the mark.
    /// Backends are told too, before the commands that were given since then.
    fn name(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        was_named: bool,
        mark: Mark,
        entry: &Entry,
        out: &mut Outbox,
    ) {
        let info = self.hub.connection(conn);
        if !was_named && info.is_some_and(|info| info.user.is_some()) {
            let frames = entry.hold_back(conn, mark, out);
            self.show(now, (conn, mark), entry, &frames, out);
        }
    }

    /// Tells backends that a connection opened, before the commands given since the mark. Then
    /// sends the greeting and the frames that were held back.
    fn show(
        &mut self,
        now: Timestamp,
        (conn, mark): (ConnId, Mark),
        entry: &Entry,
        frames: &[(OwnedFrame, bool)],
        out: &mut Outbox,
    ) {
        if self.hub.tells() {
            out.put_before(mark, |out| self.hub.tell_opened(conn, out));
        }
        out.persist(conn);
        if entry.welcome {
            self.hub.welcome_opened(now, conn, out);
        }
        for (frame, is_message) in frames {
            let kind = if *is_message {
                Kind::MESSAGE
            } else {
                Kind::CONTROL
            };
            match frame.as_frame() {
                Frame::Text(frame) => out.send_to_as(conn, kind, |text| text.push_str(frame)),
                Frame::Binary(bytes) => {
                    let (_, draft) = out.frame();
                    out.recipients().push(conn);
                    out.send_binary(draft, bytes);
                }
            }
        }
    }

    /// Applies the outcome that an opening connection waits for.
    pub(super) fn complete_connect(
        &mut self,
        now: Timestamp,
        token: Token,
        outcome: &Outcome,
        out: &mut Outbox,
    ) {
        let (conn, mark) = (token.conn(), out.mark());
        let hold = self.replies.take_hold(token);
        self.replies.take(token);
        let Some(Opening { entry, frames, .. }) = self.replies.opening.remove(&conn) else {
            return;
        };
        self.hub.set_opening(conn, false, out);
        let info = self.hub.connection(conn);
        let is_named = info.is_some_and(|info| info.user.is_some());
        self.show(now, (conn, mark), &entry, &frames, out);
        let connecting = Connecting {
            conn,
            mark,
            admitted: false,
            is_open: true,
            late: entry.late,
        };
        self.connecting = Some(connecting);
        let decision = match (outcome, hold) {
            (Outcome::Done | Outcome::Replies(_), Some(Hold::Check { passed, .. })) => {
                self.ask_connect(now, conn, passed.guards, out)
            }
            (Outcome::Resume(result), Some(Hold::Then { passed, next })) => {
                self.go_on_connecting(now, conn, passed, next, result, out)
            }
            (Outcome::Fail(failure), _) => Decision::Refuse(failure.clone().into()),
            (Outcome::Reject(rejection), _) => Decision::Refuse((**rejection).clone()),
            // A token without a hold, such as one of `Context::later`.
            _ => Decision::Allow,
        };
        let rooms = entry.rooms.clone();
        let decided = match decision {
            Decision::Allow => {
                self.name(now, conn, is_named, mark, &entry, out);
                Ok(true)
            }
            Decision::Refuse(rejection) => Err(rejection),
            Decision::Later(token) => {
                let held = self.hold_connection(now, (conn, mark), token, entry, out);
                held.map(|()| false)
            }
        };
        // The messages that waited are handled after it has joined its rooms.
        self.decide_open(now, connecting, decided, &rooms, out);
    }

    /// Carries out the decision about an open connection: `Ok(true)` admits it, `Ok(false)` leaves
    /// it waiting.
    pub(super) fn decide_open(
        &mut self,
        now: Timestamp,
        connecting: Connecting,
        decided: Result<bool, Rejection>,
        rooms: &[Box<str>],
        out: &mut Outbox,
    ) {
        let conn = connecting.conn;
        let admitted = decided == Ok(true);
        self.connecting = admitted.then_some(Connecting {
            admitted,
            ..connecting
        });
        if let Err(rejection) = decided {
            self.report_connect(conn, &rejection);
            self.refuse_open(now, connecting, &rejection, out);
        }
        self.call_hooks(now, out);
        if admitted {
            self.hub.warn_opened(now, conn, out);
            self.join_at_once(now, conn, rooms, out);
        }
        self.connecting = None;
    }

    fn go_on_connecting(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        passed: usize,
        Next(next): Next,
        result: &str,
        out: &mut Outbox,
    ) -> Decision<Rejection> {
        let lost = || Failure::internal("there is nothing to go on with").into();
        let Some(next) = next else {
            return Decision::Refuse(lost());
        };
        self.called = ("connect", Some(conn));
        let (gateway, namespace) = self.parts(now, out);
        let mut cx = Context::new(namespace, conn).with_passed(passed);
        match gateway.resume(&mut cx, next, result) {
            Outcome::Done | Outcome::Reply(_) | Outcome::Replies(_) => {
                self.ask_connect(now, conn, passed, out)
            }
            Outcome::Fail(failure) => Decision::Refuse(failure.into()),
            Outcome::Reject(rejection) => Decision::Refuse(*rejection),
            Outcome::Later(token) => Decision::Later(token),
            Outcome::Grant(_) | Outcome::Resume(_) | Outcome::Unclaimed => Decision::Refuse(lost()),
        }
    }

    pub(super) fn report_connect(&mut self, conn: ConnId, rejection: &Rejection) {
        if let Some(cause) = rejection.cause() {
            self.replies.report(Some(conn), "connect", cause.into());
        }
    }

    /// Refuses an open connection; for others it has never existed.
    pub(super) fn refuse_open(
        &mut self,
        now: Timestamp,
        connecting: Connecting,
        rejection: &Rejection,
        out: &mut Outbox,
    ) {
        let Connecting { conn, late, .. } = connecting;
        let code = rejection.close_code();
        let is_alive = self.hub.connection(conn).is_some();
        self.take_back(now, connecting, out);
        // A connection that is not alive was closed by the gateway, which was retracted above.
        if is_alive && !self.hub.is_raw() {
            out.send_to(conn, |text| text.push_str(&rejection.frame()));
            if late {
                // It has been greeted.
                out.bye(conn, code, Duration::ZERO);
            }
        }
        out.close(conn, code, rejection.reason());
    }

    /// Removes a connection. A gateway that has admitted it is told of its end.
    pub(super) fn take_back(&mut self, now: Timestamp, connecting: Connecting, out: &mut Outbox) {
        let Connecting {
            conn,
            mark,
            admitted,
            ..
        } = connecting;
        if !admitted {
            return self.revoke(now, conn, mark, out);
        }
        // Gone already when the gateway closed it.
        let reason = DisconnectReason::Closed(CloseCode::INTERNAL);
        let _ = self.hub.disconnect(now, conn, reason, out);
        out.retract(mark, conn);
    }

    /// Removes a connection as if it had never existed.
    fn revoke(&mut self, now: Timestamp, conn: ConnId, mark: Mark, out: &mut Outbox) {
        // Gone already when the gateway closed it.
        let reason = DisconnectReason::Violation(CloseCode::FORBIDDEN);
        let _ = self.hub.disconnect(now, conn, reason, out);
        out.retract(mark, conn);
        self.hub.retract_changes(conn);
        self.replies.cancel(conn);
    }

    /// Closes the connections whose `connect` was pending when the namespace went to sleep.
    #[cold]
    #[inline(never)]
    pub(super) fn close_abandoned(&mut self, now: Timestamp, out: &mut Outbox) {
        for conn in mem::take(&mut self.abandoned) {
            // It may have ended.
            let _ = self
                .hub
                .close(now, conn, CloseCode::OVERLOADED, ABANDONED, out);
            self.replies.cancel(conn);
        }
    }
}
