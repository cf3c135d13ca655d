//! The receivers of the documentation, from its page and from a file, called by the real server.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{KEY, chat, config, serve};

const HERE: &str = env!("CARGO_MANIFEST_DIR");
const PAGE: &str = include_str!("../../../docs/hooks.md");
const PYTHON: &str = include_str!("../../../docs/receivers/hook_receiver.py");

/// The first code in JavaScript on a page.
pub(crate) fn javascript(page: &str) -> &str {
    let (_, code) = page.split_once("```js\n").expect("code");
    let (code, _) = code.split_once("```").expect("its end");
    code
}

/// A receiver of the documentation; it ends with this value.
pub(crate) struct Receiver {
    child: Child,
    output: BufReader<ChildStdout>,
    pub(crate) port: String,
    _folder: TempDir,
}

impl Receiver {
    /// Starts the receiver in this language, with packages as `tests/run` installs them.
    pub(crate) fn start(program: PathBuf, language: &str, name: &str) -> Self {
        let code = match language {
            "python" => PYTHON,
            _ => javascript(PAGE),
        };
        Self::start_code(program, code, name)
    }

    /// Starts this code in a file of this name.
    pub(crate) fn start_code(program: PathBuf, code: &str, name: &str) -> Self {
        assert!(code.lines().count() <= 40, "short enough to be read");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(name), code).expect("written");
        let modules = Path::new(HERE).join("clients/node_modules");
        std::os::unix::fs::symlink(modules, folder.path().join("node_modules")).expect("a link");
        let mut child = Command::new(&program)
            .arg(name)
            .current_dir(folder.path())
            .env("HOOK_KEY", KEY)
            .env("PORT", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|fault| panic!("{}: {fault}: see tests/run", program.display()));
        let output = child.stdout.take().expect("piped");
        let mut receiver = Self {
            child,
            output: BufReader::new(output),
            port: String::new(),
            _folder: folder,
        };
        let line = receiver.line();
        receiver.port = line.strip_prefix("port ").expect("a port").to_owned();
        receiver
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("readable");
        assert!(!line.is_empty(), "the receiver has ended: see tests/run");
        line.trim_end().to_owned()
    }

    /// The next events, as far as one of this type.
    pub(crate) fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut events: Vec<Value> = Vec::new();
        while events.last().is_none_or(|event| event["type"] != kind) {
            events.push(serde_json::from_str(&self.line()).expect("JSON"));
        }
        events
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn check(program: PathBuf, language: &str, name: &str) {
    let mut receiver = Receiver::start(program, language, name);
    let url = format!("http://127.0.0.1:{}/", receiver.port);
    let folder = config(&url, &[KEY]);
    let server = serve(&folder, &[]);
    chat(&server.authority);
    receiver.check_chat();
}

impl Receiver {
    /// Asserts that it receives all events of one [`chat`].
    pub(crate) fn check_chat(&mut self) {
        let events = self.until("connection.closed");
        let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str()).collect();
        let expected = [
            "connection.opened",
            "room.occupied",
            "user.joined",
            "message.published",
            "user.left",
            "room.vacated",
            "connection.closed",
        ];
        assert_eq!(kinds, expected.map(Some));
        for (at, event) in (1..).zip(&events) {
            assert_eq!(event["seq"], at);
            assert_eq!(event["namespace"], "default");
        }
        assert_eq!(events[3]["message"]["data"], "h\u{e9}llo");
        assert_eq!(events[3]["message"]["from"]["user"], "ann");
    }
}

#[test]
fn the_receiver_in_node_takes_what_standardwebhooks_of_npm_verifies() {
    check("node".into(), "js", "receiver.mjs");
}

#[test]
fn the_receiver_in_python_takes_what_standardwebhooks_of_pypi_verifies() {
    let python = Path::new(HERE).join(".venv/bin/python");
    check(python, "python", "receiver.py");
}

/// The server signs with both keys while they change.
#[test]
fn a_receiver_with_one_of_two_keys_takes_all() {
    let mut receiver = Receiver::start("node".into(), "js", "receiver.mjs");
    let url = format!("http://127.0.0.1:{}/", receiver.port);
    let folder = config(
        &url,
        &["whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", KEY],
    );
    let server = serve(&folder, &[]);
    chat(&server.authority);
    assert_eq!(receiver.until("connection.closed").len(), 7);
}
