//! Protocol verbs: what a client asks with an event that starts with `$`.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    hub::Hub,
    hub::conn::ConnId,
    hub::error::RequestError,
    outbox::{Kind, Outbox},
    room::RoomNameError,
    room::recovery::SincePosition,
    time::Timestamp,
    wire::envelope::{Envelope, write_head, write_string},
};

/// The `data` of `$join`.
#[derive(Default, Deserialize)]
#[serde(expecting = "an object")]
struct JoinData<'a> {
    /// The position that the client has seen: a [`SincePosition`].
    #[serde(borrow)]
    since: Option<&'a RawValue>,
    /// What presence shows of the client: any JSON.
    #[serde(borrow)]
    meta: Option<&'a RawValue>,
}

impl Hub {
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

    fn verb_join(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        request: &Envelope<'_>,
        out: &mut Outbox,
    ) -> Result<(), RequestError> {
        let room = self.room_of(request)?;
        let (since, meta) = join_data(request.data.as_str()).ok_or(RequestError::JoinData)?;
        if let Some(since) = &since
            && self.waits_for(room, since)
        {
            return self.park(conn, request, room, out);
        }
        let (slot, already) = self.enter(now, conn, room, meta, out)?;
        let missed = since.as_ref().map(|since| {
            // Without a history there is nothing to replay from: never partial.
            self.missed(now, slot, conn, since, out)
        });
        let position = self.position_at(slot);
        let kind = self.position_kind(slot, out);
        answer_as(kind, conn, request, out, |text| {
            text.push_str(r#"{"epoch":"#);
            write_string(text, &position.epoch);
            text.push_str(r#","offset":"#);
            text.push_str(itoa::Buffer::new().format(position.offset));
            text.push_str(r#","already":"#);
            text.push_str(if already { "true" } else { "false" });
            match missed {
                None => {}
                Some(None) => text.push_str(r#","recovered":false"#),
                Some(Some((_, count))) => {
                    text.push_str(r#","recovered":true,"missed":"#);
                    text.push_str(itoa::Buffer::new().format(count));
                }
            }
            text.push('}');
        });
        if let Some((since, (from, _))) = since.zip(missed.flatten()) {
            self.replay(slot, conn, &since, from, out);
        }
        Ok(())
    }

    /// The room of a request that needs one.
    pub(crate) fn room_of<'a>(&self, request: &'a Envelope<'_>) -> Result<&'a str, RequestError> {
        let bytes_max = self.limits().room_name_bytes;
        let missing = RequestError::RoomMissing(RoomNameError { bytes_max });
        request.room.as_deref().ok_or(missing)
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
        answer(conn, request, out, |text| {
            text.push_str(if was {
                r#"{"was":true}"#
            } else {
                r#"{"was":false}"#
            });
        });
        Ok(())
    }

    fn verb_rooms(&self, conn: ConnId, request: &Envelope<'_>, out: &mut Outbox) {
        let rooms = self.rooms_of(conn).unwrap_or_default();
        answer(conn, request, out, |text| {
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

/// The `data` of `$join`, checked to the bottom.
fn join_data(json: &str) -> Option<(Option<SincePosition<'_>>, Option<&str>)> {
    let data: JoinData<'_> = object(json)?.unwrap_or_default();
    let since = match data.since {
        Some(since) => object(since.get())?,
        None => None,
    };
    Some((since, data.meta.map(RawValue::get)))
}

/// An object of the given shape, or null; `None` for anything else. A derived struct alone would
/// also take an array, for its members in order.
pub(crate) fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<Option<T>> {
    if json.starts_with('[') {
        return None;
    }
    serde_json::from_str(json).ok()
}

pub(crate) fn answer(
    conn: ConnId,
    request: &Envelope<'_>,
    out: &mut Outbox,
    data: impl FnOnce(&mut alloc::string::String),
) {
    answer_as(Kind::CONTROL, conn, request, out, data);
}

pub(crate) fn answer_as(
    kind: Kind,
    conn: ConnId,
    request: &Envelope<'_>,
    out: &mut Outbox,
    data: impl FnOnce(&mut alloc::string::String),
) {
    out.send_to_as(conn, kind, |text| {
        let (id, room) = (request.id.as_ref(), request.room.as_deref());
        write_head(text, &request.event, id, room);
        text.push_str(r#","data":"#);
        data(text);
        text.push('}');
    });
}
