//! How messages wait for an answer, and go on behind it.

use alloc::{string::String, vec::Vec};

use super::{
    Gateway, app::App, later::CompleteError, later::Request, outcome::Outcome, token::Token,
    work::OwnedFrame, work::Resumed, work::Work,
};
use crate::wire::{ConnId, Envelope, ErrorBody, Frame};
use crate::{hub::RequestError, hub::UnknownConn, outbox::Outbox, time::Timestamp};

impl<G: Gateway> App<G> {
    /// Gives an answer that a handler promised with [`Outcome::Later`], and goes on with the
    /// messages of the connection that waited for it.
    ///
    /// Work: that of the messages that waited, at most 64.
    ///
    /// # Errors
    ///
    /// When nobody waits for it, or it is none; nothing reaches the client then.
    pub(super) fn complete(
        &mut self,
        now: Timestamp,
        token: Token,
        outcome: &Outcome,
        out: &mut Outbox,
    ) -> Result<(), CompleteError> {
        self.namespace(now, out).complete(token, outcome)?;
        self.resume(now, token.conn(), out);
        Ok(())
    }

    /// The futures that handlers began since this was last asked, each with the token to complete.
    /// A host polls them all; those of [`take_cancelled`](Self::take_cancelled) it drops.
    pub fn take_work(&mut self) -> Vec<(Token, Work)> {
        self.replies.work.take()
    }

    /// True while messages of this connection wait for the answer to an earlier one.
    pub fn is_waiting(&self, conn: ConnId) -> bool {
        self.replies.waiting.len(conn) > 0
    }

    /// The answer to be given in place of one that will never come: for a host that can lose its
    /// work together with this value, and knows the text before. `None` when nobody waits.
    pub fn lost_answer(&self, token: Token) -> Option<String> {
        let Request { event, id, room } = self.replies.pending(token)?;
        let mut text = String::new();
        let error = ErrorBody::from(&RequestError::Internal);
        error.write(&mut text, event, id.as_ref(), room.as_deref());
        Some(text)
    }

    /// Lets a message wait, unless it is a `$ping`: that asks whether the server is there.
    #[cold]
    #[inline(never)]
    pub(super) fn wait(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        frame: Frame<'_>,
        out: &mut Outbox,
    ) -> Result<(), UnknownConn> {
        if !self.hub.check_rate(now, conn, frame, out)? {
            self.settle(now, out);
        } else if let Frame::Text(text) = frame
            && let Ok(ping) = Envelope::decode(text)
            && ping.event == "$ping"
        {
            self.hub.verb(now, conn, &ping, out);
        } else if let Err(error) = self.replies.waiting.push(conn, frame) {
            self.hub.decline(conn, frame, error, out)?;
        }
        Ok(())
    }

    /// Goes on with what waited, as far as it need not wait any more.
    pub(super) fn resume(&mut self, now: Timestamp, conn: ConnId, out: &mut Outbox) {
        while let Some(frame) = self.replies.waiting.next(conn) {
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
            self.act_on(now, conn, received, out);
        }
        self.resumed = None;
    }
}
