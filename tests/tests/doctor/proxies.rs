//! Faults in the files of proxies.

use super::{Behind, HERE};
use crate::proxy::{CADDY, HAPROXY, Kind, NGINX};

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
    let nginx = change(NGINX, "proxy_read_timeout 75s;", "proxy_read_timeout 1s;");
    let haproxy = change(HAPROXY, "timeout tunnel 75s", "timeout tunnel 1s");
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

#[test]
fn a_clock_that_is_off_is_named() {
    let bind = "    bind :80\n";
    let date = "Mon, 01 Jan 2024 00:00:00 GMT";
    let line = format!("{bind}    http-response set-header Date \"{date}\"\n");
    let behind = Behind::start(Kind::HaProxy, &change(HAPROXY, bind, &line), &[]);
    let fixes = ["timedatectl set-ntp true", "/etc/systemd/timesyncd.conf"];
    behind
        .doctor(&[])
        .fails("clock", "2024-01-01 00:00:00 UTC there", &fixes);
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
