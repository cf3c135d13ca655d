//! What hosts want of a namespace for somebody else: the HTTP API, another task, an operator.

use core::time::Duration;

use super::{Gateway, app::App};
use crate::{
    hub::audience::Audience,
    hub::conn::ConnId,
    hub::delivery::Delivery,
    hub::error::{JoinError, SendError, UnknownConn},
    outbox::Outbox,
    room::Joined,
    time::Timestamp,
    wire::close::CloseCode,
    wire::error::EncodeError,
    wire::event::Event,
    wire::frame::Frame,
    wire::payload::Payload,
};

impl<G: Gateway> App<G> {
    /// [`Hub::send`](crate::Hub::send).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn send<'e>(
        &mut self,
        now: Timestamp,
        audience: &Audience,
        event: impl Into<Event<'e>>,
        data: Payload<'_>,
        out: &mut Outbox,
    ) -> Result<Delivery, EncodeError> {
        self.hub.send(now, audience, event, data, out)
    }

    /// [`Hub::send_frame`](crate::Hub::send_frame).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn send_frame(
        &mut self,
        now: Timestamp,
        audience: &Audience,
        frame: Frame<'_>,
        out: &mut Outbox,
    ) -> Result<Delivery, EncodeError> {
        self.hub.send_frame(now, audience, frame, out)
    }

    /// [`Hub::send_once`](crate::Hub::send_once).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn send_once<'e>(
        &mut self,
        now: Timestamp,
        key: &str,
        audience: &Audience,
        event: impl Into<Event<'e>>,
        data: Payload<'_>,
        out: &mut Outbox,
    ) -> Result<Delivery, SendError> {
        self.unsaved = true;
        self.hub.send_once(now, key, audience, event, data, out)
    }

    /// [`Hub::set_unix_zero_ms`](crate::Hub::set_unix_zero_ms).
    pub const fn set_unix_zero_ms(&mut self, unix_zero_ms: u64) {
        self.hub.set_unix_zero_ms(unix_zero_ms);
    }

    /// [`Hub::settle_once`](crate::Hub::settle_once).
    pub fn settle_once(&mut self, key: &str, delivery: Delivery) {
        self.hub.settle_once(key, delivery);
    }

    /// [`Hub::join`](crate::Hub::join), and what the gateway makes of it.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn join(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        room: &str,
        out: &mut Outbox,
    ) -> Result<Joined<'_>, JoinError> {
        self.join_with(now, conn, room, Payload::NULL, out)
    }

    /// [`Hub::join_with`](crate::Hub::join_with), and what the gateway makes of it.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn join_with(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        room: &str,
        meta: Payload<'_>,
        out: &mut Outbox,
    ) -> Result<Joined<'_>, JoinError> {
        let already = self.hub.join_with(now, conn, room, meta, out)?.already;
        self.settle(now, out);
        let position = self.hub.position(room);
        Ok(Joined { position, already })
    }

    /// [`Hub::leave`](crate::Hub::leave), and what the gateway makes of it.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn leave(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        room: &str,
        out: &mut Outbox,
    ) -> Result<bool, UnknownConn> {
        let was = self.hub.leave(now, conn, room, out)?;
        self.settle(now, out);
        Ok(was)
    }

    /// [`Hub::close`](crate::Hub::close), and what the gateway makes of it.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn close(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        code: CloseCode,
        reason: &str,
        out: &mut Outbox,
    ) -> Result<(), UnknownConn> {
        self.close_for(now, conn, code, reason, Duration::ZERO, out)
    }

    /// [`Hub::close_for`](crate::Hub::close_for), and what the gateway makes of it.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn close_for(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        code: CloseCode,
        reason: &str,
        away: Duration,
        out: &mut Outbox,
    ) -> Result<(), UnknownConn> {
        self.hub.close_for(now, conn, code, reason, away, out)?;
        self.settle(now, out);
        Ok(())
    }
}
