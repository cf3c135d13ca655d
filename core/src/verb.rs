//! Protocol verbs: client requests whose event starts with `$`.

mod history;
mod join;
mod members;
mod relay;

use alloc::string::String;
use core::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use crate::hub::{Hub, RequestError, UnknownConn, receive::Received, receive::answer_ping};
use crate::outbox::{Kind, Outbox};
use crate::wire::{ConnId, Frame, Message, write_bool, write_head};
use crate::{room::RoomNameError, time::Timestamp};

impl Hub {
    /// Handles a whole message, in a hub without an [`App`](crate::App).
    ///
    /// The hub itself answers protocol verbs and errors. It returns a room publish or an
    /// application event, about which the caller decides; [`publish`](Self::publish) is the
    /// default.
    ///
    /// Work: bounded by the message's length; a verb touches one room.
    ///
    /// # Errors
    ///
    /// When the connection is not alive, as when it was closed while the message was in flight.
    /// Nothing changed.
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
                self.verb(now, &request, out);
                None
            }
            // A hub alone does not use raw frames.
            Received::Raw(_) | Received::Answered => None,
        })
    }

    /// Answers a verb: exactly one answer, with or without an id.
    pub(crate) fn verb(&mut self, now: Timestamp, request: &Message<'_>, out: &mut Outbox) {
        let answered = match &*request.event {
            "$join" => self.verb_join(now, request, out),
            "$leave" => self.verb_leave(now, request, out),
            "$rooms" => {
                let rooms = self.rooms_of(request.conn).unwrap_or_default();
                answer(Kind::CONTROL, request, out, |text| write_json(text, &rooms));
                Ok(())
            }
            "$members" => self.verb_members(now, request, out),
            "$history" => self.verb_history(now, request, out),
            "$ping" => {
                answer_ping(request, out);
                Ok(())
            }
            _ => Err(RequestError::UnknownVerb),
        };
        if let Err(error) = answered {
            out.error(request.conn, request.address(), &error);
        }
    }

    /// The room of a request that needs one.
    fn room_of<'a>(&self, request: &'a Message<'_>) -> Result<&'a str, RequestError> {
        let bytes_max = self.limits().room_name_bytes;
        let missing = RequestError::RoomMissing(RoomNameError { bytes_max });
        request.room.as_deref().ok_or(missing)
    }

    /// The slot of the room of a request that is for members.
    fn member_of(&self, request: &Message<'_>) -> Result<u32, RequestError> {
        let found = self.table().find(self.room_of(request)?);
        let found = found.filter(|(_, room)| room.has(request.conn));
        let (slot, _) = found.ok_or(RequestError::NotAMember)?;
        Ok(slot)
    }

    fn verb_leave(
        &mut self,
        now: Timestamp,
        request: &Message<'_>,
        out: &mut Outbox,
    ) -> Result<(), RequestError> {
        let room = self.room_of(request)?;
        let was = self.leave(now, request.conn, room, out).unwrap_or(false);
        answer(Kind::CONTROL, request, out, |text| {
            write_bool(text, r#"{"was":"#, was);
            text.push('}');
        });
        Ok(())
    }
}

/// Reads an object of the given type, or null; `None` for anything else. A derived struct alone
/// would also take an array of its members in order.
fn object<'a, T: Default + Deserialize<'a>>(json: &'a str) -> Option<T> {
    if json.starts_with('[') {
        return None;
    }
    let object: Option<T> = serde_json::from_str(json).ok()?;
    Some(object.unwrap_or_default())
}

/// The maximum number of entries of a page.
fn page_limit(limit: Option<NonZeroU64>) -> usize {
    let limit = limit.and_then(|limit| usize::try_from(limit.get()).ok());
    limit.unwrap_or(usize::MAX)
}

/// Writes a value that has a form in JSON.
fn write_json(text: &mut String, value: &impl Serialize) {
    // Fails only for maps with keys that are no strings; there is none.
    text.push_str(&serde_json::to_string(value).unwrap_or_default());
}

/// Answers a request with the data that is written.
fn answer(kind: Kind, request: &Message<'_>, out: &mut Outbox, data: impl FnOnce(&mut String)) {
    out.send_to_as(request.conn, kind, |text| {
        let (id, room) = (request.id.as_ref(), request.room.as_deref());
        write_head(text, &request.event, id, room);
        text.push_str(r#","data":"#);
        data(text);
        text.push('}');
    });
}
