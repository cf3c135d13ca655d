//! Rooms by their path: what an event does depends on the room that the message names.
//!
//! A broadcast of moost leaves out its sender unless it has an option, and it has another room as
//! an option. Each meaning has a verb here: `message` goes to the others in the room, `shout` to
//! all in it (`excludeSelf: false`), `forward` to the others in another one (`room: other`).

use roomcast_core::{Audience, ConnId, Context, EncodeError, Failure, Path, Router};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

#[derive(Deserialize)]
struct Member {
    name: String,
}

#[derive(Deserialize)]
struct Direct {
    #[serde(rename = "targetId")]
    target: ConnId,
    text: String,
}

/// The application.
pub(crate) fn rooms() -> Router {
    Router::default()
        // What the protocol can do to rooms by itself would go around these events.
        .guard_rooms(|_, _, _, _| Err(Failure::forbidden("send join, leave or message")))
        .on_path("join", "/chat/{room}", join)
        .on_path("leave", "/chat/{room}", leave)
        .on_path("message", "/chat/{room}", message)
        .on_path("shout", "/chat/{room}", shout)
        .on_path("forward", "/chat/{room}/to/{other}", forward)
        .on_path("admin", "/announce", announce)
        .on_path("dm", "/direct", |cx: &mut Context, dm: Direct| {
            let to = cx.to(Audience::conn(dm.target)).at("/direct");
            to.emit("dm", &json!({"text": dm.text})).map(|_| ())
        })
        .on_path("notify", "/self", |cx: &mut Context| {
            let text = json!({"text": "Just for you"});
            cx.at("/alerts").emit("notification", &text).map(|_| ())
        })
}

fn join(cx: &mut Context, Path(room): Path<String>, who: Member) -> Result<Value, Failure> {
    cx.join_here()?;
    let text = json!({"text": format!("{} joined", who.name)});
    cx.to(cx.room_here().except_self()).emit("system", &text)?;
    Ok(json!({"joined": true, "room": room, "rooms": cx.rooms()}))
}

fn leave(cx: &mut Context) -> Result<Value, EncodeError> {
    cx.leave_here();
    let text = json!({"text": "Someone left"});
    cx.to(cx.room_here()).emit("system", &text)?;
    Ok(json!({"left": true, "rooms": cx.rooms()}))
}

fn message(cx: &mut Context, data: Box<RawValue>) -> Result<(), EncodeError> {
    let others = cx.room_here().except_self();
    cx.to(others).emit("message", &data).map(|_| ())
}

fn shout(cx: &mut Context, data: Box<RawValue>) -> Result<(), EncodeError> {
    cx.to(cx.room_here()).emit("message", &data).map(|_| ())
}

type Hop = Path<(String, String)>;

fn forward(cx: &mut Context, Path((_, to)): Hop, data: Box<RawValue>) -> Result<(), EncodeError> {
    let others = cx.room(&format!("/chat/{to}")).except_self();
    cx.to(others).emit("message", &data).map(|_| ())
}

fn announce(cx: &mut Context, data: Box<RawValue>) -> Result<Value, EncodeError> {
    let all = cx.to(Audience::all()).at("/announce");
    all.emit("announcement", &data)?;
    Ok(json!({"announced": true}))
}
