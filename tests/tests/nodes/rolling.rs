//! Servers that are restarted one after another, under clients of `client/` behind nginx.

use super::redis::Redis;
use crate::{
    peer::free_port,
    proxy::{Kind, NGINX, Proxy},
    sessions::{binary, check},
};

/// All servers are restarted while clients publish: each message is received once and in order, and
/// nobody is seen to leave.
#[test]
fn a_rolling_restart_loses_nothing_and_doubles_nothing() {
    let redis = Redis::start();
    let ports = [(); 3].map(|()| free_port().to_string());
    // A server that is away is tried again with the next request.
    let upstream = ports
        .each_ref()
        .map(|port| format!("127.0.0.1:{port} max_fails=0"));
    let proxy = Proxy::start(Kind::Nginx, NGINX, &upstream.join(";\n    server "));
    let binary = binary().canonicalize().expect("it exists");
    let (binary, port, relay) = (
        binary.to_string_lossy(),
        proxy.port.to_string(),
        redis.url(),
    );
    let args = ["client_rolling.mjs", &binary, &relay, &port];
    let ports = ports.each_ref().map(String::as_str);
    check("clients", "node", &[&args[..], &ports].concat());
}
