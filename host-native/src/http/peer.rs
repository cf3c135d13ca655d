//! The other end of a TCP connection, and the listener that accepted it.

mod owner;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::net::TcpStream;

use self::owner::Owner;

/// A listener, as far as access rules need it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entrance {
    pub(crate) address: SocketAddr,
    /// True when the API, the metrics and the page are on another listener.
    pub(crate) admin_elsewhere: bool,
    /// True when the listener speaks TLS, provided that there is a certificate.
    pub(crate) tls: bool,
}

/// The placeholder for an unknown address.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// The other end of a TCP connection, as far as access rules need it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    /// The canonical address: an IPv4 address is one even if the listener takes IPv6.
    pub(crate) address: IpAddr,
    /// True when the listener is on loopback, where only programs on this machine reach it.
    pub(crate) loopback_listener: bool,
    /// Copied from the [`Entrance`].
    pub(crate) admin_elsewhere: bool,
    /// Copied from the [`Entrance`].
    pub(crate) tls: bool,
    /// True when the request came through the server of the program that embeds this one.
    pub(super) is_mounted: bool,
    /// Both ends of the connection, the peer's first, if the peer is on this machine.
    pub(super) ends: Option<(SocketAddr, SocketAddr)>,
}

impl Peer {
    /// The peer of an accepted connection.
    pub(crate) fn of(stream: &TcpStream, peer: SocketAddr, entrance: Entrance) -> Self {
        let mut it = Self::new(peer, entrance);
        if it.address.is_loopback() {
            // A listener on a specific address is the end of all its connections, without a system
            // call.
            let here = match entrance.address {
                every if every.ip().is_unspecified() => stream.local_addr().ok(),
                one => Some(one),
            };
            it.ends = here.map(|here| (peer, here));
        }
        it
    }

    /// True when the peer's program runs as another user than this one, or is unknown because it
    /// has hung up. Work: a query to the kernel.
    pub(super) fn is_of_another_user(&self) -> bool {
        self.ends
            .is_some_and(|(peer, here)| match owner::owner(peer, here) {
                Owner::User(user) => user != rustix::process::geteuid().as_raw(),
                Owner::Nobody => true,
                Owner::Unknown => false,
            })
    }

    /// The peer of a connection to the program that embeds this one, as far as that identifies it.
    pub(super) fn mounted(address: Option<IpAddr>, admin_elsewhere: bool) -> Self {
        let entrance = Entrance {
            address: NOWHERE,
            admin_elsewhere,
            tls: false,
        };
        let peer = address.map_or(NOWHERE, |address| SocketAddr::new(address, 0));
        Self {
            is_mounted: true,
            ..Self::new(peer, entrance)
        }
    }

    fn new(peer: SocketAddr, entrance: Entrance) -> Self {
        Self {
            is_mounted: false,
            ends: None,
            address: peer.ip().to_canonical(),
            loopback_listener: entrance.address.ip().to_canonical().is_loopback(),
            admin_elsewhere: entrance.admin_elsewhere,
            tls: entrance.tls,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_canonical() {
        let peer = |address: &str, listener: &str| {
            let peer = SocketAddr::new(address.parse().expect("an address"), 1);
            let entrance = Entrance {
                address: SocketAddr::new(listener.parse().expect("an address"), 1),
                admin_elsewhere: false,
                tls: true,
            };
            Peer::new(peer, entrance)
        };
        let mapped = peer("::ffff:127.0.0.1", "::");
        assert_eq!(mapped.address, IpAddr::from([127, 0, 0, 1]));
        assert!(!mapped.loopback_listener);
        for listener in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(peer("::1", listener).loopback_listener, "{listener}");
        }
        assert!(!peer("::1", "0.0.0.0").loopback_listener);
    }
}
