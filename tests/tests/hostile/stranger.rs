//! Strangers who reach the machine by another address than loopback.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};

use crate::{
    peer::Peer,
    process::child::{Process, run},
};

/// Addresses of this machine that are not the server's: another loopback one, and the one by which
/// it reaches others, where it has one.
fn addresses() -> Vec<IpAddr> {
    let mut addresses = vec![IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2))];
    let outward = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        // Sends nothing: it asks the kernel for a route.
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    addresses.extend(outward.ok().map(|address| address.ip()));
    addresses
}

#[test]
fn a_stranger_reaches_nothing_by_default() {
    let process = Process::start(&[]);
    let address: SocketAddr = process.authority.parse().expect("an address");
    assert!(address.ip().is_loopback());
    for stranger in addresses() {
        let reached = TcpStream::connect((stranger, address.port()));
        assert!(reached.is_err(), "{stranger} reaches the server");
    }
    assert_eq!(
        process.get("/healthz"),
        Some(200),
        "and it serves this machine"
    );
}

#[test]
fn a_server_for_strangers_needs_a_key_or_a_word() {
    let (code, said) = run(&["--listen", "0.0.0.0:0"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("--api-key") && said.contains("--insecure"),
        "{said}"
    );
}

#[test]
fn a_stranger_has_no_api_without_a_key() {
    let mut command = crate::process::child::roomcast();
    command.args(["--listen", "0.0.0.0:0", "--insecure"]);
    let process = Process::run(command);
    let address: SocketAddr = process.authority.parse().expect("an address");
    for stranger in addresses().into_iter().filter(|it| !it.is_loopback()) {
        let authority = SocketAddr::new(stranger, address.port()).to_string();
        let mut peer = Peer::silent(&authority);
        let request = format!(
            "GET /api/v1/default/rooms HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n"
        );
        peer.write(request.as_bytes());
        let head = peer.head();
        assert!(head.starts_with("HTTP/1.1 403 "), "{stranger}: {head}");
    }
}
