//! Recovery of a namespace after a handler that unwound.

use super::{Gateway, app::App, app::Connecting, failure::Failure, input::Input};
use crate::wire::{CloseCode, ConnId, DisconnectReason, Envelope};
use crate::{outbox::Outbox, time::Timestamp};

impl<G: Gateway> App<G> {
    /// The gateway unwound while this input was performed: for hosts that catch panics.
    ///
    /// The outbox is the one that the input was performed with. A message is answered `internal`; a
    /// connection that was opening is taken back, as if it had been refused, and the host refuses
    /// it as [`Rejection::internal`](crate::Rejection::internal); hooks that were still to run,
    /// run. These may unwind too: then this is called again, with [`Input::Timeout`], until it
    /// returns. It does, since no hook runs twice. The text is handed back by
    /// [`take_faults`](Self::take_faults).
    pub fn unwound(&mut self, now: Timestamp, input: &Input<'_>, text: &str, out: &mut Outbox) {
        let answering = core::mem::take(&mut self.answering);
        let resumed = self.resumed.as_mut();
        let resumed = resumed.map(|resumed| (resumed.conn, resumed.text.take()));
        let asked = match (&resumed, input) {
            (Some((conn, text)), _) => text.as_deref().map(|text| (*conn, text)),
            (None, Input::Text { conn, text }) => Some((*conn, &**text)),
            (None, _) => None,
        };
        if let Some(Connecting {
            conn,
            mark,
            admitted,
        }) = self.connecting.take()
        {
            self.replies.fault(Some(conn), "connect", text.into());
            if admitted {
                // The gateway knows it, and has to hear of its end. It fails when it has ended.
                let reason = DisconnectReason::Closed(CloseCode::INTERNAL);
                let _ = self.hub.disconnect(now, conn, reason, out);
                out.retract(mark, conn);
            } else {
                self.revoke(now, conn, mark, out);
            }
        } else if let Some((conn, frame)) = asked
            && answering
        {
            self.answer_internal(now, conn, frame, text, out);
        } else {
            let (hook, conn) = self.called;
            self.replies.fault(conn, hook, text.into());
        }
        let unfinished = self.gateway.take_unfinished();
        match self.told() {
            Some(change) if unfinished => self.changes.push_front(change),
            None if unfinished && self.called.0 == "drain" => self.drain(now, out),
            _ => {}
        }
        self.settle(now, out);
        if let Some((conn, _)) = resumed {
            self.resume(now, conn, out);
        }
    }

    /// Answers the message `internal`. The frame is decoded once more, a cost that only panics
    /// have.
    fn answer_internal(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        frame: &str,
        text: &str,
        out: &mut Outbox,
    ) {
        let Ok(request) = Envelope::decode(frame) else {
            return self.replies.fault(Some(conn), "$error", text.into());
        };
        let (event, id) = (&request.event, request.id.as_ref());
        let (room, failure) = (request.room.as_deref(), Failure::internal(text));
        self.namespace(now, out)
            .fail(conn, event, id, room, &failure);
    }
}
