//! Clients that nobody here wrote, and a real browser, against the real binary.
//!
//! `tests/run` installs what these need and says where the binary is, in `ROOMCAST_BIN`.

use std::{
    collections::BTreeSet,
    env,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
};

use roomcast_tests::{Edge, Settings};

/// The folder of this package.
const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// A server of its own for each test, on a free port; ended with the test.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(flags: &[&str]) -> Self {
        let mut process = Command::new(binary())
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut lines = BufReader::new(process.stderr.take().expect("piped")).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("listening on http://")?.1.to_owned()))
            .expect("the server says where it listens");
        // A pipe that nobody reads would stop the server.
        thread::spawn(move || lines.for_each(drop));
        Self { process, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill(); // it may have ended
        let _ = self.process.wait();
    }
}

fn binary() -> PathBuf {
    let binary = env::var_os("ROOMCAST_BIN").map_or_else(
        || Path::new(HERE).join("../target/release/roomcast"),
        PathBuf::from,
    );
    assert!(
        binary.exists(),
        "{} is missing: run tests/run, or cargo build --release",
        binary.display()
    );
    binary
}

/// Runs a program in a folder of this package: how it ended, and all that it wrote.
fn run(
    folder: &str,
    program: impl AsRef<Path>,
    args: &[&str],
    env: &[(&str, &str)],
) -> (ExitStatus, String) {
    let output = Command::new(program.as_ref())
        .args(args)
        .envs(env.iter().copied())
        .current_dir(Path::new(HERE).join(folder))
        .output()
        .unwrap_or_else(|fault| panic!("{}: {fault}: see tests/run", program.as_ref().display()));
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    // Seen when the runner is asked for it.
    eprintln!("{text}");
    (output.status, text)
}

/// The same for a program that has to succeed; what it wrote is the failure message.
fn check(folder: &str, program: impl AsRef<Path>, args: &[&str]) {
    let (status, text) = run(folder, program, args, &[]);
    assert!(status.success(), "{status}\n{text}");
}

fn python() -> PathBuf {
    Path::new(HERE).join(".venv/bin/python")
}

/// Runs a script of sessions against a server of its own.
fn session(program: impl AsRef<Path>, script: &str, threads: &str) {
    let flags = ["--inbound-rate=off", "--api-key=test-key", threads];
    let server = Server::start(&flags);
    let (ws, http) = urls(&server.address);
    check("clients", program, &[script, &ws, &http, "test-key"]);
}

fn urls(authority: &str) -> (String, String) {
    (format!("ws://{authority}"), format!("http://{authority}"))
}

/// Runs a script of sessions against the worker. All cases have to pass but the exceptions, which
/// have to fail.
fn session_on_the_worker(program: impl AsRef<Path>, script: &str, exceptions: &[(&str, &str)]) {
    let edge = Edge::start(&[&Settings::default()]);
    let (ws, http) = urls(&edge.authority(0));
    // The runtime ends the connection when the object leaves memory, ten idle seconds later.
    let env = [("CLOSE_WAIT_MS", "100")];
    let args = [script, &ws, &http, Edge::API_KEY];
    let (_, text) = run("clients", program, &args, &env);
    let named = |prefix: &'static str| {
        let lines = text
            .lines()
            .filter_map(move |line| line.strip_prefix(prefix));
        lines.map(|rest| rest.split([':', ' ']).next().unwrap_or_default())
    };
    let failed: BTreeSet<_> = named("FAILED ").collect();
    let expected: BTreeSet<_> = exceptions.iter().map(|(name, _)| *name).collect();
    let log = edge.log().join("\n");
    assert_eq!(
        failed, expected,
        "failed, and listed as exceptions:\n{text}\n{log}"
    );
    assert!(
        named("ok ").count() > exceptions.len(),
        "no case passed:\n{text}"
    );
}

#[test]
fn npm_ws_holds_its_sessions() {
    session("node", "ws_session.mjs", "--threads=1");
}

#[test]
fn npm_ws_holds_its_sessions_on_two_threads() {
    session("node", "ws_session.mjs", "--threads=2");
}

#[test]
fn python_websockets_holds_its_sessions() {
    session(python(), "websockets_session.py", "--threads=1");
}

#[test]
fn python_websockets_holds_its_sessions_on_four_threads() {
    session(python(), "websockets_session.py", "--threads=4");
}

/// What the platform decides, and not the worker.
const EXCEPTIONS_OF_NPM_WS: &[(&str, &str)] = &[(
    "metrics_need_no_key",
    "a Worker has no metrics of its own: the platform counts",
)];
const EXCEPTIONS_OF_PYTHON_WEBSOCKETS: &[(&str, &str)] = &[
    (
        "a_message_in_64_fragments_passes_and_in_65_closes_with_1008",
        "the platform joins fragments, and does not say how many there were",
    ),
    (
        "text_that_is_not_utf8_closes_with_1007",
        "the platform replaces what is not UTF-8",
    ),
];

#[test]
fn npm_ws_holds_its_sessions_on_the_worker() {
    session_on_the_worker("node", "ws_session.mjs", EXCEPTIONS_OF_NPM_WS);
}

#[test]
fn python_websockets_holds_its_sessions_on_the_worker() {
    let exceptions = EXCEPTIONS_OF_PYTHON_WEBSOCKETS;
    session_on_the_worker(python(), "websockets_session.py", exceptions);
}

/// What the documentation of the worker tells a stranger to type, from `npm run dev` to Ctrl-C.
#[test]
fn a_first_run_of_the_worker() {
    check("clients", "node", &["first_run.mjs"]);
}

fn faults(threads: &str) {
    let binary = binary().canonicalize().expect("it exists");
    let binary = binary.to_string_lossy();
    let args = ["faults.py", "--binary", &binary, "--threads", threads];
    check("clients", python(), &args);
}

#[test]
fn faults_and_bad_input_are_survived() {
    faults("1");
}

#[test]
fn faults_and_bad_input_are_survived_on_three_threads() {
    faults("3");
}

/// Also takes the picture of the README: `ROOMCAST_SCREENSHOT=docs/page.png`, relative to the
/// repository.
#[test]
fn two_panes_of_the_page_talk_in_chromium() {
    let server = Server::start(&[]);
    let url = format!("http://{}", server.address);
    let root = Path::new(HERE).join("..");
    let picture = env::var_os("ROOMCAST_SCREENSHOT").map_or_else(
        || Path::new(env!("CARGO_TARGET_TMPDIR")).join("page.png"),
        |path| root.join(path),
    );
    let picture = picture.to_string_lossy();
    check(
        "page",
        "node",
        &["page.mjs", &url, "--screenshot", &picture],
    );
}
