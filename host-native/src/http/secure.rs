//! The start of a TCP connection, up to HTTP, with TLS if the listener speaks it.

use std::{cell::Cell, io, rc::Rc, sync::Arc};

use tokio::net::TcpStream;

use super::{Peer, Requests, part, serve};
use crate::{
    clock::patience,
    metrics::TlsFailure,
    shard::{Cost, Shard},
    tls::{TlsGate, Transport},
};

/// The response to plain HTTP on a TLS port.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\
    content-type: text/plain; charset=utf-8\r\ncontent-length: 65\r\n\r\n\
    this port speaks TLS: the address begins with https:// or wss://\n";

/// The outcome of opening a connection to a TLS port.
enum Opened {
    Secured(Transport),
    /// The peer ended the connection before the handshake.
    Gone,
    /// HTTP without TLS.
    Plain(TcpStream),
    Failed(io::Error, TcpStream),
}

/// Serves one TCP connection until it ends or becomes a WebSocket. Sets the cost of its next step.
pub(crate) async fn accept(
    shard: Rc<Shard>,
    stream: TcpStream,
    peer: Peer,
    requests: Arc<Requests>,
    cost: &Cell<Cost>,
) {
    let Some(tls) = shard.shared.tls.clone().filter(|_| peer.tls) else {
        return serve(shard, Transport::Plain(stream), peer, requests).await;
    };
    let settings = &shard.shared.settings;
    let opened = patience::within(settings.handshake_time, open(&tls, stream)).await;
    cost.set(Cost::Http);
    let (last, stream) = match opened {
        Some(Opened::Secured(stream)) => return serve(shard, stream, peer, requests).await,
        Some(Opened::Gone) => return,
        None => {
            shard.metrics().count_tls_failure(TlsFailure::Timeout);
            tracing::debug!("the TLS handshake took too long");
            return;
        }
        Some(Opened::Plain(stream)) => {
            shard.metrics().count_tls_failure(TlsFailure::Plain);
            (PLAIN, stream)
        }
        Some(Opened::Failed(fault, stream)) => {
            shard.metrics().count_tls_failure(TlsFailure::Handshake);
            tracing::debug!(%fault, "the TLS handshake failed");
            (&b""[..], stream)
        }
    };
    let stream = Transport::Plain(stream);
    let goodbye = Box::pin(part(stream, last, settings.api_body_bytes_max));
    let _ = patience::within(settings.close_wait, goodbye).await; // the peer may be gone
}

async fn open(tls: &TlsGate, stream: TcpStream) -> Opened {
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(0) | Err(_) => return Opened::Gone,
        // A TLS record starts with its type, 20 to 24; a request with its method.
        Ok(_) if first[0].is_ascii_alphabetic() => return Opened::Plain(stream),
        Ok(_) => {}
    }
    match tls.accept(stream).await {
        Ok(stream) => Opened::Secured(Transport::Tls(stream)),
        Err((fault, stream)) => Opened::Failed(fault, stream),
    }
}
