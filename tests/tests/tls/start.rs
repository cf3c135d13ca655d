//! Certificates that a server is started with.

use super::{
    client::{Trust, block_on, start},
    pair::Pairs,
};
use crate::process::child::run;

#[test]
fn an_unusable_pair_says_what_to_change() {
    let pairs = Pairs::new();
    pairs.put_text("empty.pem", "");
    pairs.put_text("other.pem", &pairs.make(2100).key);
    pairs.put_text(
        "locked.pem",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    for (cert, key, says) in [
        (Some("cert.pem"), None, "--tls-cert needs --tls-key"),
        (None, Some("key.pem"), "--tls-key needs --tls-cert"),
        (
            Some("cert.pem"),
            Some("other.pem"),
            "does not fit the certificate",
        ),
        (Some("cert.pem"), Some("locked.pem"), "is encrypted"),
        (Some("cert.pem"), Some("empty.pem"), "has no private key"),
        (Some("empty.pem"), Some("key.pem"), "has no certificate"),
        (Some("missing.pem"), Some("key.pem"), "cannot be read"),
        (Some("cert.pem"), Some("missing.pem"), "cannot be read"),
    ] {
        let mut flags = vec!["--listen=127.0.0.1:0".to_owned()];
        flags.extend(cert.map(|name| format!("--tls-cert={}", pairs.path(name))));
        flags.extend(key.map(|name| format!("--tls-key={}", pairs.path(name))));
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let (code, said) = run(&flags);
        assert_eq!(code, Some(2), "{says}: {said}");
        assert!(
            said.contains(says) && said.contains("--tls-"),
            "{says}: {said}"
        );
        assert!(!said.contains("PRIVATE"), "{said}");
    }
}

#[test]
fn an_expired_certificate_is_served_with_a_warning() {
    let pairs = Pairs::new();
    pairs.put(&pairs.make(2021));
    let tls = pairs.flags();
    let mut command = crate::process::child::roomcast();
    command.arg("--listen=127.0.0.1:0").args(&tls);
    let mut process = crate::process::child::Process::unstarted(command);
    let line = process.logged("expired at 2021-01-01");
    assert!(line.contains("WARN"), "{line}");
    let line = process.logged("listening on https://");
    assert!(line.contains("wss://"), "{line}");
    let (_, rest) = line.split_once("https://").expect("an address");
    let authority = rest.split_once(',').expect("an address").0;
    // An expired certificate is for the clients to refuse.
    let fault = block_on(Trust::new(&pairs).open(authority)).expect_err("expired");
    assert!(fault.to_string().contains("xpired"), "{fault}");
}

#[test]
fn commands_talk_to_a_server_whose_authority_they_are_told() {
    let pairs = Pairs::new();
    let process = start(&pairs, &[]);
    let url = format!("https://{}", process.authority);
    let send = ["send", "--url", &url, "--room", "r", "hello", "1"];
    let (code, said) = run(&send);
    assert_ne!(code, Some(0));
    assert!(
        said.contains("ertificate") || said.contains("ssuer"),
        "{said}"
    );
    let mut trusting = crate::process::child::roomcast();
    let trusting = trusting
        .args(send)
        .env("SSL_CERT_FILE", pairs.path("ca.pem"));
    let output = trusting.output().expect("a process");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
