//! The frame of a message to a room.

use alloc::string::String;

use super::{
    conn_id::ConnId,
    event::Event,
    head::{write_from, write_head, write_number},
    payload::Payload,
};

/// Writes the frame that members of a room get: with its publisher, when that is a client, and with
/// its offset, when the room keeps it.
#[inline(always)] // on the way of each publish to a room that keeps it
pub(crate) fn write_room_message(
    text: &mut String,
    room: &str,
    (event, data): (Event<'_>, Payload<'_>),
    from: Option<(ConnId, Option<&str>)>,
    offset: Option<u64>,
) {
    write_head(text, event.name(), None, Some(room));
    event.write_path(text);
    if let Some((conn, user)) = from {
        write_from(text, conn, user);
    }
    if let Some(offset) = offset {
        write_number(text, r#","offset":"#, offset);
    }
    text.push_str(r#","data":"#);
    text.push_str(data.as_str());
    text.push('}');
}
