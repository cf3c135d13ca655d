//! The server under load, and how a connection to it begins.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use hyper::{StatusCode, Uri};
use serde::Deserialize;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{self, Message, client::ClientRequestBuilder, protocol::WebSocketConfig},
};

use super::{
    super::{
        replay::one_line,
        send::endpoint::{Endpoint, Failure},
    },
    frame::{self, Arrived, Limits},
};

/// How long a connection may take until it is in its room.
const ENTER_TIME: Duration = Duration::from_secs(10);

/// Where the server is; asked of the resolver once, so that what was found harmless stays so.
#[derive(Debug)]
pub(super) struct Target {
    url: String,
    uri: Uri,
    addresses: Vec<SocketAddr>,
}

/// A connection that is in its room.
#[derive(Debug)]
pub(super) struct Entered {
    pub(super) socket: WebSocketStream<TcpStream>,
    pub(super) limits: Limits,
    /// From the first packet to `$welcome`.
    pub(super) connect: Duration,
}

/// Why a connection did not come about.
#[derive(Debug)]
pub(super) enum Fault {
    /// Nobody answers, or with something else than HTTP.
    Unreachable(String),
    /// Answered by HTTP.
    Refused(StatusCode, String),
    /// Answered by a WebSocket, which did not let it into its room.
    Rejected(String),
}

impl Target {
    /// Finds the server.
    ///
    /// # Errors
    ///
    /// Unless it is meant to be, a target beyond this machine is a mistake that hurts others.
    pub(super) async fn find(
        endpoint: &Endpoint,
        namespace: Option<&str>,
        allow_remote: bool,
    ) -> Result<Self, Failure> {
        if endpoint.tls {
            let advice = "load is not put on TLS: give the http:// address behind the proxy";
            return Err(Failure::usage(advice));
        }
        let url = endpoint.websocket(namespace);
        let uri = url.parse().map_err(Failure::usage)?;
        let addresses = lookup_host(&endpoint.authority).await.map_err(|fault| {
            Failure::unreachable(format_args!("cannot find {}: {fault}", endpoint.authority))
        })?;
        let addresses: Vec<SocketAddr> = addresses.collect();
        let remote = |address: &&SocketAddr| !address.ip().to_canonical().is_loopback();
        if let Some(address) = addresses.iter().find(remote)
            && !allow_remote
        {
            return Err(Failure::usage(format_args!(
                "{url} ({}) is not on this machine: to put load on a server that is yours, add \
                 --allow-remote",
                address.ip()
            )));
        }
        Ok(Self {
            url,
            uri,
            addresses,
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Stays with the address that this connection got through to.
    pub(super) fn prefer(&mut self, entered: &Entered) {
        if let Ok(address) = entered.socket.get_ref().peer_addr() {
            self.addresses = vec![address];
        }
    }

    /// Opens a connection and joins a room.
    ///
    /// # Errors
    ///
    /// Says how far it came.
    pub(super) async fn enter(&self, room: &str) -> Result<Entered, Fault> {
        let begun = Instant::now();
        timeout(ENTER_TIME, async {
            let mut socket = self.open().await?;
            let limits = loop {
                if let Some(Step::Welcome(limits)) = step(&mut socket, room).await? {
                    break limits;
                }
            };
            let connect = begun.elapsed();
            let sent = socket.send(Message::text(frame::join(room))).await;
            sent.map_err(lost)?;
            while !matches!(step(&mut socket, room).await?, Some(Step::Joined)) {}
            Ok(Entered {
                socket,
                limits,
                connect,
            })
        })
        .await
        .unwrap_or_else(|_| Err(Fault::Unreachable("no answer within 10 s".to_owned())))
    }

    async fn open(&self) -> Result<WebSocketStream<TcpStream>, Fault> {
        // A socket here is idle most of the time, and there are thousands.
        const BUFFER_BYTES: usize = 4 * 1024;
        let stream = TcpStream::connect(&self.addresses[..]).await;
        let stream = stream.map_err(|fault| {
            let refused = fault.kind() == io::ErrorKind::ConnectionRefused;
            let text = refused.then(|| "connection refused".to_owned());
            Fault::Unreachable(text.unwrap_or_else(|| fault.to_string()))
        })?;
        // A message waits for nothing, as with the libraries of other clients.
        stream.set_nodelay(true).map_err(lost)?;
        let request = ClientRequestBuilder::new(self.uri.clone()).with_sub_protocol("roomcast.v1");
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(BUFFER_BYTES);
        match client_async_with_config(request, stream, Some(config)).await {
            Ok((socket, _)) => Ok(socket),
            Err(tungstenite::Error::Http(response)) => {
                let body = response.body().as_deref().unwrap_or_default();
                let body = String::from_utf8_lossy(body).into_owned();
                Err(Fault::Refused(response.status(), body))
            }
            Err(fault) => Err(Fault::Unreachable(fault.to_string())),
        }
    }
}

/// A frame that brings a connection nearer to its room.
enum Step {
    Welcome(Limits),
    Joined,
}

async fn step(socket: &mut WebSocketStream<TcpStream>, room: &str) -> Result<Option<Step>, Fault> {
    match socket.next().await {
        Some(Ok(Message::Text(text))) => match Arrived::read(&text, room) {
            Arrived::Welcome(limits) => Ok(Some(Step::Welcome(limits))),
            Arrived::Joined => Ok(Some(Step::Joined)),
            Arrived::Refused { code, message, .. } => {
                let text = format!("{code}: {message}");
                Err(Fault::Rejected(one_line(&text).into_owned()))
            }
            Arrived::Message(_) | Arrived::Stray | Arrived::Other => Ok(None),
        },
        Some(Ok(Message::Close(frame))) => {
            let code = frame.map_or(1005, |frame| u16::from(frame.code));
            Err(Fault::Rejected(format!("closed with {code}")))
        }
        Some(Ok(_)) => Ok(None),
        Some(Err(fault)) => Err(lost(fault)),
        None => Err(lost("the server ended it")),
    }
}

fn lost(fault: impl std::fmt::Display) -> Fault {
    Fault::Rejected(format!("connection lost: {fault}"))
}

impl Fault {
    /// One line, the same for all connections that this happened to.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Unreachable(text) | Self::Rejected(text) => text.clone(),
            Self::Refused(status, body) => match detail(body) {
                Some(detail) => format!("{}: {detail}", status.as_u16()),
                None => status.to_string(),
            },
        }
    }

    /// What to tell when it is the very first connection, and there will be no run.
    pub(super) fn failure(&self, url: &str) -> Failure {
        let reason = self.reason();
        match self {
            Self::Unreachable(_) => Failure::unreachable(format_args!(
                "cannot connect to {url}: {reason}\n  Is `roomcast` running? Start it, or say \
                 where it is: roomcast bench URL"
            )),
            Self::Refused(_, body) if detail(body).is_none() => Failure::failed(format_args!(
                "{url} answers {reason}, not as a Roomcast server does\n  Check the URL"
            )),
            Self::Refused(..) | Self::Rejected(_) => {
                Failure::failed(format_args!("{url} refused: {reason}"))
            }
        }
    }
}

/// What a Roomcast server says about a refusal.
fn detail(body: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
    }
    let problem = serde_json::from_str::<Problem>(body);
    let detail = problem.ok()?.detail;
    Some(one_line(&detail).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(url: &str, allow_remote: bool) -> Result<Target, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let endpoint = url.parse().expect("a URL");
        runtime.block_on(Target::find(&endpoint, None, allow_remote))
    }

