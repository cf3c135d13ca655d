//! The HTTP API: a backend's way to push, look and remove.

mod query;
mod send;
mod view;

use std::{collections::BTreeMap, net::SocketAddr, rc::Rc, sync::atomic::Ordering::Relaxed};

use hyper::{Method, Request, StatusCode, body::Incoming, header};
use percent_encoding::percent_decode_str;
use roomcast_core::{CloseCode, ConnId, Hub, JoinError, RoomName};
use serde::Serialize;

use self::{
    query::Query,
    view::{
        ConnectionView, ConnectionsView, DisconnectedView, JoinedView, LeftView, RoomView,
        RoomsView,
    },
};
use super::{Problem, Reply, host_only, is_loopback_host, is_namespace, not_allowed, with_type};
use crate::{namespace::Link, shard::Shard};

type Answer = Result<Reply, Problem>;

/// Answers a request under `/api/`; `path` is what follows.
pub(crate) async fn answer(
    shard: &Rc<Shard>,
    peer: SocketAddr,
    request: Request<Incoming>,
    path: &str,
) -> Answer {
    authorize(shard, peer, &request)?;
    if shard.shared.draining.load(Relaxed) {
        return Err(shutting_down());
    }
    let mut segments = Vec::new();
    for segment in path.split('/') {
        let decoded = percent_decode_str(segment).decode_utf8();
        segments.push(decoded.map_err(|_| bad_request("the path must be percent-encoded UTF-8"))?);
    }
    let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
    let ["v1", namespace, resource @ ..] = &*segments else {
        return Err(not_found("the API is at /api/v1/{namespace}/"));
    };
    let listed = shard.shared.settings.namespaces.as_ref();
    if !is_namespace(namespace)
        || listed.is_some_and(|names| !names.iter().any(|name| name == namespace))
    {
        return Err(not_found(
            "no such namespace: a name is 1 to 64 of A-Z a-z 0-9 _ -, and listed in --namespaces \
             (ROOMCAST_NAMESPACES) where that is set",
        ));
    }
    let call = Call {
        shard,
        namespace: (*namespace).to_owned(),
        query: Query::read(request.uri().query().unwrap_or_default()),
    };
    let method = request.method().clone();
    match (resource, &method) {
        (["send"], &Method::POST) => call.send(request).await,
        (["send"], _) => Ok(not_allowed("POST")),
        (["rooms"], &Method::GET) => call.rooms().await,
        (["rooms", room], &Method::GET) => call.room(room).await,
        (["rooms"] | ["rooms", _], _) => Ok(not_allowed("GET")),
        (["rooms", room, "members", conn], &Method::PUT) => call.join(room, conn).await,
        (["rooms", room, "members", conn], &Method::DELETE) => call.leave(room, conn).await,
        (["rooms", _, "members", _], _) => Ok(not_allowed("PUT, DELETE")),
        (["connections"], &Method::GET) => call.connections().await,
        (["connections"], &Method::DELETE) => call.disconnect_user().await,
        (["connections"], _) => Ok(not_allowed("GET, DELETE")),
        (["connections", conn], &Method::GET) => call.connection(conn).await,
        (["connections", conn], &Method::DELETE) => call.disconnect(conn).await,
        (["connections", _], _) => Ok(not_allowed("GET, DELETE")),
        _ => Err(not_found(
            "there are send, rooms, rooms/{room}, rooms/{room}/members/{conn}, connections, \
             connections/{conn}",
        )),
    }
}

/// With keys, whoever has one. Without, programs of this machine, and this server's own page: not
/// other pages in a browser of this machine, whatever name they resolve to it.
fn authorize(shard: &Shard, peer: SocketAddr, request: &Request<Incoming>) -> Result<(), Problem> {
    let text = |name| {
        let value = request.headers().get(name)?;
        Some(value.to_str().unwrap_or("?"))
    };
    let keys = &shard.shared.settings.api_keys;
    if keys.is_empty() {
        let host = text(header::HOST).unwrap_or_default();
        let local = peer.ip().is_loopback() && is_loopback_host(host_only(host));
        let foreign = text(header::ORIGIN)
            .is_some_and(|origin| origin.split_once("://").is_none_or(|(_, own)| own != host));
        return if local && !foreign {
            Ok(())
        } else {
            Err(Problem::new(
                StatusCode::FORBIDDEN,
                "forbidden",
                "without a key the API answers programs on loopback only: start the server with \
                 --api-key KEY (ROOMCAST_API_KEY)",
            ))
        };
    }
    let given = text(header::AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
    });
    // Every key is compared, so that the time does not tell which one is nearer.
    let mut known = false;
    for key in keys {
        known |= given.is_some_and(|given| key.matches(given));
    }
    if known {
        Ok(())
    } else {
        Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "send Authorization: Bearer KEY, with a key that the server was started with (--api-key)",
        ))
    }
}

