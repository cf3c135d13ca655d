//! Certificates that cannot be trusted, of a proxy and of the server.

use std::process::Command;

use super::{Behind, Findings, KEY, doctor_with};
use crate::{
    process::child::Process,
    proxy::{CADDY, HAPROXY, Kind, NGINX},
    tls::pair::Pairs,
};

/// A proxy that speaks TLS with the pair of files.
fn behind(kind: Kind, pairs: &Pairs) -> Behind {
    let (cert, key) = (pairs.path("cert.pem"), pairs.path("key.pem"));
    let config = match kind {
        Kind::Nginx => {
            let tls = format!("listen 80 ssl; ssl_certificate {cert}; ssl_certificate_key {key};");
            NGINX.replace("listen 80;", &tls)
        }
        Kind::HaProxy => HAPROXY.replace(
            "bind :80",
            &format!("bind :80 ssl crt {}", pairs.path("both.pem")),
        ),
        Kind::Caddy => {
            let name = "chat.example.com {\n";
            CADDY.replace(name, &format!("{name}\ttls {cert} {key}\n"))
        }
    };
    Behind::start(kind, &config, &[])
}

/// Examines the port of this machine, under `localhost`.
fn localhost(port: &str, pairs: &Pairs, flags: &[&str]) -> Findings {
    let (ca, at) = (pairs.path("ca.pem"), format!("127.0.0.1:{port}"));
    let flags = [&["--connect-to", &at, "--api-key", KEY][..], flags].concat();
    let url = format!("https://localhost:{port}");
    doctor_with(&url, &flags, &[("SSL_CERT_FILE", &ca)])
}

#[test]
fn an_expired_certificate_is_named() {
    let pairs = Pairs::new();
    let pair = pairs.make(2021);
    pairs.put(&pair);
    pairs.put_text("both.pem", &format!("{}{}", pair.cert, pair.key));
    let check = |port: &str| {
        let findings = localhost(port, &pairs, &[]);
        let fixes = ["certbot renew", "tls_cert in roomcast.toml"];
        findings.fails("certificate", "expired on 2021-01-01 00:00:00 UTC", &fixes);
        // The rest is tried, without secrets.
        assert!(findings.all("ok").contains(&"messages"));
        assert!(findings.all("skipped").contains(&"key"));
    };
    for kind in [Kind::Nginx, Kind::HaProxy, Kind::Caddy] {
        check(&behind(kind, &pairs).proxy.port.to_string());
    }
    let flags = pairs.flags();
    let server = Process::start(&[&flags[0], &flags[1], "--api-key", KEY]);
    check(server.authority.rsplit(':').next().expect("a port"));
}

#[test]
fn certificates_that_are_not_trusted_are_told_apart() {
    let pairs = Pairs::new();
    let behind = behind(Kind::Nginx, &pairs);
    let port = behind.proxy.port.to_string();
    let findings = localhost(&port, &pairs, &[]);
    assert_eq!(findings.exit, Some(0));
    assert!(findings.all("ok").contains(&"certificate"));
    let other = Pairs::new();
    let findings = localhost(&port, &other, &[]);
    findings.fails(
        "certificate",
        "does not trust",
        &["fullchain.pem", "SSL_CERT_FILE"],
    );
    let (url, at) = (
        format!("https://chat.example.com:{port}"),
        format!("127.0.0.1:{port}"),
    );
    let ca = pairs.path("ca.pem");
    let findings = doctor_with(&url, &["--connect-to", &at], &[("SSL_CERT_FILE", &ca)]);
    findings.fails(
        "certificate",
        "another name than chat.example.com",
        &["ssl_certificate"],
    );
}

#[test]
fn a_scheme_that_the_port_does_not_speak_is_named() {
    let pairs = Pairs::new();
    let flags = pairs.flags();
    let secure = Process::start(&[&flags[0], &flags[1]]);
    let findings = super::doctor(&format!("http://{}", secure.authority), &[]);
    assert_eq!(findings.all("failed"), ["ready"]);
    assert!(
        findings
            .lines
            .iter()
            .any(|line| line["fix"].to_string().contains("https://"))
    );
    let plain = Process::start(&[]);
    let (_, port) = plain.authority.rsplit_once(':').expect("a port");
    let findings = localhost(port, &pairs, &[]);
    findings.fails("certificate", "does not speak TLS", &["http:// in the URL"]);
}

/// Makes a certificate with a common recipe, and more arguments.
fn self_signed(pairs: &Pairs, more: &[&str]) {
    let mut command = Command::new("openssl");
    let (cert, key) = (pairs.path("cert.pem"), pairs.path("key.pem"));
    let files = ["-keyout", &key, "-out", &cert, "-days", "30", "-nodes"];
    let names = [
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
    ];
    let kind = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
    ];
    command.args(kind).args(files).args(names).args(more);
    let output = command.output().expect("openssl");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_certificate_that_signed_itself_as_an_authority_is_named() {
    let pairs = Pairs::new();
    self_signed(&pairs, &[]);
    let proxy = behind(Kind::Nginx, &pairs);
    let port = proxy.proxy.port.to_string();
    let (cert, at) = (pairs.path("cert.pem"), format!("127.0.0.1:{port}"));
    let url = format!("https://localhost:{port}");
    for trusted in [pairs.path("ca.pem"), cert.clone()] {
        let env = [("SSL_CERT_FILE", &*trusted)];
        let findings = doctor_with(&url, &["--connect-to", &at], &env);
        let seen = "self-signed as an authority";
        findings.fails("certificate", seen, &["basicConstraints=critical,CA:FALSE"]);
    }
    drop(proxy);
    // The proposed fix works.
    self_signed(&pairs, &["-addext", "basicConstraints=critical,CA:FALSE"]);
    let proxy = behind(Kind::Nginx, &pairs);
    let at = format!("127.0.0.1:{}", proxy.proxy.port);
    let url = format!("https://localhost:{}", proxy.proxy.port);
    let findings = doctor_with(&url, &["--connect-to", &at], &[("SSL_CERT_FILE", &cert)]);
    assert!(findings.all("ok").contains(&"certificate"));
}
