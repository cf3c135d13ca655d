//! A WebSocket on the way: its upgrade, its messages, its silence.

use std::{io, time::Duration};

use futures_util::{SinkExt, StreamExt};
use hyper::{
    StatusCode, Uri,
    header::{AUTHORIZATION, HeaderValue},
};
use roomcast_http::{Problem, SUBPROTOCOL};
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

const ANSWER_TIME: Duration = Duration::from_secs(10);

/// An upgrade that was refused, or came to nothing.
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
    /// The finding. `origin` is that of a page elsewhere, `None` for the server's own.
    pub(super) fn finding(&self, proxy: Proxy, origin: Option<&str>) -> Finding {
        let (status, body) = match self {
            Self::Broken(fault) => return Finding::failed(fault, proxy.upgrade()),
            Self::Http(status, body) => (*status, body),
        };
        let Some(detail) = detail(body) else {
            let seen = format_args!("{status}: not from a Roomcast server: a proxy refuses /ws");
            return Finding::failed(seen, proxy.upgrade());
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
        let fix = match status {
            StatusCode::UNAUTHORIZED => "--token TOKEN here; `roomcast token` makes one",
            StatusCode::SERVICE_UNAVAILABLE => "the setting that this names, in roomcast.toml",
            _ => "the setting that this names, in roomcast.toml or in the proxy",
        };
        Finding::failed(seen, fix)
    }
}

/// Opens a WebSocket as a page of this origin does.
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
    match timeout(ANSWER_TIME, client_async(request, stream)).await {
        Ok(Ok((socket, _))) => Ok(Socket {
            socket,
            opened: Instant::now(),
        }),
        Ok(Err(tungstenite::Error::Http(response))) => {
            let body = response.body().as_deref().unwrap_or_default();
            let body = String::from_utf8_lossy(body).into_owned();
            Err(Refusal::Http(response.status(), body))
        }
        Ok(Err(fault)) => Err(Refusal::Broken(fault.to_string())),
        Err(_) => Err(Refusal::Broken(
            "no answer to the upgrade within 10 s".into(),
        )),
    }
}

/// An open WebSocket.
pub(super) struct Socket {
    socket: WebSocketStream<Wire>,
    opened: Instant,
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
    /// Reads the greeting, and has a ping answered: so messages pass in both directions.
    pub(super) async fn exchange(&mut self) -> (Option<Welcome>, Finding) {
        let fix = "nothing on the way may hold answers back or change them: the buffers of a proxy, a \
                   scanner of a firewall";
        let welcome = match timeout(ANSWER_TIME, self.socket.next()).await {
            Ok(Some(Ok(Message::Text(text)))) => serde_json::from_str::<Envelope>(&text)
                .ok()
                .filter(|envelope| envelope.event == "$welcome"),
            _ => None,
        };
        let Some(Envelope { data: welcome, .. }) = welcome else {
            return (None, Finding::failed("no $welcome within 10 s", fix));
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
        let finding = match timeout(ANSWER_TIME, answered).await {
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
            _ => Finding::failed("$welcome, but no answer to a ping within 10 s", fix),
        };
        (Some(welcome), finding)
    }

    /// Stays silent until the server's heartbeat comes, or something ends the connection.
    pub(super) async fn stay(mut self, welcome: &Welcome, wait_s: u32, proxy: Proxy) -> Finding {
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
            return Finding::skipped(format_args!("the heartbeat comes after {s} s: --wait-s"));
        }
        // As long as the server itself waits for an answer.
        let patience = heartbeat + ANSWER_TIME;
        let begin = Instant::now();
        let end = timeout(patience, self.silence()).await;
        let s = format!("{:.1} s", begin.elapsed().as_secs_f32());
        let mend = format!("{}; or a shorter {HEARTBEAT}", proxy.idle());
        match end {
            Ok(End::Ping) => Finding::ok(format_args!("the heartbeat came after {s} of silence")),
            Ok(End::Close(code)) => Finding::failed(
                format_args!("closed with {code} after {s}: {}", close_meaning(code)),
                "the server's log",
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

/// The end of a silence.
enum End {
    Ping,
    Close(u16),
    Lost,
}
