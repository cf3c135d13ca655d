//! The API, by which backends send, query and disconnect.

mod call;
mod query;
mod send;
mod source;

use alloc::{
    borrow::{Cow, ToOwned},
    string::String,
    vec::Vec,
};

use percent_encoding::percent_decode_str;
use roomcast_core::{
    CloseCode, ConnId, Explained, Limits, RoomName, ask::Ask, outbox::CLOSE_REASON_BYTES_MAX,
};

use self::query::{Query, is_encoded, number};
pub use self::{
    call::{Answer, ApiCall},
    send::SendHead,
};
use crate::{
    access::{Access, KeyScope},
    problem::Problem,
    request::{Headers, Request},
};

/// A request of the API whose head was read.
#[derive(Debug)]
pub enum ApiRequest {
    /// A complete call; a body, if any, is ignored.
    Call(ApiCall),
    /// A send whose body is still to come.
    Send(SendHead),
}

impl ApiRequest {
    /// Reads a request whose route is [`Route::Api`](super::Route::Api).
    ///
    /// # Errors
    ///
    /// The answer to a request that is not a call of the API, or not valid.
    pub fn read<H: Headers>(
        request: &Request<'_, H>,
        access: &Access,
        limits: &Limits,
    ) -> Result<Self, Problem> {
        let segments = segments(request.path)?;
        let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
        let (namespace, resource) = below_version(&segments)?;
        access.check_namespace(namespace)?;
        let namespace = namespace.to_owned();
        let allow = methods(resource)?;
        if !allow.split(", ").any(|method| method == request.method) {
            return Err(Problem::Method(allow));
        }
        let query = Query::read(request.query)?;
        if resource == ["send"] {
            query.only(&[])?;
            return Ok(Self::Send(SendHead::read(namespace, request)?));
        }
        let ask = ask(request.method, resource, query, limits)?;
        Ok(Self::Call(ApiCall { namespace, ask }))
    }

    /// The name of the namespace that the request is about.
    pub fn namespace(&self) -> &str {
        match self {
            Self::Call(call) => call.namespace(),
            Self::Send(head) => head.namespace(),
        }
    }
}

/// The methods of a path of the API, in any namespace.
///
/// # Errors
///
/// When there is no such path.
pub(super) fn allowed(path: &str) -> Result<&'static str, Problem> {
    let segments = segments(path)?;
    let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
    methods(below_version(&segments)?.1)
}

/// The scope that a key needs for a call; `None` where there is no such call.
pub(super) fn scope(method: &str, path: &str) -> Option<KeyScope> {
    let segments = segments(path).ok()?;
    let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
    let (_, resource) = below_version(&segments).ok()?;
    let allow = methods(resource).ok()?;
    let is_call = allow.split(", ").any(|allowed| allowed == method);
    is_call.then_some(match (resource, method) {
        (["send"], _) => KeyScope::Publish,
        (_, "GET" | "HEAD") => KeyScope::Read,
        (_, _) => KeyScope::Admin,
    })
}

/// The segments of a path after `/api/`, decoded.
fn segments(path: &str) -> Result<Vec<Cow<'_, str>>, Problem> {
    let path = path.strip_prefix("/api/").unwrap_or_default();
    if !is_encoded(path) {
        return Err(Problem::PathEncoding);
    }
    let segments = path.split('/');
    let decoded = segments.map(|segment| percent_decode_str(segment).decode_utf8());
    let decoded: Result<_, _> = decoded.collect();
    decoded.map_err(|_| Problem::PathEncoding)
}

/// The namespace, and the segments after it.
fn below_version<'a>(segments: &'a [&'a str]) -> Result<(&'a str, &'a [&'a str]), Problem> {
    match segments {
        ["v1", namespace, resource @ ..] => Ok((namespace, resource)),
        _ => Err(Problem::NoVersion),
    }
}

/// The pattern of a path of the API, such as `/api/v1/{namespace}/rooms/{room}`; `None` where there
/// is no such path. For spans and metrics: it contains no name of a room or a user.
pub fn api_pattern(path: &str) -> Option<&'static str> {
    let segments = segments(path).ok()?;
    let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
    let (_, resource) = below_version(&segments).ok()?;
    found(resource).map(|(pattern, _)| pattern)
}

