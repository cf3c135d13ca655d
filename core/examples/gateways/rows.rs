//! Every verb that an application has, by an event of its own. `tests/traces/rows` holds stories
//! about each of them, which must go the same way on every host.

use std::{collections::BTreeMap, time::Duration};

use garde::Validate;
use roomcast_core::{
    Audience, CloseCode, ConnId, Context, Failure, Path, Rejection, Reply, Router, UnknownConn,
    Valid, gateway::Admission,
};
use serde::Deserialize;

/// The application, and another one in the same namespace.
pub(crate) fn rows() -> Router<((), u32)> {
    answers(queries(rooms(sends(hooks(Router::default()))))).merge(votes())
}

/// A router with a state, a guard and a hook of its own.
fn votes() -> Router<u32> {
    Router::new(0)
        .persistent()
        .guard_event("vote", |cx, _, _| match cx.user() {
            Some(_) => Ok(()),
            None => Err(Failure::unauthorized("who votes?")),
        })
        .on_joined(|cx, votes, room| {
            if room == "polls" {
                let sent = cx.emit("votes", votes);
                sent.map_or_else(|fault| cx.report("votes", fault), |_| ());
            }
        })
        .on("vote", |_: &mut Context, votes: &mut u32| {
            *votes += 1;
            *votes
        })
}

/// Adds the hooks that admit or refuse connections; they report to the room `watch`.
fn hooks(router: Router) -> Router {
    router
        .guard_upgrade(|request, ()| match request.param("user").as_deref() {
            Some("eve") => Err(Rejection::forbidden("not you")),
            _ => Ok(()),
        })
        .on_upgrade(|request, ()| {
            Ok(match request.param("user") {
                Some(user) => Admission::new().with_session(&user)?.with_user(user),
                None => Admission::new(),
            })
        })
        .on_connect(|cx, ()| {
            let id = cx.id();
            cx.to(cx.room("watch")).emit("connected", &id)?;
            Ok(())
        })
        .on_joined(|cx, (), room| told(cx, "joined", room))
        .on_left(|cx, (), room| told(cx, "left", room))
        .on_disconnect(|cx, (), reason| {
            let ended = (cx.id(), owned(cx.rooms()), reason);
            let sent = cx.to(Audience::room("watch")).emit("disconnected", &ended);
            sent.map_or_else(|fault| cx.report("disconnect", fault), |_| ());
        })
        .every(Duration::from_secs(60), |namespace, ()| {
            let sent = namespace.send(
                &Audience::room("watch"),
                "minute",
                &namespace.counts().connections,
            );
            sent.map_or_else(|fault| namespace.report("minute", fault), |_| ());
        })
        .guard_rooms(|cx, (), _, room| {
            if room == "staff" && cx.user() != Some("ann") {
                return Err(Failure::forbidden("staff only"));
            }
            Ok(())
        })
        .guard_event("members_only", |cx, (), _| match cx.user() {
            Some(_) => Ok(()),
            None => Err(Failure::unauthorized("say who you are")),
        })
        .on("members_only", |cx: &mut Context| cx.session::<String>())
}

/// Rooms that end in `!` are watched.
fn told(cx: &mut Context<'_>, event: &str, room: &str) {
    if room.ends_with('!') {
        let change = (cx.id(), room.to_owned());
        let sent = cx.to(Audience::room("watch")).emit(event, &change);
        sent.map_or_else(|fault| cx.report(event, fault), |_| ());
    }
}

/// Every audience by its name. The answer is the delivery.
fn sends(router: Router) -> Router {
    router
        .on("emit", |cx: &mut Context, text: String| {
            cx.emit("heard", &text)
        })
        .on("broadcast", |cx: &mut Context, text: String| {
            cx.broadcast("heard", &text)
        })
        .on("others", |cx: &mut Context, text: String| {
            cx.to(cx.others()).emit("heard", &text)
        })
        .on(
            "room",
            |cx: &mut Context, (room, text): (String, String)| {
                cx.to(cx.room(&room)).emit("heard", &text)
            },
        )
        .on(
            "room_except_self",
            |cx: &mut Context, (room, text): (String, String)| {
                cx.to(cx.room(&room).except_self()).emit("heard", &text)
            },
        )
        .on("my_rooms", |cx: &mut Context, text: String| {
            cx.to(cx.my_rooms()).emit("heard", &text)
        })
        .on("my_rooms_except_self", |cx: &mut Context, text: String| {
            cx.to(cx.my_rooms().except_self()).emit("heard", &text)
        })
        .on(
            "conn",
            |cx: &mut Context, (conn, text): (ConnId, String)| {
                cx.to(Audience::conn(conn)).emit("heard", &text)
            },
        )
        .on(
            "user",
            |cx: &mut Context, (user, text): (String, String)| {
                cx.to(Audience::user(user)).emit("heard", &text)
            },
        )
        .on(
            "audience",
            |cx: &mut Context, (to, text): (Audience, String)| cx.to(to).emit("heard", &text),
        )
        .on("unsendable", |cx: &mut Context| {
            cx.broadcast("heard", &unwritable())
        })
        .on(
            "disconnect_and_broadcast",
            |cx: &mut Context, conn: ConnId| {
                cx.disconnect(conn, CloseCode::REMOVED, "removed")
                    .map_err(unknown)?;
                Ok::<_, Failure>(cx.broadcast("heard", "one is gone")?)
            },
        )
}

