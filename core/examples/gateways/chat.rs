//! A chat: messages to everybody with a history, presence, typing, and rooms to talk in.
//!
//! It needs no host: include the file in one (`#[path = "..."] mod chat;`), or in a test.
//!
//! nest-rs has had two meanings of `broadcast`, and both are here: `message` goes to every
//! connection, the sender among them (`cx.broadcast`); `say` goes to whoever else is in a room of
//! the sender, once, however many rooms they share (`cx.my_rooms().except_self()`).

use garde::Validate;
use roomcast_core::{Context, EncodeError, Failure, JoinError, Router, Valid};
use serde::{Deserialize, Serialize};

/// Content of a new message. A character is at most 6 bytes of JSON, so that a hundred of them fit
/// into one frame of 340 KB, and into a row of storage.
#[derive(Debug, Clone, Serialize, Deserialize, Validate)]
pub(crate) struct Line {
    #[garde(length(chars, max = 40))]
    pub(crate) author: String,
    #[garde(length(chars, max = 500))]
    pub(crate) text: String,
}

/// A message with its time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Message {
    #[serde(flatten)]
    pub(crate) line: Line,
    /// RFC 3339, UTC.
    pub(crate) at: String,
}

/// The last hundred messages, and how many are here.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Chat {
    history: Vec<Message>,
    present: usize,
}

/// The application.
pub(crate) fn chat() -> Router<Chat> {
    Router::new(Chat::default())
        .persistent()
        .on_connect(|cx, chat| {
            chat.present = cx.counts().connections;
            cx.join("lobby")?;
            Ok(())
        })
        .on_disconnect(|cx, chat, _| chat.present = cx.counts().connections)
        // What the protocol can do to rooms by itself would go around `join`, `leave` and `say`.
        .guard_rooms(|_, _, _, _| Err(Failure::forbidden("send join, leave or say")))
        .on("message", message)
        .on("history", |_: &mut Context, chat: &mut Chat| {
            chat.history.clone()
        })
        .on("presence", |_: &mut Context, chat: &mut Chat| chat.present)
        .on("typing", |cx: &mut Context, Valid(line): Valid<Line>| {
            cx.to(cx.others()).emit("typing", &line).map(|_| ())
        })
        .on("join", |cx: &mut Context, room: String| {
            cx.join(&room)?;
            Ok::<_, JoinError>(())
        })
        .on("leave", |cx: &mut Context, room: String| {
            cx.leave(&room);
        })
        .on("say", |cx: &mut Context, Valid(line): Valid<Line>| {
            let others = cx.my_rooms().except_self();
            cx.to(others).emit("said", &line).map(|_| ())
        })
}

/// Sends a message to everybody, and adds it to the history, where later clients find it.
fn message(cx: &mut Context, chat: &mut Chat, new: Valid<Line>) -> Result<(), EncodeError> {
    let (line, at) = (new.0, cx.unix_time().to_string());
    let message = Message { line, at };
    cx.broadcast("message", &message)?;
    chat.history.push(message);
    chat.history.drain(..chat.history.len().saturating_sub(100));
    Ok(())
}