struct Call<'a> {
    shard: &'a Rc<Shard>,
    namespace: String,
    query: Query,
}

impl Call<'_> {
    /// Runs a question where the namespace is at home; a namespace that nobody is in is `None`.
    async fn at_home<R: Send + 'static>(
        &self,
        task: impl FnOnce(&Rc<Shard>, Option<Rc<crate::namespace::Namespace>>) -> R + Send + 'static,
    ) -> Result<R, Problem> {
        let name = self.namespace.clone();
        let task = move |shard: &Rc<Shard>| task(shard, shard.namespace(&name));
        let answer = self.shard.at_home(&self.namespace, task).await;
        answer.ok_or_else(shutting_down)
    }

    async fn rooms(&self) -> Answer {
        let limit = self.query.limit()?;
        let prefix = self.query.get("prefix").unwrap_or_default().to_owned();
        let after = self.query.get("after").map(str::to_owned);
        let view = self
            .at_home(move |_, namespace| {
                let mut rooms = Vec::new();
                if let Some(namespace) = namespace {
                    namespace.ask(|hub| {
                        let more = hub.rooms(&prefix, after.as_deref()).take(limit + 1);
                        rooms.extend(more.map(|room| RoomView::of(hub, room.name, room.members)));
                    });
                }
                let more = rooms.len() > limit;
                rooms.truncate(limit);
                let next = rooms.last().filter(|_| more).map(|room| room.room.clone());
                RoomsView { rooms, next }
            })
            .await?;
        ok(&view)
    }

    async fn room(&self, room: &str) -> Answer {
        self.check_room(room)?;
        let room = room.to_owned();
        let view = self
            .at_home(move |_, namespace| {
                namespace?.ask(|hub| {
                    let members = hub.members(&room).len();
                    (members > 0).then(|| RoomView::of(hub, &room, members))
                })
            })
            .await?;
        ok(&view.ok_or_else(|| not_found("nobody is in this room"))?)
    }

    async fn join(&self, room: &str, conn: &str) -> Answer {
        self.check_room(room)?;
        let (room, conn) = (room.to_owned(), parse_conn(conn)?);
        let joined = self
            .at_home(move |shard, namespace| Some(namespace?.join(shard, conn, &room)))
            .await?;
        match joined.ok_or_else(no_connection)? {
            Ok((epoch, offset, already)) => ok(&JoinedView {
                epoch,
                offset,
                already,
            }),
            Err(JoinError::UnknownConn(_)) => Err(no_connection()),
            Err(JoinError::Room(fault)) => Err(bad_room(fault.to_string())),
            Err(fault) => Err(Problem::new(
                StatusCode::CONFLICT,
                "room_limit",
                fault.to_string(),
            )),
        }
    }

    async fn leave(&self, room: &str, conn: &str) -> Answer {
        self.check_room(room)?;
        let (room, conn) = (room.to_owned(), parse_conn(conn)?);
        let was = self
            .at_home(move |shard, namespace| namespace?.leave(shard, conn, &room).ok())
            .await?;
        ok(&LeftView {
            was: was.ok_or_else(no_connection)?,
        })
    }

    async fn connections(&self) -> Answer {
        let limit = self.query.limit()?;
        let after = self.query.get("after").map(str::parse).transpose();
        let after = after.map_err(|_| bad_request("after must be a connection id"))?;
        let user = self.query.get("user").map(str::to_owned);
        self.views(move |hub| {
            let mut ids: Vec<ConnId> = match user {
                Some(user) => hub.connections_of(&user).to_vec(),
                None => hub.connections().map(|conn| conn.id).collect(),
            };
            ids.retain(|&id| after.is_none_or(|after| id > after));
            ids.sort_unstable();
            let more = ids.len() > limit;
            ids.truncate(limit);
            (ids, more)
        })
        .await
        .and_then(|view| ok(&view))
    }

    async fn connection(&self, conn: &str) -> Answer {
        let conn = parse_conn(conn)?;
        let known = move |hub: &Hub| {
            (
                hub.connection(conn)
                    .map(|conn| conn.id)
                    .into_iter()
                    .collect(),
                false,
            )
        };
        let view = self.views(known).await?;
        ok(view.connections.first().ok_or_else(no_connection)?)
    }

    /// Describes the chosen connections. What their queues hold is asked of the shards that have
    /// their sockets.
    async fn views(
        &self,
        choose: impl FnOnce(&Hub) -> (Vec<ConnId>, bool) + Send + 'static,
    ) -> Result<ConnectionsView, Problem> {
        let (mut view, abroad) = self
            .at_home(move |shard, namespace| {
                let (mut view, mut abroad) = (
                    ConnectionsView::default(),
                    BTreeMap::<usize, Vec<(usize, u32)>>::new(),
                );
                let Some(namespace) = namespace else {
                    return (view, abroad);
                };
                let (ids, more) = namespace.ask(choose);
                view.next = ids.last().copied().filter(|_| more);
                for (at, conn) in ids.into_iter().enumerate() {
                    let queued_bytes = match namespace.link(conn) {
                        Some(Link::Local(socket)) => socket.queued_bytes(),
                        Some(Link::Remote { shard, key }) => {
                            abroad.entry(shard).or_default().push((at, key));
                            0
                        }
                        None => 0,
                    };
                    namespace.ask(|hub| {
                        let info = hub.connection(conn);
                        let rooms = hub.rooms_of(conn).unwrap_or_default();
                        view.connections.push(ConnectionView {
                            conn,
                            user: info
                                .and_then(|info| info.user)
                                .unwrap_or_default()
                                .to_owned(),
                            rooms: rooms.into_iter().map(str::to_owned).collect(),
                            since_ms: info.map_or(0, |info| shard.shared.clock.unix_ms(info.since)),
                            queued_bytes,
                        });
                    });
                }
                (view, abroad)
            })
            .await?;
        for (index, sockets) in abroad {
            let queued = move |shard: &Rc<Shard>| -> Vec<(usize, usize)> {
                let queued = |key| shard.socket(key).map_or(0, |socket| socket.queued_bytes());
                sockets
                    .into_iter()
                    .map(|(at, key)| (at, queued(key)))
                    .collect()
            };
            for (at, bytes) in self.shard.on_shard(index, queued).await.unwrap_or_default() {
                view.connections[at].queued_bytes = bytes;
            }
        }
        Ok(view)
    }

    async fn disconnect(&self, conn: &str) -> Answer {
        let conn = parse_conn(conn)?;
        let count = self.close(move |_| vec![conn]).await?;
        if count == 0 {
            return Err(no_connection());
        }
        ok(&DisconnectedView {
            disconnected: count,
        })
    }

    async fn disconnect_user(&self) -> Answer {
        let Some(user) = self.query.get("user").map(str::to_owned) else {
            return Err(bad_request(
                "say whom: ?user=NAME, or DELETE connections/{conn}",
            ));
        };
        let count = self
            .close(move |hub| hub.connections_of(&user).to_vec())
            .await?;
        ok(&DisconnectedView {
            disconnected: count,
        })
    }

    async fn close(
        &self,
        choose: impl FnOnce(&Hub) -> Vec<ConnId> + Send + 'static,
    ) -> Result<usize, Problem> {
        let code = match self.query.get("code") {
            Some(code) => code.parse().ok().and_then(CloseCode::new).ok_or_else(|| {
                bad_request("code must be 1000, 1001, 1008, 1011, 1013 or 3000 to 4999")
            })?,
            None => CloseCode::REMOVED,
        };
        let reason = self
            .query
            .get("reason")
            .unwrap_or("removed by the application");
        if reason.len() > 123 {
            return Err(bad_request("reason must have at most 123 bytes"));
        }
        let reason = reason.to_owned();
        self.at_home(move |shard, namespace| {
            let Some(namespace) = namespace else { return 0 };
            let conns = namespace.ask(choose).into_iter();
            let closed = conns.filter(|&conn| namespace.close(shard, conn, code, &reason).is_ok());
            closed.count()
        })
        .await
    }

    fn check_room(&self, room: &str) -> Result<(), Problem> {
        let bytes_max = self.shard.shared.settings.hub.room_name_bytes;
        RoomName::check(room, bytes_max).map_err(|fault| bad_room(fault.to_string()))
    }
}

fn parse_conn(conn: &str) -> Result<ConnId, Problem> {
    conn.parse().map_err(|_| no_connection())
}

fn ok(view: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(view).map_err(|_| {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Problem::new(status, "internal", "the answer could not be encoded")
    })?;
    Ok(with_type(StatusCode::OK, "application/json", body))
}

fn bad_request(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_request", detail)
}

fn bad_room(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_room", detail)
}

fn shutting_down() -> Problem {
    let detail = "the server is shutting down: ask another, or try again";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
}

fn not_found(detail: &'static str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
}

fn no_connection() -> Problem {
    not_found("no live connection has this id")
}
