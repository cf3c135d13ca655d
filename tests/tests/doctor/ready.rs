//! A health check, which finds its server in the variables of both.

use super::{Findings, KEY, examine};
use crate::{
    peer::free_port,
    process::child::{Process, roomcast},
    tls::pair::Pairs,
};

/// A server with these variables, which a check beside it has as well.
struct Container<'a> {
    env: &'a [(&'a str, &'a str)],
    _server: Process,
}

impl<'a> Container<'a> {
    fn start(env: &'a [(&'a str, &'a str)]) -> Self {
        let mut command = roomcast();
        command.arg("serve").envs(env.iter().copied());
        Self {
            env,
            _server: Process::run(command),
        }
    }

    fn check(&self) -> Findings {
        examine(&["--ready"], self.env)
    }
}

/// Expects that all was well, and gives the address that was looked at.
fn address(findings: &Findings) -> String {
    assert_eq!(findings.exit, Some(0));
    assert_eq!(findings.all("ok"), ["address", "port", "ready"]);
    findings.lines[0]["seen"].as_str().expect("text").to_owned()
}

#[test]
fn the_address_and_tls_are_those_of_the_server() {
    let pairs = Pairs::new();
    let (port, admin) = (free_port(), free_port());
    let listen = format!("0.0.0.0:{port}");
    let (cert, key) = (pairs.path("cert.pem"), pairs.path("key.pem"));
    let tls = [
        ("ROOMCAST_LISTEN", &*listen),
        ("ROOMCAST_API_KEY", KEY),
        ("ROOMCAST_TLS_CERT", &cert),
        ("ROOMCAST_TLS_KEY", &key),
    ];
    let findings = Container::start(&tls).check();
    assert_eq!(address(&findings), format!("127.0.0.1:{port}"));
    // Nobody here trusts who signed it.
    assert_eq!(findings.all("skipped"), ["certificate"]);
    let admin = format!("127.0.0.1:{admin}");
    let with_admin = [&tls[..], &[("ROOMCAST_ADMIN_LISTEN", &admin)]].concat();
    let findings = Container::start(&with_admin).check();
    assert_eq!(address(&findings), admin);
    assert_eq!(findings.all("skipped"), [""; 0]);
}

#[test]
fn the_port_of_a_platform_and_the_file_are_read() {
    let port = free_port().to_string();
    let by_port = [("PORT", &*port)];
    let container = Container::start(&by_port);
    assert_eq!(address(&container.check()), format!("127.0.0.1:{port}"));
    // A URL goes first.
    let url = format!("http://127.0.0.1:{}", free_port());
    let env = [("PORT", &*port), ("ROOMCAST_URL", &url)];
    assert_eq!(examine(&["--ready"], &env).exit, Some(3));
    let own = format!("http://127.0.0.1:{port}");
    assert_eq!(examine(&[&own, "--ready"], &env).exit, Some(0));
    let listen = format!("127.0.0.1:{}", free_port());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("roomcast.toml");
    std::fs::write(&file, format!("listen = \"{listen}\"\n")).expect("written");
    let file = file.display().to_string();
    let by_file = [("ROOMCAST_CONFIG", &*file)];
    let container = Container::start(&by_file);
    assert_eq!(address(&container.check()), listen);
}

#[test]
fn variables_that_say_no_address_are_named() {
    for (name, value, says) in [
        ("ROOMCAST_LISTEN", "127.0.0.1:0", "--listen has port 0"),
        ("PORT", "http", "PORT must be"),
        ("ROOMCAST_LISTEN", "here", "--listen"),
    ] {
        let mut command = roomcast();
        let output = command
            .args(["doctor", "--ready"])
            .env(name, value)
            .output();
        let output = output.expect("a process");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(says), "{said}");
    }
}
