//! Lookup of the user whose program is at the other end of a local connection.

use std::net::SocketAddr;

/// The owner of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// The user with this id.
    User(u32),
    /// No process has the socket any more, or no process on this machine ever had it.
    Nobody,
    /// The kernel cannot be asked: it is not Linux, or a sandbox forbids it.
    Unknown,
}

/// The owner of the socket `peer`, which is connected to `here`. Work: a kernel socket, and a
/// message in each direction.
pub(super) fn owner(peer: SocketAddr, here: SocketAddr) -> Owner {
    ask(peer, here).unwrap_or(Owner::Unknown)
}

/// Returns the owner, or `None` if the kernel cannot tell. A socket that is bound to a device is
/// not found by its addresses. So if the peer's is not found, a lookup of this end shows whether
/// the kernel answers at all.
fn ask(peer: SocketAddr, here: SocketAddr) -> Option<Owner> {
    match find(peer, here)? {
        Some(owner) => Some(owner),
        None => find(here, peer)?.map(|_| Owner::Nobody),
    }
}

/// The owner of the socket `peer`, if there is one that is connected to `here`; `None` when the
/// kernel cannot be asked.
#[cfg(target_os = "linux")]
fn find(peer: SocketAddr, here: SocketAddr) -> Option<Option<Owner>> {
    use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
    use netlink_packet_sock_diag::{
        SockDiagMessage,
        constants::{AF_INET, AF_INET6, IPPROTO_TCP, TCP_LISTEN},
        inet::{ExtensionFlags, InetRequest, SocketId, StateFlags},
    };
    use rustix::net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType,
        netlink::{SOCK_DIAG, SocketAddrNetlink},
        recv, sendto, socket_with,
    };

    let (source, destination) = (peer.ip().to_canonical(), here.ip().to_canonical());
    let request = InetRequest {
        family: if source.is_ipv4() { AF_INET } else { AF_INET6 },
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::all(),
        socket_id: SocketId {
            source_port: peer.port(),
            destination_port: here.port(),
            source_address: source,
            destination_address: destination,
            interface_id: 0,
            // Matches any cookie.
            cookie: [0xff; 8],
        },
    };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    let mut question = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    question.finalize();
    let mut bytes = vec![0; question.buffer_len()];
    question.serialize(&mut bytes);

    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (netlink, datagrams) = (AddressFamily::NETLINK, SocketType::DGRAM);
    let kernel = socket_with(netlink, datagrams, flags, Some(SOCK_DIAG)).ok()?;
    let address = SocketAddrNetlink::new(0, 0);
    sendto(&kernel, &bytes, SendFlags::empty(), &address).ok()?;
    // The kernel has answered before `sendto` returns.
    let mut answer = vec![0; 4096];
    let (read, _) = recv(&kernel, &mut answer[..], RecvFlags::empty()).ok()?;
    let answer = NetlinkMessage::deserialize(answer.get(..read)?).ok()?;
    let NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(found)) = answer.payload else {
        return Some(None);
    };
    let found = found.header;
    // If there is no such connection, the kernel returns a listener.
    Some(Some(match found.inode == 0 || found.state == TCP_LISTEN {
        true => Owner::Nobody,
        false => Owner::User(found.uid),
    }))
}

#[cfg(not(target_os = "linux"))]
const fn find(_peer: SocketAddr, _here: SocketAddr) -> Option<Option<Owner>> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_socket_of_this_process_belongs_to_its_user() {
        let us = Owner::User(rustix::process::geteuid().as_raw());
        for (listen, dial) in [
            ("127.0.0.1:0", "127.0.0.1"),
            ("0.0.0.0:0", "127.0.0.2"),
            ("[::]:0", "127.0.0.1"),
            ("[::1]:0", "::1"),
        ] {
            // Some machines have no IPv6.
            let Ok(listener) = TcpListener::bind(listen) else {
                continue;
            };
            let port = listener.local_addr().expect("an address").port();
            let dialed: std::net::IpAddr = dial.parse().expect("an address");
            let ours = TcpStream::connect((dialed, port)).expect("a listener");
            let (theirs, peer) = listener.accept().expect("a connection");
            let here = theirs.local_addr().expect("an address");
            assert_eq!(owner(peer, here), us, "{listen} {dial}");
            let nobody = SocketAddr::new(peer.ip(), 1);
            assert_eq!(owner(nobody, here), Owner::Nobody, "{listen}: nobody");
            drop(ours);
            assert_eq!(owner(peer, here), Owner::Nobody, "{listen}: it has hung up");
        }
    }
}
