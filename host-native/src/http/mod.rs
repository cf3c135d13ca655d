//! HTTP: the page, health, the API, and the way into a WebSocket.

mod api;
mod api_key;
mod origin;
mod problem;
mod stall;
mod upgrade;

use std::{cell::Cell, convert::Infallible, net::SocketAddr, pin::Pin, rc::Rc};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{self, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{io::AsyncWriteExt, net::TcpStream};

pub use self::{
    api_key::ApiKey,
    origin::{OriginRule, OriginRuleError},
};
use self::{problem::Problem, stall::StallGuard};
use crate::{
    metrics::{Gauges, Metrics},
    shard::Shard,
};

pub(crate) type Reply = Response<Full<Bytes>>;

/// Serves one TCP connection until it ends or becomes a WebSocket.
pub(crate) async fn serve(shard: Rc<Shard>, stream: TcpStream, peer: SocketAddr) {
    let settings = &shard.shared.settings;
    let served = Cell::new(false);
    let service = service_fn(|request| {
        served.set(true);
        let shard = shard.clone();
        async move { Ok::<_, Infallible>(route(&shard, peer, request).await) }
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

async fn route(shard: &Rc<Shard>, peer: SocketAddr, request: Request<Incoming>) -> Reply {
    // Of several, nobody could say which one the rules below are about.
    if request.headers().get_all(header::HOST).iter().count() != 1 {
        let detail = "a request must have one Host header";
        return Problem::new(StatusCode::BAD_REQUEST, "bad_request", detail).into();
    }
    let path = request.uri().path();
    if let Some(path) = path.strip_prefix("/api/") {
        let path = path.to_owned();
        return api::answer(shard, peer, request, &path)
            .await
            .unwrap_or_else(Into::into);
    }
    if path == "/ws" || path.starts_with("/ws/") {
        return upgrade::answer(shard, peer, request).await;
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) && is_page(path) {
        return not_allowed("GET, HEAD");
    }
    match path {
        "/" => page(),
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz"
            if shard
                .shared
                .draining
                .load(std::sync::atomic::Ordering::Relaxed) =>
        {
            text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
        }
        "/readyz" => text(StatusCode::OK, "ready\n"),
        "/metrics" => metrics(shard).await,
        _ => Problem::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "there are /, /ws, /ws/{namespace}, /api/v1/{namespace}/, /healthz, /readyz, /metrics",
        )
        .into(),
    }
}

fn is_page(path: &str) -> bool {
    matches!(path, "/" | "/healthz" | "/readyz" | "/metrics")
}

/// The page to try the server with: one file, in the binary.
fn page() -> Reply {
    const PAGE: &str = include_str!("../../page/index.html");
    // The page loads nothing; what it shows comes from anywhere, and must not run.
    const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
        img-src data:; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; \
        frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";
    let mut reply = Response::new(Full::new(Bytes::from_static(PAGE.as_bytes())));
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        reply
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    reply
}

async fn metrics(shard: &Rc<Shard>) -> Reply {
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
            }
            gauges
        };
        let more = shard.on_shard(index, count).await.unwrap_or_default();
        gauges.namespaces += more.namespaces;
        gauges.rooms += more.rooms;
        gauges.memberships += more.memberships;
    }
    let text = Metrics::render(&shared.metrics, shared.connections.taken(), gauges);
    with_type(StatusCode::OK, "text/plain; version=0.0.4", text)
}

fn text(status: StatusCode, text: &'static str) -> Reply {
    with_type(status, "text/plain; charset=utf-8", text)
}

fn with_type(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    reply
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

fn not_allowed(allow: &'static str) -> Reply {
    let mut reply: Reply = Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("this path takes {allow}"),
    )
    .into();
    reply
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(allow));
    reply
}

/// Whether a text is a namespace name: 1 to 64 of `A-Z a-z 0-9 _ -`.
pub(crate) fn is_namespace(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// The host of a `Host` header or an authority, without its port.
pub(crate) fn host_only(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// Whether a host name can only mean this machine.
pub(crate) fn is_loopback_host(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_plain_words() {
        assert!(is_namespace("default") && is_namespace(&"a".repeat(64)));
        for bad in ["", "a b", "é", "a/b", ".", &"a".repeat(65)] {
            assert!(!is_namespace(bad), "{bad:?}");
        }
    }

    #[test]
    fn loopback_is_an_address_or_localhost_and_nothing_like_it() {
        for good in ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "[::1]"] {
            assert!(is_loopback_host(good), "{good}");
        }
        for bad in ["localhost.evil.com", "127.0.0.1.evil.com", "10.0.0.1", ""] {
            assert!(!is_loopback_host(bad), "{bad}");
        }
        assert_eq!(host_only("[::1]:3000"), "[::1]");
        assert_eq!(host_only("localhost"), "localhost");
    }
}
