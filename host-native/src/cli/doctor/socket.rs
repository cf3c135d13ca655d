//! The checks of a WebSocket: its upgrade, its messages, its silence.

use std::{io, time::Duration};

use futures_util::{SinkExt, StreamExt};
use hyper::{
    StatusCode, Uri,
    header::{AUTHORIZATION, HeaderValue},
};
use roomcast_hooks::Verdict;
use roomcast_http::{Problem, SUBPROTOCOL, TokenRefusal};
use serde::Deserialize;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{self, Message, client::ClientRequestBuilder},
};

use super::{
    super::client::{
        failure::{close_meaning, detail},
        wire::Wire,
    },
    fix::Proxy,
    report::Finding,
    way::Way,
};

/// An upgrade that was refused or failed.
#[derive(Debug)]
pub(super) enum Refusal {
    Http(StatusCode, String),
    Broken(String),
}

impl From<io::Error> for Refusal {
    fn from(fault: io::Error) -> Self {
        Self::Broken(fault.to_string())
    }
}

impl Refusal {
    /// True for an answer with this status that is not the server's.
    pub(super) fn is_foreign(&self, status: StatusCode) -> bool {
        matches!(self, Self::Http(found, body) if *found == status && detail(body).is_none())
    }

    /// The finding about the refusal. `origin` is the origin of another site's page, or `None` for
    /// the server's own page.
    pub(super) fn finding(&self, proxy: Proxy, origin: Option<&str>) -> Finding {
        let (status, body) = match self {
            Self::Broken(fault) => return Finding::failed(fault, proxy.upgrade()),
            Self::Http(status, body) => (*status, body),
        };
        let Some(detail) = detail(body) else {
            return refused(proxy, status);
        };
        let is = |problem: Problem| detail == problem.to_string();
        let seen = format!("{status}: {detail}");
        if is(Problem::NoUpgrade) || is(Problem::BadUpgrade) {
            return Finding::failed(seen, proxy.upgrade());
        }
        if is(Problem::Origin) || is(Problem::OriginBehindProxy) {
            return match origin {
                Some(origin) => {
                    let fix = format_args!(
                        "roomcast.toml of the server: allow_origins = [\"{origin}\"] \
                         (--allow-origin, ROOMCAST_ALLOW_ORIGIN)"
                    );
                    Finding::failed(format_args!("{status}: {origin} may not connect"), fix)
                }
                None => {
                    let seen = format_args!("{status}: a proxy gives the server another Host");
                    Finding::failed(seen, proxy.host())
                }
            };
        }
        if is(Problem::Backend(Verdict::Unavailable)) {
            let fix = "start the backend that `[ask]` `url` in roomcast.toml names, or change it; the \
                       server's log has what it answered";
            return Finding::failed(seen, fix);
        }
        if is(Problem::Token(TokenRefusal::Unavailable)) {
            let fix = "change `jwks` in roomcast.toml (--jwks, ROOMCAST_JWKS) to a URL that the \
                       server reaches, or start what is there; the server's log has what it answered";
            return Finding::failed(seen, fix);
        }
        let fix = match status {
            StatusCode::UNAUTHORIZED => "--token TOKEN here; `roomcast token` makes one",
            StatusCode::SERVICE_UNAVAILABLE => {
                "change the setting that the message names, in roomcast.toml"
            }
            _ => "change the setting that the message names, in roomcast.toml or in the proxy",
        };
        Finding::failed(seen, fix)
    }
}

/// The finding about a refusal that is not the server's.
fn refused(proxy: Proxy, status: StatusCode) -> Finding {
    let seen = format!("{status}: not from a Roomcast server: a proxy refuses /ws");
    match status.as_u16() {
        200 | 300..=399 | 401 | 403..=405 => Finding::failed(seen, proxy.pass()),
        503 => Finding::failed(seen, proxy.limits()),
        _ => {
            let fault = proxy.fault(status);
            fault.unwrap_or_else(|| Finding::failed(seen, proxy.upgrade()))
        }
    }
}

/// Opens a WebSocket with an origin, as a browser does.
///
/// # Errors
///
/// The refusal.
pub(super) async fn open(
    way: &Way,
    namespace: Option<&str>,
    origin: &[u8],
    token: Option<&HeaderValue>,
) -> Result<Socket, Refusal> {
    let uri: Uri = way
        .url
        .websocket_as_seen(namespace)
        .parse()
        .map_err(|fault| Refusal::Broken(format!("no URL: {fault}")))?;
    let stream = way.connect().await?;
    let mut request = ClientRequestBuilder::new(uri)
        .with_sub_protocol(SUBPROTOCOL)
        .with_header("origin", String::from_utf8_lossy(origin));
    if let Some(token) = token {
        let token = String::from_utf8_lossy(token.as_bytes());
        request = request.with_header(AUTHORIZATION.as_str(), token);
    }
    match timeout(way.patience, client_async(request, stream)).await {
        Ok(Ok((socket, _))) => Ok(Socket {
            socket,
            opened: Instant::now(),
            patience: way.patience,
        }),
        Ok(Err(tungstenite::Error::Http(response))) => {
            let body = response.body().as_deref().unwrap_or_default();
            let body = String::from_utf8_lossy(body).into_owned();
            Err(Refusal::Http(response.status(), body))
        }
        Ok(Err(fault)) => Err(Refusal::Broken(fault.to_string())),
        Err(_) => Err(Refusal::Broken(format!(
            "no answer to the upgrade within {} s",
            way.patience.as_secs()
        ))),
    }
}

