//! Commands of the README work, and leads to what it prints.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use roomcast_tests::{Driver, Event, Op, Server, Url, server_binary};

use crate::peer::free_port;

const README: &str = include_str!("../../README.md");
const EDGE: &str = include_str!("../../docs/edge.md");
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// Time that anything may take: a fault when it passes, never a way to decide.
const PATIENCE: Duration = Duration::from_secs(60);

/// The fenced blocks of a language.
pub(crate) fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let start = format!("```{language}\n");
    let parts = text.split(&*start).skip(1);
    parts
        .filter_map(|rest| rest.split("\n```").next())
        .collect()
}

/// Commands without comments, with lines that go on joined.
fn commands(text: &str) -> Vec<String> {
    let blocks = blocks(text, "sh").join("\n").replace("\\\n", " ");
    let lines = blocks
        .lines()
        .map(|line| line.split("  #").next().unwrap_or(line));
    let lines = lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|line| !line.is_empty()).collect()
}

/// Commands that need a network, an account or minutes: other tests run what it leads to.
const ELSEWHERE: [&str; 7] = [
    "git clone https://github.com/roomcast/roomcast",
    "cd roomcast",
    "cargo install --path host-native --profile dist",
    "cd host-worker",
    "npm ci",
    // `a_first_run_of_the_worker`
    "npm run dev",
    "./tests/run",
];

const RUN: &str = "cargo run --release";

/// A process of a command of the README, in a shell.
struct Shell(Child);

impl Shell {
    /// The command as it stands there, with this test's server in the place of the one that would
    /// be built, and with a port of its own.
    fn start(command: &str, port: u16) -> Self {
        let binary = binary();
        let binary = binary.display();
        let run = format!("{RUN} -- ");
        let command = match command.strip_prefix(&*run) {
            Some(arguments) => format!("{binary} {arguments}"),
            None if command == RUN => binary.to_string(),
            None => match command.strip_prefix("roomcast ") {
                Some(arguments) => format!("{binary} {arguments}"),
                None => command.to_owned(),
            },
        };
        let command = command.replace(":3000", &format!(":{port}"));
        let address = format!("127.0.0.1:{port}");
        let url = format!("http://{address}");
        let child = Command::new("sh")
            .args(["-c", &format!("exec {command}")])
            .current_dir(ROOT)
            // Defaults that the README leaves to the settings.
            .env("ROOMCAST_LISTEN", &address)
            .env("ROOMCAST_URL", &url)
            .env("KEY", Server::API_KEY)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Self(child.expect("a shell"))
    }

    /// Waits until the server listens.
    fn listens(mut self) -> Self {
        let (told, heard) = mpsc::channel();
        let lines = BufReader::new(self.0.stderr.take().expect("piped")).lines();
        thread::spawn(move || {
            let mut all = String::new();
            for line in lines.map_while(Result::ok) {
                all += &line;
                if line.contains("listening on http://") {
                    let _ = told.send(Ok(()));
                }
            }
            let _ = told.send(Err(all));
        });
        heard
            .recv_timeout(PATIENCE)
            .expect("it begins")
            .unwrap_or_else(|said| panic!("it ended: {said}"));
        self
    }

