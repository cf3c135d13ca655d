//! Third-party clients and a real browser, against the real binary.
//!
//! `tests/run` installs what these need and says where the binary is, in `ROOMCAST_BIN`.

use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
};

use roomcast_tests::{Build, Edge, Settings};

mod client;
mod page;
mod proxied;

/// The folder of this package.
const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// A server of its own for each test, on a free port; ended with the test.
struct Server {
    process: Child,
    address: String,
    /// The turn of an example; it ends after the process.
    _turn: Option<fs::File>,
}

impl Server {
    fn start(flags: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(flags);
        let process = command.stderr(Stdio::piped()).spawn();
        let mut process = process.expect("the server starts");
        let lines = process.stderr.take().expect("piped");
        let (address, _) = started(lines, "listening on http://");
        Self {
            process,
            address,
            _turn: None,
        }
    }

    /// An example of `roomcast`, built as this test is: they listen on one port, so that each waits
    /// for the one before it, in whatever test. Also gives its start-up lines.
    fn example(name: &str) -> (Self, String) {
        let turn = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples.lock");
        let turn = fs::File::create(turn).expect("a file");
        turn.lock().expect("the turn of this test");
        // <target>/<profile>/deps/<test>
        let test = env::current_exe().expect("this test");
        let profile = test.ancestors().nth(2).expect("a folder");
        let path = profile.join("examples").join(name);
        let mut command = Command::new(&path);
        command.env("NO_COLOR", "1").stdout(Stdio::piped());
        let process = command.spawn();
        let mut process = process.unwrap_or_else(|fault| {
            panic!(
                "{}: {fault}: cargo build --package roomcast --examples",
                path.display()
            )
        });
        let lines = process.stdout.take().expect("piped");
        let (address, said) = started(lines, "mounted: a gateway at /ws");
        assert_eq!(address, "127.0.0.1:3005");
        let server = Self {
            process,
            address,
            _turn: Some(turn),
        };
        (server, said)
    }
}

/// Reads the start-up lines up to one with these words: where the server listens, and all they say.
fn started(output: impl Read + Send + 'static, last: &str) -> (String, String) {
    let mut lines = BufReader::new(output).lines();
    let mut said = String::new();
    for line in lines.by_ref().map_while(Result::ok) {
        said.push_str(&line);
        said.push('\n');
        if line.contains(last) {
            break;
        }
    }
    let address = said.split_once("listening on http://");
    let address = address.and_then(|(_, rest)| rest.split_whitespace().next());
    let address = address.map(ToOwned::to_owned);
    // A pipe that nobody reads would stop the server.
    thread::spawn(move || lines.for_each(drop));
    match address {
        Some(address) if said.contains(last) => (address, said),
        _ => panic!("the server does not start; it says:\n{said}"),
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill(); // it may have ended
        let _ = self.process.wait();
    }
}

pub(crate) fn binary() -> PathBuf {
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
pub(crate) fn check(folder: &str, program: impl AsRef<Path>, args: &[&str]) {
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

/// The address of an example, and that of its namespace in the HTTP API.
fn addresses(authority: &str, namespace: &str) -> (String, String) {
    let (ws, http) = urls(authority);
    let ws = match namespace {
        "default" => format!("{ws}/ws"),
        _ => format!("{ws}/ws/{namespace}"),
    };
    (ws, format!("{http}/api/v1/{namespace}"))
}

/// The session of an example, as `ws` holds it.
fn npm_ws_session_of(example: &str, namespace: &str) {
    let (server, _) = Server::example(example);
    let (ws, api) = addresses(&server.address, namespace);
    // Routes of the application's own, where it has some.
    let mut args = vec!["ws_gateways.mjs", example, &ws, &api, "-"];
    if ["chat", "notify"].contains(&example) {
        args.push("http://127.0.0.1:3006");
    }
    check("clients", "node", &args);
}

/// The same, as `websockets` holds it. Gives the start-up lines.
fn python_websockets_session_of(example: &str, namespace: &str) -> String {
    let (server, said) = Server::example(example);
    let (ws, _) = addresses(&server.address, namespace);
    check(
        "clients",
        python(),
        &["websockets_gateways.py", example, &ws],
    );
    said
}

#[test]
fn npm_ws_talks_in_the_chat() {
    npm_ws_session_of("chat", "default");
}

#[test]
fn python_websockets_talks_in_the_chat() {
    let said = python_websockets_session_of("chat", "default");
    // The start-up lines say what was mounted.
    for event in [
        "message", "history", "presence", "typing", "join", "leave", "say",
    ] {
        assert!(said.contains(event), "{event} in:\n{said}");
    }
}

#[test]
fn npm_ws_hears_the_heartbeat() {
    npm_ws_session_of("heartbeat", "default");
}

#[test]
fn python_websockets_hears_the_heartbeat() {
    python_websockets_session_of("heartbeat", "default");
}

#[test]
fn npm_ws_goes_to_rooms_by_path() {
    npm_ws_session_of("rooms", "default");
}

#[test]
fn python_websockets_goes_to_rooms_by_path() {
    python_websockets_session_of("rooms", "default");
}

#[test]
fn npm_ws_talks_without_envelopes() {
    npm_ws_session_of("raw", "rooms");
}

#[test]
fn python_websockets_talks_without_envelopes() {
    python_websockets_session_of("raw", "rooms");
}

#[test]
fn npm_ws_is_notified() {
    npm_ws_session_of("notify", "default");
}

/// The namespaces of the worker's examples; two libraries must not hear each other.
const EXAMPLES_OF_THE_WORKER: &[(&str, &str, &str)] = &[
    ("chat", "chat", "chat-2"),
    ("heartbeat", "heartbeat", "heartbeat-2"),
    ("rooms", "rooms-by-path", "rooms-by-path-2"),
    ("raw", "rooms", "raw-2"),
    ("notify", "notify", ""),
];

/// The same sessions at the edge, each application in a namespace.
#[test]
fn npm_ws_talks_to_the_examples_on_the_worker() {
    let edge = Edge::start_build(Build::Gateways, &[&Settings::default()]);
    for (example, namespace, _) in EXAMPLES_OF_THE_WORKER {
        let (ws, api) = addresses(&edge.authority(0), namespace);
        let args = ["ws_gateways.mjs", example, &ws, &api, Edge::API_KEY];
        check("clients", "node", &args);
    }
    assert!(edge.log().is_empty(), "{:#?}", edge.log());
}

#[test]
fn python_websockets_talks_to_the_examples_on_the_worker() {
    let edge = Edge::start_build(Build::Gateways, &[&Settings::default()]);
    for (example, _, namespace) in EXAMPLES_OF_THE_WORKER {
        if !namespace.is_empty() {
            let (ws, _) = addresses(&edge.authority(0), namespace);
            let args = ["websockets_gateways.py", example, &ws];
            check("clients", python(), &args);
        }
    }
    assert!(edge.log().is_empty(), "{:#?}", edge.log());
}

/// Cases that fail on the worker because the platform decides them, with the reasons.
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

/// The commands in the documentation of the worker, from `npm run dev` to Ctrl-C, work for a
/// stranger who types them.
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
