//! HTTP on one TCP connection: requests in, the core's answers out, and the way into a WebSocket.

mod api;
mod knock;
mod peer;
mod refused;
mod stall;
mod upgrade;

use std::{
    borrow::Cow, cell::Cell, convert::Infallible, pin::Pin, rc::Rc, sync::atomic::Ordering::Relaxed,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, StatusCode, Version,
    body::Incoming,
    header::{self, HeaderName, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use roomcast_core::http::{Access, Headers, Problem, ProblemCode, Request, Response, Route};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use self::stall::StallGuard;
pub(crate) use self::{knock::Knock, peer::Peer};
use crate::{
    metrics::{Gauges, Metrics},
    shard::Shard,
};

type Reply = hyper::Response<Full<Bytes>>;

/// Serves one TCP connection until it ends or becomes a WebSocket.
pub(crate) async fn serve(shard: Rc<Shard>, stream: TcpStream, peer: Peer) {
    let settings = &shard.shared.settings;
    let served = Cell::new(false);
    let service = service_fn(|request| {
        served.set(true);
        let shard = shard.clone();
        async move { Ok::<_, Infallible>(answer(&shard, peer, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.handshake_time)
        .max_headers(settings.headers_max)
        .max_buf_size(settings.header_bytes_max)
        .serve_connection(
            TokioIo::new(StallGuard::new(stream, settings.write_stall)),
            service,
        );
    let mut connection = connection.with_upgrades();
    let result = Pin::new(&mut connection).await;
    if let Err(fault) = result {
        tracing::debug!(%fault, "HTTP connection ended");
        // An idle connection that was kept alive ends without a word; a request that was begun,
        // or never was, is answered.
        if fault.is_timeout()
            && !served.get()
            && let Some(parts) = connection.into_parts()
        {
            let mut stream = parts.io.into_inner().into_inner();
            let _ = stream.write_all(TIMEOUT).await; // the peer may be gone
            let _ = stream.shutdown().await;
        }
    }
}

/// The answer to a request that did not come in time; hyper has none of its own.
const TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

async fn answer(shard: &Rc<Shard>, peer: Peer, mut request: hyper::Request<Incoming>) -> Reply {
    refused::look_for_proxy(shard, &head(&request, peer));
    let access = &shard.shared.settings.access;
    let answered = match route(&request, peer, access) {
        Ok(Route::Page) => Ok(Response::page()),
        Ok(Route::Health) => Ok(Response::health()),
        Ok(Route::Ready) => Ok(Response::ready(shard.shared.draining.load(Relaxed))),
        Ok(Route::Metrics) => Ok(metrics(shard).await),
        Ok(Route::Api) => {
            let answered = api::answer(shard, peer, request).await;
            if let Some(reason) = answered.as_ref().err().and_then(Problem::reason) {
                refused::count(shard, peer, reason);
            }
            answered
        }
        Ok(Route::Socket { namespace }) => {
            let namespace = namespace.into();
            return upgrade::answer(shard, peer, &mut request, namespace).await;
        }
        Err(problem) => {
            if let Some(reason) = problem.reason() {
                refused::warn(shard, peer, reason, &head(&request, peer));
            }
            Err(problem)
        }
    };
    reply(answered.unwrap_or_else(Into::into))
}

fn route<'a>(
    request: &'a hyper::Request<Incoming>,
    peer: Peer,
    access: &Access,
) -> Result<Route<'a>, Problem> {
    // Of several, nobody could say which one the rules below are about.
    if request.headers().get_all(header::HOST).iter().count() != 1 {
        let detail = "a request must have one Host header";
        return Err(Problem::new(ProblemCode::BadRequest, detail));
    }
    access.route(&head(request, peer))
}

/// The head of a request as the core takes it.
fn head(request: &hyper::Request<Incoming>, peer: Peer) -> Request<'_, Fields<'_>> {
    Request {
        method: request.method().as_str(),
        path: request.uri().path(),
        query: request.uri().query().unwrap_or_default(),
        headers: Fields(request.headers()),
        local: peer.address.is_loopback(),
        loopback_listener: peer.loopback_listener,
        http_1_0: request.version() == Version::HTTP_10,
    }
}

#[derive(Debug, Clone, Copy)]
struct Fields<'a>(&'a HeaderMap);

impl Headers for Fields<'_> {
    fn values(&self, name: &'static str) -> impl Iterator<Item = Cow<'_, str>> {
        let values = self.0.get_all(name).iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes()))
    }
}

/// An answer of the core as hyper takes it.
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

async fn metrics(shard: &Rc<Shard>) -> Response {
    let shared = &shard.shared;
    let mut gauges = Gauges::default();
    for index in 0..shared.posts.len() {
        let count = |shard: &Rc<Shard>| {
            let mut gauges = Gauges::default();
            for namespace in shard.namespaces() {
                let counts = namespace.ask(roomcast_core::Hub::counts);
                gauges.namespaces += 1;
                gauges.rooms += counts.rooms;
                gauges.memberships += counts.memberships;
                gauges.history_bytes += counts.history_bytes;
            }
            gauges
        };
        let more = shard.on_shard(index, count).await.unwrap_or_default();
        gauges.namespaces += more.namespaces;
        gauges.rooms += more.rooms;
        gauges.memberships += more.memberships;
        gauges.history_bytes += more.history_bytes;
    }
    Response::metrics(Metrics::render(
        &shared.metrics,
        shared.connections.taken(),
        gauges,
    ))
}