    #[test]
    fn only_this_machine_is_harmless() {
        for url in [
            "ws://127.0.0.1:1/ws",
            "http://127.9.9.9:1",
            "ws://[::1]:1/ws/game",
            "ws://[::ffff:127.0.0.1]:1/ws",
        ] {
            find(url, false).expect(url);
        }
        for url in [
            "ws://192.0.2.1/ws",
            "ws://0.0.0.0:1/ws",
            "ws://[2001:db8::1]:1/ws",
        ] {
            let fault = find(url, false).expect_err(url);
            assert_eq!(fault.exit(), 2);
            assert!(fault.to_string().contains("--allow-remote"), "{fault}");
            assert_eq!(find(url, true).expect(url).addresses.len(), 1);
        }
    }

    #[test]
    fn no_load_is_put_on_tls() {
        for url in ["https://127.0.0.1:1", "wss://127.0.0.1:1/ws"] {
            let fault = find(url, true).expect_err(url);
            assert_eq!(fault.exit(), 2);
            assert!(fault.to_string().contains("http://"), "{fault}");
        }
    }

    #[test]
    fn a_failure_says_whose_it_is() {
        let problem = r#"{"status":404,"detail":"no such namespace"}"#.to_owned();
        for (fault, exit, says) in [
            (Fault::Unreachable("refused".into()), 3, "running?"),
            (
                Fault::Refused(StatusCode::NOT_FOUND, problem),
                1,
                "refused: 404: no such namespace",
            ),
            (
                Fault::Refused(StatusCode::NOT_FOUND, "<html>".into()),
                1,
                "Check the URL",
            ),
            (Fault::Rejected("closed with 1013".into()), 1, "1013"),
        ] {
            let failure = fault.failure("ws://h/ws");
            assert_eq!(failure.exit(), exit);
            assert!(failure.to_string().contains(says), "{failure}");
        }
    }
}
