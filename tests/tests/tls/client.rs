//! Clients with TLS.

use std::{future::Future, sync::Arc};

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::{
    net::TcpStream,
    runtime::Builder,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore, SupportedProtocolVersion,
        crypto::ring,
        pki_types::{CertificateDer, ServerName},
        version::{TLS12, TLS13},
    },
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

use super::pair::Pairs;
use crate::{crowd::PATIENCE, process::child::Process};

/// Starts a server with a certificate.
pub(crate) fn start(pairs: &Pairs, flags: &[&str]) -> Process {
    let tls = pairs.flags();
    let all: Vec<&str> = tls
        .iter()
        .map(String::as_str)
        .chain(flags.iter().copied())
        .collect();
    Process::start(&all)
}

pub(crate) fn block_on<R>(future: impl Future<Output = R>) -> R {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

/// The way to connect of clients that trust the authority of the tests.
#[derive(Clone)]
pub(crate) struct Trust(TlsConnector);

impl Trust {
    pub(crate) fn new(pairs: &Pairs) -> Self {
        Self::with_versions(pairs, &[&TLS12, &TLS13])
    }

    pub(super) fn with_versions(
        pairs: &Pairs,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        Self::speaking(pairs, versions, "http/1.1")
    }

    /// The same of clients that speak HTTP/2.
    pub(crate) fn http2(pairs: &Pairs) -> Self {
        Self::speaking(pairs, &[&TLS12, &TLS13], "h2")
    }

    fn speaking(
        pairs: &Pairs,
        versions: &[&'static SupportedProtocolVersion],
        protocol: &str,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from(pairs.authority());
        roots.add(authority).expect("an authority");
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.into()];
        Self(TlsConnector::from(Arc::new(config)))
    }

    /// A connection whose handshake is done.
    pub(crate) async fn open(&self, authority: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(authority).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let opened = timeout(PATIENCE, self.0.connect(name, stream)).await;
        opened.expect("a handshake in time")
    }
}

/// A session over `wss`.
pub(crate) struct Client {
    pub(crate) stream: WebSocketStream<TlsStream<TcpStream>>,
}

impl Client {
    pub(crate) async fn connect(trust: &Trust, authority: &str) -> Self {
        let request = format!("wss://{authority}/ws").into_client_request();
        let mut request = request.expect("an address");
        let protocol = HeaderValue::from_static("roomcast.v1");
        let headers = request.headers_mut();
        headers.append("sec-websocket-protocol", protocol);
        let opened = async {
            let stream = trust.open(authority).await.expect("a handshake");
            client_async(request, stream).await.expect("an upgrade").0
        };
        let stream = timeout(PATIENCE, opened).await.expect("an answer");
        let mut client = Self { stream };
        assert_eq!(client.next().await.expect("a welcome")["event"], "$welcome");
        client
    }

    pub(crate) async fn joined(trust: &Trust, authority: &str, room: &str) -> Self {
        let mut client = Self::connect(trust, authority).await;
        let join = format!(r#"{{"event":"$join","id":1,"room":"{room}"}}"#);
        let answer = client.ask(join).await;
        assert_eq!(answer["event"], "$join", "{answer}");
        client
    }

    pub(crate) async fn send(&mut self, text: String) {
        let sent = self.stream.send(Message::Text(text.into())).await;
        sent.expect("the socket is open");
    }

    pub(crate) async fn ask(&mut self, text: String) -> Value {
        self.send(text).await;
        self.next().await.expect("an answer")
    }

    /// Publishes a number, with so many bytes beside it, and waits until it is taken.
    pub(crate) async fn publish(&mut self, room: &str, number: usize, bytes: usize) {
        let fill = "x".repeat(bytes);
        let text = format!(
            r#"{{"event":"n","id":1,"room":"{room}","data":{{"n":{number},"x":"{fill}"}}}}"#
        );
        let answer = self.ask(text).await;
        assert!(
            answer.get("error").is_none() && answer["event"] != "$error",
            "{answer}"
        );
    }

    /// The next envelope; its close code when there is no more, 1006 without one.
    pub(crate) async fn next(&mut self) -> Result<Value, u16> {
        // A ping extends nothing: otherwise a missing message would be waited for without an end.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let message = timeout_at(deadline, self.stream.next()).await;
            match message.expect("a message in time") {
                Some(Ok(Message::Text(text))) => {
                    return Ok(serde_json::from_str(text.as_str()).expect("JSON"));
                }
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

    /// Reads the messages of [`Client::publish`] with these numbers, in order.
    pub(crate) async fn expect(&mut self, numbers: std::ops::Range<usize>, bytes: usize) {
        for number in numbers {
            let message = self.next().await.expect("a message");
            assert_eq!(message["data"]["n"], number);
            assert_eq!(message["data"]["x"].as_str().map(str::len), Some(bytes));
        }
    }

    /// The certificate of the server.
    pub(super) fn certificate(&self) -> Vec<u8> {
        let (_, tls) = self.stream.get_ref().get_ref();
        let chain = tls.peer_certificates().expect("a certificate");
        chain[0].to_vec()
    }
}
