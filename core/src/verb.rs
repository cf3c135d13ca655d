//! Protocol verbs: what a client asks with an event that starts with `$`.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    conn::ConnId,
    envelope::{Envelope, write_head, write_string},
    error::{ErrorCode, JoinError},
    hub::Hub,
    outbox::Outbox,
    time::Timestamp,
};

/// The `data` of `$join`.
#[derive(Default, Deserialize)]
#[serde(expecting = "an object")]
struct JoinData<'a> {
    /// The position that the client has seen: a [`Since`].
    #[serde(borrow)]
    since: Option<&'a RawValue>,
    /// What presence shows of the client: any JSON.
    #[serde(borrow, rename = "meta")]
    _meta: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Since {
    #[serde(rename = "epoch")]
    _epoch: alloc::string::String,
    #[serde(rename = "offset")]
    _offset: u64,
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
            "$ping" => {
                out.send_to(conn, |text| {
                    write_head(text, "$pong", request.id.as_ref(), None);
                    text.push('}');
                });
                Ok(())
            }
            _ => Err((ErrorCode::UnknownVerb, UNKNOWN_VERB)),
        };
        if let Err((code, message)) = fault {
            answer_error(conn, request, out, code, message);
        }
    }

    fn verb_join(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        request: &Envelope<'_>,
        out: &mut Outbox,
    ) -> Result<(), Fault> {
        let room = request.room.as_deref().ok_or(NO_ROOM)?;
        let data = join_data(request.data.as_str()).ok_or((
            ErrorCode::BadPayload,
            "`data` of $join must be an object: {\"since\":{\"epoch\":string,\"offset\":integer},\
                 \"meta\":any}, each member optional",
        ))?;
        let joined = match self.join(now, conn, room, out) {
            Ok(joined) => joined,
            Err(JoinError::RoomLimit { limit }) => {
                let message = alloc::format!(
                    "this connection is in {limit} rooms, as many as it may be: leave one first"
                );
                answer_error(conn, request, out, ErrorCode::RoomLimit, &message);
                return Ok(());
            }
            Err(fault @ JoinError::RoomNames { .. }) => {
                let message = alloc::format!("{fault}");
                answer_error(conn, request, out, ErrorCode::RoomLimit, &message);
                return Ok(());
            }
            Err(JoinError::Room(_)) => return Err(NO_ROOM),
            Err(JoinError::UnknownConn(_)) => {
                debug_assert!(false, "a request of a dead connection");
                return Ok(());
            }
        };
        answer(conn, request, out, |text| {
            text.push_str(r#"{"epoch":"#);
            write_string(text, &joined.position.epoch);
            text.push_str(r#","offset":"#);
            text.push_str(itoa::Buffer::new().format(joined.position.offset));
            text.push_str(r#","already":"#);
            text.push_str(if joined.already { "true" } else { "false" });
            if data.since.is_some() {
                // Without history there is nothing to replay from: never partial.
                text.push_str(r#","recovered":false"#);
            }
            text.push('}');
        });
        Ok(())
    }

    fn verb_leave(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        request: &Envelope<'_>,
        out: &mut Outbox,
    ) -> Result<(), Fault> {
        let room = request.room.as_deref().ok_or(NO_ROOM)?;
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

type Fault = (ErrorCode, &'static str);

const NO_ROOM: Fault = (
    ErrorCode::BadRoom,
    "this verb needs a `room`: 1 to 200 bytes, no control characters",
);
const UNKNOWN_VERB: &str = "no such verb: events that start with $ belong to the protocol; use $join, $leave, $rooms or $ping";

/// The `data` of `$join`, checked to the bottom.
fn join_data(json: &str) -> Option<JoinData<'_>> {
    let data: JoinData<'_> = object(json)?.unwrap_or_default();
    if let Some(since) = data.since {
        object::<Since>(since.get())?;
    }
    Some(data)
}

/// An object of the given shape, or null; `None` for anything else. A derived struct alone would
/// also take an array, for its members in order.
fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<Option<T>> {
    if json.starts_with('[') {
        return None;
    }
    serde_json::from_str(json).ok()
}

fn answer(
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
