//! The identity of a client that requests a WebSocket.

use std::net::IpAddr;

use hyper::header::HeaderValue;
use roomcast_core::Handshake;
use roomcast_http::{Problem, ProxyTrust};

use super::{Head, Peer};

/// The identity of a client that requests a WebSocket, as far as the host knows it.
#[derive(Debug)]
pub(super) struct Identity {
    /// The handshake with the user, who is anonymous unless a proxy names one.
    pub(super) handshake: Handshake,
    /// The address of the client, also behind a trusted proxy.
    pub(super) address: IpAddr,
}

/// Identifies the client by the headers of a trusted proxy.
///
/// # Errors
///
/// When a peer names a user without permission, or the name is invalid.
pub(super) fn identify(
    trust: &ProxyTrust,
    request: &Head,
    peer: Peer,
) -> Result<Identity, Problem> {
    let headers = request.headers();
    let name = trust.user_header.as_ref();
    let named = name.map(|name| headers.get_all(name.as_str()).iter());
    let named = named.into_iter().flatten().map(HeaderValue::as_bytes);
    let user = trust.user(peer.address, named)?;
    let forwarded = headers.get_all("x-forwarded-for").iter();
    let address = trust.client(peer.address, forwarded.map(HeaderValue::as_bytes));
    let handshake = match user {
        Some(user) => Handshake::new().with_user(user),
        None => Handshake::new(),
    };
    Ok(Identity { handshake, address })
}

#[cfg(test)]
mod tests {
    use roomcast_http::NamedUserError;

    use super::*;

    fn identified(peer: [u8; 4], fields: &[(&str, &[u8])]) -> Result<Identity, Problem> {
        let mut trust = ProxyTrust::default();
        trust.networks = vec!["10.0.0.0/8".parse().expect("a network")];
        trust.user_header = Some("X-User".parse().expect("a name"));
        let mut request = hyper::Request::builder();
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a request");
        let peer = Peer {
            address: peer.into(),
            loopback_listener: false,
            admin_elsewhere: false,
            tls: false,
            is_mounted: false,
            ends: None,
        };
        identify(&trust, &request, peer)
    }

    #[test]
    fn all_fields_of_a_name_count_as_they_came() {
        let proxy = [10, 0, 0, 1];
        let forwarded: &[u8] = b"198.51.100.1, 203.0.113.9";
        let client = identified(proxy, &[("X-USER", b"ann"), ("X-Forwarded-For", forwarded)]);
        let client = client.expect("a user");
        assert_eq!(client.handshake, Handshake::new().with_user("ann"));
        assert_eq!(client.address, IpAddr::from([203, 0, 113, 9]));
        let anonymous = identified(proxy, &[]).expect("nobody");
        assert_eq!(anonymous.handshake, Handshake::new());
        assert_eq!(anonymous.address, IpAddr::from(proxy));
        for (peer, fields, fault) in [
            (
                proxy,
                &[("x-user", &b"ann"[..]), ("x-user", b"ann")][..],
                NamedUserError::Several,
            ),
            (proxy, &[("x-user", b"")], NamedUserError::Empty),
            (proxy, &[("x-user", b"\xff")], NamedUserError::Invalid),
            (
                [192, 0, 2, 1],
                &[("x-user", b"ann")],
                NamedUserError::Untrusted,
            ),
        ] {
            let refused = identified(peer, fields).expect_err("a fault");
            assert_eq!(refused, fault.into(), "{fields:?}");
        }
    }
}
