//! Answers: the frames of an outcome, and the messages that wait for an answer.

use alloc::{borrow::ToOwned, boxed::Box, format, string::String, vec::Vec};

use super::{
    app::App, failure::Failure, failure::Kind, hooks::Gateway, namespace_context::NamespaceContext,
    outcome::Outcome, outcome::Reply, outcome::Token, rejection::Rejection, wait::CompleteError,
    wait::Hold, wait::Next, wait::OwnedFrame, wait::Passed, wait::PendingReplies, wait::Resumed,
    wait::Work, wait::written,
};
use crate::hub::{RequestError, UnknownConn};
use crate::wire::{Address, ConnId, ErrorBody, Frame, Message, OwnedAddress, write_head};
use crate::{outbox::Outbox, policy::Right, time::Timestamp, time::whole_millis};

impl NamespaceContext<'_> {
    /// Answers a message. The answer is dropped if the connection has ended; [`Outcome::Later`] and
    /// [`Outcome::Unclaimed`] are not answers.
    pub(super) fn answer(&mut self, conn: ConnId, to: Address<'_>, outcome: &Outcome) {
        let reply = |namespace: &mut Self, reply: &Reply, id| {
            let event = reply.event.as_deref().unwrap_or(to.event);
            namespace.reply(conn, Address { event, id, ..to }, &reply.data);
        };
        match outcome {
            Outcome::Reply(last) => reply(self, last, to.id),
            Outcome::Replies(replies) if !replies.is_empty() => {
                let last = replies.len() - 1;
                for (at, frame) in replies.iter().enumerate() {
                    reply(self, frame, to.id.filter(|_| at == last));
                }
            }
            Outcome::Done | Outcome::Replies(_) => {
                if to.id.is_some() {
                    self.reply(conn, to, "null");
                }
            }
            Outcome::Fail(failure) => self.fail(conn, to, failure),
            Outcome::Reject(rejection) => {
                let (code, reason) = (rejection.code(), rejection.reason().to_owned());
                self.fail(conn, to, &Failure::new(code, reason));
            }
            Outcome::Later(_) | Outcome::Unclaimed | Outcome::Grant(_) | Outcome::Resume(_) => {}
        }
    }

    fn reply(&mut self, conn: ConnId, to: Address<'_>, json: &str) {
        if self.hub.connection(conn).is_none() {
            return;
        }
        self.out.send_to(conn, |text| {
            write_head(text, to.event, to.id, to.room);
            text.push_str(r#","data":"#);
            text.push_str(json);
            text.push('}');
        });
    }

    pub(super) fn fail(&mut self, conn: ConnId, to: Address<'_>, failure: &Failure) {
        if let Kind::Internal(text) = &*failure.0 {
            self.replies.report(Some(conn), to.event, text.clone());
        }
        if self.hub.connection(conn).is_some() {
            self.out.error(conn, to, failure);
        }
    }

    /// Registers an answer that comes later, unless the connection has ended.
    pub(super) fn wait(&mut self, conn: ConnId, token: Token, request: Address<'_>) {
        let failure = if token.conn() != conn || self.replies.pending(token).is_some() {
            Failure::internal("the handler returned the token of another request")
        } else if self.hub.connection(conn).is_none() {
            return;
        } else {
            let decides = self.replies.is_check(token);
            let deadline = decides.then(|| self.now + self.hub.limits().admission_timeout);
            if self.replies.wait(token, request, deadline) {
                return;
            }
            let limit = PendingReplies::PENDING_MAX;
            Failure::of(&RequestError::Pending { limit })
        };
        self.fail(conn, request, &failure);
    }

    /// Applies an outcome that a message waits for: the message continues, or is answered. Returns
    /// the request if the gateway has to continue with it.
    fn complete(
        &mut self,
        token: Token,
        outcome: &Outcome,
    ) -> Result<Option<(OwnedAddress, Next)>, CompleteError> {
        let conn = token.conn();
        let hold = self.replies.take_hold(token);
        let request = self.replies.take(token).ok_or(CompleteError::Answered)?;
        match (outcome, hold) {
            (Outcome::Grant(rights), Some(Hold::Join(join))) if rights.has(Right::Join) => {
                let room = request.borrow().room.unwrap_or_default();
                self.hub.grant(conn, room, *rights, self.out);
                let waiting = &mut self.replies.waiting;
                waiting.push_first(conn, join, Passed::default());
            }
            (Outcome::Grant(_), _) => {
                let right = Right::Join;
                let error = RequestError::Right { right };
                self.out.error(conn, request.borrow(), &error);
            }
            (Outcome::Done | Outcome::Replies(_), Some(Hold::Check { passed, text })) => {
                self.replies.waiting.push_first(conn, text, passed);
            }
            (Outcome::Resume(_), Some(Hold::Then { next, .. })) => {
                return Ok(Some((request, next)));
            }
            _ => self.answer(conn, request.borrow(), outcome),
        }
        Ok(None)
    }
}

