//! The opening handshake of a WebSocket (RFC 6455, section 4.2).

use std::{rc::Rc, sync::Arc};

use bytes::Bytes;
use hyper::{
    StatusCode,
    header::{self, HeaderValue},
    upgrade::OnUpgrade,
};
use hyper_util::rt::TokioIo;
use roomcast_core::{Frame, Handshake, gateway::Admission};
use roomcast_http::{Problem, Request, SUBPROTOCOL, TokenRefusal, Upgrade};
use tokio::task::spawn_local;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{
    Fields, Head, Peer, Reply, StallGuard, access, ask, head,
    identify::identify,
    mounted::{Around, Stream, name_upgrade, take_over},
    part, refusals, reply, tokens,
};
use crate::{
    clock::{patience, unix_now},
    connection::{self, Switched, Upgraded},
    namespace::{OwnedUpgradeRequest, refusal::Refusal},
    shard::Shard,
    shared::permits::Permit,
    ws,
};

/// The response that opens the WebSocket, which a separate task then serves, or the refusal.
pub(super) async fn answer(
    shard: &Rc<Shard>,
    peer: Peer,
    request: &mut Head,
    namespace: Arc<str>,
) -> Reply {
    name_upgrade(request);
    let is_stream = request.extensions().get::<Stream>().is_some();
    let head = head(request, peer);
    let checked = Upgrade::check(&head).and_then(|asked| Ok((asked, check(&head, is_stream)?)));
    let (asked, key) = match checked {
        Ok(checked) => checked,
        Err(problem) => {
            let is_bad = problem == Problem::BadUpgrade;
            let mut reply = reply(problem.into());
            if is_bad {
                // A body may follow, or frames of a client that has not waited.
                let close = HeaderValue::from_static("close");
                reply.headers_mut().insert(header::CONNECTION, close);
            }
            return reply;
        }
    };
    if request.extensions().get::<OnUpgrade>().is_none() {
        tracing::error!("the server around this one upgrades no connections: it has to be hyper's");
        return reply(Problem::Internal.into());
    }
    let admitted = admit(shard, peer, request, &namespace).await;
    if let Err(problem) = &admitted {
        refusals::tell(shard, peer, problem, &self::head(request, peer));
    }
    let way = Way {
        around: request.extensions_mut().remove(),
        upgrade: hyper::upgrade::on(request),
    };
    match admitted {
        Ok(Admitted {
            permit,
            handshake,
            subprotocol,
            raw,
        }) => {
            // Other subprotocols that an application chooses have no welcome message.
            let own = subprotocol.as_deref().is_none_or(|it| it == SUBPROTOCOL);
            let welcome = asked.welcome && own;
            let own = welcome.then(|| SUBPROTOCOL.into());
            let subprotocol = subprotocol.or(own);
            let handshake = handshake.with_welcome(welcome);
            let connection = Box::new(Upgraded {
                namespace,
                handshake,
                permit,
                raw,
            });
            spawn_local(open(shard.clone(), way, connection));
            switching(key.as_deref(), subprotocol.as_deref())
        }
        Err(problem) if asked.refuse_in_band => {
            spawn_local(refuse(shard.clone(), way, problem.into()));
            switching(key.as_deref(), asked.welcome.then_some(SUBPROTOCOL))
        }
        Err(problem) => reply(problem.into()),
    }
}

/// Checks the remaining header fields of an upgrade. Returns the accept key, which a stream in
/// HTTP/2 does not need.
fn check(head: &Request<'_, Fields<'_>>, is_stream: bool) -> Result<Option<String>, Problem> {
    let upgrade = |item: &str| item.eq_ignore_ascii_case("upgrade");
    if head.http_1_0 || !head.lists("connection", upgrade) {
        return Err(Problem::BadUpgrade);
    }
    if head.first("sec-websocket-version").as_deref() != Some("13") {
        return Err(Problem::SocketVersion);
    }
    if is_stream {
        return Ok(None);
    }
    match head.first("sec-websocket-key") {
        Some(key) if is_key(key.as_bytes()) => Ok(Some(derive_accept_key(key.as_bytes()))),
        _ => Err(Problem::SocketKey),
    }
}

