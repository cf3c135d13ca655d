//! Connections handed over by the application's server: plain TCP directly, all others through a
//! pump.

use std::{fs, io, net::SocketAddr, sync::Arc, thread};

use axum::{routing::get, serve::Listener};
use http_body_util::{BodyExt, Empty};
use hyper::{Request, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use roomcast::{Audience, Host, Namespace, Rejection, Router, Settings};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Builder,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
    server::TlsStream,
};
use tower_service::Service as _;

use super::around::Around;
use crate::{
    peer::{self, Peer, Said},
    tls::{
        client::{Client, Trust, block_on},
        pair::Pairs,
    },
};

/// A server of the test's own; it goes on until the test has ended.
pub(super) struct Serving {
    pub(super) authority: String,
    pub(super) server: Namespace,
}

/// A listener of the application's own.
struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, peer) = self.listener.accept().await.expect("a connection");
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

fn acceptor(pairs: &Pairs) -> TlsAcceptor {
    let pem = |name| fs::read(pairs.path(name)).expect("a file");
    let chain = CertificateDer::from_pem_slice(&pem("cert.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(&pem("key.pem")).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![chain], key);
    let mut config = config.expect("a pair");
    config.alpn_protocols = vec!["h2".into(), "http/1.1".into()];
    TlsAcceptor::from(Arc::new(config))
}

/// Runs a server for as long as the process does, with listeners of the test's own.
fn run<F: Future<Output = ()> + Send + 'static>(
    host: Host,
    serve: impl FnOnce(TcpListener) -> F + Send + 'static,
) -> Serving {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a socket");
    let authority = listener.local_addr().expect("bound").to_string();
    let server = host.namespace("default");
    thread::spawn(move || {
        let mut runtime = Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build();
        runtime.expect("a runtime").block_on(async {
            tokio::spawn(host.run_service(std::future::pending()));
            serve(TcpListener::from_std(listener).expect("a socket")).await;
        });
    });
    Serving { authority, server }
}

/// An application with TLS, which answers what the server does not; it speaks HTTP/2 too.
pub(super) fn secured(pairs: &Pairs, settings: Settings) -> Serving {
    let (acceptor, host) = (acceptor(pairs), Host::new(settings));
    let app = axum::Router::new()
        .route("/own", get(|| async { "the application" }))
        .fallback_service(roomcast::axum::router(&host));
    run(host, |listener| async {
        let listener = TlsListener { listener, acceptor };
        axum::serve(listener, app).await.expect("it serves");
    })
}

/// Waits until so many connections are left.
pub(super) async fn left(server: &Namespace, connections: usize) {
    while server.counts().await.expect("it runs").connections != connections {
        tokio::task::yield_now().await;
    }
}

#[test]
fn tls_of_the_application_carries_whole_sessions() {
    let pairs = Pairs::new();
    let mut settings = Settings::default();
    (settings.hub.inbound_messages, settings.hub.inbound_bytes) = (None, None);
    let secured = secured(&pairs, settings);
    let trust = Trust::new(&pairs);
    block_on(async {
        let mut ann = Client::joined(&trust, &secured.authority, "r").await;
        let mut ben = Client::joined(&trust, &secured.authority, "r").await;
        for number in 0..40 {
            ann.publish("r", number, 30_000).await;
        }
        ben.expect(0..40, 30_000).await;
        // The server ends one, a client leaves without a word, another one in order.
        let conns = secured.server.connections().await.expect("it runs");
        let (id, code) = (conns[1].id, roomcast::CloseCode::new(4410));
        let closed = secured.server.disconnect(id, code.expect("a code"), "out");
        closed.await.expect("it is there");
        let bye = ben.next().await.expect("a goodbye");
        assert_eq!(bye["event"], "$bye", "{bye}");
        assert_eq!(ben.next().await, Err(4410));
        drop(ann);
        left(&secured.server, 0).await;
    });
}

/// A peer that does not answer the close is cut off, although its socket is not the server's.
#[test]
fn a_pumped_peer_that_is_silent_ends() {
    let pairs = Pairs::new();
    let mut settings = Settings::default();
    settings.close_wait = std::time::Duration::from_millis(100);
    let secured = secured(&pairs, settings);
    let trust = Trust::new(&pairs);
    block_on(async {
        let mut stream = trust.open(&secured.authority).await.expect("a handshake");
        let (request, frame) = (upgrade("/ws"), peer::text(r#"{"event":"$rooms","id":1}"#));
        // The record also contains bytes that a server with read-ahead has to hand over.
        let early = [request.as_bytes(), &frame].concat();
        stream.write_all(&early).await.expect("it reads");
        let mut read = Vec::new();
        while !String::from_utf8_lossy(&read).contains(r#""id":1,"data":[]"#) {
            assert_ne!(stream.read_buf(&mut read).await.expect("open"), 0);
        }
        let conns = secured.server.connections().await.expect("it runs");
        let code = roomcast::CloseCode::new(4410).expect("a code");
        let closed = secured.server.disconnect(conns[0].id, code, "out");
        closed.await.expect("it is there");
        // The client reads to the end and answers nothing.
        stream.read_to_end(&mut read).await.expect("an end");
        left(&secured.server, 0).await;
    });
}

/// Only the pump holds the stream, which would otherwise stay forever.
#[test]
fn a_pumped_peer_that_does_not_read_ends() {
    let pairs = Pairs::new();
    let mut settings = Settings::default();
    settings.write_stall = std::time::Duration::from_millis(300);
    let secured = secured(&pairs, settings);
    let trust = Trust::new(&pairs);
    let connect = async || {
        let mut stream = trust.open(&secured.authority).await.expect("a handshake");
        let request = upgrade("/ws");
        stream
            .write_all(request.as_bytes())
            .await
            .expect("it reads");
        let mut read = Vec::new();
        while !String::from_utf8_lossy(&read).contains("\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut read).await.expect("open"), 0);
        }
        stream
    };
    block_on(async {
        // Runtimes have such sockets too; from here on they are there. The pair of the first
        // connection may outlast its count, so it is not counted among those before.
        let first = connect().await;
        left(&secured.server, 1).await;
        let before = pumps() - 2;
        drop(first);
        left(&secured.server, 0).await;
        while pumps() > before {
            tokio::task::yield_now().await;
        }
        let deaf = connect().await;
        left(&secured.server, 1).await;
        assert!(pumps() > before);
        // More than all buffers between them hold.
        let large = "x".repeat(60_000);
        while secured.server.counts().await.expect("it runs").connections > 0 {
            let sent = secured.server.send(Audience::all(), "large", &large);
            sent.await.expect("it runs");
        }
        while pumps() > before {
            tokio::task::yield_now().await;
        }
        drop(deaf);
    });
}

fn upgrade(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: here.example\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// Sockets of the Unix family that this process has, of its runtimes and of connections that are
/// pumped. A process runs one test at a time.
fn pumps() -> usize {
    let table = fs::read_to_string("/proc/self/net/unix").expect("a table");
    let inodes: Vec<_> = table
        .lines()
        .filter_map(|line| line.split_whitespace().nth(6))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let open = fs::read_dir("/proc/self/fd").expect("a folder");
    let links = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links
        .filter(|link| {
            inodes
                .iter()
                .any(|inode| **inode == *link.to_string_lossy())
        })
        .count()
}

/// Connects, with a frame in the segment of the request: what came early is not lost.
fn connect(authority: &str, path: &str) -> Peer {
    let mut peer = Peer::silent(authority);
    let frame = peer::text(r#"{"event":"$rooms","id":1}"#);
    peer.write(&[upgrade(path).as_bytes(), &frame].concat());
    let head = peer.head();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let Said::Text(answer) = peer.next() else {
        panic!("no answer");
    };
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(answer["id"], 1);
    peer
}

/// Connects some, and checks that none of them is pumped.
fn expect_no_pump(authority: &str, path: &str) {
    // Runtimes have such sockets too; from here on they are there.
    let _first = connect(authority, path);
    let before = pumps();
    let _more: Vec<_> = (0..4).map(|_| connect(authority, path)).collect();
    assert_eq!(pumps(), before);
}

#[test]
fn tcp_leaves_axum_as_it_is() {
    let around = Around::start(Settings::default());
    expect_no_pump(&around.authority().to_string(), "/live/ws");
}

/// A server of hyper alone.
fn bare(host: Host) -> Serving {
    let service = host.service();
    run(host, move |listener| async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let service = service.clone();
            let service = service_fn(move |request| service.clone().call(request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection.with_upgrades());
        }
    })
}

#[test]
fn tcp_leaves_hyper_as_it_is() {
    expect_no_pump(&bare(Host::new(Settings::default())).authority, "/ws");
}

/// The first bytes to a new socket are not lost, even if they are also the last.
#[test]
fn a_refusal_behind_the_upgrade_is_told() {
    let door = || Router::default().on_connect(|_, ()| Err(Rejection::unauthorized("sign in")));
    let bare = bare(Host::new(Settings::default()).gateway("default", move |_| door()));
    for _ in 0..20 {
        let mut peer = Peer::silent(&bare.authority);
        let head = peer.ask(&bare.authority, "/ws", "");
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        let said = peer.rest();
        let [Said::Text(text), Said::Close(4401)] = &said[..] else {
            panic!("{said:?}");
        };
        assert!(text.contains("sign in"), "{text}");
    }
}

#[test]
fn a_server_that_upgrades_nothing_is_a_fault() {
    let host = Host::new(Settings::default());
    let mut service = host.service();
    block_on(async {
        let running = tokio::spawn(host.run_service(std::future::pending()));
        let request = Request::get("http://here.example/ws")
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let request = request.body(Empty::new()).expect("a request");
        let answer = service.call(request).await.expect("an answer");
        assert_eq!(answer.status(), 500);
        running.abort();
    });
}

/// A server of hyper alone sends over HTTP/2 whatever body it is given.
#[test]
fn heads_are_answered_without_a_body() {
    let host = Host::new(Settings::default());
    let mut service = host.service();
    block_on(async {
        let running = tokio::spawn(host.run_service(std::future::pending()));
        let request = Request::head("http://here.example/healthz").body(Empty::new());
        let answer = service.call(request.expect("a request")).await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-length"], "3");
        let body = answer.into_body().collect().await.expect("a body");
        assert!(body.to_bytes().is_empty());
        running.abort();
    });
}