/// Messages that wait for an answer, and continue after it.
impl<G: Gateway> App<G> {
    /// Delivers an answer that a handler promised with [`Outcome::Later`], and handles the messages
    /// of the connection that waited for it. Work that ends without an answer has failed, since
    /// its token is never completed again.
    ///
    /// Work: that of the messages that waited, at most 64.
    ///
    /// # Errors
    ///
    /// When no request waits for it, or the outcome is not an answer; the client gets nothing then.
    pub(super) fn complete(
        &mut self,
        now: Timestamp,
        token: Token,
        outcome: &Outcome,
        out: &mut Outbox,
    ) -> Result<(), CompleteError> {
        if matches!(outcome, Outcome::Later(_) | Outcome::Unclaimed) && !token.is_work() {
            return Err(CompleteError::NotAnAnswer);
        }
        let conn = token.conn();
        if self.hub.connection(conn).is_none() {
            // Without hooks, the end of the connection has not cancelled its answers yet.
            self.replies.cancel(conn);
            return Err(CompleteError::Ended);
        }
        let failed;
        let outcome = if self.replies.fits(token, outcome) {
            outcome
        } else if token.is_work() {
            failed = Outcome::Fail(Failure::internal("the work ended without an answer"));
            &failed
        } else {
            return Err(CompleteError::NotAnAnswer);
        };
        let opening = self.replies.opening.get(&conn);
        if opening.is_some_and(|opening| opening.token == token) {
            self.completing = Some(conn);
            self.complete_connect(now, token, outcome, out);
        } else {
            let goes_on = self.namespace(now, out).complete(token, outcome)?;
            self.completing = Some(conn);
            if let (Some((request, next)), Outcome::Resume(result)) = (goes_on, outcome) {
                self.go_on(now, conn, request, next, result, out);
            }
        }
        self.resume(now, conn, out);
        self.completing = None;
        Ok(())
    }

    /// Ends the wait for a hook or a guard that takes too long. The host drops its work.
    #[cold]
    #[inline(never)]
    pub(super) fn give_up(&mut self, now: Timestamp, token: Token, out: &mut Outbox) {
        if self.hub.connection(token.conn()).is_some()
            && let Some(request) = self.replies.pending(token)
        {
            let limit_ms = whole_millis(self.hub.limits().admission_timeout);
            let text = format!("not decided within {limit_ms} ms");
            let place = request.borrow().event.to_owned();
            self.replies.report(Some(token.conn()), &place, text);
        }
        self.replies.cancelled.push(token);
        let late = Outcome::Reject(Box::new(Rejection::undecided()));
        // The connection may have ended.
        let _ = self.complete(now, token, &late, out);
    }

    /// Lets the gateway continue with a message whose work has ended.
    fn go_on(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        request: OwnedAddress,
        Next(next): Next,
        result: &str,
        out: &mut Outbox,
    ) {
        self.called = ("then", Some(conn));
        let here = request.clone();
        self.continuing = Some((conn, request));
        let internal = |text: &str| Outcome::Fail(Failure::internal(text));
        let outcome = match next {
            Some(next) => self.with_here(now, out, conn, here.borrow().room, |gateway, cx| {
                gateway.resume(cx, next, result)
            }),
            None => internal("there is nothing to go on with"),
        };
        self.continuing = None;
        let mut namespace = self.namespace(now, out);
        if let Outcome::Later(token) = outcome {
            namespace.wait(conn, token, here.borrow());
        } else if matches!(outcome, Outcome::Unclaimed) {
            let late = internal("a message cannot be left to the rooms behind work");
            namespace.answer(conn, here.borrow(), &late);
        } else {
            namespace.answer(conn, here.borrow(), &outcome);
        }
        self.call_hooks(now, out);
    }

