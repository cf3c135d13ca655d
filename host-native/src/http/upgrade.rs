//! The opening handshake of a WebSocket (RFC 6455, section 4.2).

use std::{
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Version,
    body::Incoming,
    header::{self, HeaderName, HeaderValue},
    upgrade::OnUpgrade,
};
use hyper_util::rt::TokioIo;
use roomcast_core::{CloseCode, Handshake};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::spawn_local,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{Problem, Reply, StallGuard, is_namespace, not_allowed, origin};
use crate::{connection, server::Permit, shard::Shard, ws};

/// The subprotocol in which the server speaks first.
const SUBPROTOCOL: &str = "roomcast.v1";

/// Why a client may not connect, in both languages it may be told in.
struct Refusal {
    status: StatusCode,
    close: CloseCode,
    code: &'static str,
    /// The code in a problem.
    problem: &'static str,
    detail: &'static str,
}

const ORIGIN: Refusal = Refusal {
    status: StatusCode::FORBIDDEN,
    close: CloseCode::FORBIDDEN,
    code: "forbidden",
    problem: "forbidden",
    detail: "this page's origin may not connect: list it with --allow-origin (ROOMCAST_ALLOW_ORIGIN), \
             scheme, host and port",
};
const NAMESPACE: Refusal = Refusal {
    status: StatusCode::NOT_FOUND,
    close: CloseCode::FORBIDDEN,
    code: "forbidden",
    problem: "not_found",
    detail: "no such namespace: a name is 1 to 64 of A-Z a-z 0-9 _ -, and listed in --namespaces \
             (ROOMCAST_NAMESPACES) where that is set",
};
const CONNECTIONS: Refusal = Refusal {
    status: StatusCode::SERVICE_UNAVAILABLE,
    close: CloseCode::OVERLOADED,
    code: "overloaded",
    problem: "overloaded",
    detail: "too many connections: raise --connections-max, --connections-per-address-max or the \
             limit of open files, or try later",
};
const DRAINING: Refusal = Refusal {
    status: StatusCode::SERVICE_UNAVAILABLE,
    close: CloseCode::OVERLOADED,
    code: "unavailable",
    problem: "unavailable",
    detail: "the server is shutting down: connect to another, or try again",
};
const NAMESPACES: Refusal = Refusal {
    status: StatusCode::SERVICE_UNAVAILABLE,
    close: CloseCode::OVERLOADED,
    code: "overloaded",
    problem: "overloaded",
    detail: "too many namespaces: raise --namespaces-max, or try later",
};