/// The methods of a path after the namespace.
fn methods(resource: &[&str]) -> Result<&'static str, Problem> {
    let found = found(resource).ok_or(Problem::NoCall)?;
    Ok(found.1)
}

/// The pattern and the methods of a path after the namespace.
fn found(resource: &[&str]) -> Option<(&'static str, &'static str)> {
    macro_rules! of {
        ($pattern:literal, $methods:expr) => {
            (concat!("/api/v1/{namespace}/", $pattern), $methods)
        };
    }
    const SEND: &str = "POST, OPTIONS";
    const READ: &str = "GET, HEAD, OPTIONS";
    const MEMBER: &str = "PUT, DELETE, OPTIONS";
    const CONNECTIONS: &str = "GET, HEAD, DELETE, OPTIONS";
    Some(match resource {
        ["send"] => of!("send", SEND),
        ["rooms"] => of!("rooms", READ),
        ["room"] => of!("room", READ),
        ["explain"] => of!("explain", READ),
        ["rooms", _] => of!("rooms/{room}", READ),
        ["rooms", _, "members"] => of!("rooms/{room}/members", READ),
        ["rooms", _, "history"] => of!("rooms/{room}/history", READ),
        ["room", "members"] => of!("room/members", READ),
        ["room", "history"] => of!("room/history", READ),
        ["rooms", _, "members", _] => of!("rooms/{room}/members/{connection}", MEMBER),
        ["room", "members", _] => of!("room/members/{connection}", MEMBER),
        ["connections"] => of!("connections", CONNECTIONS),
        ["connections", _] => of!("connections/{connection}", CONNECTIONS),
        ["users", _, "connections"] => of!("users/{user}/connections", "DELETE, OPTIONS"),
        _ => return None,
    })
}

/// The request that the path after the namespace makes with one of its [`methods`]. `HEAD` is
/// handled like `GET`: the body is left out when the answer is sent.
fn ask(method: &str, resource: &[&str], mut query: Query, limits: &Limits) -> Result<Ask, Problem> {
    // `room...?room=NAME` means `rooms/NAME...`: proxies do not change a name in a query.
    let name;
    let (room, resource) = match resource {
        ["room", rest @ ..] => {
            let Some(taken) = query.take("room") else {
                query.only(match rest {
                    ["members"] => &["room", "after", "limit"],
                    ["history"] => &["room", "after", "before", "limit"],
                    _ => &["room"],
                })?;
                return Err(Problem::RoomMissing);
            };
            name = taken;
            (Some(&*name), rest)
        }
        ["rooms", name, rest @ ..] => (Some(*name), rest),
        resource => (None, resource),
    };
    if let Some(room) = room {
        RoomName::check(room, limits.room_name_bytes)?;
        return ask_of_room(method, room.to_owned(), resource, &query);
    }
    Ok(match (resource, method) {
        (["rooms"], _) => {
            query.only(&["prefix", "after", "limit"])?;
            Ask::Rooms {
                limit: query.limit()?,
                prefix: query.owned("prefix").unwrap_or_default(),
                after: query.owned("after"),
            }
        }
        (["explain"], _) => ask_why(&query, limits)?,
        (["connections"], "DELETE") => {
            query.only(&["user", "code", "reason"])?;
            let user = query.owned("user").ok_or(Problem::UserMissing)?;
            let (code, reason) = close(&query)?;
            Ask::DisconnectUser { user, code, reason }
        }
        (["connections"], _) => {
            query.only(&["user", "after", "limit"])?;
            let after = query.get("after").map(str::parse).transpose();
            Ask::Connections {
                limit: query.limit()?,
                after: after.map_err(|_| Problem::After)?,
                user: query.owned("user"),
            }
        }
        (["connections", conn], "DELETE") => {
            query.only(&["code", "reason"])?;
            let conn = connection(conn)?;
            let (code, reason) = close(&query)?;
            Ask::Disconnect { conn, code, reason }
        }
        (["users", user, "connections"], _) => ask_of_user(user, &query)?,
        (_, _) => {
            query.only(&[])?;
            let conn = connection(resource.last().copied().unwrap_or_default())?;
            Ask::Connection { conn }
        }
    })
}