    /// Takes the futures that handlers started since the last call, each with the token to
    /// complete. A host polls them all, and drops those that
    /// [`take_cancelled`](Self::take_cancelled) names.
    pub fn take_work(&mut self) -> Vec<(Token, Work)> {
        core::mem::take(&mut self.replies.work.0)
    }

    /// Takes the joins since the last call that the host has to ask a backend about: each with its
    /// room and the token to complete, by [`Outcome::Grant`] or a failure. There are none without
    /// [`Config::asks_join`](crate::Config::asks_join). Tokens that
    /// [`take_cancelled`](Self::take_cancelled) names need no answer.
    pub fn take_asked(&mut self) -> Vec<(Token, Box<str>)> {
        let asked = core::mem::take(&mut self.replies.asked).into_iter();
        let asked = asked.filter_map(|token| {
            let room = self.replies.pending(token)?.borrow().room?;
            Some((token, room.into()))
        });
        asked.collect()
    }

    /// Lets a join, and the messages behind it, wait for the answer of a backend.
    #[cold]
    #[inline(never)]
    pub(super) fn ask_join(&mut self, now: Timestamp, request: &Message<'_>, out: &mut Outbox) {
        let conn = request.conn;
        let token = self.replies.ask_join(conn, written(request).into());
        self.namespace(now, out)
            .wait(conn, token, request.address());
    }

    /// True while messages of this connection wait for the answer to an earlier one, or the
    /// connection waits for the gateway's decision. If that work is lost, the host must close the
    /// connection.
    pub fn is_waiting(&self, conn: ConnId) -> bool {
        self.replies.waiting.len(conn) > 0 || self.replies.opening.contains_key(&conn)
    }

    /// The answer to send when the real one will never come: for a host that can lose its work
    /// together with this `App`, and must know the text in advance. `None` when no request waits.
    pub fn lost_answer(&self, token: Token) -> Option<String> {
        if self.replies.opening.contains_key(&token.conn()) {
            return None; // closed
        }
        let request = self.replies.pending(token)?.borrow();
        let mut text = String::new();
        // A request that waits for permission has not been carried out.
        let error = match self.replies.is_before(token) {
            true => RequestError::Unsaved,
            false => RequestError::Internal,
        };
        ErrorBody::from(&error).write(&mut text, request);
        Some(text)
    }

    /// Makes a message wait, unless it is a `$ping`, which is answered at once. In a namespace
    /// without envelopes, a frame over the limits of waiting is dropped, like one over the rate.
    #[cold]
    #[inline(never)]
    pub(super) fn wait(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        frame: Frame<'_>,
        out: &mut Outbox,
    ) -> Result<(), UnknownConn> {
        if !self.abandoned.is_empty() {
            self.close_abandoned(now, out);
        }
        if !self.hub.check_rate(now, conn, frame, out)? {
            self.call_hooks(now, out);
        } else if self.hub.is_raw() {
            let _ = self.replies.waiting.push(conn, frame);
        } else if let Frame::Text(text) = frame
            && let Ok(ping) = Message::decode(conn, text)
            && ping.event == "$ping"
        {
            self.hub.verb(now, &ping, out);
        } else if let Err(error) = self.replies.waiting.push(conn, frame) {
            self.hub.decline(conn, frame, error, out)?;
        }
        Ok(())
    }

    /// Continues with the messages that no longer have to wait.
    pub(super) fn resume(&mut self, now: Timestamp, conn: ConnId, out: &mut Outbox) {
        while let Some((frame, passed)) = self.replies.waiting.next(conn) {
            if self.hub.connection(conn).is_none() {
                self.replies.waiting.forget(conn);
                break;
            }
            let text = match &frame {
                OwnedFrame::Text(text) => Some(text.clone()),
                OwnedFrame::Binary(_) => None,
            };
            self.resumed = Some(Resumed { conn, text });
            let received = self.hub.read(now, conn, frame.as_frame(), out);
            self.act_on(now, conn, (received, frame.as_frame()), passed, out);
        }
        self.resumed = None;
    }
}
