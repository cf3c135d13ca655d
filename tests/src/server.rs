//! The server of this repository, as a separate process.

use std::{
    env,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    sync::OnceLock,
    thread,
};

/// A `roomcast` process on a free port; it ends with this value.
///
/// The binary is the one that the environment variable `ROOMCAST_BIN` names; otherwise it is built
/// with the profile of the running test.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// `127.0.0.1:port`.
    authority: String,
}

impl Server {
    /// The key of the HTTP API.
    pub const API_KEY: &'static str = "test-key";

    /// Starts a server with further flags, and waits until it listens.
    ///
    /// # Panics
    ///
    /// When there is no server to start, or it does not start.
    pub fn start(flags: &[String]) -> Self {
        let path = server_binary();
        let mut child = Command::new(path)
            .args(["--listen", "127.0.0.1:0", "--api-key", Self::API_KEY])
            .args(flags)
            // The environment of the developer must not change the settings of tests.
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|fault| panic!("cannot start {}: {fault}", path.display()));
        let stderr = child.stderr.take().map(BufReader::new);
        let Some(mut stderr) = stderr else {
            panic!("a process without its standard error");
        };
        let authority = listening(&mut stderr);
        // Keeps the pipe empty, so that logging never blocks the server.
        thread::spawn(move || stderr.lines().for_each(drop));
        match authority {
            Ok(authority) => Self { child, authority },
            Err(said) => {
                let _ = child.kill();
                let _ = child.wait();
                panic!(
                    "{} did not start listening; it said:\n{said}",
                    path.display()
                );
            }
        }
    }

    /// `127.0.0.1:port`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The id of its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Ends the process at once, as `kill -9` does.
    pub fn kill(self) {
        drop(self);
    }

    /// Sends a signal, by its name without `SIG`.
    ///
    /// # Panics
    ///
    /// When the signal cannot be sent.
    pub fn signal(&self, name: &str) {
        let process = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &process]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -s {name}");
    }

    /// Waits for the end of the process, and returns its exit code; `None` after a signal.
    ///
    /// # Panics
    ///
    /// When it cannot be waited for.
    pub fn wait(mut self) -> Option<i32> {
        match self.child.wait() {
            Ok(status) => status.code(),
            Err(fault) => panic!("the server cannot be waited for: {fault}"),
        }
    }

    /// The address to which clients connect: `ws://127.0.0.1:port/ws`.
    pub fn address(&self) -> String {
        format!("ws://{}/ws", self.authority)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads host and port from the start-up line; the error is the whole output without one.
fn listening(stderr: &mut BufReader<ChildStderr>) -> Result<String, String> {
    let mut said = String::new();
    loop {
        let start = said.len();
        if stderr.read_line(&mut said).unwrap_or(0) == 0 {
            return Err(said);
        }
        if let Some((_, rest)) = said[start..].split_once("listening on http://") {
            let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'));
            return Ok(rest[..end.unwrap_or(rest.len())].into());
        }
    }
}

/// The binary of the server, which is built once if none is given: see [`Server`].
///
/// # Panics
///
/// When it cannot be built.
pub fn server_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(binary)
}

fn binary() -> PathBuf {
    if let Some(path) = env::var_os("ROOMCAST_BIN") {
        return path.into();
    }
    // <target>/<profile>/deps/<test>
    let test = env::current_exe().unwrap_or_default();
    let Some(profile) = test.parent().and_then(|deps| deps.parent()) else {
        panic!("set ROOMCAST_BIN to the server's binary");
    };
    let release = profile.ends_with("release");
    let status = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()))
        .args([
            "build",
            "--quiet",
            "--package",
            "roomcast",
            "--bin",
            "roomcast",
        ])
        .args(release.then_some("--release"))
        .arg("--target-dir")
        .arg(profile.parent().unwrap_or(profile))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "cannot build the server: set ROOMCAST_BIN to its binary"
    );
    profile.join(format!("roomcast{}", env::consts::EXE_SUFFIX))
}
