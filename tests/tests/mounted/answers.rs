//! Requests below a path of an application are answered as by the server alone.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
};

use axum::{body::Body, extract::Request, middleware::map_request};
use http_body_util::Limited;
use roomcast::{Host, Settings};
use tokio::runtime::Builder;

use super::around::Around;
use crate::peer::{PATIENCE, Peer, Said};

/// The settings of both servers.
fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.listen = ([127, 0, 0, 1], 0).into();
    settings.access.api_keys = vec![Around::API_KEY.parse().expect("a key")];
    settings.access.namespaces = Some(vec!["default".into()]);
    settings.api_body_bytes_max = 1024;
    settings
}

/// The server alone, until the test has ended.
fn alone(settings: Settings) -> SocketAddr {
    let listeners = roomcast::listen(&settings).expect("a free port");
    let address = listeners[0].local_addr().expect("bound");
    let running = Host::new(settings).run(listeners, std::future::pending());
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(running)
    });
    address
}

/// The status of an answer, its header fields but those of the connection, and its body.
type Answer = (String, Vec<String>, String);

/// Sends a request, its path behind a prefix.
fn ask(authority: SocketAddr, prefix: &str, (method, path, fields, body): Asked) -> Answer {
    let mut stream = TcpStream::connect(authority).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let key = Around::API_KEY;
    let fields = fields.replace("KEY", &format!("Authorization: Bearer {key}"));
    let request = format!(
        "{method} {prefix}{path} HTTP/1.1\r\nHost: {authority}\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut read = Vec::new();
    let (head, text) = loop {
        let mut part = [0; 4096];
        let count = stream.read(&mut part).expect("an answer");
        read.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&read).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            assert!(count > 0, "{method} {path}: {text}");
            continue;
        };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.parse().ok())?
        });
        let wanted = if method == "HEAD" {
            0
        } else {
            length.unwrap_or(0)
        };
        if read.len() >= head.len() + 4 + wanted || count == 0 {
            break (head.to_owned(), body.to_owned());
        }
    };
    let mut lines = head.lines().map(str::to_ascii_lowercase);
    let status = lines.next().expect("a status");
    let of_connection = ["connection:", "content-length:", "date:", "roomcast-time:"];
    let is_ours = |line: &String| !of_connection.iter().any(|name| line.starts_with(name));
    let mut fields: Vec<_> = lines.filter(is_ours).collect();
    fields.sort();
    (status, fields, text)
}

type Asked<'a> = (&'a str, &'a str, &'a str, &'a str);

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[test]
fn a_prefix_changes_no_answer() {
    let (alone, around) = (alone(settings()), Around::start(settings()));
    let large = "x".repeat(2000);
    let foreign = format!("{UPGRADE}Origin: https://evil.example\r\n");
    let old = UPGRADE.replace("Version: 13", "Version: 8");
    let keyless = UPGRADE.replace("dGhl", "");
    let sent = r#"{"audience":{"rooms":["r"]},"event":"e"}"#;
    for asked in [
        ("GET", "/", "", ""),
        ("GET", "/page/page.js", "", ""),
        ("GET", "/inspect", "", ""),
        ("GET", "/client.js", "", ""),
        ("GET", "/server", "", ""),
        ("GET", "/healthz", "", ""),
        ("HEAD", "/readyz", "", ""),
        ("OPTIONS", "/api/v1/default/send", "", ""),
        ("GET", "/nothing", "", ""),
        ("POST", "/", "", "a form"),
        ("GET", "/api/v1/default/rooms", "KEY\r\n", ""),
        ("GET", "/api/v1/default/rooms?prefix=%2F", "KEY\r\n", ""),
        ("GET", "/api/v1/default/rooms", "", ""),
        ("GET", "/api/v1/other/rooms", "KEY\r\n", ""),
        ("POST", "/api/v1/default/send", "KEY\r\n", sent),
        ("POST", "/api/v1/default/send", "KEY\r\n", "{"),
        ("POST", "/api/v1/default/send", "KEY\r\n", &large),
        ("GET", "/ws", "", ""),
        ("GET", "/ws", &foreign, ""),
        ("GET", "/ws", &old, ""),
        ("GET", "/ws", &keyless, ""),
        ("GET", "/ws/other", UPGRADE, ""),
    ] {
        let (plain, mounted) = (
            ask(alone, "", asked),
            ask(around.authority(), "/live", asked),
        );
        assert_eq!(mounted, plain, "{asked:?}");
    }
    let own = ask(around.authority(), "", ("GET", "/", "", ""));
    assert_eq!(own.2, "the application");
}