/// True for 16 bytes in base64: 22 digits and two pads.
fn is_key(key: &[u8]) -> bool {
    key.len() == 24
        && key.ends_with(b"==")
        && key[..22]
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

/// An admitted request.
struct Admitted {
    permit: Permit,
    handshake: Handshake,
    /// The subprotocol that the application chose.
    subprotocol: Option<Box<str>>,
    /// True when messages are in a format of the application, without envelopes.
    raw: bool,
}

/// Checks that the request may connect.
async fn admit(
    shard: &Rc<Shard>,
    peer: Peer,
    request: &Head,
    namespace: &Arc<str>,
) -> Result<Admitted, Problem> {
    let shared = &shard.shared;
    access(shard, peer).admit(&head(request, peer), namespace)?;
    let client = identify(&shared.settings.proxy_trust, request, peer)?;
    if shared.is_draining() {
        return Err(Problem::DrainingSocket);
    }
    let mut permit = Permit::take(&shared.connections, client.address)?;
    let asked = unix_now();
    let named = named(shard, request)?;
    let mut handshake = client.handshake;
    if let Some(user) = named.as_ref().and_then(|named| named.user.as_deref()) {
        handshake = handshake.with_user(user);
    }
    let (mut handshake, by_token) =
        tokens::identify(shard, &head(request, peer), handshake).await?;
    if let Some(named) = named.filter(|_| !by_token) {
        handshake = named.handshake(handshake, asked);
    }
    let handshake = ask::identify(shard, request, namespace, handshake, by_token).await?;
    let covered = shared.gateways.covers(namespace);
    let request = covered.then(|| OwnedUpgradeRequest::new(request, client.address));
    let (admission, raw) = shard.ask_upgrade(namespace, request).await?;
    let subprotocol = admission.subprotocol.clone();
    let handshake = admission.handshake(handshake, asked);
    // Messages without envelopes cannot identify the client later.
    if handshake.unidentified && raw {
        return Err(Problem::Token(TokenRefusal::Missing));
    }
    if let Some(user) = handshake.identity.user.as_deref() {
        let named = permit.name_user(namespace, user);
        named.map_err(Problem::ConnectionsPerUser)?;
    }
    Ok(Admitted {
        permit,
        handshake,
        subprotocol,
        raw,
    })
}

/// The identity from the program that embeds this server: an [`Admission`] among the extensions.
///
/// # Errors
///
/// When it exceeds a limit.
fn named(shard: &Shard, request: &Head) -> Result<Option<Admission>, Problem> {
    let named = request.extensions().get::<Admission>();
    let session_bytes_max = shard.shared.settings.hub.session_bytes;
    let checked = named.map(|named| named.check(session_bytes_max).map(|()| named.clone()));
    Ok(checked.transpose()?)
}

/// The response that opens a WebSocket. With a key the connection switches protocols; a stream in
/// HTTP/2 just continues.
fn switching(key: Option<&str>, subprotocol: Option<&str>) -> Reply {
    let mut reply = Reply::default();
    if let Some(Ok(key)) = key.map(HeaderValue::from_str) {
        *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = reply.headers_mut();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, key);
    }
    let headers = reply.headers_mut();
    if let Some(Ok(subprotocol)) = subprotocol.map(HeaderValue::from_str) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    reply
}

/// The means to get from a request to its connection.
struct Way {
    upgrade: OnUpgrade,
    /// The runtime of the program whose server read the request, if it was not this one.
    around: Option<Around>,
}

/// Waits for the upgrade, and takes over the connection.
async fn switched(shard: &Shard, way: Way) -> Option<Switched> {
    // The peer may be gone, or a server around this one may not support upgrades.
    let failed = |fault: &_| tracing::debug!(%fault, "a connection was not upgraded");
    let upgraded = way.upgrade.await.inspect_err(failed).ok()?;
    match upgraded.downcast::<TokioIo<StallGuard>>() {
        Ok(parts) => {
            let (stream, answer) = parts.io.into_inner().into_upgraded();
            Some(Switched {
                stream,
                answer,
                early: parts.read_buf,
            })
        }
        Err(upgraded) => {
            let taken = take_over(upgraded, way.around, &shard.shared.settings).await;
            let failed = |fault: &_| tracing::warn!(%fault, "a connection could not be taken over");
            let (stream, early) = taken.inspect_err(failed).ok()?;
            Some(Switched {
                stream,
                answer: Bytes::new(), // written by the server around this one
                early,
            })
        }
    }
}

async fn open(shard: Rc<Shard>, way: Way, upgraded: Box<Upgraded>) {
    if let Some(switched) = switched(&shard, way).await {
        // The connection gets a new task, since this one still holds the state of the handshake.
        spawn_local(connection::serve(shard, switched, upgraded));
    }
}

/// Refuses a WebSocket after opening it, so that a browser, which cannot see an HTTP status, learns
/// the reason.
async fn refuse(shard: Rc<Shard>, way: Way, refusal: Refusal) {
    let Some(Switched { stream, answer, .. }) = switched(&shard, way).await else {
        return;
    };
    let frame = refusal.frame.as_deref();
    let frame = frame.map(|text| ws::message(Frame::Text(text)));
    let mut bytes = [&answer[..], &frame.unwrap_or_default()].concat();
    bytes.extend_from_slice(&ws::close_frame(refusal.code, refusal.reason()));
    let settings = &shard.shared.settings;
    let goodbye = part(stream, &bytes, settings.api_body_bytes_max);
    // The connection ends here, whatever the outcome.
    let _ = patience::within(settings.close_wait, goodbye).await;
}
