//! The opening handshake of a WebSocket (RFC 6455, section 4.2).

use std::{
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use bytes::Bytes;
use hyper::{
    StatusCode, Version,
    body::Incoming,
    header::{self, HeaderValue},
    upgrade::OnUpgrade,
};
use hyper_util::rt::TokioIo;
use roomcast_core::{
    Frame, Handshake,
    http::{Problem, ProblemCode, Refusal, Request, SUBPROTOCOL, Upgrade},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::spawn_local,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{Fields, Reply, StallGuard, head};
use crate::{connection, server::Permit, shard::Shard, ws};

const CONNECTIONS: Refusal = Refusal::overloaded(
    "too many connections: raise --connections-max, --connections-per-address-max or the limit of \
     open files, or try later",
);
const DRAINING: Refusal =
    Refusal::unavailable("the server is shutting down: connect to another, or try again");
const NAMESPACES: Refusal =
    Refusal::overloaded("too many namespaces: raise --namespaces-max, or try later");

/// The answer that begins the WebSocket, which a task of its own then serves.
pub(super) async fn answer(
    shard: &Rc<Shard>,
    peer: SocketAddr,
    request: &mut hyper::Request<Incoming>,
    namespace: Arc<str>,
) -> Result<Reply, Problem> {
    let (asked, key) = {
        let head = head(request, peer);
        (Upgrade::check(&head)?, check(request.version(), &head)?)
    };
    let admitted = admit(shard, peer, request, &namespace).await;
    let upgrade = hyper::upgrade::on(request);
    match admitted {
        Ok(permit) => {
            let handshake = Handshake::new().with_welcome(asked.welcome);
            spawn_local(open(shard.clone(), upgrade, namespace, handshake, permit));
        }
        Err(refusal) if asked.refuse_in_band => {
            spawn_local(refuse(shard.clone(), upgrade, refusal));
        }
        Err(refusal) => return Err(refusal.into()),
    }
    Ok(switching(&key, asked.welcome))
}

/// The rest of the form of an upgrade; gives the accept key.
fn check(version: Version, head: &Request<'_, Fields<'_>>) -> Result<String, Problem> {
    let upgrade = |item: &str| item.eq_ignore_ascii_case("upgrade");
    if version < Version::HTTP_11 || !head.lists("connection", upgrade) {
        return Err(Problem::bad_upgrade());
    }
    if head.first("sec-websocket-version").as_deref() != Some("13") {
        let detail = "the WebSocket version must be 13";
        return Err(Problem::new(ProblemCode::UpgradeRequired, detail)
            .with_header("sec-websocket-version", "13")
            .with_header("connection", "Upgrade"));
    }
    match head.first("sec-websocket-key") {
        Some(key) if is_key(key.as_bytes()) => Ok(derive_accept_key(key.as_bytes())),
        _ => {
            let detail = "Sec-WebSocket-Key must be 16 bytes in base64";
            Err(Problem::new(ProblemCode::BadRequest, detail))
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

/// Whether the request may connect; gives its place.
async fn admit(
    shard: &Rc<Shard>,
    peer: SocketAddr,
    request: &hyper::Request<Incoming>,
    namespace: &Arc<str>,
) -> Result<Permit, Refusal> {
    let access = &shard.shared.settings.access;
    access.admit(&head(request, peer), namespace)?;
    if shard.shared.draining.load(Relaxed) {
        return Err(DRAINING);
    }
    let permit = Permit::take(&shard.shared, peer.ip()).ok_or(CONNECTIONS)?;
    let begin = namespace.clone();
    let open = shard
        .at_home(namespace, move |shard| {
            shard.open_namespace(&begin).is_some()
        })
        .await;
    if open != Some(true) {
        return Err(NAMESPACES);
    }
    Ok(permit)
}

fn switching(key: &str, welcome: bool) -> Reply {
    let mut reply = Reply::default();
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
    handshake: Handshake,
    permit: Permit,
) {
    if let Some((stream, early)) = transport(upgrade).await {
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
    let text = refusal.frame();
    let mut bytes = ws::message(Frame::Text(&text)).to_vec();
    bytes.extend_from_slice(&ws::close_frame(
        refusal.close_code(),
        refusal.close_reason(),
    ));
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