pub(crate) async fn answer(
    shard: &Rc<Shard>,
    peer: SocketAddr,
    mut request: Request<Incoming>,
) -> Reply {
    let key = match check(&request) {
        Ok(key) => key,
        Err(reply) => return *reply,
    };
    let admitted = admit(shard, peer, &request).await;
    let in_band = request
        .uri()
        .query()
        .is_some_and(|query| query.split('&').any(|pair| pair == "refuse=close"));
    let welcome = offers(request.headers(), SUBPROTOCOL);
    let upgrade = hyper::upgrade::on(&mut request);
    match admitted {
        Ok((namespace, permit)) => {
            spawn_local(open(shard.clone(), upgrade, namespace, welcome, permit));
        }
        Err(refusal) if in_band => {
            spawn_local(refuse(shard.clone(), upgrade, refusal));
        }
        Err(refusal) => {
            let mut reply: Reply =
                Problem::new(refusal.status, refusal.problem, refusal.detail).into();
            if refusal.status == StatusCode::SERVICE_UNAVAILABLE {
                reply
                    .headers_mut()
                    .insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            return reply;
        }
    }
    switching(&key, welcome)
}

/// The form of the request; gives the accept key.
fn check(request: &Request<Incoming>) -> Result<String, Box<Reply>> {
    let headers = request.headers();
    if request.method() != Method::GET {
        return Err(not_allowed("GET").into());
    }
    let has = |name, token| list(headers, name).any(|item| item.eq_ignore_ascii_case(token));
    if !headers.contains_key(header::UPGRADE) {
        let detail = "this is a WebSocket: send Connection: Upgrade and Upgrade: websocket";
        let upgrade = (header::UPGRADE, "websocket");
        return Err(upgrade_required(detail, upgrade).into());
    }
    if request.version() < Version::HTTP_11
        || !has(header::UPGRADE, "websocket")
        || !has(header::CONNECTION, "upgrade")
    {
        let detail = "the upgrade must say Connection: Upgrade and Upgrade: websocket, in HTTP/1.1";
        let problem = Problem::new(StatusCode::BAD_REQUEST, "bad_request", detail);
        return Err(Reply::from(problem).into());
    }
    if headers
        .get(header::SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        let detail = "the WebSocket version must be 13";
        let version = (header::SEC_WEBSOCKET_VERSION, "13");
        return Err(upgrade_required(detail, version).into());
    }
    match headers.get(header::SEC_WEBSOCKET_KEY) {
        Some(key) if is_key(key.as_bytes()) => Ok(derive_accept_key(key.as_bytes())),
        _ => {
            let detail = "Sec-WebSocket-Key must be 16 bytes in base64";
            let problem = Problem::new(StatusCode::BAD_REQUEST, "bad_request", detail);
            Err(Reply::from(problem).into())
        }
    }
}

/// 16 bytes in base64: 22 digits and two pads.
fn is_key(key: &[u8]) -> bool {
    key.len() == 24
        && key.ends_with(b"==")
        && key[..22]
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

/// Who may connect, and to what.
async fn admit(
    shard: &Rc<Shard>,
    peer: SocketAddr,
    request: &Request<Incoming>,
) -> Result<(Arc<str>, Permit), Refusal> {
    let settings = &shard.shared.settings;
    let text = |name| {
        let mut values = request.headers().get_all(name).iter();
        let value = values.next()?;
        // An origin that is no text, or one of several, is a stranger's.
        let only = values.next().is_none();
        Some(value.to_str().ok().filter(|_| only).unwrap_or("null"))
    };
    let host = text(header::HOST).unwrap_or_default();
    let origin = text(header::ORIGIN);
    if !origin::may_connect(origin, host, peer, &settings.allow_origins) {
        return Err(ORIGIN);
    }
    let path = request.uri().path();
    let name = path.strip_prefix("/ws/").unwrap_or("default");
    let listed = match &settings.namespaces {
        Some(names) => names.iter().any(|listed| listed == name),
        None => true,
    };
    if !listed || !is_namespace(name) {
        return Err(NAMESPACE);
    }
    let name: Arc<str> = name.into();
    if shard.shared.draining.load(Relaxed) {
        return Err(DRAINING);
    }
    let permit = Permit::take(&shard.shared, peer.ip()).ok_or(CONNECTIONS)?;
    let begin = name.clone();
    let open = shard
        .at_home(&name, move |shard| shard.open_namespace(&begin).is_some())
        .await;
    if open != Some(true) {
        return Err(NAMESPACES);
    }
    Ok((name, permit))
}

fn switching(key: &str, welcome: bool) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::new()));
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = reply.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(key) = HeaderValue::from_str(key) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, key);
    }
    if welcome {
        headers.insert(
            header::SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(SUBPROTOCOL),
        );
    }
    reply
}

fn upgrade_required(detail: &'static str, (name, value): (HeaderName, &'static str)) -> Reply {
    let mut reply: Reply =
        Problem::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", detail).into();
    let headers = reply.headers_mut();
    headers.insert(name, HeaderValue::from_static(value));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    reply
}

fn offers(headers: &HeaderMap, protocol: &str) -> bool {
    list(headers, header::SEC_WEBSOCKET_PROTOCOL).any(|offered| offered == protocol)
}

/// The items of a header that is a list, wherever they stand.
fn list(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// The TCP connection under an upgrade, and what came early.
async fn transport(upgrade: OnUpgrade) -> Option<(TcpStream, Bytes)> {
    let upgraded = upgrade.await.ok()?; // the peer may be gone
    let parts = upgraded.downcast::<TokioIo<StallGuard>>().ok()?;
    Some((parts.io.into_inner().into_inner(), parts.read_buf))
}

async fn open(
    shard: Rc<Shard>,
    upgrade: OnUpgrade,
    namespace: Arc<str>,
    welcome: bool,
    permit: Permit,
) {
    if let Some((stream, early)) = transport(upgrade).await {
        let handshake = Handshake::new().with_welcome(welcome);
        // A task of its own: this one still holds the state of the handshake.
        spawn_local(connection::serve(
            shard, stream, early, namespace, handshake, permit,
        ));
    }
}

/// Tells a browser, which cannot see an HTTP status, why it may not connect.
async fn refuse(shard: Rc<Shard>, upgrade: OnUpgrade, refusal: Refusal) {
    let Some((mut stream, _)) = transport(upgrade).await else {
        return;
    };
    let text = format!(
        r#"{{"event":"$error","error":{{"code":"{}","message":"{}"}}}}"#,
        refusal.code, refusal.detail
    );
    let (head, used) = ws::text_header(text.len());
    let mut bytes = head[..used].to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes.extend_from_slice(&ws::close_frame(refusal.close, refusal.code));
    let farewell = async {
        stream.write_all(&bytes).await?;
        stream.shutdown().await?;
        let mut sink = [0; 512];
        while stream.read(&mut sink).await? > 0 {}
        std::io::Result::Ok(())
    };
    // However that went, the connection ends here.
    let _ = tokio::time::timeout(shard.shared.settings.close_wait, farewell).await;
}