/// An open WebSocket.
pub(super) struct Socket {
    socket: WebSocketStream<Wire>,
    opened: Instant,
    patience: Duration,
}

/// The part of `$welcome` that is read.
#[derive(Debug, Deserialize)]
pub(super) struct Welcome {
    user: String,
    heartbeat_ms: u64,
    auth_in_ms: Option<u64>,
}

#[derive(Deserialize)]
struct Envelope {
    event: String,
    data: Welcome,
}

impl Socket {
    /// Reads `$welcome`, and sends a ping that must be answered, to check that messages pass in
    /// both directions.
    pub(super) async fn exchange(&mut self) -> (Option<Welcome>, Finding) {
        let fix = "nothing on the way may hold answers back or change them: the buffers of a proxy, a \
                   scanner of a firewall";
        let welcome = match timeout(self.patience, self.socket.next()).await {
            Ok(Some(Ok(Message::Text(text)))) => serde_json::from_str::<Envelope>(&text)
                .ok()
                .filter(|envelope| envelope.event == "$welcome"),
            _ => None,
        };
        let Some(Envelope { data: welcome, .. }) = welcome else {
            let seen = format_args!("no $welcome within {} s", self.patience.as_secs());
            return (None, Finding::failed(seen, fix));
        };
        let begin = Instant::now();
        let answered = async {
            self.socket
                .send(Message::Ping("doctor".into()))
                .await
                .ok()?;
            loop {
                match self.socket.next().await? {
                    Ok(Message::Pong(_)) => return Some(begin.elapsed()),
                    Ok(_) => {}
                    Err(_) => return None,
                }
            }
        };
        let finding = match timeout(self.patience, answered).await {
            Ok(Some(took)) => {
                let user = match &*welcome.user {
                    "" => "anonymous".to_owned(),
                    user => format!("user {user:?}"),
                };
                let ms = took.as_millis();
                Finding::ok(format_args!(
                    "$welcome ({user}), and a ping answered within {ms} ms"
                ))
            }
            _ => Finding::failed(
                format_args!(
                    "$welcome, but no answer to a ping within {} s",
                    self.patience.as_secs()
                ),
                fix,
            ),
        };
        (Some(welcome), finding)
    }

    /// Stays silent until the server's heartbeat comes, or something ends the connection.
    pub(super) async fn stay(mut self, welcome: &Welcome, wait_s: u32, proxy: Proxy) -> Finding {
        /// The extra time for which a heartbeat may be late.
        const HEARTBEAT_LATE: Duration = Duration::from_secs(10);
        const HEARTBEAT: &str =
            "heartbeat_ms in roomcast.toml (--heartbeat-ms, ROOMCAST_HEARTBEAT_MS)";
        let heartbeat = Duration::from_millis(welcome.heartbeat_ms);
        if heartbeat.is_zero() {
            let fix = format_args!("{HEARTBEAT}: a proxy ends silent connections without it");
            return Finding::failed("the server has no heartbeat", fix);
        }
        if welcome.auth_in_ms.is_some() {
            return Finding::skipped("the server waits for a token: --token TOKEN");
        }
        let longest = Duration::from_secs(wait_s.into());
        if longest < heartbeat {
            let s = heartbeat.as_secs_f32();
            return Finding::skipped(format_args!(
                "the heartbeat comes only after {s} s: raise --wait-s"
            ));
        }
        let patience = heartbeat + HEARTBEAT_LATE;
        let begin = Instant::now();
        let end = timeout(patience, self.silence()).await;
        let s = format!("{:.1} s", begin.elapsed().as_secs_f32());
        let mend = format!("{}; or a shorter {HEARTBEAT}", proxy.idle());
        match end {
            Ok(End::Ping) => Finding::ok(format_args!("the heartbeat came after {s} of silence")),
            Ok(End::Close(code)) => Finding::failed(
                format_args!("closed with {code} after {s}: {}", close_meaning(code)),
                "see the server's log",
            ),
            Ok(End::Lost) => {
                let seen = format_args!(
                    "a silent connection is ended after {s}, before the server's heartbeat of {} s",
                    heartbeat.as_secs_f32()
                );
                Finding::failed(seen, mend)
            }
            Err(_) => {
                let open = self.opened.elapsed().as_secs();
                let seen = format_args!("no heartbeat: silent for {s}, open for {open} s");
                Finding::failed(seen, mend)
            }
        }
    }

    async fn silence(&mut self) -> End {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Ping(_))) => return End::Ping,
                Some(Ok(Message::Close(frame))) => {
                    return End::Close(frame.map_or(1005, |frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return End::Lost,
            }
        }
    }
}

/// The event that ended a silence.
enum End {
    Ping,
    Close(u16),
    Lost,
}
