//! Processes of `redis-server`, each in a folder of its own.

use std::{
    fs,
    io::ErrorKind,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use redis::{FromRedisValue, RedisResult};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::net::TcpSocket;

/// The timeout of every condition that a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for a condition; `fault` describes the failure.
pub(crate) fn wait_for(fault: &str, mut is_there: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_there() {
        assert!(began.elapsed() < PATIENCE, "{fault}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A server that ends with its owner.
pub(crate) struct Server {
    pub(crate) port: u16,
    _reserved: Port,
    child: Child,
    folder: TempDir,
    arguments: Vec<String>,
}

impl Server {
    /// Starts a server that answers; arguments are those of `redis-server`.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let arguments: Vec<_> = arguments.iter().map(|&text| text.to_owned()).collect();
        // The port of the bus of a cluster, 10,000 above, may be out of range or taken.
        for _ in 0..10 {
            let (reserved, folder) = (Port::free(), tempfile::tempdir().unwrap());
            let port = reserved.number();
            let child = spawn(port, &folder, &arguments);
            let mut server = Self {
                port,
                _reserved: reserved,
                child,
                folder,
                arguments: arguments.clone(),
            };
            if server.answers() {
                return server;
            }
            let _ = server.child.wait();
        }
        panic!("redis-server does not start");
    }

    fn answers(&mut self) -> bool {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if let Ok(mut connection) = self.connect() {
                let pong = redis::cmd("PING").query::<redis::Value>(&mut connection);
                // A server that requires a password answers too.
                let is_loading = |error: &redis::RedisError| error.code() == Some("LOADING");
                if !pong.is_err_and(|error| is_loading(&error) || error.is_io_error()) {
                    return true;
                }
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("redis-server does not answer");
    }

    fn connect(&self) -> RedisResult<redis::Connection> {
        redis::Client::open(self.url())?.get_connection()
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Runs a command of an administrator.
    pub(crate) fn run<T: FromRedisValue>(&self, command: &str) -> T {
        self.try_run(command).unwrap()
    }

    pub(crate) fn try_run<T: FromRedisValue>(&self, command: &str) -> RedisResult<T> {
        let mut words = command.split(' ');
        let mut built = redis::cmd(words.next().unwrap());
        for word in words {
            built.arg(word);
        }
        built.query(&mut self.connect()?)
    }

    /// Waits for a field of `INFO`.
    pub(crate) fn wait_info(&self, field: &str, is_there: impl Fn(&str) -> bool) {
        let began = Instant::now();
        let mut last = String::new();
        while began.elapsed() < PATIENCE {
            last = self.info(field);
            if is_there(&last) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{field} is {last:?}");
    }

    pub(crate) fn info(&self, field: &str) -> String {
        let info: String = self.run("INFO");
        let mut lines = info.lines();
        let value = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.unwrap_or_default().to_owned()
    }

    /// Makes it a replica of another server, with the same data.
    pub(crate) fn follow(&self, primary: &Self) {
        self.run::<()>(&format!("REPLICAOF 127.0.0.1 {}", primary.port));
        self.wait_info("master_link_status", |status| status == "up");
        self.wait_caught_up(primary);
    }

    /// Waits until it has all of its primary's data.
    pub(crate) fn wait_caught_up(&self, primary: &Self) {
        let wanted: u64 = primary.info("master_repl_offset").parse().unwrap();
        self.wait_info("slave_repl_offset", |offset| {
            offset.parse::<u64>().is_ok_and(|offset| offset >= wanted)
        });
    }

    pub(crate) fn promote(&self) {
        self.run::<()>("REPLICAOF NO ONE");
    }

    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(pid(&self.child), signal).unwrap();
    }

    /// Kills it, like a power failure.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again after [`kill`](Self::kill), on the same port and with what is on its disk.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(self.port, &self.folder, &self.arguments);
        assert!(self.answers(), "redis-server does not start again");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// A port for one server. It stays bound, so that no other process is given it, not even while the
/// server is down. Since nobody listens here, Linux lets the server bind it too.
pub(crate) struct Port(TcpSocket);

impl Port {
    pub(crate) fn free() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        Self(socket)
    }

    pub(crate) fn number(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }
}

fn spawn(port: u16, folder: &TempDir, arguments: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    if arguments.first().is_some_and(|first| first == "--sentinel") {
        // It writes its configuration.
        let path = folder.path().join("sentinel.conf");
        fs::write(&path, "").unwrap();
        command.arg(path);
    }
    command.args(arguments).arg("--port").arg(port.to_string());
    let folder = folder.path().to_str().unwrap();
    command.args(["--bind", "127.0.0.1", "--dir", folder]);
    command.args(["--save", ""]);
    if arguments.first().is_none_or(|first| first != "--sentinel") {
        // A replica need not wait for others.
        command.args(["--repl-diskless-sync-delay", "0"]);
    }
    let spawned = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    match spawned {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            panic!("there is no `redis-server`: install it, `apt-get install redis-server`")
        }
        Err(error) => panic!("redis-server: {error}"),
    }
}
