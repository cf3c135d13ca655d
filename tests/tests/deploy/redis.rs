//! A `redis-server` in a folder of its own.

use std::{
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::{peer::free_port, proxy::until};

/// A server that keeps its data in its folder, and ends with this value.
pub(super) struct Redis {
    process: Child,
    port: u16,
    _folder: TempDir,
}

impl Redis {
    /// Starts one with these arguments.
    pub(super) fn start(arguments: &[&str]) -> Self {
        let folder = TempDir::with_prefix("roomcast-redis-").expect("a folder");
        let port = free_port();
        let mut command = Command::new("redis-server");
        command.args(arguments).args(["--bind", "127.0.0.1"]);
        command.args(["--port", &port.to_string()]);
        command.arg("--dir").arg(folder.path());
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let mut process = process.expect("redis-server is installed: see tests/run");
        until("redis-server to listen", || {
            let ended = process.try_wait().expect("a child");
            assert_eq!(ended, None, "redis-server ended: {arguments:?}");
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Self {
            process,
            port,
            _folder: folder,
        }
    }

    /// `127.0.0.1:port`.
    pub(super) fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill(); // it may have ended
        let _ = self.process.wait();
    }
}
