//! Faults of proxies that answer by themselves, of a server's backends, and of a server that
//! stands still.

use std::{net::TcpListener, thread};

use super::{Behind, Findings, KEY, doctor};
use crate::{
    asked,
    peer::{Peer, free_port},
    process::child::Process,
    proxy::{Kind, NGINX, Proxy},
    tokens::{PRIVATE, token_for},
};

/// The file with these lines before its only location.
fn before_location(lines: &str) -> String {
    let location = "    location / {";
    assert!(NGINX.contains(location), "{NGINX}");
    NGINX.replace(location, &format!("    {lines}\n{location}"))
}

#[test]
fn a_proxy_without_connections_left_is_named() {
    let config = format!("events {{ worker_connections 2; }}\n{NGINX}");
    let behind = Behind::start(Kind::Nginx, &config, &[]);
    let fixes = [
        "nginx, /etc/nginx/nginx.conf: raise `worker_connections`",
        "`worker_rlimit_nofile`",
        "error.log",
    ];
    let findings = behind.doctor(&[]);
    findings.fails("ready", "500 Internal Server Error", &fixes);
    assert_eq!(findings.all("skipped"), ["upgrade"]);
}

#[test]
fn a_proxy_that_keeps_websockets_for_itself_is_named() {
    let config = before_location("location /ws { return 404; }");
    let behind = Behind::start(Kind::Nginx, &config, &[]);
    let fixes = ["pass /ws on", "location /ws"];
    behind.doctor(&[]).fails("upgrade", "404 Not Found", &fixes);
    let limited = "location /ws { limit_conn ws 1; proxy_pass http://roomcast; }";
    let zone = "limit_conn_zone $server_name zone=ws:1m;";
    let config = format!("{zone}\n{}", before_location(limited));
    let behind = Behind::start(Kind::Nginx, &config, &[]);
    let _only = Peer::connect(&format!("127.0.0.1:{}", behind.proxy.port), "");
    let fixes = ["the proxy's own limits", "`limit_conn`", "error.log"];
    let findings = behind.doctor(&[]);
    findings.fails("upgrade", "503 Service", &fixes);
}

#[test]
fn the_heartbeat_of_a_worker_is_not_waited_for() {
    let worker = r#"{"version":"0.1.0","host":"worker","threads":1}"#;
    let server = format!("location = /server {{ return 200 '{worker}'; }}");
    let timeless = "proxy_hide_header roomcast-time;";
    let hidden = "location = /server { return 404; }";
    for (lines, state) in [
        (format!("{timeless} {server}"), "skipped"),
        (format!("{timeless} {hidden}"), "skipped"),
        // The header, or the native server itself, says more.
        (server, "failed"),
        (timeless.to_owned(), "failed"),
    ] {
        let config = before_location(&lines);
        let behind = Behind::start(Kind::Nginx, &config, &["--heartbeat-ms=off"]);
        let findings = behind.doctor(&["--wait-s", "60"]);
        assert_eq!(findings.line("idle")["state"], state, "{config}");
    }
}

#[test]
fn a_proxy_that_passes_websockets_alone_is_well() {
    let config = NGINX.replace("    location / {", "    location /ws {");
    let behind = Behind::start(Kind::Nginx, &config, &[]);
    let findings = behind.doctor(&[]);
    assert_eq!(findings.exit, Some(0));
    for check in ["upgrade", "messages"] {
        assert!(findings.all("ok").contains(&check), "{check}");
    }
    let ready = findings.line("ready");
    assert_eq!(ready["state"], "skipped");
    assert!(ready["seen"].to_string().contains("404 Not Found"));
}

#[test]
fn a_status_of_cloudflare_is_that_of_a_gateway() {
    let config = before_location("location = /readyz { return 521; } location /ws { return 521; }");
    let behind = Behind::start(Kind::Nginx, &config, &[]);
    let fixes = ["Cloudflare's DNS", "--connect-to"];
    behind.doctor(&[]).fails("ready", "521: Cloudflare", &fixes);
}

/// Expects that only the upgrade fails, because the server cannot get the answer that it needs.
fn cannot_ask(findings: &Findings, seen: &str, fix: &str) {
    findings.fails("upgrade", seen, &[fix, "the server's log"]);
    assert!(findings.all("ok").contains(&"ready"));
}

#[test]
fn what_the_server_cannot_ask_is_named() {
    let nobody = format!("http://127.0.0.1:{}/", free_port());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("roomcast.toml");
    std::fs::write(&file, asked::settings(&nobody, "")).expect("written");
    let server = Process::start(&["--config", file.to_str().expect("a path")]);
    let findings = doctor(&format!("http://{}", server.authority), &[]);
    cannot_ask(&findings, "cannot be asked", "`[ask]` `url`");
    let server = Process::start(&["--jwks", &nobody]);
    let token = token_for(PRIVATE, "ann", 60);
    let url = format!("http://{}", server.authority);
    let findings = doctor(&url, &["--token", &token]);
    cannot_ask(&findings, "no keys to verify", "`jwks` in roomcast.toml");
}

#[test]
fn a_server_that_stands_still_is_named() {
    let server = Process::start(&["--api-key", KEY]);
    let proxy = Proxy::start(Kind::Nginx, NGINX, &server.authority);
    server.signal("STOP");
    // A listener that accepts nothing reveals nothing about TLS either.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = listener.local_addr().expect("an address");
    let proxy = format!("127.0.0.1:{}", proxy.port);
    thread::scope(|scope| {
        for authority in [&server.authority, &proxy] {
            scope.spawn(move || {
                let findings = doctor(&format!("http://{authority}"), &["--answer-s", "1"]);
                let fixes = ["log of the server", "systemctl restart roomcast"];
                findings.fails("ready", "no answer within 1 s", &fixes);
            });
        }
        let findings = doctor(&format!("https://{silent}"), &["--answer-s", "1"]);
        findings.fails("certificate", "TLS handshake within 1 s", &["restart it"]);
    });
}
