//! Clients that know their position in a room, and reconnect.

use std::{fs, path::Path, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

/// Time that anything may take: a fault when it passes, never a way to decide.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A position in a room, and who was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) epoch: String,
    pub(crate) offset: u64,
}

/// The answer to a join.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) position: Position,
    pub(crate) recovered: Option<bool>,
    pub(crate) missed: u64,
}

/// A connection of the crowd.
pub(crate) struct Client {
    stream: WebSocketStream<TcpStream>,
    pub(crate) conn: String,
}

impl Client {
    /// A client of a host and port, with a path before that of the WebSocket or without.
    pub(crate) async fn connect(base: &str) -> Self {
        let url = format!("ws://{base}/ws");
        let authority = base.split('/').next().unwrap_or_default();
        let mut request = url.into_client_request().expect("an address");
        let protocol = HeaderValue::from_static("roomcast.v1");
        request
            .headers_mut()
            .append("sec-websocket-protocol", protocol);
        let opened = async {
            let stream = TcpStream::connect(authority).await.expect("a listener");
            stream.set_nodelay(true).expect("an open socket");
            client_async(request, stream).await.expect("an upgrade").0
        };
        let stream = timeout(PATIENCE, opened).await.expect("an answer");
        let mut client = Self {
            stream,
            conn: String::new(),
        };
        let welcome = client.next().await.expect("a welcome");
        client.conn = welcome["data"]["conn"].as_str().expect("an id").into();
        client
    }

    pub(crate) async fn send(&mut self, text: String) -> bool {
        self.stream.send(Message::Text(text.into())).await.is_ok()
    }

    /// The next text; its close code when there is no more, 1006 without one.
    pub(crate) async fn text(&mut self) -> Result<String, u16> {
        // A ping extends nothing: otherwise a missing message would be waited for without an end.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let message = timeout_at(deadline, self.stream.next()).await;
            match message.expect("a message in time") {
                Some(Ok(Message::Text(text))) => return Ok(text.as_str().into()),
                Some(Ok(Message::Close(frame))) => {
                    // Answers it.
                    let _ = self.stream.flush().await;
                    return Err(frame.map_or(1005, |frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(1006),
            }
        }
    }

    /// The next envelope.
    pub(crate) async fn next(&mut self) -> Result<Value, u16> {
        let text = self.text().await?;
        Ok(serde_json::from_str(&text).expect("JSON"))
    }

    /// Joins, from a position on; `was` is the connection that saw it.
    pub(crate) async fn join(&mut self, room: &str, since: Option<(&Position, &str)>) -> Joined {
        let data = since.map(|(position, was)| {
            let Position { epoch, offset } = position;
            format!(r#","data":{{"since":{{"epoch":"{epoch}","offset":{offset},"conn":"{was}"}}}}"#)
        });
        let data = data.unwrap_or_default();
        let join = format!(r#"{{"event":"$join","id":"j","room":"{room}"{data}}}"#);
        assert!(self.send(join).await, "the socket is open");
        loop {
            let answer = self.next().await.expect("an answer");
            if answer["event"] == "$join" {
                let data = &answer["data"];
                let position = Position {
                    epoch: data["epoch"].as_str().expect("an epoch").into(),
                    offset: data["offset"].as_u64().expect("an offset"),
                };
                return Joined {
                    position,
                    recovered: data["recovered"].as_bool(),
                    missed: data["missed"].as_u64().unwrap_or(0),
                };
            }
        }
    }
}

/// Writes a file of room policies; gives its flag.
pub(crate) fn policies(folder: &Path, text: &str) -> String {
    let path = folder.join("rooms.toml");
    fs::write(&path, text).expect("written");
    format!("--config={}", path.display())
}

/// The flag of a store.
pub(crate) fn store(folder: &Path) -> String {
    format!("--store={}", folder.join("store").display())
}

/// Raises the limit of open files as far as the system allows.
pub(crate) fn raise_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("up to the maximum");
}

/// `name` from the environment, or a default.
pub(crate) fn number(name: &str, default: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.map_or(default, |value| value.parse().expect("a number"))
}
