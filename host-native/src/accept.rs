//! Accepting TCP connections.

use std::{io, net::IpAddr, rc::Rc, time::Duration};

use tokio::{net::TcpListener, task::spawn_local, time::sleep};

use crate::{
    http::{self, Peer},
    shard::Shard,
};

/// The first and the longest pause after a failure to accept.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Accepts for as long as it is polled. Never fails: without descriptors it waits for some.
pub(crate) async fn accept(shard: &Rc<Shard>, listener: TcpListener) {
    // A listener that cannot say where it is counts as open to the network.
    let address = listener.local_addr();
    let address = address.map_or(IpAddr::from([0; 4]), |address| address.ip());
    let mut pause = PAUSE.0;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                pause = PAUSE.0;
                // Frames are written whole; waiting to fill packets would only delay them.
                let _ = stream.set_nodelay(true);
                // Boxed: most of it is HTTP, and is freed after the upgrade.
                spawn_local(Box::pin(http::serve(
                    shard.clone(),
                    stream,
                    Peer::new(peer, address),
                )));
            }
            Err(fault) if is_of_the_peer(&fault) => {}
            Err(fault) => {
                // Out of descriptors or memory: to try again at once would spin.
                if pause == PAUSE.0 {
                    tracing::warn!(%fault, "cannot accept: raise the limit of open files (ulimit -n) if this lasts");
                }
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }
}

/// The connection died before it was accepted.
fn is_of_the_peer(fault: &io::Error) -> bool {
    matches!(
        fault.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
