//! A `roomcast` process whose log, signals and port are under the test's control.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use roomcast_tests::server_binary;

use crate::peer::free_port;

/// Longer than anything here takes.
pub(crate) const LONGEST: Duration = Duration::from_secs(30);

/// A server; it ends with this value.
pub(crate) struct Process {
    child: Child,
    log: Option<BufReader<ChildStderr>>,
    /// `127.0.0.1:port`.
    pub(crate) authority: String,
}

/// The command that runs the program.
pub(crate) fn roomcast() -> Command {
    let mut command = Command::new(server_binary());
    command.env_clear().stdin(Stdio::null());
    command
}

impl Process {
    /// Starts a server on a free port, and reads its log up to the start-up line.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let mut command = roomcast();
        command.args(["--listen", "127.0.0.1:0"]).args(flags);
        Self::run(command)
    }

    /// The same, of any command.
    pub(crate) fn run(command: Command) -> Self {
        let mut process = Self::unstarted(command);
        let line = process.logged("listening on http");
        let (_, rest) = line.split_once("://").expect("an address");
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'));
        process.authority = rest[..end.unwrap_or(rest.len())].into();
        process
    }

    /// A server that may not listen yet.
    pub(crate) fn unstarted(mut command: Command) -> Self {
        let command = command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a process");
        let log = child.stderr.take().map(BufReader::new);
        let authority = String::new();
        Self {
            child,
            log,
            authority,
        }
    }

    /// A server without a log, from here on this value's.
    pub(crate) const fn adopt(child: Child, authority: String) -> Self {
        Self {
            child,
            log: None,
            authority,
        }
    }

    /// The number of its descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        let all = fs::read_dir(format!("/proc/{}/fd", self.id()));
        all.expect("a process").count()
    }

    /// The number of descriptors that each of its polls has, by the list of them.
    pub(crate) fn polled(&self) -> BTreeMap<String, usize> {
        let folder = format!("/proc/{}/fdinfo", self.id());
        let all = fs::read_dir(folder).expect("a process");
        let mut polled = BTreeMap::new();
        for entry in all.flatten() {
            let info = fs::read_to_string(entry.path()).unwrap_or_default();
            let lines = info.lines().filter(|line| line.starts_with("tfd:"));
            let watched: Vec<&str> = lines.collect();
            // A thread may have several descriptors of the one instance that it polls.
            polled.insert(watched.join("\n"), watched.len());
        }
        polled
    }

    /// Starts a server whose log is somewhere else, on a free port.
    pub(crate) fn with_log(stderr: Stdio, flags: &[&str]) -> Self {
        let authority = format!("127.0.0.1:{}", free_port());
        let mut command = roomcast();
        command.args(["--listen", &authority]).args(flags);
        let command = command.stdout(Stdio::null()).stderr(stderr);
        let mut process = Self {
            child: command.spawn().expect("a process"),
            log: None,
            authority,
        };
        process.until("it serves", |process| process.get("/healthz") == Some(200));
        process
    }

    /// Reads the log up to a line with this text, and gives the line.
    pub(crate) fn logged(&mut self, text: &str) -> String {
        let mut said = self.log_up_to(text);
        let start = said[..said.len() - 1].rfind('\n').map_or(0, |end| end + 1);
        said.split_off(start)
    }

    /// The log up to a line with this text, and with the line.
    pub(crate) fn log_up_to(&mut self, text: &str) -> String {
        let log = self.log.as_mut().expect("a log");
        let (mut said, mut start) = (String::new(), 0);
        while log.read_line(&mut said).expect("readable") > 0 {
            if said[start..].contains(text) {
                return said;
            }
            start = said.len();
        }
        panic!("the log ended without {text:?}:\n{said}");
    }

    /// Closes the log, like a pager that quits.
    pub(crate) fn drop_log(&mut self) {
        self.log = None;
    }

    /// The log until its end.
    pub(crate) fn rest_of_log(&mut self) -> String {
        let mut text = String::new();
        let log = self.log.as_mut().expect("a log");
        log.read_to_string(&mut text).expect("readable");
        text
    }

    /// Waits for a condition.
    pub(crate) fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let end = Instant::now() + LONGEST;
        while !is_so(self) {
            let ended = self.child.try_wait().expect("waited for");
            assert!(ended.is_none(), "it ended with {ended:?} before {what}");
            assert!(Instant::now() < end, "{what}: not within {LONGEST:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The status of the answer to a GET; `None` when there is none.
    pub(crate) fn get(&self, path: &str) -> Option<u16> {
        self.request(&format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
            self.authority
        ))
    }

    /// The status of the answer to a request.
    pub(crate) fn request(&self, request: &str) -> Option<u16> {
        let mut stream = TcpStream::connect(&self.authority).ok()?;
        stream.set_read_timeout(Some(LONGEST)).ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).ok()?;
        answer.split(' ').nth(1)?.parse().ok()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, by its name without `SIG`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.id().to_string()])
            .status();
        assert!(sent.expect("kill").success(), "kill -s {name}");
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let end = Instant::now() + LONGEST;
        loop {
            if let Some(status) = self.child.try_wait().expect("waited for") {
                return status;
            }
            assert!(Instant::now() < end, "it did not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the program to its end; gives its exit code and what it said on standard error.
pub(crate) fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let output = roomcast().args(arguments).output().expect("a process");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

/// Writes a file in one step, as an editor does.
pub(crate) fn write(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    let written = fs::write(&beside, text).and_then(|()| fs::rename(&beside, path));
    written.unwrap_or_else(|fault: io::Error| panic!("{}: {fault}", path.display()));
}
