//! Protocol verbs: what a client asks with an event that starts with `$`.

mod history;
mod join;
mod members;

use alloc::string::String;

use serde::Deserialize;

use crate::hub::{Hub, RequestError, UnknownConn};
use crate::wire::{ConnId, Envelope, Frame, Message, write_bool, write_head, write_string};
use crate::{
    hub::receive::Received, outbox::Kind, outbox::Outbox, room::RoomNameError, time::Timestamp,
};

impl Hub {
    /// A whole message arrived.
    ///
    /// The hub answers protocol verbs and faults itself. What it returns, a room publish or an
    /// application event, is for the application to decide; [`publish`](Self::publish) is what
    /// happens without one.
    ///
    /// Work: bounded by the message's length; a verb touches one room.
    ///
    /// # Errors
    ///
    /// When the connection is not alive: closed while the message was under way. Nothing changed.
    pub fn receive<'f>(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        frame: Frame<'f>,
        out: &mut Outbox,
    ) -> Result<Option<Message<'f>>, UnknownConn> {
        if !self.check_rate(now, conn, frame, out)? {
            return Ok(None);
        }
        Ok(match self.read(now, conn, frame, out) {
            Received::Message(message) => Some(message),
            Received::Verb(request) => {
                self.verb(now, conn, &request, out);
                None
            }
            // Nobody is here to read it.
            Received::Raw(_) | Received::Settled => None,
        })
    }

    /// Answers a verb: exactly one answer, with or without an id.
    pub(crate) fn verb(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        request: &Envelope<'_>,
        out: &mut Outbox,
    ) {
        let answered = match &*request.event {
            "$join" => self.verb_join(now, conn, request, out),
            "$leave" => self.verb_leave(now, conn, request, out),
            "$rooms" => {
                self.verb_rooms(conn, request, out);
                Ok(())
            }
            "$members" => self.verb_members(conn, request, out),
            "$history" => self.verb_history(now, conn, request, out),
            "$ping" => {
                out.send_to(conn, |text| {
                    write_head(text, "$pong", request.id.as_ref(), None);
                    text.push('}');
                });
                Ok(())
            }
            _ => Err(RequestError::UnknownVerb),
        };
        if let Err(error) = answered {
            let (id, room) = (request.id.as_ref(), request.room.as_deref());
            out.error(conn, &request.event, id, room, &error);
        }
    }

    /// The room of a request that needs one.
    fn room_of<'a>(&self, request: &'a Envelope<'_>) -> Result<&'a str, RequestError> {
        let bytes_max = self.limits().room_name_bytes;
        let missing = RequestError::RoomMissing(RoomNameError { bytes_max });
        request.room.as_deref().ok_or(missing)
    }

    /// The slot of the room of a request that is for members.
    fn member_of(&self, conn: ConnId, request: &Envelope<'_>) -> Result<u32, RequestError> {
        let found = self.table().find(self.room_of(request)?);
        let (slot, _) = found
            .filter(|(_, room)| room.has(conn))
            .ok_or(RequestError::NotAMember)?;
        Ok(slot)
    }

    fn verb_leave(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        request: &Envelope<'_>,
        out: &mut Outbox,
    ) -> Result<(), RequestError> {
        let room = self.room_of(request)?;
        let was = self.leave(now, conn, room, out).unwrap_or(false);
        answer(Kind::CONTROL, conn, request, out, |text| {
            write_bool(text, r#"{"was":"#, was);
            text.push('}');
        });
        Ok(())
    }

    fn verb_rooms(&self, conn: ConnId, request: &Envelope<'_>, out: &mut Outbox) {
        let rooms = self.rooms_of(conn).unwrap_or_default();
        answer(Kind::CONTROL, conn, request, out, |text| {
            text.push('[');
            for (at, room) in rooms.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write_string(text, room);
            }
            text.push(']');
        });
    }
}

/// An object of the given shape, or null; `None` for anything else. A derived struct alone would
/// also take an array, for its members in order.
pub(crate) fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<Option<T>> {
    if json.starts_with('[') {
        return None;
    }
    serde_json::from_str(json).ok()
}

/// The number of entries that a page is to have; `None` for one that it cannot have.
fn page_limit(limit: Option<u64>) -> Option<usize> {
    let limit = limit.unwrap_or(u64::MAX);
    (limit > 0).then(|| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Answers a request with the data that is written.
fn answer(
    kind: Kind,
    conn: ConnId,
    request: &Envelope<'_>,
    out: &mut Outbox,
    data: impl FnOnce(&mut String),
) {
    out.send_to_as(conn, kind, |text| {
        let (id, room) = (request.id.as_ref(), request.room.as_deref());
        write_head(text, &request.event, id, room);
        text.push_str(r#","data":"#);
        data(text);
        text.push('}');
    });
}
