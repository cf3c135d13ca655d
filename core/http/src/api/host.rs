//! What a host does for a call.

use serde_json::value::RawValue;

use crate::Problem;
use roomcast_core::{
    Audience, CloseCode, ConnId, Delivery, Event, Hub, JoinError, SendError, Timestamp, UnknownConn,
};

/// A namespace as a call sees it: questions go to its hub, and whatever changes something goes
/// through the host, which carries out the commands that follow.
///
/// Where namespaces come and go with their connections, the one that a call names may not be there.
/// It is then as if it were empty.
pub trait ApiHost {
    /// Asks the hub something; `None` when the namespace is not there.
    fn ask<R>(&self, question: impl FnOnce(&Hub) -> R) -> Option<R>;

    /// Makes sure that the namespace is there, for what it has to remember. The default is for
    /// hosts where it always is.
    ///
    /// # Errors
    ///
    /// The answer when there are too many.
    fn open(&mut self) -> Result<(), Problem> {
        Ok(())
    }

    /// Whether the policies of the namespace have a history for this room, so that a message to it
    /// is remembered. The default is for hosts without policies.
    fn keeps(&self, room: &str) -> bool {
        let _ = room;
        false
    }

    /// Gives the room's messages back that are with the host; see [`Hub::is_away`]. The default is
    /// for hosts that have all of them in memory.
    fn load_history(&mut self, room: &str) {
        let _ = room;
    }

    /// [`Hub::send_once`] with a key, else [`Hub::send`], and says what became of it, with the queues
    /// looked at. The namespace is there when there is a key, or when it [keeps](Self::keeps) the room.
    ///
    /// # Errors
    ///
    /// As for those; also when the namespace is not there.
    fn send(
        &mut self,
        key: Option<&str>,
        audience: &Audience,
        event: Event<'_>,
        data: &RawValue,
    ) -> Result<Delivery, SendError>;

    /// [`Hub::join`]; says whether the connection was in.
    ///
    /// # Errors
    ///
    /// As for that; no connection is known where the namespace is not there.
    fn join(&mut self, conn: ConnId, room: &str) -> Result<bool, JoinError>;

    /// [`Hub::leave`]; says whether the connection was in.
    ///
    /// # Errors
    ///
    /// As for that; no connection is known where the namespace is not there.
    fn leave(&mut self, conn: ConnId, room: &str) -> Result<bool, UnknownConn>;

    /// [`Hub::close`].
    ///
    /// # Errors
    ///
    /// As for that; no connection is known where the namespace is not there.
    fn close(&mut self, conn: ConnId, code: CloseCode, reason: &str) -> Result<(), UnknownConn>;

    /// What is queued for a connection, in bytes. A host that has to ask elsewhere answers 0, and
    /// fills it in with [`Answer::set_queued_bytes`](super::Answer::set_queued_bytes).
    fn queued_bytes(&mut self, conn: ConnId) -> usize;

    /// A time of the hub as milliseconds since 1970.
    fn unix_ms(&self, time: Timestamp) -> u64;
}
