//! A Redis, and servers that share it.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::net::TcpSocket;

use super::{
    PATIENCE,
    node::{Node, send_signal},
};

/// A `redis-server` in a folder of its own, which ends with the test.
pub(super) struct Redis {
    port: u16,
    _held: TcpSocket,
    process: Child,
    folder: TempDir,
    flags: Vec<String>,
}

impl Redis {
    pub(super) fn start(flags: &[&str]) -> Self {
        let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        // Another process may take the port before the server has it.
        for _ in 0..10 {
            let (held, port) = hold_port();
            let folder = tempfile::tempdir().expect("a folder");
            let process = spawn(port, &folder, &flags);
            let flags = flags.clone();
            let mut redis = Self {
                port,
                _held: held,
                process,
                folder,
                flags,
            };
            if redis.answers() {
                return redis;
            }
            let _ = redis.process.wait();
        }
        panic!("redis-server does not start");
    }

    fn answers(&mut self) -> bool {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if self.process.try_wait().expect("a child").is_some() {
                return false;
            }
            // The server that answers may be another test's, which was quicker to take the port.
            let own = self.process.id().to_string();
            if self.run(&["PING"]) == "PONG" && self.info("process_id") == own {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("redis-server does not answer");
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// A field of `INFO`.
    pub(super) fn info(&self, field: &str) -> String {
        let info = self.run(&["INFO"]);
        let mut lines = info.lines();
        let value = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.unwrap_or_default().trim().to_owned()
    }

    /// Makes it a replica that has all of its primary's data.
    pub(super) fn follow(&self, primary: &Self) {
        self.run(&["REPLICAOF", "127.0.0.1", &primary.port.to_string()]);
        self.wait_for_all_of(primary);
    }

    /// Waits until a replica has all that its primary has at this moment.
    pub(super) fn wait_for_all_of(&self, primary: &Self) {
        let offset = |redis: &Self, field| redis.info(field).parse::<u64>().unwrap_or_default();
        let (began, wanted) = (Instant::now(), offset(primary, "master_repl_offset"));
        while self.info("master_link_status") != "up" || offset(self, "slave_repl_offset") < wanted
        {
            assert!(began.elapsed() < PATIENCE, "the replica does not follow");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Makes it a primary, with what it has of the old one's data.
    pub(super) fn promote(&self) {
        self.run(&["REPLICAOF", "NO", "ONE"]);
    }

    /// The answer to a command of an administrator.
    pub(super) fn run(&self, command: &[&str]) -> String {
        let mut cli = Command::new("redis-cli");
        cli.args(["-p", &self.port.to_string()]).args(command);
        let output = cli
            .output()
            .expect("redis-cli is installed with redis-server");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Ends it as a power failure would.
    pub(super) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts it again after [`kill`](Self::kill), with what is on its disk.
    pub(super) fn start_again(&mut self) {
        self.process = spawn(self.port, &self.folder, &self.flags);
        assert!(self.answers(), "redis-server does not start again");
    }

    pub(super) fn signal(&self, signal: Signal) {
        send_signal(&self.process, signal);
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(port: u16, folder: &TempDir, flags: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    command.args(flags).args(["--port", &port.to_string()]);
    command.args(["--bind", "127.0.0.1", "--save", ""]);
    // A replica need not wait for others.
    command.args(["--repl-diskless-sync-delay", "0"]);
    command.arg("--dir").arg(folder.path());
    let spawned = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    spawned.expect("there is no `redis-server`: install it, `apt-get install redis-server`")
}

/// A socket that does not listen. It keeps its port from other processes, also while the server is
/// down; Linux lets the server bind it too.
fn hold_port() -> (TcpSocket, u16) {
    let held = TcpSocket::new_v4().expect("a socket");
    held.set_reuseaddr(true).expect("a socket");
    held.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let port = held.local_addr().expect("an address").port();
    (held, port)
}

/// A Redis with three servers.
pub(super) struct Cluster {
    // Servers end before it.
    pub(super) nodes: Vec<Node>,
    pub(super) redis: Redis,
}

impl Cluster {
    pub(super) fn start(nodes: usize, flags: &[&str]) -> Self {
        let redis = Redis::start(flags);
        let nodes = (0..nodes).map(|_| Node::start(&redis.url())).collect();
        Self { nodes, redis }
    }

    /// The number of servers that have a lease.
    pub(super) fn leases(&self) -> u32 {
        let count = self.redis.run(&["ZCARD", "roomcast:leases"]);
        count.parse().expect("a number")
    }

    /// Waits until all servers are ready.
    pub(super) async fn ready(&self) {
        for node in &self.nodes {
            super::wait_for("a server is not ready", || node.is_ready()).await;
        }
    }
}
