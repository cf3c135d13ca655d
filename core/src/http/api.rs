//! The API: a backend's way to push, look and remove.

mod answer;
mod call;
mod host;
mod query;
mod send;

use alloc::{
    borrow::ToOwned,
    string::{String, ToString},
    vec::Vec,
};

use percent_encoding::percent_decode_str;

pub use self::{answer::Answer, call::ApiCall, host::ApiHost, send::SendHead};
use self::{call::Action, query::Query};
use super::{Access, Headers, Problem, ProblemCode, Reason, Request, access::NO_NAMESPACE};
use crate::{close::CloseCode, conn::ConnId, limits::Limits, room::RoomName, room::RoomNameError};

/// A request of the API that is understood, as far as its head goes.
#[derive(Debug)]
pub enum ApiRequest {
    /// Complete; a body, if any, is not looked at.
    Call(ApiCall),
    /// The body is still to come.
    Send(SendHead),
}

impl ApiRequest {
    /// Reads a request whose route is [`Route::Api`](super::Route::Api).
    ///
    /// # Errors
    ///
    /// The answer to a request that is not of the API, or not right.
    pub fn read<H: Headers>(
        request: &Request<'_, H>,
        access: &Access,
        limits: &Limits,
    ) -> Result<Self, Problem> {
        let path = request.path.strip_prefix("/api/").unwrap_or_default();
        let mut segments = Vec::new();
        for segment in path.split('/') {
            let decoded = percent_decode_str(segment).decode_utf8();
            let fault = |_| Problem::bad_request("the path must be percent-encoded UTF-8");
            segments.push(decoded.map_err(fault)?);
        }
        let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
        let ["v1", namespace, resource @ ..] = &*segments else {
            return Err(Problem::not_found("the API is at /api/v1/{namespace}/"));
        };
        if !access.has_namespace(namespace) {
            return Err(Problem::not_found(NO_NAMESPACE).with_reason(Reason::Namespace));
        }
        let namespace = (*namespace).to_owned();
        if resource == ["send"] {
            return if request.method == "POST" {
                Ok(Self::Send(SendHead::read(namespace, request)?))
            } else {
                Err(Problem::not_allowed("POST"))
            };
        }
        let query = Query::read(request.query);
        let action = action(request.method, resource, &query, limits)?;
        Ok(Self::Call(ApiCall { namespace, action }))
    }

    /// The name of the namespace that the request is about.
    pub fn namespace(&self) -> &str {
        match self {
            Self::Call(call) => call.namespace(),
            Self::Send(head) => head.namespace(),
        }
    }
}

/// What is asked for, of what comes behind the namespace.
fn action(
    method: &str,
    resource: &[&str],
    query: &Query,
    limits: &Limits,
) -> Result<Action, Problem> {
    let room = |name: &str| {
        let checked = RoomName::check(name, limits.room_name_bytes);
        checked.map_err(bad_room).map(|_| name.to_owned())
    };
    Ok(match (resource, method) {
        (["rooms"], "GET") => Action::Rooms {
            limit: query.limit()?,
            prefix: query.get("prefix").unwrap_or_default().to_owned(),
            after: query.get("after").map(str::to_owned),
        },
        (["rooms", name], "GET") => Action::Room { room: room(name)? },
        (["rooms"] | ["rooms", _], _) => return Err(Problem::not_allowed("GET")),
        (["rooms", name, "members"], "GET") => Action::Members {
            room: room(name)?,
            after: query.get("after").map(str::to_owned),
            limit: query.limit()?,
        },
        (["rooms", name, "history"], "GET") => Action::History {
            room: room(name)?,
            after: query.offset("after")?,
            before: query.offset("before")?,
            limit: query.limit()?,
        },
        (["rooms", _, "members" | "history"], _) => return Err(Problem::not_allowed("GET")),
        (["rooms", name, "members", conn], "PUT") => Action::Join {
            room: room(name)?,
            conn: connection(conn)?,
        },
        (["rooms", name, "members", conn], "DELETE") => Action::Leave {
            room: room(name)?,
            conn: connection(conn)?,
        },
        (["rooms", _, "members", _], _) => return Err(Problem::not_allowed("PUT, DELETE")),
        (["connections"], "GET") => Action::Connections {
            limit: query.limit()?,
            after: match query.get("after") {
                Some(after) => Some(
                    after
                        .parse()
                        .map_err(|_| Problem::bad_request("after must be a connection id"))?,
                ),
                None => None,
            },
            user: query.get("user").map(str::to_owned),
        },
        (["connections"], "DELETE") => Action::DisconnectUser {
            user: query.get("user").map(str::to_owned).ok_or_else(|| {
                Problem::bad_request("say whom: ?user=NAME, or DELETE connections/{conn}")
            })?,
            code: close_code(query)?,
            reason: close_reason(query)?,
        },
        (["connections", conn], "GET") => Action::Connection {
            conn: connection(conn)?,
        },
        (["connections", conn], "DELETE") => Action::Disconnect {
            conn: connection(conn)?,
            code: close_code(query)?,
            reason: close_reason(query)?,
        },
        (["connections"] | ["connections", _], _) => {
            return Err(Problem::not_allowed("GET, DELETE"));
        }
        _ => {
            return Err(Problem::not_found(
                "there are send, rooms, rooms/{room}, rooms/{room}/members, \
                 rooms/{room}/members/{conn}, rooms/{room}/history, connections, \
                 connections/{conn}",
            ));
        }
    })
}

fn connection(text: &str) -> Result<ConnId, Problem> {
    text.parse().map_err(|_| no_connection())
}

fn close_code(query: &Query) -> Result<CloseCode, Problem> {
    let Some(code) = query.get("code") else {
        return Ok(CloseCode::REMOVED);
    };
    code.parse().ok().and_then(CloseCode::new).ok_or_else(|| {
        Problem::bad_request("code must be 1000, 1001, 1008, 1011, 1013 or 3000 to 4999")
    })
}

fn close_reason(query: &Query) -> Result<String, Problem> {
    let reason = query.get("reason").unwrap_or("removed by the application");
    if reason.len() > 123 {
        return Err(Problem::bad_request("reason must have at most 123 bytes"));
    }
    Ok(reason.to_owned())
}

fn bad_room(fault: RoomNameError) -> Problem {
    Problem::new(ProblemCode::BadRoom, fault.to_string())
}

fn no_room() -> Problem {
    Problem::not_found("there is no such room: nobody is in it, and it keeps no history")
}

fn no_connection() -> Problem {
    Problem::not_found("no live connection has this id")
}
