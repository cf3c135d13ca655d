//! Operations of application code on a namespace.

use core::{fmt, ops::Deref, ops::RangeBounds};

use serde::Serialize;

use super::{outcome::to_json, wait::HistoryRead, wait::PendingReplies};
use crate::hub::{Audience, Delivery, Hub, JoinError, RoomInfo, UnknownConn};
use crate::wire::{CloseCode, ConnId, EncodeError, Event, Frame, Payload};
use crate::{outbox::Outbox, time::Timestamp, time::UnixTime};

/// Operations of an application on its namespace without a connection at hand: in a schedule, for
/// the HTTP API, from another task. With a connection at hand there is a
/// [`Context`](crate::Context), which has all of these too.
///
/// An audience excludes nobody unless it says so. Queries are those of the [`Hub`], such as
/// [`members`](Hub::members), [`position`](Hub::position), [`presence`](Hub::presence),
/// [`connection`](Hub::connection) and [`counts`](Hub::counts).
///
/// ```
/// use std::time::Duration;
///
/// use roomcast_core::{Audience, Router};
///
/// // Every minute, those in the lobby are told how many connections there are.
/// let router = Router::default().every(Duration::from_secs(60), |namespace, ()| {
///     let connections = namespace.counts().connections;
///     let told = namespace.send(&Audience::room("lobby"), "connections", &connections);
///     assert!(told.is_ok_and(|told| told.matched == namespace.members("lobby").len()));
/// });
/// # let _ = router;
/// ```
#[derive(Debug)]
pub struct NamespaceContext<'a> {
    pub(super) now: Timestamp,
    pub(super) hub: &'a mut Hub,
    pub(super) out: &'a mut Outbox,
    pub(super) replies: &'a mut PendingReplies,
}

impl NamespaceContext<'_> {
    /// Sends an event to an audience. The frame has no `from`; it names its room when the audience
    /// is one room, and its label when the event has one.
    ///
    /// Work: that of [`Hub::send`](crate::Hub::send), and serializing the value.
    ///
    /// # Errors
    ///
    /// When the event, its label, the value or a room name cannot be sent; nothing is sent then.
    pub fn send<'e, T: Serialize + ?Sized>(
        &mut self,
        audience: &Audience,
        event: impl Into<Event<'e>>,
        data: &T,
    ) -> Result<Delivery, EncodeError> {
        let json = to_json(data)?;
        let payload = Payload::from_serialized(&json)?;
        self.hub.send(self.now, audience, event, payload, self.out)
    }

    /// Sends a raw frame, text or binary: for clients that do not use envelopes.
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

    /// Sends an event to every live connection of the namespace.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub fn broadcast<'e, T: Serialize + ?Sized>(
        &mut self,
        event: impl Into<Event<'e>>,
        data: &T,
    ) -> Result<Delivery, EncodeError> {
        self.send(&Audience::all(), event, data)
    }

    /// Puts a connection into a room. Returns true if it was not in it before. The client is not
    /// notified.
    ///
    /// # Errors
    ///
    /// As for [`Hub::join`](crate::Hub::join).
    pub fn join(&mut self, conn: ConnId, room: &str) -> Result<bool, JoinError> {
        self.check_open(conn)?;
        let joined = self.hub.join(self.now, conn, room, self.out)?;
        Ok(!joined.already)
    }

    /// Joins as [`join`](Self::join) does. Presence shows `meta` for the user, if the room's policy
    /// shows members and the user is not in the room already.
    ///
    /// # Errors
    ///
    /// As for [`Hub::join_with`](crate::Hub::join_with); also when `meta` cannot be serialized.
    pub fn join_with<T: Serialize + ?Sized>(
        &mut self,
        conn: ConnId,
        room: &str,
        meta: &T,
    ) -> Result<bool, JoinError> {
        self.check_open(conn)?;
        let json = to_json(meta)?;
        let meta = Payload::from_serialized(&json).map_err(EncodeError::from)?;
        let joined = self.hub.join_with(self.now, conn, room, meta, self.out)?;
        Ok(!joined.already)
    }

    /// Fails for a connection that the application has not admitted yet: for others it does not
    /// exist.
    fn check_open(&self, conn: ConnId) -> Result<(), UnknownConn> {
        match self.hub.is_opening(conn) {
            true => Err(UnknownConn(conn)),
            false => Ok(()),
        }
    }

    /// Removes a connection from a room. Returns true if it was in it.
    ///
    /// # Errors
    ///
    /// When the connection is not alive.
    pub fn leave(&mut self, conn: ConnId, room: &str) -> Result<bool, UnknownConn> {
        self.hub.leave(self.now, conn, room, self.out)
    }

    /// Closes a connection after all that was sent to it. It leaves all its rooms.
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

    /// Reports an error for the host to log; clients are not told.
    pub fn report(&mut self, place: &str, error: impl fmt::Display) {
        self.replies.report(None, place, alloc::format!("{error}"));
    }

    /// The time of the current input.
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// The wall-clock time of the current input, as set by the host. It comes from inputs, so a
    /// replayed journal gives the same time.
    pub const fn unix_time(&self) -> UnixTime {
        self.hub.unix_time(self.now)
    }

    /// Rooms whose name starts with `prefix`, sorted by name.
    pub fn rooms<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = RoomInfo<'a>> {
        self.hub.rooms(prefix, None)
    }

    /// Reads a page of a room's history: a future, since the messages of a room that has slept at
    /// the edge are in storage. Messages sent after this call are not in the page, no matter when
    /// the future is awaited.
    ///
    /// | `offsets` | gives |
    /// |---|---|
    /// | `..` | the last messages |
    /// | `..11` | the last ones before offset 11 |
    /// | `8..` | the first ones from offset 8 on |
    /// | `8..11` | the first ones of 8, 9 and 10 |
    ///
    /// The page is for the application, so it includes messages that some recipients were excluded
    /// from. A client's `$history` leaves out messages that excluded the client, such as its own.
    ///
    /// The messages come oldest first; at most `limit`, `Limits::page_entries` and
    /// `Limits::page_bytes`, but at least one if there is any. An unknown room has an empty page.
    ///
    /// A handler may return the future, or await it in one of its own:
    ///
    /// ```
    /// use roomcast_core::{Context, Router, room::PageError};
    ///
    /// let router = Router::default()
    ///     .on("last", |cx: &mut Context, room: String| cx.history(&room, .., 50))
    ///     .on("texts", |cx: &mut Context, room: String| {
    ///         let page = cx.history(&room, .., 50);
    ///         async move {
    ///             let messages = page.await?.messages.into_iter();
    ///             let said = messages.filter(|message| message.event == "said");
    ///             let texts: Result<Vec<String>, _> = said.map(|said| said.data()).collect();
    ///             Ok::<_, roomcast_core::Failure>(texts?)
    ///         }
    ///     });
    /// # let _ = router;
    /// ```
    ///
    /// Work: the page.
    pub fn history(
        &mut self,
        room: &str,
        offsets: impl RangeBounds<u64>,
        limit: usize,
    ) -> HistoryRead {
        if !self.is_away(room) {
            return HistoryRead::ready(self.history_page(self.now, room, offsets, limit));
        }
        self.out.load_history(room);
        let top = self.position(room).offset;
        self.replies.reads.ask(room, offsets, limit, top)
    }
}

/// The queries that the hub answers: members, positions, presence, connections, counts.
impl Deref for NamespaceContext<'_> {
    type Target = Hub;

    fn deref(&self) -> &Hub {
        self.hub
    }
}
