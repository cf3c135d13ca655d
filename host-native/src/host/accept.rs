//! Accepting TCP connections.

use std::{
    cell::Cell,
    fmt::Display,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::{spawn_local, yield_now},
    time::sleep,
};

use super::guests::{Guest, Guests};
use crate::{
    http::{self, Entrance, Peer},
    shard::{Cost, Mail, Shard},
    shared::permits::Visit,
};

/// The first and the longest pause after a failure to accept.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Accepts in a row before other tasks get their turn.
const ACCEPTS: usize = 4;

/// The minimum time between two warnings.
const WARNINGS: Duration = Duration::from_secs(10);

/// Accepts connections while it is polled. Never fails: without descriptors it waits for some.
pub(crate) async fn accept(shard: &Rc<Shard>, listener: TcpListener) {
    let entrance = Entrance {
        address: address(&listener),
        admin_elsewhere: shard.shared.settings.admin_listen.is_some(),
        tls: true,
    };
    let (mut pause, mut warned, mut accepted) = (PAUSE.0, None, 0_usize);
    loop {
        if shard.shared.connections.is_full() {
            warn(&mut warned, &"too many connections");
            sleep(PAUSE.0).await;
            continue;
        }
        match listener.accept().await {
            Ok((stream, peer)) => {
                pause = PAUSE.0;
                // Frames are written whole; waiting to fill packets would only delay them.
                let _ = stream.set_nodelay(true);
                let peer = Peer::of(&stream, peer, entrance);
                hand_out(shard, stream, peer, None);
                accepted += 1;
                if accepted.is_multiple_of(ACCEPTS) {
                    yield_now().await;
                }
            }
            Err(fault) if is_of_the_peer(&fault) => {}
            Err(fault) => {
                shard.metrics().accept_failures.add(1);
                // The process is out of descriptors or memory: an immediate retry would spin.
                warn(&mut warned, &fault);
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }
}

/// Accepts on the admin listener, which has reserved descriptors: an operator can watch a server
/// that is full, and until its end.
pub(crate) async fn accept_admin(shard: &Rc<Shard>, listener: TcpListener) {
    let entrance = Entrance {
        address: address(&listener),
        admin_elsewhere: false,
        tls: shard.shared.settings.admin_tls,
    };
    let (mut guests, mut warned) = (Guests::new(), None);
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let peer = Peer::of(&stream, peer, entrance);
                let Ok(guest) = guests.admit().await else {
                    return;
                };
                hand_out(shard, stream, peer, Some(guest));
            }
            Err(fault) if is_of_the_peer(&fault) => {}
            Err(fault) => {
                shard.metrics().accept_failures.add(1);
                warn(&mut warned, &fault);
                sleep(PAUSE.1).await;
            }
        }
    }
}

/// The address of a listener. If it is unknown, the listener counts as open to the network.
fn address(listener: &TcpListener) -> SocketAddr {
    let everywhere = SocketAddr::from(([0; 4], 0));
    listener.local_addr().unwrap_or(everywhere)
}

/// Warns that connections cannot be accepted, at a limited rate.
fn warn(warned: &mut Option<Instant>, fault: &dyn Display) {
    if warned.is_none_or(|warned| warned.elapsed() >= WARNINGS) {
        *warned = Some(Instant::now());
        tracing::warn!(%fault, "cannot accept: raise the limit of open files (ulimit -n) if this lasts");
    }
}

/// Serves a connection on the next thread in turn. All listeners share one queue, and the thread
/// that wakes up first would take most connections.
fn hand_out(shard: &Rc<Shard>, stream: TcpStream, peer: Peer, guest: Option<Arc<Guest>>) {
    let visit = match guest {
        Some(guest) => Visiting::Admin(guest),
        None => Visiting::Public(Visit::begin(&shard.shared.connections)),
    };
    let shards = shard.shards();
    let next = shard.shared.accepted.fetch_add(1, Relaxed) % shards;
    if next == shard.index {
        return serve(shard, stream, peer, visit);
    }
    // The socket moves from one thread's poller to another's.
    match stream.into_std() {
        Ok(stream) => {
            let take = move |shard: &Rc<Shard>| match TcpStream::from_std(stream) {
                Ok(stream) => serve(shard, stream, peer, visit),
                Err(fault) => tracing::debug!(%fault, "a connection could not be taken over"),
            };
            shard.egress.post(next, Mail::task(take));
        }
        Err(fault) => tracing::debug!(%fault, "a connection could not be handed over"),
    }
}

/// The permit of a connection, held until it ends or is a WebSocket.
#[derive(Debug)]
enum Visiting {
    Public(#[allow(dead_code)] Visit), // held for its drop
    Admin(Arc<Guest>),
}

fn serve(shard: &Rc<Shard>, stream: TcpStream, peer: Peer, visit: Visiting) {
    let shard = shard.clone();
    // Boxed: most of the future is for HTTP, and is freed after the upgrade.
    spawn_local(async move {
        let shakes_hands = peer.tls && shard.shared.tls.is_some();
        let cost = Cell::new(if shakes_hands {
            Cost::Handshake
        } else {
            Cost::Http
        });
        let requests = match &visit {
            Visiting::Public(_) => Arc::default(),
            Visiting::Admin(guest) => guest.requests().clone(),
        };
        let accepted = http::accept(shard.clone(), stream, peer, requests, &cost);
        let accepted = Box::pin(accepted);
        match &visit {
            Visiting::Public(_) => shard.newcomers.in_turn(&cost, accepted).await,
            // Operators skip the queue of newcomers.
            Visiting::Admin(guest) => guest.stay(accepted).await,
        }
        drop(visit);
    });
}

/// True when the connection failed before it was accepted.
fn is_of_the_peer(fault: &io::Error) -> bool {
    matches!(
        fault.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