/// Adds the verbs that change the rooms of this connection, and of any other by its id.
fn rooms(router: Router) -> Router {
    router
        .on("join", |cx: &mut Context, room: String| cx.join(&room))
        .on("leave", |cx: &mut Context, room: String| cx.leave(&room))
        .on_path(
            "join",
            "/chat/{topic}",
            |cx: &mut Context, Path(topic): Path<String>| cx.join_here().map(|new| (topic, new)),
        )
        .on_path("leave", "/chat/{topic}", |cx: &mut Context| cx.leave_here())
        .on_path(
            "seat",
            "/table/{table}/{seat}",
            |_: &mut Context, Path(seat): Path<(u8, u8)>| seat,
        )
        .on(
            "join_conn",
            |cx: &mut Context, (conn, room): (ConnId, String)| {
                cx.connection(conn)
                    .ok_or_else(|| unknown(UnknownConn(conn)))?;
                Ok::<_, Failure>(cx.namespace().join(conn, &room)?)
            },
        )
        .on(
            "leave_conn",
            |cx: &mut Context, (conn, room): (ConnId, String)| {
                cx.namespace().leave(conn, &room).map_err(unknown)
            },
        )
        .on("disconnect", |cx: &mut Context, conn: ConnId| {
            cx.disconnect(conn, CloseCode::REMOVED, "removed")
                .map_err(unknown)
        })
        .on("close", |cx: &mut Context, code: u16| {
            cx.close(
                CloseCode::new(code).unwrap_or(CloseCode::NORMAL),
                "as you wish",
            );
        })
}

/// Adds the queries about the namespace, which every client may ask.
fn queries(router: Router) -> Router {
    router
        .on("rooms", |cx: &mut Context, prefix: String| {
            let rooms = cx.namespace().rooms(&prefix);
            rooms
                .map(|room| (room.name.to_owned(), room.members))
                .collect::<Vec<_>>()
        })
        .on("members", |cx: &mut Context, room: String| {
            cx.members(&room).to_vec()
        })
        .on("rooms_of", |cx: &mut Context, conn: ConnId| {
            cx.rooms_of(conn).map(owned)
        })
        .on("connections", |cx: &mut Context| {
            let mut ids: Vec<_> = cx.connections().map(|info| info.id).collect();
            ids.sort_unstable();
            ids
        })
        .on("connections_of", |cx: &mut Context, user: String| {
            cx.connections_of(&user).to_vec()
        })
        .on("connection", |cx: &mut Context, conn: ConnId| {
            let info = cx.connection(conn);
            info.map(|info| (info.id, info.user.map(str::to_owned)))
        })
        .on("counts", |cx: &mut Context| {
            let counts = cx.counts();
            (counts.connections, counts.rooms, counts.memberships)
        })
}

#[derive(Deserialize, Validate)]
struct Registration {
    #[garde(length(min = 1, max = 8))]
    name: String,
    #[garde(range(min = 18))]
    age: u8,
}

/// Adds a handler for each kind of argument and return value.
fn answers(router: Router) -> Router {
    router
        .on("echo", |_: &mut Context, text: String| text)
        .on("nothing", |_: &mut Context| ())
        .on("perhaps", |_: &mut Context, value: Option<u8>| value)
        .on("another", |_: &mut Context| {
            Reply::event("another_event", &1)
        })
        .on("several", |_: &mut Context| {
            Ok::<_, Failure>(vec![
                Reply::new(&1)?,
                Reply::event("progress", &2)?,
                Reply::new(&3)?,
            ])
        })
        .on("push_and_reply", |cx: &mut Context| {
            cx.emit("pushed", "first").map(|_| "then")
        })
        .on("refuse", |_: &mut Context| {
            Failure::new("no_luck", "not today").with_details(&["try", "tomorrow"])
        })
        .on("fail", |_: &mut Context| "secret".parse::<u8>())
        .on("unwritable", |_: &mut Context| unwritable())
        .on(
            "register",
            |_: &mut Context, Valid(new): Valid<Registration>| (new.name, new.age),
        )
        .on("later", |cx: &mut Context, text: String| {
            cx.spawn(async move { text })
        })
        .on("fail_later", |cx: &mut Context| {
            cx.spawn(async { "secret".parse::<u8>() })
        })
        .on("remember", |cx: &mut Context, text: String| {
            cx.set_session(&text)
        })
        .on("recall", |cx: &mut Context| cx.session::<String>())
}

/// A value without a form in JSON.
fn unwritable() -> BTreeMap<[u8; 2], u8> {
    BTreeMap::from([([1, 2], 3)])
}

fn owned(names: Vec<&str>) -> Vec<String> {
    names.into_iter().map(str::to_owned).collect()
}

/// The failure for an unknown connection, without its id: a refused value is not repeated.
fn unknown(_: UnknownConn) -> Failure {
    Failure::new("unknown_conn", "no live connection has this id")
}
