//! The other end of a TCP connection.

use std::net::{IpAddr, SocketAddr};

/// The other end of a TCP connection, as far as the rules look at it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    /// An IPv4 address as such, also where the listener takes IPv6.
    pub(crate) address: IpAddr,
    /// True when the listener is on loopback, where only programs of this machine reach it.
    pub(crate) loopback_listener: bool,
}

impl Peer {
    /// The peer with this address, on a listener with this one.
    pub(crate) fn new(peer: SocketAddr, listener: IpAddr) -> Self {
        Self {
            address: peer.ip().to_canonical(),
            loopback_listener: listener.to_canonical().is_loopback(),
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
            Peer::new(peer, listener.parse().expect("an address"))
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
