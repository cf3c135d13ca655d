//! A client that knows only the address of the server.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Bytes, Error, Message,
        client::IntoClientRequest,
        http::{HeaderName, HeaderValue},
    },
};

use super::running::PATIENCE;

pub(crate) struct Client {
    stream: WebSocketStream<TcpStream>,
    /// Subprotocol that the server selected.
    pub(crate) subprotocol: Option<String>,
}

/// A refused upgrade.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Client {
    pub(crate) async fn connect(
        address: SocketAddr,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Rejected> {
        let url = format!("ws://{address}{path}");
        let mut request = url.into_client_request().expect("an address");
        for &(name, value) in headers {
            let name = HeaderName::from_static(name);
            let value = HeaderValue::from_str(value).expect("a value");
            request.headers_mut().append(name, value);
        }
        let stream = TcpStream::connect(address).await.expect("a listener");
        match timeout(PATIENCE, client_async(request, stream))
            .await
            .expect("an answer")
        {
            Ok((stream, response)) => {
                let selected = response.headers().get("sec-websocket-protocol");
                let selected = selected.map(|name| name.to_str().expect("a name").to_owned());
                Ok(Self {
                    stream,
                    subprotocol: selected,
                })
            }
            Err(Error::Http(response)) => Err(Rejected {
                status: response.status().as_u16(),
                body: String::from_utf8(response.into_body().unwrap_or_default()).expect("text"),
            }),
            Err(fault) => panic!("{fault}"),
        }
    }

    pub(crate) async fn send(&mut self, text: &str) {
        let message = Message::Text(text.into());
        self.stream.send(message).await.expect("sent");
    }

    /// Sends, unless the server has closed.
    pub(crate) async fn try_send(&mut self, text: &str) {
        let _ = self.stream.send(Message::Text(text.into())).await;
    }

    pub(crate) async fn send_binary(&mut self, bytes: &[u8]) {
        let message = Message::Binary(Bytes::copy_from_slice(bytes));
        self.stream.send(message).await.expect("sent");
    }

    pub(crate) async fn message(&mut self) -> Message {
        let next = timeout(PATIENCE, self.stream.next()).await;
        next.expect("a message")
            .expect("an open socket")
            .expect("a message")
    }

    /// The next message, a text.
    pub(crate) async fn next(&mut self) -> String {
        loop {
            match self.message().await {
                Message::Text(text) => return text.as_str().to_owned(),
                Message::Ping(_) => {}
                other @ (Message::Binary(_)
                | Message::Pong(_)
                | Message::Close(_)
                | Message::Frame(_)) => {
                    panic!("{other:?}")
                }
            }
        }
    }

    /// The answer to this message, which is the next that comes.
    pub(crate) async fn ask(&mut self, text: &str) -> String {
        self.send(text).await;
        self.next().await
    }

    /// Returns everything that the server has sent so far.
    pub(crate) async fn received(&mut self) -> Vec<String> {
        self.send(r#"{"event":"$ping"}"#).await;
        let mut texts = Vec::new();
        loop {
            match self.next().await {
                pong if pong == r#"{"event":"$pong"}"# => return texts,
                text => texts.push(text),
            }
        }
    }

    /// Waits for the server's close; returns the texts before it, the code and the reason.
    pub(crate) async fn closed(&mut self) -> (Vec<String>, u16, String) {
        let mut texts = Vec::new();
        loop {
            match self.message().await {
                Message::Text(text) => texts.push(text.as_str().to_owned()),
                Message::Close(Some(frame)) => {
                    return (texts, frame.code.into(), frame.reason.as_str().to_owned());
                }
                Message::Ping(_) => {}
                other @ (Message::Binary(_)
                | Message::Pong(_)
                | Message::Close(_)
                | Message::Frame(_)) => {
                    panic!("{other:?}")
                }
            }
        }
    }

    /// Closes, or answers the server's close, and waits until the server has ended the connection.
    pub(crate) async fn leave(mut self) {
        // An error means that the server closed first.
        let _ = self.stream.close(None).await;
        let rest = async { while let Some(Ok(_)) = self.stream.next().await {} };
        let ended = timeout(PATIENCE, rest).await;
        ended.expect("the server ends it");
    }
}