/// The request to end all connections of a user, or those whose identity is older than a time.
fn ask_of_user(user: &str, query: &Query) -> Result<Ask, Problem> {
    query.only(&["not_before", "code", "reason"])?;
    let user = Some(user).filter(|user| !user.is_empty());
    let user = user.ok_or(Problem::UserMissing)?.to_owned();
    match query.get("not_before") {
        Some(seconds) => {
            query.only(&["not_before"])?;
            let not_before_s = number(seconds).filter(|seconds| *seconds <= SECONDS_MAX);
            let not_before_s = not_before_s.ok_or(Problem::NotBefore)?;
            Ok(Ask::Withdraw { user, not_before_s })
        }
        None => {
            let (code, reason) = close(query)?;
            Ok(Ask::DisconnectUser { user, code, reason })
        }
    }
}

/// The last second of the year 9999: a larger number was probably meant as milliseconds.
const SECONDS_MAX: u64 = 253_402_300_799;

/// The request about a room that the path after its name makes.
fn ask_of_room(
    method: &str,
    room: String,
    resource: &[&str],
    query: &Query,
) -> Result<Ask, Problem> {
    Ok(match (resource, method) {
        (["members"], _) => {
            query.only(&["after", "limit"])?;
            Ask::Presence {
                room,
                after: query.owned("after"),
                limit: query.limit()?,
            }
        }
        (["history"], _) => {
            query.only(&["after", "before", "limit"])?;
            Ask::History {
                room,
                offsets: (query.offset("after")?, query.offset("before")?),
                limit: query.limit()?,
            }
        }
        (["members", conn], method) => {
            query.only(&[])?;
            let (conn, meta) = (connection(conn)?, None);
            match method {
                "PUT" => Ask::Join { room, conn, meta },
                _ => Ask::Leave { room, conn },
            }
        }
        (_, _) => {
            query.only(&[])?;
            Ask::Room { room }
        }
    })
}

/// The request to explain why a connection did or did not get a message, would get a message that
/// another connection publishes, or has a right.
fn ask_why(query: &Query, limits: &Limits) -> Result<Ask, Problem> {
    query.only(&["room", "offset", "from", "conn", "right"])?;
    let room = query.owned("room").ok_or(Problem::RoomMissing)?;
    RoomName::check(&room, limits.room_name_bytes)?;
    let offset = query.get("offset").and_then(number);
    let offset = offset.filter(|offset| *offset > 0);
    let conn = query.get("conn").and_then(|conn| conn.parse().ok());
    let send = match (query.get("right"), query.get("from"), query.get("offset")) {
        (Some(right), None, None) => {
            let right = right.parse().map_err(|_| Problem::Right)?;
            Explained::Right { right, room }
        }
        (None, Some(from), None) => {
            let (from, echo) = (from.parse().map_err(|_| Problem::From)?, None);
            Explained::Publish { from, room, echo }
        }
        (Some(_), ..) => return Err(Problem::Right),
        (None, Some(_), Some(_)) => return Err(Problem::From),
        (None, None, _) => Explained::past(room, offset.ok_or(Problem::MessageOffset)?),
    };
    Ok(Ask::Explain {
        send,
        conn: conn.ok_or(Problem::Conn)?,
    })
}

fn connection(text: &str) -> Result<ConnId, Problem> {
    text.parse().map_err(|_| Problem::NoConnection)
}

/// The code and the reason of a close frame.
fn close(query: &Query) -> Result<(CloseCode, String), Problem> {
    let code = |text| CloseCode::new(number(text)?.try_into().ok()?);
    let code = query.get("code").map_or(Some(CloseCode::REMOVED), code);
    let code = code.ok_or(Problem::CloseCode)?;
    let reason = query.get("reason").unwrap_or("removed by the application");
    let fits = reason.len() <= CLOSE_REASON_BYTES_MAX;
    let reason = fits
        .then(|| reason.to_owned())
        .ok_or(Problem::CloseReason)?;
    Ok((code, reason))
}
