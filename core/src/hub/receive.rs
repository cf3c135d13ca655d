//! Checks and decodes inbound messages.

pub(super) mod allowance;
pub(super) mod rate;
pub(super) mod resting;

use self::rate::Verdict;
use super::{Hub, error::RequestError, error::UnknownConn};
use crate::wire::{Address, CloseCode, ConnId, Frame, Message, RequestId, write_head};
use crate::{outbox::Outbox, room::RoomName, time::Timestamp};

/// An inbound message, once it passed the limits and was decoded.
#[derive(Debug)]
pub(crate) enum Received<'f> {
    /// The message was refused, and its sender told: nothing is left to do.
    Answered,
    /// A protocol verb.
    Verb(Message<'f>),
    /// A message for the application.
    Message(Message<'f>),
    /// A frame for an application without envelopes.
    Raw(Frame<'f>),
}

impl Hub {
    /// Returns true when a message is within the limits of size and rate. Otherwise its sender has
    /// been told.
    #[inline]
    pub(crate) fn check_rate(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        frame: Frame<'_>,
        out: &mut Outbox,
    ) -> Result<bool, UnknownConn> {
        let limits = &self.config.limits;
        let active = self.conns.note_activity(now, conn);
        let connection = active.ok_or(UnknownConn(conn))?;
        if frame.len() > limits.message_bytes {
            let reason = CloseCode::too_big_reason(limits.message_bytes);
            self.close(now, conn, CloseCode::TOO_BIG, &reason, out)?;
            return Ok(false);
        }
        match connection.buckets.inbound(limits, now, frame.len()) {
            Verdict::Pass if !connection.is_unidentified() => Ok(true),
            Verdict::Pass => Ok(self.ask_identity(conn, frame, out)),
            verdict @ (Verdict::Refuse | Verdict::Close) => {
                self.refuse_rate(now, conn, frame, verdict, out)
            }
        }
    }

    /// The number of messages refused for their rate since the hub started. A counter for
    /// operators: it is not part of the state, and starts from zero in a restored hub.
    pub const fn rate_refusals(&self) -> u64 {
        self.rate_refusals
    }

    /// Checks a message with the verb `$auth`, without its token, in the same way.
    pub(crate) fn check_auth_rate(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        frame: Frame<'_>,
        out: &mut Outbox,
    ) -> Result<bool, UnknownConn> {
        let limits = &self.config.limits;
        let active = self.conns.note_activity(now, conn);
        let connection = active.ok_or(UnknownConn(conn))?;
        match connection.buckets.inbound(limits, now, frame.len()) {
            Verdict::Pass => Ok(true),
            verdict @ (Verdict::Refuse | Verdict::Close) => {
                self.refuse_rate(now, conn, frame, verdict, out)
            }
        }
    }

    /// True when the rate of a connection allows another message. For hosts, to check before the
    /// work of verifying a token.
    pub fn has_rate(&self, now: Timestamp, conn: ConnId, bytes: usize) -> bool {
        self.conns.get(conn).is_some_and(|connection| {
            let mut buckets = connection.buckets;
            buckets.inbound(&self.config.limits, now, bytes) == Verdict::Pass
        })
    }

    /// Tells a client to identify itself first, in answer to any message except `$ping`. Returns
    /// false: the message is not processed further.
    #[cold]
    #[inline(never)]
    fn ask_identity(&self, conn: ConnId, frame: Frame<'_>, out: &mut Outbox) -> bool {
        if let Frame::Text(text) = frame
            && let Ok(message) = Message::decode(conn, text)
            && message.event == "$ping"
        {
            answer_ping(&message, out);
            return false;
        }
        // It is alive.
        let _ = self.decline(conn, frame, RequestError::Unidentified, out);
        false
    }

    #[cold]
    #[inline(never)]
    fn refuse_rate(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        frame: Frame<'_>,
        verdict: Verdict,
        out: &mut Outbox,
    ) -> Result<bool, UnknownConn> {
        self.rate_refusals += 1;
        if !self.config.raw && matches!(frame, Frame::Binary(_)) {
            self.close(now, conn, CloseCode::UNSUPPORTED, BINARY, out)?;
        } else if verdict == Verdict::Close {
            let reason = "over the inbound rate for too long";
            self.close(now, conn, CloseCode::RATE_LIMITED, reason, out)?;
        } else if !self.config.raw {
            let connection = self.conns.get(conn).ok_or(UnknownConn(conn))?;
            let excess = connection.buckets.excess(&self.config.limits, frame.len());
            self.decline(conn, frame, excess, out)?;
        }
        Ok(false)
    }

    /// Decodes a message that is within the limits.
    // Inlined, so that the large result is not moved through memory on the way of every message.
    #[inline]
    pub(crate) fn read<'f>(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        frame: Frame<'f>,
        out: &mut Outbox,
    ) -> Received<'f> {
        if self.config.raw {
            return Received::Raw(frame);
        }
        let Frame::Text(text) = frame else {
            // It is alive.
            let _ = self.close(now, conn, CloseCode::UNSUPPORTED, BINARY, out);
            return Received::Answered;
        };
        let message = match Message::decode(conn, text) {
            Ok(message) => message,
            Err(read) => {
                let (event, room) = (read.event.as_deref(), read.room.as_deref());
                self.refuse(conn, event, read.id.as_ref(), room, read.error.into(), out);
                return Received::Answered;
            }
        };
        if let Some(room) = &message.room
            && let Err(error) = RoomName::check(room, self.limits().room_name_bytes)
        {
            let to = message.address();
            out.error(conn, Address { room: None, ..to }, &error);
            return Received::Answered;
        }
        if message.event.starts_with('$') {
            return Received::Verb(message);
        }
        Received::Message(message)
    }

    /// Answers a message that the host could not process with an error, addressed with the event,
    /// id and room as far as these can be read. Nothing else changes.
    ///
    /// # Errors
    ///
    /// When the connection is not alive; nothing is sent then.
    pub fn decline(
        &self,
        conn: ConnId,
        frame: Frame<'_>,
        error: RequestError,
        out: &mut Outbox,
    ) -> Result<(), UnknownConn> {
        self.conns.get(conn).ok_or(UnknownConn(conn))?;
        let (event, id, room) = match frame {
            Frame::Binary(_) => (None, None, None),
            Frame::Text(text) => match Message::decode(conn, text) {
                Ok(read) => (Some(read.event), read.id, read.room),
                Err(read) => (read.event, read.id, read.room),
            },
        };
        let (event, room) = (event.as_deref(), room.as_deref());
        self.refuse(conn, event, id.as_ref(), room, error, out);
        Ok(())
    }

    /// Answers a message that was not processed: with its event, its id and its room, as far as
    /// they could be read.
    fn refuse(
        &self,
        conn: ConnId,
        event: Option<&str>,
        id: Option<&RequestId<'_>>,
        room: Option<&str>,
        error: RequestError,
        out: &mut Outbox,
    ) {
        let bytes_max = self.limits().room_name_bytes;
        let event = event.unwrap_or("$error");
        let room = room.filter(|room| RoomName::check(room, bytes_max).is_ok());
        out.error(conn, Address { event, id, room }, &error);
    }
}

/// Answers the verb `$ping`, which needs no identity.
pub(crate) fn answer_ping(request: &Message<'_>, out: &mut Outbox) {
    out.send_to(request.conn, |text| {
        write_head(text, "$pong", request.id.as_ref(), None);
        text.push('}');
    });
}

const BINARY: &str = "messages are text";
