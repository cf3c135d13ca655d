//! Frames without envelopes: a text protocol of words between colons, and binary.
//!
//! | a client sends | and |
//! |---|---|
//! | `join:ROOM`, `leave:ROOM` | gets `joined:ROOM`, `left:ROOM` |
//! | `msg:ROOM:TEXT` | all members of the room get `ROOM:TEXT` |
//! | `to:ID:TEXT` | this one connection gets `ID:TEXT` |
//! | `id`, `ping:TEXT` | gets `id:ID`, `pong:TEXT` |
//! | `bye` | is closed |
//! | binary | whoever shares a room with it gets the same bytes |
//!
//! When a connection ends, whoever shared a room with it gets `gone:ID:REASON`.

use roomcast_core::{Audience, CloseCode, Context, DisconnectReason, Failure, Frame, Router};

/// The application.
pub(crate) fn raw() -> Router {
    Router::default()
        .on_frame(|cx, (), frame| match frame {
            Frame::Text(text) => {
                if let Err(failure) = text_frame(cx, text) {
                    reply(cx, &format!("error:{}", failure.message()));
                }
            }
            Frame::Binary(_) => send(cx, cx.my_rooms().except_self(), frame),
        })
        .on_disconnect(|cx, (), reason| {
            let reason = if let DisconnectReason::Client(_) = reason {
                "left"
            } else if let DisconnectReason::Closed(_) = reason {
                "closed"
            } else {
                "lost"
            };
            let text = format!("gone:{}:{reason}", cx.id());
            send(cx, cx.my_rooms().except_self(), Frame::Text(&text));
        })
}

fn text_frame(cx: &mut Context<'_>, text: &str) -> Result<(), Failure> {
    match text.splitn(3, ':').collect::<Vec<_>>()[..] {
        ["join", room] => {
            cx.join(room)?;
            reply(cx, &format!("joined:{room}"));
        }
        ["leave", room] => {
            cx.leave(room);
            reply(cx, &format!("left:{room}"));
        }
        ["msg", room, text] => {
            let text = format!("{room}:{text}");
            send(cx, Audience::room(room), Frame::Text(&text));
        }
        ["to", id, text] => {
            let conn = id.parse().map_err(|_| Failure::bad_payload("no such id"))?;
            send(
                cx,
                Audience::conn(conn),
                Frame::Text(&format!("{id}:{text}")),
            );
        }
        ["id"] => {
            let id = cx.id();
            reply(cx, &format!("id:{id}"));
        }
        ["ping", text] => reply(cx, &format!("pong:{text}")),
        ["bye"] => cx.close(CloseCode::NORMAL, "bye"),
        _ => return Err(Failure::bad_payload("unknown word")),
    }
    Ok(())
}

fn reply(cx: &mut Context<'_>, text: &str) {
    cx.emit_frame(Frame::Text(text));
}

/// A room that can have no members reaches nobody, and that is noted down.
fn send(cx: &mut Context<'_>, to: impl Into<Audience>, frame: Frame<'_>) {
    if let Err(fault) = cx.to(to).emit_frame(frame) {
        cx.report("send", fault);
    }
}
