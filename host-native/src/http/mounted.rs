//! Requests from the server of another program, and their connections.

use std::{io, net::IpAddr, os::fd::OwnedFd, os::unix::net as unix, rc::Rc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, body::Body as _, header, header::HeaderValue, upgrade::Upgraded};
use hyper_util::{rt::TokioIo, server::conn::auto};
use roomcast_http::Problem;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, split},
    net::{TcpStream, UnixStream},
    runtime::Handle,
    task::spawn_local,
    time::timeout,
};

use super::{Body, Head, Peer, Reply, reply, respond};
use crate::{Settings, shard::Shard, tls::Transport};

/// The buffer size for reads from a shard, for a stream that is pumped.
const PUMPED_BYTES: usize = 8 << 10;

/// A request that the server of another program has read.
pub(super) struct Mounted {
    pub(super) request: Head,
    pub(super) body: Body,
    /// The address of the client, if that program provides it.
    pub(super) peer: Option<IpAddr>,
}

/// The runtime of that program, as an extension of its requests.
#[derive(Debug, Clone)]
pub(super) struct Around(pub(super) Handle);

impl Mounted {
    pub(super) async fn answer(self, shard: Rc<Shard>) -> Reply {
        let Self {
            mut request,
            mut body,
            peer,
        } = self;
        let admin_elsewhere = shard.shared.settings.admin_listen.is_some();
        let peer = Peer::mounted(peer, admin_elsewhere);
        name_host(&mut request);
        let is_head = request.method() == Method::HEAD;
        // The server that read the head handles the rest of the body.
        let (mut reply, _) = respond(&shard, peer, &mut request, &mut body).await;
        if is_head {
            // hyper would send any body over HTTP/2, even in answer to `HEAD`.
            let length = reply.body().size_hint().lower();
            let headers = reply.headers_mut();
            headers.insert(header::CONTENT_LENGTH, length.into());
            *reply.body_mut() = Full::default();
        }
        shard.metrics().count_response(reply.status().as_u16());
        reply
    }
}

/// The response while no shard runs.
pub(super) fn not_running() -> Reply {
    reply(Problem::Draining.into())
}

/// Adds the `Host` header: requests in HTTP/2 have the host only in their target.
fn name_host(request: &mut Head) {
    if request.headers().contains_key(header::HOST) {
        return;
    }
    let authority = request.uri().authority();
    let host = authority.map(|authority| HeaderValue::from_str(authority.as_str()));
    if let Some(Ok(host)) = host {
        request.headers_mut().insert(header::HOST, host);
    }
}

/// The mark of a WebSocket in an HTTP/2 stream, as an extension of its request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stream;

/// Converts a request for a WebSocket in HTTP/2 (RFC 8441) to its HTTP/1.1 form, to which all rules
/// apply.
pub(super) fn name_upgrade(request: &mut Head) {
    if request.method() != Method::CONNECT || !is_for_socket(request) {
        return;
    }
    *request.method_mut() = Method::GET;
    let headers = request.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    request.extensions_mut().insert(Stream);
}

#[cfg(feature = "http2")]
fn is_for_socket(request: &Head) -> bool {
    let protocol = request.extensions().get::<hyper::ext::Protocol>();
    protocol.is_some_and(|protocol| protocol.as_str() == "websocket")
}

#[cfg(not(feature = "http2"))]
fn is_for_socket(request: &Head) -> bool {
    static TOLD: std::sync::Once = std::sync::Once::new();
    if request.version() == hyper::Version::HTTP_2 {
        TOLD.call_once(|| {
            tracing::error!(
                "WebSockets over HTTP/2 are refused: build roomcast with its feature http2"
            );
        });
    }
    false
}

/// Takes over the connection of a request, and the bytes that arrived early. A TCP connection moves
/// to this shard's poller. Any other stream is pumped through a pair of sockets, on the runtime
/// that it belongs to.
///
/// # Errors
///
/// When the process has no more descriptors, or that runtime has ended.
pub(super) async fn take_over(
    upgraded: Upgraded,
    around: Option<Around>,
    settings: &Settings,
) -> io::Result<(Transport, Bytes)> {
    let (stream, early) = match tcp(upgraded) {
        Ok((stream, early)) => {
            let stream = TcpStream::from_std(stream.into_std()?)?;
            // Frames are written whole; waiting to fill packets would only delay them.
            let _ = stream.set_nodelay(true);
            (stream, early)
        }
        Err(upgraded) => {
            let (here, there) = unix::UnixStream::pair()?;
            here.set_nonblocking(true)?;
            there.set_nonblocking(true)?;
            // Sockets of any family are read and written in the same way.
            let here = std::net::TcpStream::from(OwnedFd::from(here));
            let here = TcpStream::from_std(here)?;
            let waits = (settings.write_stall, settings.close_wait);
            let pump = async move {
                let pumped = pump(upgraded, there, waits).await;
                if let Err(fault) = pumped {
                    tracing::debug!(%fault, "a pumped connection ended");
                }
            };
            match around {
                Some(Around(runtime)) => drop(runtime.spawn(pump)),
                None => drop(spawn_local(pump)),
            }
            (here, Bytes::new())
        }
    };
    // The runtime treats a socket as full until it has polled it.
    stream.writable().await?;
    Ok((Transport::Plain(stream), early))
}

/// The TCP connection under an upgraded one, if there is no TLS.
fn tcp(upgraded: Upgraded) -> Result<(TcpStream, Bytes), Upgraded> {
    let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => return Ok((parts.io.into_inner(), parts.read_buf)),
        Err(upgraded) => upgraded,
    };
    // A server that also speaks HTTP/2, like axum's, wraps the connection in another type.
    let parts = auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded)?;
    Ok((parts.io.into_inner(), parts.read_buf))
}

/// Carries bytes between a peer and the shard, until both have ended their directions, or one of
/// them is gone. A peer that accepts no data is cut off after `write_stall`, and a peer that does
/// not answer the shard's end of stream after `close_wait`: nothing else limits its stream here.
async fn pump(
    upgraded: Upgraded,
    shard: unix::UnixStream,
    (write_stall, close_wait): (Duration, Duration),
) -> io::Result<()> {
    let (mut from_peer, mut to_peer) = split(TokioIo::new(upgraded));
    let (mut from_shard, mut to_shard) = UnixStream::from_std(shard)?.into_split();
    let inward = async {
        copy(&mut from_peer, &mut to_shard).await?;
        to_shard.shutdown().await
    };
    let outward = async {
        let mut buffer = vec![0; PUMPED_BYTES];
        loop {
            let length = from_shard.read(&mut buffer).await?;
            let mut rest = &buffer[..length];
            while !rest.is_empty() {
                match timeout(write_stall, to_peer.write(rest)).await?? {
                    0 => return Err(io::ErrorKind::WriteZero.into()),
                    written => rest = &rest[written..],
                }
            }
            if length == 0 {
                return timeout(write_stall, to_peer.shutdown()).await?;
            }
            timeout(write_stall, to_peer.flush()).await??;
        }
    };
    tokio::pin!(inward, outward);
    tokio::select! {
        ended = &mut inward => {
            ended?;
            outward.await
        }
        ended = &mut outward => {
            ended?;
            timeout(close_wait, inward).await?
        }
    }
}
