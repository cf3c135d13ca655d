//! Liveness: silence, a ping, silence, the end.
//!
//! A connection has one timer. Hearing of it only writes the time down; the timer, when it fires,
//! finds that out and is set again, so that a busy connection costs nothing.

use crate::{
    hub::Hub, hub::error::UnknownConn, outbox::Outbox, time::Timestamp, wire::CloseCode,
    wire::ConnId,
};

impl Hub {
    /// Something came from the connection that is no message: a pong, a ping, a part of a message.
    ///
    /// # Errors
    ///
    /// When the connection is not alive; nothing changed.
    pub fn heard(&mut self, now: Timestamp, conn: ConnId) -> Result<(), UnknownConn> {
        let heartbeat = &mut self.conns.get_mut(conn).ok_or(UnknownConn(conn))?.heartbeat;
        heartbeat.heard = now;
        heartbeat.pinged = false;
        Ok(())
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next; `None` when nothing is pending,
    /// so that a host may sleep.
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let (conns, rooms) = (self.conns.next_deadline(), self.rooms.next_due());
        conns.into_iter().chain(rooms).min()
    }

    /// Does what is due. Early and repeated calls are harmless, late ones act late.
    ///
    /// Work: the deadlines that have passed, each of them once.
    pub fn handle_timeout(&mut self, now: Timestamp, out: &mut Outbox) {
        while let Some(conn) = self.conns.take_due(now) {
            self.beat(now, conn, out);
        }
        self.look_at_rooms(now, out);
    }

    /// Pings a connection that is silent, or closes one that did not answer.
    fn beat(&mut self, now: Timestamp, id: ConnId, out: &mut Outbox) {
        let limits = &self.config.limits;
        let Some((conn, silence)) = self.conns.get_mut(id).zip(limits.heartbeat) else {
            debug_assert!(false, "a timer without a heartbeat");
            return;
        };
        let heartbeat = &mut conn.heartbeat;
        if heartbeat.pinged {
            let closed = self.close(now, id, CloseCode::NO_HEARTBEAT, "no heartbeat", out);
            debug_assert!(closed.is_ok());
            return;
        }
        let due = heartbeat.heard + silence;
        let next = if due <= now {
            heartbeat.pinged = true;
            out.ping(id);
            now + limits.heartbeat_wait
        } else {
            due
        };
        // A wait of zero would come due within this very call.
        let soonest = now + core::time::Duration::from_millis(1);
        self.conns.set_deadline(id, next.max(soonest));
    }
}
