//! Faults in the files of proxies.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    thread,
};

use super::{Behind, HERE, doctor};
use crate::proxy::{CADDY, HAPROXY, Kind, NGINX, Proxy};

/// The file with this line in the place of that one.
fn change(config: &str, line: &str, other: &str) -> String {
    assert!(config.contains(line), "{line}");
    config.replace(line, other)
}

#[test]
fn a_proxy_without_upgrade_headers_is_named() {
    let nginx = change(NGINX, "proxy_set_header Upgrade $http_upgrade;", "");
    let nginx = change(
        &nginx,
        "proxy_set_header Connection $connection_upgrade;",
        "",
    );
    let http_1_0 = change(&nginx, "proxy_http_version 1.1;", "");
    for config in [nginx, http_1_0] {
        let behind = Behind::start(Kind::Nginx, &config, &[]);
        let fixes = [
            "nginx, the site in /etc/nginx",
            "proxy_set_header Upgrade $http_upgrade;",
        ];
        behind
            .doctor(&[])
            .fails("upgrade", "426 Upgrade Required", &fixes);
    }
    let bind = "    bind :80\n";
    let line = format!("{bind}    http-request del-header Upgrade\n");
    let behind = Behind::start(Kind::HaProxy, &change(HAPROXY, bind, &line), &[]);
    let fixes = [
        "HAProxy, /etc/haproxy/haproxy.cfg",
        "no line that deletes or sets Upgrade",
    ];
    behind
        .doctor(&[])
        .fails("upgrade", "426 Upgrade Required", &fixes);
}

#[test]
fn a_proxy_that_rewrites_host_is_named() {
    for host in ["$proxy_host", "$host", "127.0.0.1"] {
        let config = change(NGINX, "Host $http_host;", &format!("Host {host};"));
        let behind = Behind::start(Kind::Nginx, &config, &[]);
        let fixes = ["nginx, the site in", "proxy_set_header Host $http_host;"];
        behind.doctor(&[]).fails("upgrade", "another Host", &fixes);
    }
    let bind = "    bind :80\n";
    let line = format!("{bind}    http-request set-header Host roomcast\n");
    let behind = Behind::start(Kind::HaProxy, &change(HAPROXY, bind, &line), &[]);
    let fixes = ["haproxy.cfg: no `http-request set-header Host`"];
    behind.doctor(&[]).fails("upgrade", "another Host", &fixes);
    let health = "\t\thealth_uri /readyz\n";
    let line = format!("{health}\t\theader_up Host roomcast\n");
    let behind = Behind::start(Kind::Caddy, &change(CADDY, health, &line), &[]);
    let fixes = ["Caddy, /etc/caddy/Caddyfile"];
    behind.doctor(&[]).fails("upgrade", "another Host", &fixes);
}

#[test]
fn an_idle_timeout_under_the_heartbeat_is_named() {
    // Not reached by the checks before it, however busy the machine is.
    let nginx = change(NGINX, "proxy_read_timeout 75s;", "proxy_read_timeout 5s;");
    let haproxy = change(HAPROXY, "timeout tunnel 75s", "timeout tunnel 5s");
    for (kind, config, fix) in [
        (Kind::Nginx, nginx, "proxy_read_timeout 75s;"),
        (Kind::HaProxy, haproxy, "timeout tunnel 75s"),
    ] {
        let behind = Behind::start(kind, &config, &["--heartbeat-ms=25000"]);
        let findings = behind.doctor(&["--wait-s", "60"]);
        findings.fails(
            "idle",
            "before the server's heartbeat of 25 s",
            &[fix, "heartbeat_ms"],
        );
    }
}

#[test]
fn a_wrong_origin_is_named() {
    for kind in [Kind::Nginx, Kind::HaProxy, Kind::Caddy] {
        let behind = Behind::start(kind, kind.config(), &HERE);
        let fixes = [
            "roomcast.toml",
            "allow_origins = [\"https://other.example\"]",
        ];
        let findings = behind.doctor(&["--origin", "https://other.example"]);
        findings.fails("origin", "https://other.example may not connect", &fixes);
    }
}

/// A server whose clock stands still. It answers as `/readyz` does, whatever it is asked.
fn late_server() -> String {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n\
        roomcast-time: 1704067200000\r\nConnection: close\r\nContent-Length: 6\r\n\r\nready\n";
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let authority = listener.local_addr().expect("its address").to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let lines = BufReader::new(&stream).lines();
            let head = lines.map_while(Result::ok);
            let _ = head.take_while(|line| !line.is_empty()).count();
            let _ = stream.write_all(ANSWER.as_bytes()); // it may be gone
        }
    });
    authority
}

/// nginx writes a `Date` of its own.
#[test]
fn a_clock_of_the_server_that_is_off_is_named() {
    let server = late_server();
    for kind in [Kind::Nginx, Kind::HaProxy, Kind::Caddy] {
        let proxy = Proxy::start(kind, kind.config(), &server);
        let (port, at) = (proxy.port, format!("127.0.0.1:{}", proxy.port));
        let url = format!("http://chat.example.com:{port}");
        let findings = doctor(&url, &["--connect-to", &at]);
        let clock = findings.lines.iter().find(|line| line["check"] == "clock");
        let clock = clock.expect("it is looked at");
        assert_eq!(clock["state"], "failed", "{kind:?}");
        let text = clock.to_string();
        for part in ["2024-01-01 00:00:00 UTC there", "timedatectl set-ntp true"] {
            assert!(text.contains(part), "{kind:?}: {text}");
        }
    }
}

#[test]
fn a_proxy_that_does_not_find_the_server_is_named() {
    let nginx = change(NGINX, "127.0.0.1:3000", "127.0.0.1:1");
    let behind = Behind::start(Kind::Nginx, &nginx, &[]);
    behind
        .doctor(&[])
        .fails("ready", "502 Bad Gateway", &["nginx", "`proxy_pass`"]);
    let haproxy = change(HAPROXY, "127.0.0.1:3000", "127.0.0.1:1");
    let behind = Behind::start(Kind::HaProxy, &haproxy, &[]);
    behind.doctor(&[]).fails(
        "ready",
        "503 Service Unavailable",
        &["haproxy.cfg: `server`"],
    );
    let caddy = change(CADDY, "127.0.0.1:3000", "127.0.0.1:1");
    let caddy = change(&caddy, "\t\thealth_uri /readyz\n", "");
    let behind = Behind::start(Kind::Caddy, &caddy, &[]);
    behind
        .doctor(&[])
        .fails("ready", "502 Bad Gateway", &["`reverse_proxy`"]);
}

#[test]
fn another_path_of_the_proxy_is_named() {
    let config = change(NGINX, "location / {", "location /chat/ {");
    let behind = Behind::start(Kind::Nginx, &config, &[]);
    let fixes = ["the URL", "location /chat/"];
    behind.doctor(&[]).fails("ready", "404 Not Found", &fixes);
}
