//! The server behind nginx, HAProxy and Caddy, as `deploy` and the documentation have them set up.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use tempfile::TempDir;

use super::{Server, binary, check, run, urls};
use crate::{
    peer::Peer,
    proxy::{CADDY, HAPROXY, Kind, NGINX, Proxy, until},
};

const PAGE: &str = include_str!("../../../docs/proxy.md");
const KEY: &str = "test-key";

/// A proxy in front of a server, each on a free port; both end with the test.
struct Proxied {
    proxy: Proxy,
    /// Host and port of the proxy, and the path below which the server is.
    at: String,
    /// The certificate of the proxy, where it speaks TLS.
    certificate: Option<PathBuf>,
    _folder: TempDir,
    _server: Server,
}

impl Proxied {
    /// With the configuration of the documentation, at the root or below a path.
    fn start(kind: Kind, path: &str) -> Self {
        let config = match (kind, path) {
            (_, "") => kind.config().to_owned(),
            (Kind::Nginx, _) => nginx_below_a_path(),
            (Kind::HaProxy, _) => {
                let (defaults, _) = HAPROXY.split_once("frontend").expect("one");
                format!("{defaults}{}", block("haproxy", 0))
            }
            (Kind::Caddy, _) => {
                let (before, _) = CADDY.split_once("\treverse_proxy").expect("one");
                format!("{before}{}}}\n", block("caddy", 0))
            }
        };
        Self::with(kind, path, &config)
    }

    fn with(kind: Kind, path: &str, config: &str) -> Self {
        let folder = TempDir::with_prefix("roomcast-proxied-").expect("a folder");
        Self::within(folder, kind, path, config)
    }

    /// nginx with TLS, below a path.
    fn start_tls() -> Self {
        let folder = TempDir::with_prefix("roomcast-proxied-").expect("a folder");
        let (certificate, key) = (
            folder.path().join("cert.pem"),
            folder.path().join("key.pem"),
        );
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
            ])
            .args(["-nodes", "-days", "1", "-subj", "/CN=roomcast.test"])
            .args(["-addext", "subjectAltName=IP:127.0.0.1"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-out")
            .arg(&certificate)
            .arg("-keyout")
            .arg(&key)
            .output();
        let made = made.expect("openssl runs: see tests/run");
        assert!(made.status.success(), "{made:?}");
        let (at, key) = (certificate.display(), key.display());
        let tls = format!("listen 80 ssl;\nssl_certificate {at};\nssl_certificate_key {key};");
        let config = nginx_below_a_path().replace("listen 80;", &tls);
        let mut proxied = Self::within(folder, Kind::Nginx, "/chat", &config);
        proxied.certificate = Some(certificate);
        proxied
    }

    fn within(folder: TempDir, kind: Kind, path: &str, config: &str) -> Self {
        let policies = folder.path().join("rooms.toml");
        let policy = "[[rooms]]\nmatch = \"kept\"\nhistory.messages = 300\n";
        fs::write(&policies, policy).expect("a file");
        let policies = format!("--config={}", policies.display());
        let key = format!("--api-key={KEY}");
        let flags = [
            "--inbound-rate=off",
            "--heartbeat-ms=1000",
            "--trusted-proxy=127.0.0.1",
            "--user-header=X-Auth-Request-User",
            &policies,
            &key,
        ];
        let server = Server::start(&flags);
        let proxy = Proxy::start(kind, config, &server.address);
        let at = format!("127.0.0.1:{}{path}", proxy.port);
        Self {
            proxy,
            at,
            certificate: None,
            _folder: folder,
            _server: server,
        }
    }

    /// Its addresses for WebSockets and for HTTP.
    fn urls(&self) -> (String, String) {
        let (ws, http) = urls(&self.at);
        match self.certificate {
            Some(_) => (ws.replace("ws:", "wss:"), http.replace("http:", "https:")),
            None => (ws, http),
        }
    }

    /// Runs a program that trusts the proxy.
    fn passes(&self, folder: &str, program: impl AsRef<Path>, args: &[&str]) -> String {
        let binary = binary().canonicalize().expect("it exists");
        let binary = binary.to_string_lossy();
        let mut env = vec![("ROOMCAST_BIN", &*binary), ("ROOMCAST_API_KEY", KEY)];
        let certificate = self.certificate.as_deref().map(Path::to_string_lossy);
        if let Some(certificate) = &certificate {
            env.extend([
                ("SSL_CERT_FILE", &**certificate),
                ("CURL_CA_BUNDLE", certificate),
            ]);
        }
        let (status, text) = run(folder, program, args, &env);
        assert!(status.success(), "{args:?}: {status}\n{text}");
        text
    }

    /// All sessions of `ws` that a proxy could be in the way of.
    fn holds_its_sessions(&self) {
        let (ws, http) = urls(&self.at);
        check("clients", "node", &["ws_proxied.mjs", &ws, &http, KEY]);
    }

    /// The page in a browser, and the commands that it shows.
    fn has_its_page(&self) {
        let (_, http) = self.urls();
        self.passes("page", "node", &["page.mjs", &http, "--key", KEY]);
    }

    /// `roomcast send` through the proxy, by the address that a user has at hand.
    fn sends(&self) {
        let (ws, http) = self.urls();
        for url in [http.clone(), format!("{http}/"), format!("{ws}/ws/default")] {
            let args = ["send", "--all", "said", "1", "--url", &url];
            let text = self.passes(".", binary(), &args);
            assert!(text.contains(r#"{"matched":0,"#), "{url}: {text}");
        }
    }

    /// Waits for HAProxy's health check of the server, and gives its status: `L7OK`, and the code.
    fn health(&self) -> (String, String) {
        let stats = self.proxy.folder.path().join("stats");
        let mut found = None;
        until("a health check", || {
            let mut socket = UnixStream::connect(&stats).expect("the socket of statistics");
            socket.write_all(b"show stat\n").expect("asked");
            let mut table = String::new();
            socket.read_to_string(&mut table).expect("an answer");
            let mut lines = table.lines();
            let names: Vec<_> = lines.next().expect("names").split(',').collect();
            let row = lines.find(|line| line.starts_with("roomcast,one,"));
            let row: Vec<_> = row.expect("the server").split(',').collect();
            let value = |name| {
                let at = names.iter().position(|other| *other == name);
                row[at.expect("a column")].to_owned()
            };
            let (status, code) = (value("check_status"), value("check_code"));
            if !status.starts_with("L7") {
                return false;
            }
            found = Some((status, code));
            true
        });
        found.expect("it was found")
    }
}

/// The code blocks of the page in this language.
fn block(language: &str, index: usize) -> &'static str {
    let begin = format!("```{language}\n");
    let rest = PAGE.split(&*begin).nth(index + 1).expect("a code block");
    rest.split("```").next().unwrap_or_default()
}

fn nginx_below_a_path() -> String {
    let location = block("nginx", 0);
    let (before, rest) = NGINX.split_once("    location / {").expect("a location");
    let (_, behind) = rest.split_once("    }\n").expect("its end");
    format!("{before}{location}{behind}")
}

/// A service that stands for oauth2-proxy: whoever has the cookie `user` is signed in. Gives its
/// address.
fn sign_in_service() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let (mut head, mut buffer) = (String::new(), [0; 4096]);
            while !head.contains("\r\n\r\n") {
                match stream.read(&mut buffer) {
                    Ok(count @ 1..) => head += &String::from_utf8_lossy(&buffer[..count]),
                    _ => break,
                }
            }
            let cookie = head.split("user=").nth(1);
            let user = cookie.and_then(|rest| rest.split("\r\n").next());
            let status = match user {
                Some(user) => format!("202 Accepted\r\nX-Auth-Request-User: {user}"),
                None => "401 Unauthorized".to_owned(),
            };
            let rest = "Content-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = stream.write_all(format!("HTTP/1.1 {status}\r\n{rest}").as_bytes());
        }
    });
    address
}

