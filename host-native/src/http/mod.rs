//! HTTP on one TCP connection: requests, the core's responses, and upgrades to WebSocket.

mod api;
mod ask;
mod call_trace;
mod identify;
mod metrics;
mod mounted;
mod pace;
mod peer;
mod refusals;
mod secure;
pub(crate) mod service;
mod stall;
mod tokens;
mod upgrade;

use std::{
    borrow::Cow,
    convert::Infallible,
    error::Error,
    io,
    pin::Pin,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap, StatusCode, Version,
    body::{Body as _, Incoming},
    header::{self, HeaderName, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use roomcast_http::{
    Access, Headers, Problem, Readiness, Request, Response, Route, ServerFacts, TIME_HEADER,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use self::{
    call_trace::CallTrace,
    pace::{Asking, InWork, Pace},
    stall::StallGuard,
};
pub(crate) use self::{
    pace::Requests,
    peer::{Entrance, Peer},
    secure::accept,
};
use crate::{
    clock::{patience, unix_now_ms},
    settings::Settings,
    shard::Shard,
    tls::Transport,
};

type Reply = hyper::Response<Full<Bytes>>;

/// The body of a request, to this server or to the program that embeds it.
type Body = Either<Incoming, UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>>;

/// Serves one connection until it ends or becomes a WebSocket.
async fn serve(shard: Rc<Shard>, stream: Transport, peer: Peer, requests: Arc<Requests>) {
    let settings = &shard.shared.settings;
    let (head_time, idle_time) = (settings.handshake_time, settings.keep_alive);
    let pace = Pace::new(requests.clone(), head_time, idle_time);
    let service = service_fn(|request| {
        let (shard, in_work) = (shard.clone(), InWork::begin(&requests));
        let requests = requests.clone();
        async move {
            let mut reply = answer(&shard, peer, request, in_work).await;
            shard.metrics().count_response(reply.status().as_u16());
            let ends = shard.shared.is_draining() || requests.are_to_end();
            if ends && reply.status() != StatusCode::SWITCHING_PROTOCOLS {
                // A proxy that kept this connection would send further requests to a server that is
                // shutting down.
                let close = HeaderValue::from_static("close");
                reply.headers_mut().insert(header::CONNECTION, close);
            }
            Ok::<_, Infallible>(reply)
        }
    });
    let connection = http1::Builder::new()
        // The guard enforces these times: an idle connection has another limit than a head.
        .header_read_timeout(None)
        // A client may end its stream after a request, and is still answered.
        .half_close(true)
        .max_headers(settings.headers_max)
        .max_buf_size(settings.header_bytes_max)
        .serve_connection(
            TokioIo::new(StallGuard::new(stream, settings.write_stall, pace)),
            service,
        );
    let mut connection = connection.with_upgrades();
    let result = Pin::new(&mut connection).await;
    if let Err(fault) = &result {
        tracing::debug!(%fault, "HTTP connection ended");
    }
    let Some(parts) = connection.into_parts() else {
        return; // a WebSocket now
    };
    let guard = parts.io.into_inner();
    if guard.is_stalled() {
        return;
    }
    let begun = !parts.read_buf.is_empty();
    let refused = guard
        .is_head_refused()
        .then(|| head_refused(parts.read_buf.len(), settings));
    let last = match guard.passed() {
        Some(Asking::Head) => TIMEOUT,
        Some(Asking::Idle) if begun => TIMEOUT,
        // An idle connection ends without a response: a client that sends a request just now would
        // take it for the answer.
        Some(Asking::Idle) => b"",
        None if begun && result.is_err_and(|fault| fault.is_incomplete_message()) => INCOMPLETE,
        None => b"",
    };
    let last = refused.as_deref().unwrap_or(last);
    // Boxed: this future is needed only for the last moment of a connection.
    let goodbye = Box::pin(part(guard.into_inner(), last, settings.api_body_bytes_max));
    let _ = patience::within(settings.close_wait, goodbye).await; // the peer may be gone
}

/// Ends a connection so that its peer sees everything that was written. If a connection is closed
/// with unread data in it, it is reset, and the peer loses the response that it has not read yet.
async fn part(mut stream: Transport, last: &[u8], body_bytes_max: usize) -> io::Result<()> {
    stream.write_all(last).await?;
    stream.shutdown().await?;
    let (mut sink, mut left) = ([0; 4096], UNREAD_BODIES * body_bytes_max);
    while left > 0 {
        match stream.read(&mut sink).await? {
            0 => break,
            read => left = left.saturating_sub(read),
        }
    }
    Ok(())
}

/// The responses to a request that did not arrive in time, or not completely; hyper has none of its
/// own.
const TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const INCOMPLETE: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// The response to a request whose head exceeds a limit. The number of bytes that were read tells
/// which one.
fn head_refused(read: usize, settings: &Settings) -> Vec<u8> {
    let Response {
        status,
        headers,
        body,
        ..
    } = Response::from(if read < settings.header_bytes_max {
        Problem::TooManyHeaders(settings.headers_max)
    } else {
        Problem::HeadTooLarge(settings.header_bytes_max)
    });
    let mut head = format!(
        "HTTP/1.1 {status} Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.push_str("\r\n");
    [head.as_bytes(), &body].concat()
}

/// The limit for reading unwanted bodies, as a multiple of the maximum body size.
const UNREAD_BODIES: usize = 16;

/// The head of a request. Its body is kept apart, so that an unread rest can still be read.
type Head = hyper::Request<()>;

async fn answer(
    shard: &Rc<Shard>,
    peer: Peer,
    request: hyper::Request<Incoming>,
    in_work: InWork,
) -> Reply {
    let (parts, body) = request.into_parts();
    let (mut request, mut body) = (Head::from_parts(parts, ()), Body::Left(body));
    let (reply, is_rest_wanted) = respond(shard, peer, &mut request, &mut body).await;
    if is_rest_wanted {
        take(shard, &request, body, in_work);
    }
    reply
}

/// The response to a request, and whether the rest of the body must be read for the client to see
/// the response.
async fn respond(
    shard: &Rc<Shard>,
    peer: Peer,
    request: &mut Head,
    body: &mut Body,
) -> (Reply, bool) {
    take_authority(request);
    if !peer.admin_elsewhere && !peer.is_mounted {
        refusals::look_for_proxy(shard, &head(request, peer));
    }
    let access = access(shard, peer);
    let answered = match route(request, peer, &access) {
        Ok(Route::Page(file)) => Ok(Response::page(file)),
        Ok(Route::Inspector) => Ok(Response::inspector()),
        Ok(Route::Client) => Ok(Response::client()),
        Ok(Route::Server) => Ok(Response::server(facts(shard, &access))),
        Ok(Route::Health) => Ok(Response::health()),
        Ok(Route::Ready) => return (ready(shard), true),
        Ok(Route::Metrics) => Ok(metrics::answer(shard).await),
        Ok(Route::Options { allow }) => Ok(Response::options(allow)),
        Ok(Route::Api) => {
            let is_known = || access.has_key(&head(request, peer));
            let call = CallTrace::begin(&shard.shared.spans, request, is_known);
            let answered = api::answer(shard, peer, request, body).await;
            call.end(request, &answered);
            answered
        }
        Ok(Route::Socket { namespace }) => {
            let namespace = namespace.into();
            let reply = upgrade::answer(shard, peer, request, namespace).await;
            let is_refused = reply.status() != StatusCode::SWITCHING_PROTOCOLS;
            return (reply, is_refused);
        }
        Err(problem) => Err(problem),
    };
    if let Err(problem) = &answered {
        refusals::tell(shard, peer, problem, &head(request, peer));
    }
    // A body that was late is not awaited again.
    let is_rest_wanted = !matches!(answered, Err(Problem::BodyLate(_)));
    (reply(answered.unwrap_or_else(Into::into)), is_rest_wanted)
}

/// The access rules for a peer. The server of another program may forward requests from anywhere:
/// through it the API needs a key, or is off together with the page and the metrics.
fn access(shard: &Shard, peer: Peer) -> Arc<Access> {
    let access = shard.shared.access();
    if !(peer.is_mounted && access.api_keys.is_empty()) {
        return access;
    }
    let mut access = Access::clone(&access);
    (access.keyless_api, access.page, access.metrics) = (false, false, false);
    Arc::new(access)
}

/// The readiness for new connections: a server is not ready while it shuts down, or while its
/// publishes fail.
fn ready(shard: &Shard) -> Reply {
    let relay = shard.shared.relay.as_ref();
    let state = if shard.shared.ending.load(Relaxed) {
        Readiness::Draining
    } else if relay.is_some_and(|relay| !relay.is_up()) {
        Readiness::Unrelayed
    } else {
        Readiness::Ready
    };
    let mut reply = reply(Response::ready(state));
    let time = HeaderName::from_static(TIME_HEADER);
    reply.headers_mut().insert(time, unix_now_ms().into());
    reply
}

/// The server's description of itself. The threads are those that run.
fn facts(shard: &Shard, access: &Access) -> ServerFacts {
    let shared = &shard.shared;
    let has_store = shared.settings.store.is_some();
    let facts = ServerFacts::native(shared.metrics.len(), has_store, access.metrics);
    match shared.settings.relay {
        Some(_) => facts.with_relay(),
        None => facts,
    }
}

/// Reads the unread rest of a body, within bounds: a client that is still sending when the
/// connection ends would never see the response.
fn take(shard: &Shard, request: &Head, mut body: Body, in_work: InWork) {
    // A client that waits for `100 Continue` does not send its body.
    if body.is_end_stream() || request.headers().contains_key(header::EXPECT) {
        return;
    }
    let settings = &shard.shared.settings;
    let (time, mut left) = (
        settings.message_time,
        UNREAD_BODIES * settings.api_body_bytes_max,
    );
    let rest = async move {
        let _in_work = in_work;
        while left > 0
            && let Some(Ok(frame)) = body.frame().await
        {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        }
    };
    tokio::task::spawn_local(patience::within(time, rest));
}

/// Replaces `Host` by the authority of a target in absolute form (RFC 9112, section 3.2.2), so that
/// all rules apply to the same host.
fn take_authority(request: &mut Head) {
    let host = request.uri().authority().map(|authority| {
        let port = authority.port().map(|port| format!(":{port}"));
        let host = format!("{}{}", authority.host(), port.unwrap_or_default());
        HeaderValue::from_str(&host)
    });
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if let Some(Ok(host)) = host
        && hosts == 1
    {
        request.headers_mut().insert(header::HOST, host);
    }
}

fn route<'a>(request: &'a Head, peer: Peer, access: &Access) -> Result<Route<'a>, Problem> {
    // With several hosts it is unclear which one the rules below apply to. Health checks in
    // HTTP/1.0 have none.
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() >= Version::HTTP_11) {
        return Err(Problem::OneHost);
    }
    let is_call = request.uri().path().starts_with("/api/");
    access.route(&match is_call {
        // The user of a call's program is looked up when the call is authorized.
        true => head(request, peer),
        false => head_for(access, request, peer),
    })
}

/// The head of a request, with the user of the client program where that matters.
fn head_for<'a>(access: &Access, request: &'a Head, peer: Peer) -> Request<'a, Fields<'a>> {
    let mut head = head(request, peer);
    head.other_user = access.asks_for_user(head.path) && peer.is_of_another_user();
    head
}

