//! WebSockets over HTTP/2, which a browser opens on the connection of its page (RFC 8441).

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Empty};
use hyper::{
    Method, Request, Response, Version, body::Incoming, client::conn::http2, ext::Protocol,
    http::request::Builder, upgrade::Upgraded,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use roomcast::Settings;
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use super::{
    around::Around,
    streams::{left, secured},
};
use crate::{
    crowd::PATIENCE,
    tls::{
        client::{Trust, block_on},
        pair::Pairs,
    },
};

/// A connection of a browser.
struct Line {
    sender: http2::SendRequest<Empty<Bytes>>,
    authority: String,
}

impl Line {
    async fn open(trust: &Trust, authority: &str) -> Self {
        let stream = TokioIo::new(trust.open(authority).await.expect("a handshake"));
        let opened = http2::handshake(TokioExecutor::new(), stream).await;
        let (sender, connection) = opened.expect("HTTP/2");
        tokio::spawn(connection);
        let authority = authority.to_owned();
        Self { sender, authority }
    }

    async fn send(&mut self, request: Builder, path: &str) -> Response<Incoming> {
        let uri = format!("https://{}{path}", self.authority);
        let request = request.uri(uri).body(Empty::new()).expect("a request");
        let sent = timeout(PATIENCE, self.sender.send_request(request)).await;
        sent.expect("an answer in time").expect("an answer")
    }

    /// The status and the body of an answer to a plain request.
    async fn ask(&mut self, request: Builder, path: &str) -> (u16, String) {
        let answer = self.send(request, path).await;
        assert_eq!(answer.version(), Version::HTTP_2);
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.expect("a body");
        (
            status,
            String::from_utf8(body.to_bytes().into()).expect("text"),
        )
    }

    async fn socket(&mut self, fields: &[(&str, &str)], path: &str) -> Socket {
        let answer = self.send(asked(fields), path).await;
        assert_eq!(answer.status(), 200);
        let headers = answer.headers();
        assert_eq!(headers["sec-websocket-protocol"], "roomcast.v1");
        for name in ["sec-websocket-accept", "upgrade", "connection"] {
            assert!(!headers.contains_key(name), "{headers:?}");
        }
        let upgraded = hyper::upgrade::on(answer).await.expect("a stream");
        let stream = TokioIo::new(upgraded);
        Socket(WebSocketStream::from_raw_socket(stream, Role::Client, None).await)
    }
}

/// The request for a WebSocket.
fn asked(fields: &[(&str, &str)]) -> Builder {
    let request = Request::builder().method(Method::CONNECT);
    let request = request.extension(Protocol::from_static("websocket"));
    let own = [
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "roomcast.v1"),
    ];
    let fields = own.iter().chain(fields);
    fields.fold(request, |request, (name, value)| {
        request.header(*name, *value)
    })
}

struct Socket(WebSocketStream<TokioIo<Upgraded>>);

impl Socket {
    async fn say(&mut self, text: &str) {
        let sent = self.0.send(Message::text(text)).await;
        sent.expect("the socket is open");
    }

    /// The next envelope; the code of the close where there is none.
    async fn next(&mut self) -> Result<Value, u16> {
        // A ping extends nothing: otherwise a missing message would be waited for without an end.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let next = timeout_at(deadline, self.0.next()).await;
            match next.expect("a message in time") {
                Some(Ok(Message::Text(text))) => {
                    return Ok(serde_json::from_str(text.as_str()).expect("JSON"));
                }
                Some(Ok(Message::Close(frame))) => {
                    let _ = self.0.flush().await; // answers it
                    return Err(frame.map_or(1005, |frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(1006),
            }
        }
    }

    async fn join(&mut self, room: &str) {
        assert_eq!(self.next().await.expect("a welcome")["event"], "$welcome");
        let join = format!(r#"{{"event":"$join","id":1,"room":"{room}"}}"#);
        self.say(&join).await;
        let answer = self.next().await.expect("an answer");
        assert!(answer.get("error").is_none(), "{answer}");
    }
}

fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.access.api_keys = vec![Around::API_KEY.parse().expect("a key")];
    (settings.hub.inbound_messages, settings.hub.inbound_bytes) = (None, None);
    settings
}

#[test]
fn sockets_are_streams_of_the_connection_of_the_page() {
    let pairs = Pairs::new();
    let secured = secured(&pairs, settings());
    let trust = Trust::http2(&pairs);
    block_on(async {
        let mut line = Line::open(&trust, &secured.authority).await;
        let own = line.ask(Request::builder(), "/own").await;
        assert_eq!(own, (200, "the application".to_owned()));
        assert_eq!(line.ask(Request::builder(), "/").await.0, 200);

        let mut ann = line.socket(&[], "/ws").await;
        ann.join("r").await;
        let mut ben = line.socket(&[], "/ws/default").await;
        ben.join("r").await;
        let fill = "x".repeat(30_000);
        for number in 0..40 {
            let said = format!(r#"{{"event":"n","room":"r","data":[{number},"{fill}"]}}"#);
            ann.say(&said).await;
        }
        for number in 0..40 {
            let heard = ben.next().await.expect("a message");
            assert_eq!(heard["data"][0], number);
            assert_eq!(heard["data"][1].as_str().map(str::len), Some(30_000));
        }

        let key = format!("Bearer {}", Around::API_KEY);
        let call = Request::builder().header("authorization", key);
        let (status, rooms) = line.ask(call, "/api/v1/default/rooms").await;
        assert_eq!(status, 200, "{rooms}");
        assert!(rooms.contains(r#""members":2"#), "{rooms}");

        // One leaves without a word, the server ends the other one.
        drop(ann);
        left(&secured.server, 1).await;
        let conns = secured.server.connections().await.expect("it runs");
        let code = roomcast::CloseCode::new(4410).expect("a code");
        let closed = secured.server.disconnect(conns[0].id, code, "out");
        closed.await.expect("it is there");
        assert_eq!(ben.next().await.expect("a goodbye")["event"], "$bye");
        assert_eq!(ben.next().await, Err(4410));
        left(&secured.server, 0).await;
    });
}

#[test]
fn sockets_are_refused_as_in_http_1() {
    let pairs = Pairs::new();
    let secured = secured(&pairs, settings());
    let trust = Trust::http2(&pairs);
    block_on(async {
        let mut line = Line::open(&trust, &secured.authority).await;
        assert_eq!(line.ask(Request::builder(), "/healthz").await.0, 200);
        let foreign = [("origin", "https://evil.example")];
        assert_eq!(line.ask(asked(&foreign), "/ws").await.0, 403);
        let mut told = line.socket(&foreign, "/ws?refuse=close").await;
        assert_eq!(told.next().await.expect("a reason")["event"], "$error");
        assert_eq!(told.next().await, Err(4403));
        assert_eq!(line.ask(Request::builder(), "/ws").await.0, 426);
        assert_eq!(line.ask(asked(&[]), "/healthz").await.0, 405);
        let other = Request::builder().method(Method::CONNECT);
        let other = other.extension(Protocol::from_static("connect-udp"));
        assert_eq!(line.ask(other, "/ws").await.0, 405);
        let old = Request::builder().method(Method::CONNECT);
        let old = old.extension(Protocol::from_static("websocket"));
        assert_eq!(line.ask(old, "/ws").await.0, 426);
    });
}
