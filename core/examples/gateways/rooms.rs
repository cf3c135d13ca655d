//! Rooms by their path: what an event does depends on the room that the message names, and the
//! parameters in that path are typed.

use roomcast_core::{Context, Failure, Path, Router};
use serde::{Deserialize, Serialize};

/// A chair at a table, as in `/table/7/seat/2`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Chair {
    table: u32,
    seat: u8,
}

/// The application.
pub(crate) fn rooms() -> Router {
    Router::default()
        // By `$join` two could sit on one chair, and what is published says what it likes.
        .guard_rooms(|_, _, _, _| Err(Failure::forbidden("send join, leave or say")))
        .on_path("join", "/chat/{topic}", join)
        .on_path("leave", "/chat/{topic}", |cx: &mut Context| cx.leave_here())
        .on_path("say", "/chat/{topic}", say)
        .on_path("join", "/table/{table}/seat/{seat}", sit)
        // A text goes before a parameter.
        .on_path("join", "/chat/help", |_: &mut Context| "ask away")
        .on("join", |_: &mut Context| {
            Failure::new("no_such_room", "join /chat/{topic} or /table/{n}/seat/{n}")
        })
}

/// The room that is joined is the one that the message names.
fn join(cx: &mut Context<'_>, Path(topic): Path<String>) -> Result<String, Failure> {
    let id = cx.id();
    if cx.join_here()? {
        let room = format!("/chat/{topic}");
        cx.to(cx.room(&room).except_self()).emit("joined", &id)?;
    }
    Ok(topic)
}

/// Everybody else in the room hears it; the answer says how many.
fn say(cx: &mut Context<'_>, Path(topic): Path<String>, text: String) -> Result<usize, Failure> {
    let room = format!("/chat/{topic}");
    let said = cx.to(cx.room(&room).except_self()).emit("said", &text)?;
    Ok(said.matched)
}

/// A chair is a room for one.
fn sit(cx: &mut Context<'_>, Path(chair): Path<Chair>) -> Result<Chair, Failure> {
    let room = cx.here().unwrap_or_default();
    if !cx.members(room).is_empty() && !cx.is_in(room) {
        return Err(Failure::new("taken", "somebody sits there"));
    }
    cx.join_here()?;
    Ok(chair)
}
