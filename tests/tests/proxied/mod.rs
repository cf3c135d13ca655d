//! The server behind nginx and HAProxy, as the documentation has them set up.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{Server, binary, check, run, urls};

const PAGE: &str = include_str!("../../../docs/proxy.md");
const KEY: &str = "test-key";
const DEADLINE: Duration = Duration::from_secs(20);

/// A proxy in front of a server, each on a free port; both end with the test.
struct Proxied {
    process: Child,
    /// Host and port of the proxy, and the path below which the server is.
    at: String,
    folder: TempDir,
    _server: Server,
}

#[derive(Clone, Copy)]
enum Kind {
    Nginx,
    HaProxy,
}

impl Proxied {
    /// With the configuration of the documentation, at the root or below a path.
    fn start(kind: Kind, path: &str) -> Self {
        let config = match (kind, path) {
            (Kind::Nginx, "") => block("nginx", 0).to_owned(),
            (Kind::Nginx, _) => {
                let (site, location) = (block("nginx", 0), block("nginx", 1));
                let (before, rest) = site.split_once("    location / {").expect("a location");
                let (_, behind) = rest.split_once("    }\n").expect("its end");
                format!("{before}{location}{behind}")
            }
            (Kind::HaProxy, "") => block("haproxy", 0).to_owned(),
            (Kind::HaProxy, _) => {
                let (defaults, _) = block("haproxy", 0).split_once("frontend").expect("one");
                format!("{defaults}{}", block("haproxy", 1))
            }
        };
        Self::with(kind, path, &config)
    }

    fn with(kind: Kind, path: &str, config: &str) -> Self {
        let folder = TempDir::with_prefix("roomcast-proxy-").expect("a folder");
        let policies = folder.path().join("rooms.toml");
        let policy = "[[rooms]]\nmatch = \"kept\"\nhistory.messages = 300\n";
        fs::write(&policies, policy).expect("a file");
        let policies = format!("--config={}", policies.display());
        let key = format!("--api-key={KEY}");
        let flags = ["--inbound-rate=off", "--heartbeat-ms=1000", &policies, &key];
        let server = Server::start(&flags);
        let port = free_port();
        let config = config
            .replace("127.0.0.1:3000", &server.address)
            .replace("listen 80;", &format!("listen 127.0.0.1:{port};"))
            .replace("bind :80", &format!("bind 127.0.0.1:{port}"));
        let file = folder.path().join("proxy.conf");
        let at = folder.path().display().to_string();
        let (program, args, config) = match kind {
            Kind::Nginx => ("nginx", ["-e", "stderr", "-c"], around_nginx(&at, &config)),
            Kind::HaProxy => {
                let global = format!("global\n    stats socket {at}/stats\n\n{config}");
                ("haproxy", ["-q", "-db", "-f"], global)
            }
        };
        fs::write(&file, &config).expect("a file");
        // Debian has them where only root looks for programs.
        let program = Path::new("/usr/sbin").join(program);
        let process = Command::new(&program)
            .args(args)
            .arg(&file)
            .stdin(Stdio::null())
            .spawn();
        let mut process =
            process.unwrap_or_else(|fault| panic!("{}: {fault}: see tests/run", program.display()));
        until("the proxy to listen", || {
            if let Ok(Some(status)) = process.try_wait() {
                panic!("the proxy ended, {status}:\n{config}");
            }
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        let at = format!("127.0.0.1:{port}{path}");
        Self {
            process,
            at,
            folder,
            _server: server,
        }
    }

    /// All sessions of `ws` that a proxy could be in the way of.
    fn holds_its_sessions(&self) {
        let (ws, http) = urls(&self.at);
        check("clients", "node", &["ws_proxied.mjs", &ws, &http, KEY]);
    }

    /// The page in a browser, and the commands that it shows.
    fn has_its_page(&self) {
        let (_, http) = urls(&self.at);
        let binary = binary().canonicalize().expect("it exists");
        let env = [("ROOMCAST_BIN", &*binary.to_string_lossy())];
        let args = ["page.mjs", &http, "--key", KEY];
        let (status, text) = run("page", "node", &args, &env);
        assert!(status.success(), "{status}\n{text}");
    }

    /// `roomcast send` through the proxy, by the address that a user has at hand.
    fn sends(&self) {
        let (ws, http) = urls(&self.at);
        for url in [http.clone(), format!("{http}/"), format!("{ws}/ws/default")] {
            let args = ["send", "--all", "said", "1", "--url", &url];
            let (status, text) = run(".", binary(), &args, &[("ROOMCAST_API_KEY", KEY)]);
            assert!(status.success(), "{url}: {text}");
            assert!(text.contains(r#"{"matched":0,"#), "{url}: {text}");
        }
    }

    /// Waits for HAProxy's health check of the server, and gives its status: `L7OK`, and the code.
    fn health(&self) -> (String, String) {
        let stats = self.folder.path().join("stats");
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

impl Drop for Proxied {
    fn drop(&mut self) {
        let _ = self.process.kill(); // it may have ended
        let _ = self.process.wait();
    }
}

/// The code blocks of the page in this language.
fn block(language: &str, index: usize) -> &'static str {
    let begin = format!("```{language}\n");
    let rest = PAGE.split(&*begin).nth(index + 1).expect("a code block");
    rest.split("```").next().unwrap_or_default()
}

/// What is around the file of a site: one process, which needs no rights and no other folder.
fn around_nginx(folder: &str, site: &str) -> String {
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let folders = kinds.map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"));
    format!(
        "daemon off;\nmaster_process off;\npid {folder}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n{}{site}}}\n",
        folders.concat()
    )
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < DEADLINE, "waited {DEADLINE:?} for {what}");
        thread::sleep(Duration::from_millis(20));
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
fn the_plain_health_check_of_haproxy_finds_the_server_up() {
    let plain = block("haproxy", 0).replace("option httpchk GET /readyz", "option httpchk");
    let proxied = Proxied::with(Kind::HaProxy, "", &plain);
    assert_eq!(proxied.health(), ("L7OK".into(), "204".into()));
}
