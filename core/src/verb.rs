//! Protocol verbs: what a client asks with an event that starts with `$`.

use alloc::{borrow::Cow, format};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    hub::Hub,
    hub::conn::ConnId,
    outbox::Outbox,
    room::RoomNameError,
    room::recovery::SincePosition,
    time::Timestamp,
    wire::envelope::{Envelope, write_head, write_string},
    wire::error::{ErrorCode, JoinError},
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
        let fault = match &*request.event {
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
            _ => Err((ErrorCode::UnknownVerb, UNKNOWN_VERB.into())),
        };
        if let Err((code, message)) = fault {
            answer_error(conn, request, out, code, &message);
        }
    }

    fn verb_join(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        request: &Envelope<'_>,
        out: &mut Outbox,
    ) -> Result<(), Fault> {
        let room = self.room_of(request)?;
        let (since, meta) = join_data(request.data.as_str()).ok_or(BAD_DATA)?;
        if let Some(since) = &since
            && self.waits_for(room, since)
        {
            return self.park(conn, request, room, out);
        }
        let (slot, already) = match self.enter(now, conn, room, meta, out) {
            Ok(entered) => entered,
            Err(fault) => return self.not_joined(&fault),
        };
        let missed = since.as_ref().map(|since| {
            // Without a history there is nothing to replay from: never partial.
            self.missed(now, slot, conn, since, out)
        });
        let position = self.position_at(slot);
        answer(conn, request, out, |text| {
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

    /// The answer to a join that did not happen.
    fn not_joined(&self, fault: &JoinError) -> Result<(), Fault> {
        let code = match fault {
            JoinError::RoomLimit { .. } | JoinError::RoomNames { .. } => ErrorCode::RoomLimit,
            JoinError::MemberLimit { .. } => ErrorCode::MemberLimit,
            JoinError::Meta { .. } | JoinError::Metas { .. } => ErrorCode::TooLarge,
            JoinError::Room(_) => return Err(self.no_room()),
            // Its `meta` is JSON already.
            JoinError::UnknownConn(_) | JoinError::Encode(_) => {
                debug_assert!(false, "a request of a dead connection");
                return Ok(());
            }
        };
        Err((code, format!("{fault}").into()))
    }

    /// The room of a request that needs one.
    pub(crate) fn room_of<'a>(&self, request: &'a Envelope<'_>) -> Result<&'a str, Fault> {
        request.room.as_deref().ok_or_else(|| self.no_room())
    }

    fn no_room(&self) -> Fault {
        let bytes_max = self.limits().room_name_bytes;
        let fault = format!("this verb needs a `room`: {}", RoomNameError { bytes_max });
        (ErrorCode::BadRoom, fault.into())
    }

    fn verb_leave(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        request: &Envelope<'_>,
        out: &mut Outbox,
    ) -> Result<(), Fault> {
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

/// An answer that refuses a request.
pub(crate) type Fault = (ErrorCode, Cow<'static, str>);

pub(crate) const NOT_A_MEMBER: Fault = (
    ErrorCode::Forbidden,
    Cow::Borrowed("this is for members of the room: join it first"),
);
const BAD_DATA: Fault = (
    ErrorCode::BadPayload,
    Cow::Borrowed(
        "`data` of $join must be an object: {\"since\":{\"epoch\":string,\"offset\":integer,\
         \"conn\":string, or at most 16 of them},\"meta\":any}, each member optional but `epoch` and \
         `offset`",
    ),
);
const UNKNOWN_VERB: &str = "no such verb: events that start with $ belong to the protocol; use $join, $leave, $rooms, $members, $history or $ping";

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
    out.send_to(conn, |text| {
        let (id, room) = (request.id.as_ref(), request.room.as_deref());
        write_head(text, &request.event, id, room);
        text.push_str(r#","data":"#);
        data(text);
        text.push('}');
    });
}

fn answer_error(
    conn: ConnId,
    request: &Envelope<'_>,
    out: &mut Outbox,
    code: ErrorCode,
    message: &str,
) {
    let (id, room) = (request.id.as_ref(), request.room.as_deref());
    out.error(conn, &request.event, id, room, code, message);
}
