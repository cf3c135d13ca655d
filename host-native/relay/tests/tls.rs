//! TLS to the server, with the authorities of the machine.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use roomcast_relay::RedisRelay;

use crate::{
    node::{Node, hasty, room, settings},
    server::{Port, Server},
};

/// The address of the server, for [`process_of_a_node`].
const ADDRESS: &str = "ROOMCAST_RELAY_TEST_TLS";

/// Runs a node in a process of its own: the authorities of the machine are read from the
/// environment. True when it published.
fn publishes(url: &str, authorities: Option<&Path>) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "tls::process_of_a_node", "--ignored"]);
    command.env(ADDRESS, url).stdout(Stdio::null());
    if let Some(path) = authorities {
        command.env("SSL_CERT_FILE", path);
    }
    command.stderr(Stdio::null()).status().unwrap().success()
}

#[tokio::test]
#[ignore = "the process of a node that another test starts"]
async fn process_of_a_node() {
    let url = std::env::var(ADDRESS).expect("another test starts this");
    let node = Node::start_with(&url, |_| {}).await;
    node.publish(&room("r"), "hi").await;
}

#[tokio::test]
async fn a_server_is_trusted_by_its_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let names = vec!["localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let (certificate, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let reserved = Port::free();
    let port = reserved.number();
    let (tls_port, path) = (port.to_string(), |path: &Path| {
        path.to_str().unwrap().to_owned()
    });
    let server = Server::start(&[
        "--tls-port",
        &tls_port,
        "--tls-cert-file",
        &path(&certificate),
        "--tls-key-file",
        &path(&key),
        "--tls-auth-clients",
        "no",
    ]);
    let url = format!("rediss://localhost:{port}");
    assert!(publishes(&url, Some(&certificate)));
    assert_eq!(server.run::<u64>("HGET roomcast:{ns}:m:r o"), 1);
    assert!(!publishes(&url, None), "nobody vouches for it");
    let other_name = format!("rediss://127.0.0.1:{port}");
    assert!(
        !publishes(&other_name, Some(&certificate)),
        "it has another name"
    );

    let plain = format!("rediss://localhost:{}", server.port);
    // It may wait for the end of a line, which the random bytes of TLS need not contain.
    let started = RedisRelay::start(settings(&plain, hasty)).await;
    let error = started.expect_err("it speaks no TLS").to_string();
    assert!(error.contains("cannot be reached"), "{error}");
}
