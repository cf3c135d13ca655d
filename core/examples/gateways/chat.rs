//! A chat: messages to everybody with a history, presence, typing, and rooms to talk in.
//!
//! It needs no host: include the file in one (`#[path = "..."] mod chat;`), or in a test.

use garde::Validate;
use roomcast_core::{Context, EncodeError, Failure, Router, Valid};
use serde::{Deserialize, Serialize};

/// What somebody wrote; the history keeps the last hundred. A character is at most 6 bytes of JSON,
/// so that all of them fit into one frame of 330 KB, and into a row of storage.
#[derive(Debug, Clone, Serialize, Deserialize, Validate)]
pub(crate) struct Message {
    #[garde(length(chars, max = 40))]
    author: String,
    #[garde(length(chars, max = 500))]
    text: String,
}

#[derive(Deserialize)]
struct Say {
    room: String,
    text: String,
}

#[derive(Deserialize)]
struct Room {
    room: String,
}

/// The application.
pub(crate) fn chat() -> Router<Vec<Message>> {
    Router::new(Vec::new())
        .persistent()
        // What the protocol can do to rooms by itself would go around `join`, `leave` and `say`.
        .guard_rooms(|_, _, _, _| Err(Failure::forbidden("send join, leave or say")))
        .on("message", message)
        .on("history", |_: &mut Context, history: &mut Vec<Message>| {
            history.clone()
        })
        .on("presence", |cx: &mut Context| cx.counts().connections)
        .on("typing", |cx: &mut Context, who: String| {
            cx.to(cx.others()).emit("typing", &who).map(|_| ())
        })
        .on("join", |cx: &mut Context, Room { room }: Room| {
            cx.join(&room).map(|_| room)
        })
        .on("leave", |cx: &mut Context, Room { room }: Room| {
            cx.leave(&room).then_some(room)
        })
        .on("say", say)
}

/// Everybody gets it; who wrote it, as the answer.
fn message(
    cx: &mut Context<'_>,
    history: &mut Vec<Message>,
    Valid(message): Valid<Message>,
) -> Result<Message, EncodeError> {
    cx.to(cx.others()).emit("message", &message)?;
    history.push(message.clone());
    history.drain(..history.len().saturating_sub(100));
    Ok(message)
}

/// Everybody in the room gets it, who says it among them.
fn say(cx: &mut Context<'_>, Say { room, text }: Say) -> Result<(), Failure> {
    if !cx.is_in(&room) {
        return Err(Failure::forbidden(
            "join the room before you say something in it",
        ));
    }
    cx.to(cx.room(&room)).emit("say", &text)?;
    Ok(())
}
