//! A client of one server.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest},
};

use super::PATIENCE;

pub(super) struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Frames received while waiting for an answer.
    kept: Vec<Value>,
    ids: u64,
}

impl Client {
    /// Connects, with the user name set by a proxy.
    pub(super) async fn connect(url: &str, user: Option<&str>) -> Self {
        let mut request = url.into_client_request().expect("a URL");
        if let Some(user) = user {
            let user = user.parse().expect("a header");
            request.headers_mut().insert("x-user", user);
        }
        let connected = timeout(PATIENCE, connect_async(request)).await;
        let (socket, _) = connected.expect("in time").expect("it takes connections");
        Self {
            socket,
            kept: Vec::new(),
            ids: 0,
        }
    }

    async fn read(&mut self) -> Option<Value> {
        // A ping extends nothing.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let message = timeout_at(deadline, self.socket.next()).await;
            match message.unwrap_or_else(|_| panic!("nothing but {:?}", self.kept)) {
                Some(Ok(Message::Text(text))) => {
                    return Some(serde_json::from_str(&text).expect("JSON"));
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// The next frame.
    pub(super) async fn next(&mut self) -> Value {
        if !self.kept.is_empty() {
            return self.kept.remove(0);
        }
        self.read().await.expect("the connection stays")
    }

    /// The answer to a request; frames before it are kept.
    pub(super) async fn ask(&mut self, mut request: Value) -> Value {
        self.ids += 1;
        request["id"] = self.ids.into();
        let text = request.to_string();
        self.socket
            .send(Message::text(text))
            .await
            .expect("it reads");
        loop {
            let frame = self.read().await.expect("the connection stays");
            if frame["id"] == self.ids {
                return frame;
            }
            self.kept.push(frame);
        }
    }

    /// Sends messages at one time, without a wait for answers.
    pub(super) async fn send_all(&mut self, messages: impl Iterator<Item = Value>) {
        for message in messages {
            let message = Message::text(message.to_string());
            self.socket.feed(message).await.expect("it reads");
        }
        self.socket.flush().await.expect("it reads");
    }

    /// Joins a room, from a position if given; retries while the relay is unavailable.
    pub(super) async fn join(&mut self, room: &str, since: Option<&Value>) -> Value {
        let join = json!({"event": "$join", "room": room, "data": {"since": since}});
        self.ask_surely(join).await
    }

    /// Publishes a message exactly once, with as many retries as it takes.
    pub(super) async fn publish(&mut self, room: &str, data: &Value) -> Value {
        let key = format!("{room}-{data}");
        let publish = json!({"event": "said", "room": room, "key": key, "data": data});
        self.ask_surely(publish).await
    }

    /// Retries a request while the answer is `unavailable`, which a busy machine causes.
    async fn ask_surely(&mut self, request: Value) -> Value {
        let began = Instant::now();
        loop {
            let answer = self.ask(request.clone()).await;
            if !is_unavailable(&answer) {
                assert!(answer["error"].is_null(), "{answer}");
                return answer["data"].clone();
            }
            assert!(began.elapsed() < PATIENCE, "{answer}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns the next messages of a room, including gap notices.
    pub(super) async fn messages(&mut self, room: &str, count: usize) -> Vec<Value> {
        let mut messages = Vec::new();
        while messages.len() < count {
            let frame = self.next().await;
            if frame["room"] == room {
                messages.push(frame);
            }
        }
        messages
    }

    /// Returns the code of the server's close.
    pub(super) async fn close_code(mut self) -> u16 {
        let close = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                    Some(Ok(_)) => {}
                    other => panic!("it ends with {other:?}"),
                }
            }
        };
        timeout(PATIENCE, close).await.expect("it stays open")
    }

    /// Ends it, and gives all that came before.
    pub(super) async fn end(mut self) -> Vec<Value> {
        let _ = self.socket.close(None).await;
        while let Some(frame) = self.read().await {
            self.kept.push(frame);
        }
        self.kept
    }
}

/// True for an answer that says the relay was unavailable.
pub(super) fn is_unavailable(answer: &Value) -> bool {
    answer["error"]["code"] == "unavailable"
}
