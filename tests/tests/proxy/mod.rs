//! nginx and HAProxy as processes, with the files in `deploy` or changes of them.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

pub(crate) const NGINX: &str = include_str!("../../../deploy/nginx/roomcast.conf");
pub(crate) const HAPROXY: &str = include_str!("../../../deploy/haproxy/haproxy.cfg");
const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Nginx,
    HaProxy,
}

impl Kind {
    /// The file in `deploy`.
    pub(crate) const fn config(self) -> &'static str {
        match self {
            Self::Nginx => NGINX,
            Self::HaProxy => HAPROXY,
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

/// Frame around the file of a site: one process, which needs no rights and no other folder.
fn around_nginx(folder: &str, site: &str) -> String {
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let folders = kinds.map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"));
    format!(
        "daemon off;\nmaster_process off;\npid {folder}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n{}{site}}}\n",
        folders.concat()
    )
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}

pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < DEADLINE, "waited {DEADLINE:?} for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
