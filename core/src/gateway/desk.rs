//! What application code can do to a namespace.

use core::fmt;

use serde::Serialize;

use super::{later::Ledger, outcome::written};
use crate::{
    audience::Audience,
    close::CloseCode,
    conn::ConnId,
    delivery::Delivery,
    error::{EncodeError, JoinError, UnknownConn},
    frame::Frame,
    hub::Hub,
    outbox::Outbox,
    payload::Payload,
    query::{ConnectionInfo, Counts, RoomInfo},
    time::Timestamp,
};

/// What an application can do to its namespace without a connection at hand: in a schedule, for
/// the HTTP API, from another task. With one at hand it is a [`Context`](crate::Context), which can
/// do all this too.
///
/// Nobody is left out of an audience unless it says so.
///
/// ```
/// use roomcast_core::{App, Audience, Config, Handshake, Outbox, Timestamp};
///
/// let (mut app, mut out) = (App::new(Config::new("epoch"), ()), Outbox::new());
/// let ann = app.connect(Timestamp::ZERO, Handshake::new().with_user("ann"), &mut out)?;
/// app.act(Timestamp::ZERO, &mut out, |desk| {
///     desk.join(ann, "lobby")?;
///     let told = desk.send(&Audience::user("ann"), "told", &["news"])?;
///     assert_eq!((told.matched, desk.members("lobby")), (1, &[ann][..]));
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Desk<'a> {
    pub(super) now: Timestamp,
    pub(super) hub: &'a mut Hub,
    pub(super) out: &'a mut Outbox,
    pub(super) ledger: &'a mut Ledger,
}

impl Desk<'_> {
    /// Sends to an audience. The frame has no `from`; it names its room when the audience is one
    /// room.
    ///
    /// Work: that of [`Hub::send`](crate::Hub::send), and the writing of the value.
    ///
    /// # Errors
    ///
    /// When the event, the value or a room name cannot be sent; nothing is sent then.
    pub fn send<T: Serialize + ?Sized>(
        &mut self,
        audience: &Audience,
        event: &str,
        data: &T,
    ) -> Result<Delivery, EncodeError> {
        let json = written(data)?;
        let payload = Payload::from_written(&json)?;
        self.hub.send(self.now, audience, event, payload, self.out)
    }

    /// Sends a frame of one's own, text or binary: for clients that do not speak in envelopes.
    ///
    /// # Errors
    ///
    /// When a room name is not valid; nothing is sent then.
    pub fn send_frame(
        &mut self,
        audience: &Audience,
        frame: Frame<'_>,
    ) -> Result<Delivery, EncodeError> {
        self.hub.send_frame(self.now, audience, frame, self.out)
    }

    /// Sends to every live connection of the namespace.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub fn broadcast<T: Serialize + ?Sized>(
        &mut self,
        event: &str,
        data: &T,
    ) -> Result<Delivery, EncodeError> {
        self.send(&Audience::all(), event, data)
    }

    /// Puts a connection into a room; says whether it is new there. The client is not told.
    ///
    /// # Errors
    ///
    /// As for [`Hub::join`](crate::Hub::join).
    pub fn join(&mut self, conn: ConnId, room: &str) -> Result<bool, JoinError> {
        let joined = self.hub.join(self.now, conn, room, self.out)?;
        Ok(!joined.already)
    }

    /// Takes a connection out of a room; says whether it was in.
    ///
    /// # Errors
    ///
    /// When the connection is not alive.
    pub fn leave(&mut self, conn: ConnId, room: &str) -> Result<bool, UnknownConn> {
        self.hub.leave(self.now, conn, room, self.out)
    }

    /// Closes a connection, behind what was sent to it. It leaves all its rooms.
    ///
    /// # Errors
    ///
    /// When the connection is not alive.
    pub fn disconnect(
        &mut self,
        conn: ConnId,
        code: CloseCode,
        reason: &str,
    ) -> Result<(), UnknownConn> {
        self.hub.close(self.now, conn, code, reason, self.out)
    }

    /// Hands an error to the host to log, without telling anybody else.
    pub fn report(&mut self, place: &str, error: impl fmt::Display) {
        self.ledger.fault(None, place, alloc::format!("{error}"));
    }

    /// The time of what is happening.
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// Rooms whose name starts with `prefix`, sorted by name.
    pub fn rooms<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = RoomInfo<'a>> {
        self.hub.rooms(prefix, None)
    }

    /// The connections in a room, sorted; empty when there is no such room.
    pub fn members(&self, room: &str) -> &[ConnId] {
        self.hub.members(room)
    }

    /// The rooms of a connection, sorted; `None` when it is not alive.
    pub fn rooms_of(&self, conn: ConnId) -> Option<alloc::vec::Vec<&str>> {
        self.hub.rooms_of(conn)
    }

    /// A live connection; `None` when it is not alive.
    pub fn connection(&self, conn: ConnId) -> Option<ConnectionInfo<'_>> {
        self.hub.connection(conn)
    }

    /// All live connections, in no order that means anything, but always the same one.
    pub fn connections(&self) -> impl Iterator<Item = ConnectionInfo<'_>> {
        self.hub.connections()
    }

    /// The connections of a user, sorted.
    pub fn connections_of(&self, user: &str) -> &[ConnId] {
        self.hub.connections_of(user)
    }

    /// How much of everything there is.
    pub fn counts(&self) -> Counts {
        self.hub.counts()
    }
}