#[test]
fn a_browser_is_told_in_band_why_it_may_not_connect() {
    let (alone, around) = (alone(settings()), Around::start(settings()));
    let refused = |authority: SocketAddr, path: &str| {
        let authority = authority.to_string();
        let mut peer = Peer::silent(&authority);
        let path = format!("{path}?refuse=close");
        let head = peer.ask(&authority, &path, "Origin: https://evil.example\r\n");
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        let said = peer.rest();
        assert!(matches!(said.last(), Some(Said::Close(_))), "{said:?}");
        peer.write(&crate::peer::close(1000));
        assert_eq!(peer.next(), Said::End);
        said
    };
    let plain = refused(alone, "/ws");
    assert_eq!(refused(around.authority(), "/live/ws"), plain);
}

/// Its files are beside it, below the slash.
#[test]
fn the_page_without_its_slash_is_moved() {
    let around = Around::start(settings());
    let (status, fields, _) = ask(around.authority(), "/live", ("GET", "", "", ""));
    assert!(status.starts_with("http/1.1 308"), "{status}");
    assert_eq!(fields, ["location: ./live/"]);
    let (_, fields, _) = ask(around.authority(), "/live", ("GET", "?namespace=a", "", ""));
    assert_eq!(fields, ["location: ./live/?namespace=a"]);
    let (status, ..) = ask(around.authority(), "/live", ("GET", "/", "", ""));
    assert!(status.starts_with("http/1.1 200"), "{status}");
}

/// No setting of the server raises this limit.
#[test]
fn a_body_over_a_limit_of_the_application_is_refused_as_too_large() {
    let limited =
        map_request(async |request: Request| request.map(|body| Body::new(Limited::new(body, 10))));
    let around = Around::with(settings(), |rooms| rooms.layer(limited));
    let sent = r#"{"audience":{"rooms":["r"]},"event":"e"}"#;
    let call = ("POST", "/api/v1/default/send", "KEY\r\n", sent);
    let (status, _, body) = ask(around.authority(), "/live", call);
    assert!(status.starts_with("http/1.1 413"), "{status}");
    assert!(body.contains("the program around this server"), "{body}");
}

/// The mounted server cannot see the address of the client.
#[test]
fn the_api_needs_a_key_on_loopback_too_and_without_it_there_is_no_page() {
    let mut settings = settings();
    settings.access.api_keys.clear();
    // With it the server alone has no API for anybody, and a page.
    let origin = "https://app.example".parse().expect("an origin");
    for origins in [vec![], vec![origin]] {
        settings.access.allow_origins = origins;
        let around = Around::start(settings.clone());
        let asked = |path| ask(around.authority(), "/live", ("GET", path, "", ""));
        let (status, _, body) = asked("/api/v1/default/rooms");
        assert!(status.starts_with("http/1.1 403"), "{status}");
        assert!(body.contains("the API needs a key"), "{body}");
        for path in ["/", "/page/page.js", "/inspect", "/server", "/metrics"] {
            let (status, _, body) = asked(path);
            assert!(status.starts_with("http/1.1 404"), "{path}: {status}");
            assert!(!body.contains("/metrics"), "{path}: {body}");
        }
        let (status, ..) = asked("/client.js");
        assert!(status.starts_with("http/1.1 200"), "{status}");
    }
}