/// The head of a request in the form for the core.
fn head(request: &Head, peer: Peer) -> Request<'_, Fields<'_>> {
    Request {
        method: request.method().as_str(),
        path: request.uri().path(),
        query: request.uri().query().unwrap_or_default(),
        headers: Fields(request.headers()),
        local: peer.address.is_loopback(),
        other_user: false,
        loopback_listener: peer.loopback_listener,
        http_1_0: request.version() == Version::HTTP_10,
        admin_elsewhere: peer.admin_elsewhere,
    }
}

#[derive(Debug, Clone, Copy)]
struct Fields<'a>(&'a HeaderMap);

impl Headers for Fields<'_> {
    fn values(&self, name: &'static str) -> impl Iterator<Item = Cow<'_, str>> {
        let values = self.0.get_all(name).iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes()))
    }

    fn names(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.0.keys().map(|name| name.as_str().into())
    }
}

/// Converts a response of the core for hyper.
fn reply(response: Response) -> Reply {
    let mut reply = Reply::new(Full::new(match response.body {
        Cow::Borrowed(body) => Bytes::from_static(body),
        Cow::Owned(body) => body.into(),
    }));
    let fault = StatusCode::INTERNAL_SERVER_ERROR; // no status of the core is out of range
    *reply.status_mut() = StatusCode::from_u16(response.status).unwrap_or(fault);
    for (name, value) in response.headers {
        let name = HeaderName::from_static(name);
        let value = HeaderValue::from_static(value);
        reply.headers_mut().insert(name, value);
    }
    reply
}
