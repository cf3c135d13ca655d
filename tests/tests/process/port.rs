//! A port has a single server.

use std::collections::BTreeSet;

use super::child::{Process, run};
use crate::peer::free_port;

#[test]
fn a_second_server_is_refused_the_port_whatever_its_threads() {
    for first in ["1", "2", "3"] {
        let process = Process::start(&["--threads", first]);
        let port = process.authority.rsplit(':').next().expect("a port");
        for second in ["1", "2"] {
            for host in ["127.0.0.1", "0.0.0.0", "[::]"] {
                let address = format!("{host}:{port}");
                let (code, said) = run(&["--insecure", "--listen", &address, "--threads", second]);
                assert_eq!(code, Some(1), "{first} and {second} on {address}: {said}");
                assert!(said.contains("in use"), "{said}");
            }
        }
    }
}

#[test]
fn a_server_on_all_addresses_has_them_alone() {
    for host in ["0.0.0.0", "[::]"] {
        let mut command = super::child::roomcast();
        let listen = format!("--listen={host}:0");
        command.args(["--insecure", "--threads=2", &listen]);
        let mut process = Process::unstarted(command);
        let line = process.logged("listening on http://");
        let port = line.trim().rsplit(':').next().expect("a port");
        for other in ["127.0.0.1", "0.0.0.0", "[::]"] {
            if (host, other) == ("0.0.0.0", "[::]") && !is_dual() {
                continue;
            }
            let address = format!("{other}:{port}");
            let (code, said) = run(&["--insecure", "--listen", &address, "--threads=2"]);
            assert_eq!(code, Some(1), "{host} and {address}: {said}");
        }
    }
}

/// True when a socket for IPv6 takes IPv4 as well.
fn is_dual() -> bool {
    let only = std::fs::read_to_string("/proc/sys/net/ipv6/bindv6only");
    only.is_ok_and(|only| only.trim() == "0")
}

#[test]
fn a_port_is_free_again_after_its_server() {
    // Nobody else is given it between the two.
    let address = format!("127.0.0.1:{}", free_port());
    let start = || {
        let mut command = super::child::roomcast();
        command.args(["--listen", &address, "--threads=2"]);
        Process::run(command)
    };
    let mut process = start();
    assert_eq!(process.get("/healthz"), Some(200));
    process.signal("TERM");
    assert_eq!(process.ended().code(), Some(0));
    assert_eq!(start().get("/healthz"), Some(200));
}

/// Checks the spread by the sockets in the poll of each thread.
#[test]
fn connections_are_spread_over_all_threads() {
    let mut process = Process::start(&["--threads=4"]);
    let connections: Vec<_> = (0..80)
        .map(|_| std::net::TcpStream::connect(&process.authority).expect("connected"))
        .collect();
    let ours: BTreeSet<u16> = connections
        .iter()
        .map(|stream| stream.local_addr().expect("an address").port())
        .collect();
    assert_eq!(ours.len(), 80);
    process.until("20 for each thread", |process| {
        let polled = process.polled();
        let fair = polled.iter().filter(|(_, count)| **count >= 20).count();
        fair == 4
    });
}
