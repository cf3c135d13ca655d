//! Parts of the load generator and of the measured servers.

pub mod plain;

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard one: ten thousand sockets need it.
pub fn allow_many_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("a soft limit may rise to the hard one");
}

/// The non-blocking listener of a measured server, on loopback and the port in `PORT`.
pub fn listener() -> TcpListener {
    let port = std::env::var("PORT").expect("PORT is set");
    let port = port.parse().expect("PORT is a number");
    let listener = TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
    let listener = listener.expect("the port is free");
    listener
        .set_nonblocking(true)
        .expect("a listener can be non-blocking");
    listener
}
