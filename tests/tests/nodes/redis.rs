//! A Redis in a process of its own.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::peer::free_port;

/// The time after which a Redis that does not answer is broken.
const PATIENCE: Duration = Duration::from_secs(30);

/// A `redis-server` on a free port, in a folder of its own; it ends with this value.
#[derive(Debug)]
pub(crate) struct Redis {
    process: Child,
    port: u16,
    _folder: TempDir,
}

impl Redis {
    pub(crate) fn start() -> Self {
        // Where the system does not hold the port, another process may take it first.
        for _ in 0..10 {
            let folder = TempDir::with_prefix("roomcast-redis-").expect("a folder");
            let port = free_port();
            let process = Command::new("redis-server")
                .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
                .args(["--save", "", "--dir"])
                .arg(folder.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn();
            let process = process.unwrap_or_else(|fault| panic!("redis-server: {fault}"));
            let mut redis = Self {
                process,
                port,
                _folder: folder,
            };
            if redis.answers() {
                return redis;
            }
        }
        panic!("redis-server does not start");
    }

    fn answers(&mut self) -> bool {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if self.process.try_wait().expect("a child").is_some() {
                return false;
            }
            if ping(self.port).is_ok_and(|answer| answer == *b"+PONG") {
                return true;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("redis-server does not answer");
    }

    /// The address, as `--relay` takes it.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn ping(port: u16) -> std::io::Result<[u8; 5]> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    // Whoever listens there may be somebody else, who says nothing.
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}
