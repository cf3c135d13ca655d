//! A WebSocket connection.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        http::{HeaderName, HeaderValue},
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use crate::{driver::DriverError, event::Event};

/// The time that a server may take for anything. Its end is always a failure, never an expected
/// outcome.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    speech: Speech,
}

/// The form of the requests for a client's id, and for an answer that shows that everything before
/// it has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    /// The protocol's envelopes.
    Envelopes,
    /// Plain texts of an application without envelopes.
    Words,
}

impl Speech {
    /// The text of a barrier. It is not `$ping`, whose answer may overtake slow answers.
    fn barrier(self, id: &str) -> String {
        match self {
            Self::Envelopes => format!(r#"{{"event":"$rooms","id":"{id}"}}"#),
            Self::Words => format!("leave:{id}"),
        }
    }

    fn is_passed(self, id: &str, text: &str) -> bool {
        match self {
            // Above the rate limit it is refused, which is an answer too.
            Self::Envelopes => text.starts_with(&format!(r#"{{"event":"$rooms","id":"{id}","#)),
            Self::Words => text.strip_prefix("Left room: ") == Some(id),
        }
    }
}

fn broken(fault: &dyn std::fmt::Display) -> DriverError {
    DriverError::Transport(fault.to_string())
}

/// The members of a frame that may contain a connection's own id.
#[derive(Deserialize)]
struct Named {
    event: String,
    from: Option<Conn>,
    data: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Conn {
    conn: String,
}

/// The id in a `$welcome`; empty when it is none.
pub(super) fn welcomed(text: &str) -> String {
    let named = serde_json::from_str::<Named>(text).ok();
    let id = named.and_then(|named| Some(named.data?.get("conn")?.as_str()?.to_owned()));
    id.unwrap_or_default()
}

impl Socket {
    /// Opens a connection, and reads its `$welcome` if it asks for one; or returns the status of a
    /// refusal.
    pub(super) async fn open(
        address: &str,
        headers: &[(Box<str>, Box<str>)],
        speech: Speech,
        welcome: bool,
    ) -> Result<Result<(Self, Vec<Event>), u16>, DriverError> {
        let mut request = address
            .into_client_request()
            .map_err(|fault| broken(&fault))?;
        for (name, value) in headers {
            let name: HeaderName = name.parse().map_err(|fault| broken(&fault))?;
            let value: HeaderValue = value.parse().map_err(|fault| broken(&fault))?;
            request.headers_mut().append(name, value);
        }
        if welcome {
            let protocol = HeaderValue::from_static("roomcast.v1");
            request
                .headers_mut()
                .insert("Sec-WebSocket-Protocol", protocol);
        }
        let opened = timeout(PATIENCE, connect_async_with_config(request, None, true)).await;
        let stream = match opened.map_err(|_| broken(&"no answer to the handshake"))? {
            Ok((stream, _)) => stream,
            Err(Error::Http(response)) => return Ok(Err(response.status().as_u16())),
            Err(fault) => return Err(broken(&fault)),
        };
        let mut socket = Self { stream, speech };
        let mut events = Vec::new();
        if welcome {
            events.extend(socket.read().await?);
        }
        Ok(Ok((socket, events)))
    }

    /// Finds the id of this connection by a message to itself. Returns also the earlier events, in
    /// a namespace without envelopes.
    pub(super) async fn find_id(
        &mut self,
        name: &str,
    ) -> Result<(String, Vec<Event>), DriverError> {
        if self.speech == Speech::Words {
            return self.find_id_by_words(name).await;
        }
        self.send(r#"{"event":"$join","room":"~"}"#, 1).await;
        let text = format!(r#"{{"event":"{name}","room":"~","echo":true}}"#);
        self.send(&text, 1).await;
        self.send(r#"{"event":"$leave","room":"~"}"#, 1).await;
        let mut id = None;
        loop {
            match self.read().await? {
                Some(Event::Text(text)) => {
                    let named: Named = serde_json::from_str(&text).map_err(|f| broken(&f))?;
                    match (&*named.event, named.from, id.take()) {
                        (event, Some(from), _) if event == name => id = Some(from.conn),
                        ("$leave", _, Some(id)) => return Ok((id, Vec::new())),
                        (_, _, known) => id = known,
                    }
                }
                other => return Err(broken(&format!("looking for its id, a client {other:?}"))),
            }
        }
    }

    /// Does the same in words, with a room that nobody else is in.
    async fn find_id_by_words(&mut self, room: &str) -> Result<(String, Vec<Event>), DriverError> {
        self.send(&format!("join:{room}"), 1).await;
        self.send(&format!("leave:{room}"), 1).await;
        let (joined, left) = (format!("Joined room: {room}"), format!("Left room: {room}"));
        let (mut before, mut within, mut id) = (Vec::new(), false, None);
        loop {
            match self.read().await? {
                Some(Event::Text(text)) if text == joined => within = true,
                Some(Event::Text(text)) if text == left => {
                    let id = id.ok_or_else(|| broken(&"nobody said who joined"))?;
                    return Ok((id, before));
                }
                Some(Event::Text(text)) if within => {
                    id = text.strip_suffix(" joined").map(ToOwned::to_owned);
                }
                Some(event @ Event::Text(_)) => before.push(event),
                other => return Err(broken(&format!("looking for its id, a client {other:?}"))),
            }
        }
    }

    /// Sends a text `times` times. The next read notices a broken connection.
    pub(super) async fn send(&mut self, text: &str, times: u32) {
        for _ in 0..times {
            if self.stream.feed(Message::text(text)).await.is_err() {
                return;
            }
        }
        let _ = self.stream.flush().await;
    }

    pub(super) async fn send_binary(&mut self, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        let _ = self.stream.send(Message::Binary(bytes)).await;
    }

    /// Sends a barrier, whose answer comes after all earlier answers.
    pub(super) async fn ask(&mut self, id: &str) {
        let barrier = self.speech.barrier(id);
        self.send(&barrier, 1).await;
    }

    /// Reads the events before that answer, and returns whether the connection is still open.
    pub(super) async fn read_until_answered(
        &mut self,
        id: &str,
    ) -> Result<(Vec<Event>, bool), DriverError> {
        let speech = self.speech;
        self.read_until(|text| speech.is_passed(id, text)).await
    }

    /// Reads the events before a message to everybody, in the same way.
    pub(super) async fn read_until_pushed(
        &mut self,
        event: &str,
    ) -> Result<(Vec<Event>, bool), DriverError> {
        let start = format!(r#"{{"event":"{event}","#);
        self.read_until(|text| text.starts_with(&start)).await
    }

    async fn read_until(
        &mut self,
        is_passed: impl Fn(&str) -> bool,
    ) -> Result<(Vec<Event>, bool), DriverError> {
        let mut events = Vec::new();
        loop {
            match self.read().await? {
                Some(Event::Text(text)) if is_passed(&text) => {
                    return Ok((events, true));
                }
                Some(event @ (Event::Closed { .. } | Event::Lost)) => {
                    events.push(event);
                    return Ok((events, false));
                }
                Some(event) => events.push(event),
                None => return Ok((events, false)),
            }
        }
    }

    /// Closes the connection and reads it to its end.
    pub(super) async fn close(mut self) -> Result<Vec<Event>, DriverError> {
        let frame = CloseFrame {
            code: CloseCode::Normal,
            reason: "".into(),
        };
        let _ = self.stream.send(Message::Close(Some(frame))).await;
        let mut events = Vec::new();
        while let Some(event) = self.read().await? {
            // The echo of this client's close.
            let echo = matches!(&event, Event::Closed { code: 1000, reason } if reason.is_empty());
            if !echo {
                events.push(event);
            } else {
                break;
            }
        }
        Ok(events)
    }

    /// The next event; `None` after the end.
    async fn read(&mut self) -> Result<Option<Event>, DriverError> {
        // A ping extends nothing: otherwise a missing event would be waited for without an end.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let next = timeout_at(deadline, self.stream.next()).await;
            let message = match next.map_err(|_| broken(&"the server does not answer"))? {
                Some(Ok(message)) => message,
                Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) | None => {
                    return Ok(None);
                }
                Some(Err(_)) => return Ok(Some(Event::Lost)),
            };
            match message {
                Message::Text(text) => return Ok(Some(Event::Text(text.to_string()))),
                Message::Close(frame) => {
                    let (code, reason) = frame.map_or((1005, String::new()), |frame| {
                        (frame.code.into(), frame.reason.to_string())
                    });
                    // Answers the close frame.
                    let _ = self.stream.flush().await;
                    return Ok(Some(Event::Closed { code, reason }));
                }
                Message::Binary(bytes) => return Ok(Some(Event::Binary(bytes.into()))),
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }
}
