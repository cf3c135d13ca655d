//! The other end of a TCP connection, and the listener that it came to.

use std::net::{IpAddr, SocketAddr};

/// A listener, as far as the rules need it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entrance {
    pub(crate) address: IpAddr,
    /// True when the API, the metrics and the page are on another listener.
    pub(crate) admin_elsewhere: bool,
    /// True when it speaks TLS, where there is a certificate.
    pub(crate) tls: bool,
}

/// The other end of a TCP connection, as far as the rules need it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    /// An IPv4 address as such, also where the listener takes IPv6.
    pub(crate) address: IpAddr,
    /// True when the listener is on loopback, where only programs of this machine reach it.
    pub(crate) loopback_listener: bool,
    /// The same as of the [`Entrance`].
    pub(crate) admin_elsewhere: bool,
    /// The same as of the [`Entrance`].
    pub(crate) tls: bool,
}

impl Peer {
    /// The peer with this address, on a listener.
    pub(crate) fn new(peer: SocketAddr, entrance: Entrance) -> Self {
        Self {
            address: peer.ip().to_canonical(),
            loopback_listener: entrance.address.to_canonical().is_loopback(),
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
                address: listener.parse().expect("an address"),
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
