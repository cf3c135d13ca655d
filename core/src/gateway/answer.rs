//! From an outcome to frames.

use super::{
    failure::Failure, failure::Kind, later::CompleteError, later::PendingReplies, later::Request,
    namespace_context::NamespaceContext, outcome::Outcome, outcome::Reply, token::Token,
};
use crate::hub::RequestError;
use crate::wire::{ConnId, RequestId, write_head};

impl NamespaceContext<'_> {
    /// Answers a message. An answer to nobody is dropped; [`Outcome::Later`] and
    /// [`Outcome::Unclaimed`] are none.
    pub(super) fn answer(
        &mut self,
        conn: ConnId,
        event: &str,
        id: Option<&RequestId<'_>>,
        room: Option<&str>,
        outcome: &Outcome,
    ) {
        let reply = |namespace: &mut Self, reply: &Reply, id| {
            let event = reply.event.as_deref().unwrap_or(event);
            namespace.reply(conn, event, id, room, &reply.data);
        };
        match outcome {
            Outcome::Reply(last) => reply(self, last, id),
            Outcome::Replies(replies) if !replies.is_empty() => {
                let last = replies.len() - 1;
                for (at, frame) in replies.iter().enumerate() {
                    reply(self, frame, if at == last { id } else { None });
                }
            }
            Outcome::Done | Outcome::Replies(_) => {
                if id.is_some() {
                    self.reply(conn, event, id, room, "null");
                }
            }
            Outcome::Fail(failure) => self.fail(conn, event, id, room, failure),
            Outcome::Later(_) | Outcome::Unclaimed => {}
        }
    }

    fn reply(
        &mut self,
        conn: ConnId,
        event: &str,
        id: Option<&RequestId<'_>>,
        room: Option<&str>,
        json: &str,
    ) {
        if self.hub.connection(conn).is_none() {
            return;
        }
        self.out.send_to(conn, |text| {
            write_head(text, event, id, room);
            text.push_str(r#","data":"#);
            text.push_str(json);
            text.push('}');
        });
    }

    pub(super) fn fail(
        &mut self,
        conn: ConnId,
        event: &str,
        id: Option<&RequestId<'_>>,
        room: Option<&str>,
        failure: &Failure,
    ) {
        if let Kind::Internal(text) = &*failure.0 {
            self.replies.fault(Some(conn), event, text.clone());
        }
        if self.hub.connection(conn).is_some() {
            self.out.error(conn, event, id, room, failure);
        }
    }

    /// Waits for an answer that comes later, unless it can reach nobody.
    pub(super) fn wait(&mut self, conn: ConnId, token: Token, request: Request) {
        let failure = if token.conn() != conn || self.replies.pending(token).is_some() {
            Failure::internal("the handler returned the token of another request")
        } else if self.hub.connection(conn).is_none() || self.replies.wait(token, request.clone()) {
            return;
        } else {
            let limit = PendingReplies::PENDING_MAX;
            Failure::of(&RequestError::Pending { limit })
        };
        let Request { event, id, room } = request;
        self.fail(conn, &event, id.as_ref(), room.as_deref(), &failure);
    }

    /// Gives an answer that somebody waits for.
    pub(super) fn complete(
        &mut self,
        token: Token,
        outcome: &Outcome,
    ) -> Result<(), CompleteError> {
        if matches!(outcome, Outcome::Later(_) | Outcome::Unclaimed) {
            return Err(CompleteError::NotAnAnswer);
        }
        let conn = token.conn();
        if self.hub.connection(conn).is_none() {
            // Of a gateway that does not watch nobody said so.
            self.replies.cancel(conn);
            return Err(CompleteError::Ended);
        }
        let request = self.replies.settle(token).ok_or(CompleteError::Answered)?;
        let Request { event, id, room } = request;
        self.answer(conn, &event, id.as_ref(), room.as_deref(), outcome);
        Ok(())
    }
}