#[test]
fn nginx_names_the_users_whom_it_has_signed_in() {
    let (before, behind) = NGINX.split_once("    location / {").expect("a location");
    let users = block("nginx", 1).replace("127.0.0.1:4180", &sign_in_service());
    let config = format!("{before}{users}\n    location / {{{behind}");
    let proxied = Proxied::with(Kind::Nginx, "", &config);
    for user in ["ann", "ben@example.com"] {
        // Clients cannot name themselves.
        let fields = format!("Cookie: user={user}\r\nX-Auth-Request-User: eve\r\n");
        let (_peer, welcome) = Peer::connect_with(&proxied.at, &fields);
        assert!(
            welcome.contains(&format!(r#""user":"{user}""#)),
            "{welcome}"
        );
    }
    for path in ["/ws", "/%77s", "//ws"] {
        let fields = "X-Auth-Request-User: eve\r\n";
        let refused = Peer::silent(&proxied.at).ask(&proxied.at, path, fields);
        assert!(refused.starts_with("HTTP/1.1 401 "), "{path}: {refused}");
    }
}

#[test]
fn sessions_hold_behind_nginx() {
    let proxied = Proxied::start(Kind::Nginx, "");
    proxied.holds_its_sessions();
    proxied.sends();
}

#[test]
fn sessions_hold_behind_nginx_below_a_path() {
    let proxied = Proxied::start(Kind::Nginx, "/chat");
    proxied.holds_its_sessions();
    proxied.sends();
    proxied.has_its_page();
}

#[test]
fn sessions_hold_behind_haproxy() {
    let proxied = Proxied::start(Kind::HaProxy, "");
    assert_eq!(proxied.health(), ("L7OK".into(), "200".into()));
    proxied.holds_its_sessions();
    proxied.sends();
}

#[test]
fn sessions_hold_behind_haproxy_below_a_path() {
    let proxied = Proxied::start(Kind::HaProxy, "/chat");
    assert_eq!(proxied.health(), ("L7OK".into(), "200".into()));
    proxied.holds_its_sessions();
    proxied.sends();
    proxied.has_its_page();
}

#[test]
fn sessions_hold_behind_caddy() {
    let proxied = Proxied::start(Kind::Caddy, "");
    proxied.holds_its_sessions();
    proxied.sends();
}

#[test]
fn the_page_works_behind_caddy_below_a_path() {
    let proxied = Proxied::start(Kind::Caddy, "/chat");
    proxied.sends();
    proxied.has_its_page();
}

/// The page says which command joins from a terminal: with TLS it has to work as well.
#[test]
fn commands_work_behind_tls_below_a_path() {
    let proxied = Proxied::start_tls();
    proxied.sends();
    proxied.has_its_page();
    // Nobody here has signed for the proxy, unless told so.
    let (_, http) = proxied.urls();
    let args = [
        "send",
        "--all",
        "said",
        "1",
        "--url",
        &http,
        "--api-key",
        KEY,
    ];
    let (status, text) = run(".", binary(), &args, &[]);
    assert_eq!(status.code(), Some(3), "{text}");
    assert!(text.contains("certificate"), "{text}");
}

#[test]
fn the_plain_health_check_of_haproxy_finds_the_server_up() {
    let plain = HAPROXY.replace("option httpchk GET /readyz", "option httpchk");
    let proxied = Proxied::with(Kind::HaProxy, "", &plain);
    assert_eq!(proxied.health(), ("L7OK".into(), "204".into()));
}