    /// Waits for its end: what it printed.
    fn ends(mut self) -> String {
        let mut printed = String::new();
        let mut stdout = self.0.stdout.take().expect("piped");
        stdout.read_to_string(&mut printed).expect("text");
        let mut said = String::new();
        let mut stderr = self.0.stderr.take().expect("piped");
        stderr.read_to_string(&mut said).expect("text");
        let status = self.0.wait().expect("an end");
        assert!(status.success(), "{printed}{said}");
        printed.trim().to_owned()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The one that other tests start.
pub(crate) fn binary() -> PathBuf {
    server_binary().canonicalize().expect("it is built")
}

pub(crate) fn client(address: &str, actor: &str) -> Url {
    let mut url = Url::new(format!("ws://{address}/ws")).expect("an address");
    let connects = format!("{actor} connects").parse().expect("a line");
    url.perform(&connects).expect("it connects");
    url
}

pub(crate) fn says(url: &mut Url, actor: &str, text: &str) -> Vec<String> {
    let op = Op::Text {
        actor: actor.into(),
        text: text.into(),
        times: 1,
    };
    url.perform(&op).expect("it is sent");
    let events = url.take(&actor.into()).into_iter();
    let texts = events.map(|event| match event {
        Event::Text(text) => text,
        Event::Binary(_) | Event::Ping | Event::Closed { .. } | Event::Lost => panic!("no text"),
    });
    texts.collect()
}

#[test]
fn every_command_of_the_readme_is_known_and_those_of_the_server_work() {
    let mut ran = 0;
    let commands = commands(README);
    let plain = free_port();
    let plain_server = Shell::start(RUN, plain).listens();
    let mut watcher = client(&format!("127.0.0.1:{plain}"), "ann");
    says(&mut watcher, "ann", r#"{"event":"$join","room":"lobby"}"#);
    let strict = free_port();
    let mut strict_server = None;
    for command in &commands {
        if ELSEWHERE.contains(&&**command) {
            continue;
        }
        ran += 1;
        match &**command {
            RUN => {}
            command if command.starts_with("cargo run --release -- send ") => {
                let printed = Shell::start(command, plain).ends();
                assert!(
                    printed.contains(r#""matched":1,"queued":1"#),
                    "{command}: {printed}"
                );
            }
            command if command.starts_with("cargo run --release -- --config ") => {
                drop(Shell::start(command, free_port()).listens());
            }
            command if command.starts_with("roomcast --listen ") => {
                strict_server = Some(Shell::start(command, strict).listens());
            }
            command if command.starts_with("curl ") => {
                assert!(strict_server.is_some(), "{command} comes before its server");
                let mut ben = client(&format!("127.0.0.1:{strict}"), "ben");
                says(&mut ben, "ben", r#"{"event":"$join","room":"lobby"}"#);
                let printed = Shell::start(command, strict).ends();
                assert_eq!(
                    printed, r#"{"matched":1,"queued":1,"dropped":0}"#,
                    "{command}"
                );
            }
            other => panic!("nobody knows whether this works: {other}"),
        }
    }
    drop(plain_server);
    assert!(ran >= 5, "{commands:?}");
}

/// The frames that the README prints, `>` from a client and `<` to it, in a server with such rooms.
#[test]
fn the_frames_of_the_readme_are_those_of_a_server() {
    let blocks = blocks(README, "text");
    let [first, recovery] = blocks[..] else {
        panic!("{blocks:?}");
    };
    let server = Server::start(&[]);
    let mut other = client(server.authority(), "other");
    says(&mut other, "other", r#"{"event":"$join","room":"lobby"}"#);
    replays(first, &mut client(server.authority(), "reader"), "");

    let config = Path::new(ROOT).join("rooms.toml");
    let server = Server::start(&[format!("--config={}", config.display())]);
    let mut other = client(server.authority(), "other");
    let joined = says(&mut other, "other", r#"{"event":"$join","room":"lobby"}"#).concat();
    let (epoch, _) = epoch_of(&joined).expect("a position");
    for _ in 1..=6 {
        says(
            &mut other,
            "other",
            r#"{"event":"said","room":"lobby","data":1}"#,
        );
    }
    for line in recovery
        .lines()
        .filter(|line| line.contains(r#""event":"said""#))
    {
        let (_, data) = line.split_once(r#""data":"#).expect("data");
        let data = data.strip_suffix('}').expect("the end of the envelope");
        let text = format!(r#"{{"event":"said","room":"lobby","data":{data}}}"#);
        says(&mut other, "other", &text);
    }
    // What is printed is the id of somebody else's connection.
    let conn = other.conn(&"other".into()).expect("it is connected");
    let (printed, _) = value_of(recovery, CONN).expect("a publisher");
    assert!(printed.len() > 10, "no server gives such an id: {printed}");
    let recovery = recovery.replace(printed, &conn);
    replays(&recovery, &mut client(server.authority(), "reader"), epoch);
}

const EPOCH: &str = r#""epoch":""#;
const CONN: &str = r#""conn":""#;

/// The text behind a member's name, and where it begins.
fn value_of<'t>(frame: &'t str, member: &str) -> Option<(&'t str, usize)> {
    let at = frame.find(member)? + member.len();
    frame[at..].split('"').next().map(|value| (value, at))
}

fn epoch_of(frame: &str) -> Option<(&str, usize)> {
    value_of(frame, EPOCH)
}

/// With the epoch of the server in the place of the one that is printed.
fn with_epoch(frame: &str, epoch: &str) -> String {
    match epoch_of(frame) {
        Some((printed, _)) if !epoch.is_empty() => frame.replace(printed, epoch),
        Some(_) | None => frame.to_owned(),
    }
}

fn replays(block: &str, url: &mut Url, epoch: &str) {
    let mut came: Vec<String> = Vec::new();
    let mut epoch = epoch.to_owned();
    for line in block.lines() {
        if let Some(sent) = line.strip_prefix("> ") {
            assert_eq!(came, Vec::<String>::new(), "before {line}");
            came = says(url, "reader", &with_epoch(sent, &epoch));
        } else if let Some(expected) = line.strip_prefix("< ") {
            assert!(!came.is_empty(), "nothing came for {line}");
            let got = came.remove(0);
            if let (true, Some((known, _))) = (epoch.is_empty(), epoch_of(&got)) {
                epoch = known.to_owned();
            }
            assert_eq!(got, with_epoch(expected, &epoch));
        }
    }
    assert_eq!(came, Vec::<String>::new(), "at the end of {block}");
}

/// The quickstarts are the recipes that run in a browser, and the page of the worker's template is
/// one of them.
#[test]
fn the_quickstarts_of_the_readme_are_recipes_that_run() {
    let read = |path| fs::read_to_string(Path::new(ROOT).join(path)).expect("a file");
    let (page, react) = (
        read("client/examples/page.html"),
        read("client/examples/react.tsx"),
    );
    let [sample, quickstart] = blocks(README, "html")[..] else {
        panic!("a sample and a quickstart");
    };
    assert_eq!(sample.lines().count(), 7, "{sample}");
    assert_eq!(quickstart, page.trim_end());
    for recipe in [&page, &react] {
        let is_code = |line: &&str| !(line.is_empty() || line.trim_start().starts_with("//"));
        let lines = recipe.lines().filter(is_code).count();
        assert!(lines <= 30, "{lines} lines:\n{recipe}");
    }
    assert_eq!(blocks(README, "tsx"), [react.trim_end()]);
    let server = "http://127.0.0.1:3000";
    let own = page
        .replace(&format!("\"{server}\""), "\"/\"")
        .replace(server, "");
    assert_eq!(read("host-worker/template/public/index.html"), own);
}

/// An example that names a user cannot match on the server alone, where nobody is one.
#[test]
fn no_example_for_the_bare_server_names_a_user() {
    for (name, text) in [
        ("README.md", README),
        ("docs/edge.md", EDGE),
        ("docs/protocol.md", include_str!("../../docs/protocol.md")),
        ("docs/settings.md", include_str!("../../docs/settings.md")),
    ] {
        for command in commands(text) {
            for word in [
                r#""users""#,
                r#""except_users""#,
                "--user ",
                "--except-user ",
            ] {
                assert!(!command.contains(word), "{name}: {command}");
            }
        }
    }
    let help = Command::new(binary())
        .args(["send", "--help"])
        .output()
        .expect("help");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let examples = help.lines().filter(|line| line.contains("roomcast send"));
    let examples: Vec<_> = examples.filter(|line| !line.contains("Usage")).collect();
    assert!(examples.len() > 1, "{help}");
    for example in examples {
        assert!(!example.contains("user"), "{example}");
    }
}

#[test]
fn a_worker_is_deployed_in_one_order() {
    let order = |text| -> Vec<String> {
        let mut commands = commands(text);
        commands.retain(|line| line.starts_with("npx wrangler") || line == "npm run deploy");
        commands
    };
    let expected = [
        "npx wrangler login",
        "npm run deploy",
        "npx wrangler secret put ROOMCAST_API_KEY",
    ];
    assert_eq!(order(EDGE), expected);
}

/// The first screen says what it needs before it says what to type.
#[test]
fn the_first_screen_says_what_it_needs() {
    let (before, _) = README.split_once("cargo run --release").expect("a command");
    for word in ["rustup", "C compiler", "git clone"] {
        assert!(before.contains(word), "{word}");
    }
    assert!(README.split_whitespace().count() < 1_700);
}

/// The build of the worker takes minutes: cargo is heard while it works, and not afterwards.
#[test]
fn the_build_of_the_worker_shows_what_cargo_is_at() {
    let folder = tempfile::tempdir().expect("a folder");
    let cargo = folder.path().join("cargo");
    let (packages, target) = (
        r#"{"name":"roomcast-worker","manifest_path":"/x","targets":[{"kind":["lib"],"name":"roomcast-worker"}]}"#,
        folder.path().display(),
    );
    // It waits until it was heard.
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = metadata ]; then echo '{{\"packages\":[{packages}],\"target_directory\":\"{target}\"}}'; exit; fi\n\
         echo '   Compiling a-crate v1.0.0' >&2\nwhile [ -d {target} ] && [ ! -e {target}/heard ]; do sleep 0.05; done\nexit 7\n"
    );
    fs::write(&cargo, script).expect("written");
    let prepared = Command::new("sh")
        .args(["-c", "chmod +x cargo"])
        .current_dir(folder.path())
        .status();
    assert!(prepared.expect("a shell").success());
    let path = std::env::var("PATH").unwrap_or_default();
    let mut build = Command::new("node")
        .arg("scripts/build.mjs")
        .current_dir(Path::new(ROOT).join("host-worker"))
        .env("PATH", format!("{target}:{path}"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("node");
    let stderr = BufReader::new(build.stderr.take().expect("piped"));
    let (told, heard) = mpsc::channel();
    thread::spawn(move || {
        stderr.lines().map_while(Result::ok).for_each(|line| {
            let _ = told.send(line);
        });
    });
    let first = heard.recv_timeout(PATIENCE);
    fs::write(folder.path().join("heard"), "").expect("written");
    let first = first.unwrap_or_else(|fault| {
        let _ = build.kill();
        panic!("nothing was heard while cargo works: {fault}");
    });
    assert!(first.contains("Compiling a-crate"), "{first}");
    let status = build.wait().expect("an end");
    assert!(!status.success());
}
