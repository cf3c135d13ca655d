//! nginx, HAProxy and Caddy as processes, with the files in `deploy` or changes of them.

use std::{
    fs,
    net::TcpStream,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::peer::free_port;

pub(crate) const NGINX: &str = include_str!("../../../deploy/nginx/roomcast.conf");
pub(crate) const HAPROXY: &str = include_str!("../../../deploy/haproxy/haproxy.cfg");
pub(crate) const CADDY: &str = include_str!("../../../deploy/caddy/Caddyfile");
const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Nginx,
    HaProxy,
    Caddy,
}

impl Kind {
    /// The file in `deploy`.
    pub(crate) const fn config(self) -> &'static str {
        match self {
            Self::Nginx => NGINX,
            Self::HaProxy => HAPROXY,
            Self::Caddy => CADDY,
        }
    }
}

/// A proxy on a free port; it ends with this value.
#[derive(Debug)]
pub(crate) struct Proxy {
    process: Child,
    pub(crate) port: u16,
    pub(crate) folder: TempDir,
}

impl Proxy {
    /// Starts one with the file of a site, before the server at this address.
    pub(crate) fn start(kind: Kind, config: &str, upstream: &str) -> Self {
        let folder = TempDir::with_prefix("roomcast-proxy-").expect("a folder");
        let port = free_port();
        let config = config
            .replace("127.0.0.1:3000", upstream)
            .replace("listen 80", &format!("listen 127.0.0.1:{port}"))
            .replace("bind :80", &format!("bind 127.0.0.1:{port}"));
        let file = folder.path().join("proxy.conf");
        let at = folder.path().display().to_string();
        // Debian has two of them where only root looks for programs.
        let (program, args, config): (_, &[&str], _) = match kind {
            Kind::Nginx => (
                "/usr/sbin/nginx",
                &["-e", "stderr", "-c"],
                around_nginx(&at, &config),
            ),
            Kind::HaProxy => (
                "/usr/sbin/haproxy",
                &["-q", "-db", "-f"],
                around_haproxy(&at, &config),
            ),
            Kind::Caddy => (
                "/usr/bin/caddy",
                &["run", "--adapter", "caddyfile", "--config"],
                around_caddy(port, &config),
            ),
        };
        fs::write(&file, &config).expect("a file");
        let mut command = Command::new(program);
        command.args(args).arg(&file).stdin(Stdio::null());
        // Caddy keeps certificates, and its last configuration.
        command
            .envs(["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"].map(|name| (name, folder.path())));
        let process = command.spawn();
        let mut process =
            process.unwrap_or_else(|fault| panic!("{program}: {fault}: see tests/run"));
        until("the proxy to listen", || {
            if let Ok(Some(status)) = process.try_wait() {
                panic!("the proxy ended, {status}:\n{config}");
            }
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Self {
            process,
            port,
            folder,
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill(); // it may have ended
        let _ = self.process.wait();
    }
}

/// Frame around the file of a site: one process, which needs no rights and no other folder. A first
/// line of the site may say how many connections there are.
fn around_nginx(folder: &str, site: &str) -> String {
    let (events, site) = match site.split_once('\n') {
        Some((events, site)) if events.starts_with("events ") => (events, site),
        _ => ("events {}", site),
    };
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let folders = kinds.map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"));
    format!(
        "daemon off;\nmaster_process off;\npid {folder}/pid;\n{events}\nhttp {{\naccess_log off;\n{}{site}}}\n",
        folders.concat()
    )
}

/// The file of HAProxy for one process, which may not be root's, and without a log of the system.
fn around_haproxy(folder: &str, site: &str) -> String {
    let own = ["log /dev/log ", "chroot ", "user ", "group "];
    let is_own = |line: &str| own.iter().any(|it| line.trim_start().starts_with(it));
    let kept = site.lines().filter(|line| !is_own(line));
    let site: String = kept.map(|line| format!("{line}\n")).collect();
    let socket = "stats socket /run/haproxy/admin.sock mode 660 level admin";
    assert_eq!(site.matches(socket).count(), 1, "{site}");
    site.replace(socket, &format!("stats socket {folder}/stats"))
}

/// The file of a site on that port, whatever name clients use, without an administrative listener
/// and one for redirects.
fn around_caddy(port: u16, site: &str) -> String {
    let name = "chat.example.com {\n";
    assert!(site.contains(name), "{site}");
    // It speaks TLS where the site says with what.
    let scheme = if site.contains("\ttls ") {
        "https"
    } else {
        "http"
    };
    let own = format!("{scheme}://:{port} {{\n\tbind 127.0.0.1\n");
    let site = site.replace(name, &own);
    format!("{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n\n{site}")
}

pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < DEADLINE, "waited {DEADLINE:?} for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
