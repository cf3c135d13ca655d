//! Text without envelopes: rooms by three words, with colons between.
//!
//! | a client sends | it gets | and all members of the room get |
//! |---|---|---|
//! | `join:ROOM` | `Joined room: ROOM` | `ID joined` |
//! | `msg:ROOM:TEXT` | | `[ROOM] ID: TEXT` |
//! | `leave:ROOM` | `Left room: ROOM` | |
//!
//! Binary frames are ignored. What cannot be done is answered with `Error: `.

use roomcast_core::{Audience, ConnId, Context, DisconnectReason, Failure, Frame, Router};

/// The connection that ended last, and why.
pub(crate) type Gone = Option<(ConnId, DisconnectReason)>;

/// The application.
pub(crate) fn raw() -> Router<Gone> {
    Router::new(None)
        .on_connect(|cx, _| {
            reply(cx, "Connected. Send 'join:<room>' to join a room.");
            Ok(())
        })
        .on_frame(|cx, _, frame| {
            if let Frame::Text(text) = frame
                && let Err(failure) = obey(cx, text)
            {
                reply(cx, &format!("Error: {}", failure.message()));
            }
        })
        // It is in no room any more: nothing is left to do.
        .on_disconnect(|cx, gone, reason| *gone = Some((cx.id(), reason)))
}

fn obey(cx: &mut Context<'_>, text: &str) -> Result<(), Failure> {
    let id = cx.id();
    match text.splitn(3, ':').collect::<Vec<_>>()[..] {
        ["join", room] => {
            cx.join(room)?;
            reply(cx, &format!("Joined room: {room}"));
            tell(cx, room, &format!("{id} joined"))
        }
        ["leave", room] => {
            cx.leave(room);
            reply(cx, &format!("Left room: {room}"));
            Ok(())
        }
        ["msg", room, text] => tell(cx, room, &format!("[{room}] {id}: {text}")),
        _ => {
            let advice = "send join:<room>, leave:<room> or msg:<room>:<text>";
            Err(Failure::bad_payload(advice))
        }
    }
}

fn reply(cx: &mut Context<'_>, text: &str) {
    cx.emit_frame(Frame::Text(text));
}

fn tell(cx: &mut Context<'_>, room: &str, text: &str) -> Result<(), Failure> {
    cx.to(Audience::room(room)).emit_frame(Frame::Text(text))?;
    Ok(())
}
