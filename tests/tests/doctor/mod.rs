//! `roomcast doctor`: each fault on the path through a real proxy is named, with the fix.

mod certificates;
mod faults;
mod proxies;
mod ready;

use std::process::Output;

use serde_json::Value;

use crate::{
    peer::free_port,
    process::child::{Process, roomcast},
    proxy::{Kind, Proxy},
};

const KEY: &str = "test-key";

/// A server behind a proxy with this file.
struct Behind {
    proxy: Proxy,
    _server: Process,
}

impl Behind {
    fn start(kind: Kind, config: &str, flags: &[&str]) -> Self {
        let flags = [&["--api-key", KEY][..], flags].concat();
        let server = Process::start(&flags);
        let proxy = Proxy::start(kind, config, &server.authority);
        Self {
            proxy,
            _server: server,
        }
    }

    /// Examines it under the name that its clients would use.
    fn doctor(&self, flags: &[&str]) -> Findings {
        let (url, at) = self.names();
        doctor(&url, &[&["--connect-to", &at][..], flags].concat())
    }

    fn names(&self) -> (String, String) {
        let port = self.proxy.port;
        let url = format!("http://chat.example.com:{port}");
        (url, format!("127.0.0.1:{port}"))
    }
}

/// The lines of a run, and its exit code.
struct Findings {
    exit: Option<i32>,
    lines: Vec<Value>,
}

/// Runs the command without a wait for the heartbeat, unless the flags have one.
fn doctor(url: &str, flags: &[&str]) -> Findings {
    doctor_with(url, flags, &[])
}

fn doctor_with(url: &str, flags: &[&str], env: &[(&str, &str)]) -> Findings {
    examine(&[&[url], flags].concat(), env)
}

fn examine(flags: &[&str], env: &[(&str, &str)]) -> Findings {
    let mut command = roomcast();
    command.envs(env.iter().copied());
    command.args(["doctor", "--json"]).args(flags);
    if !flags.contains(&"--wait-s") {
        command.args(["--wait-s", "0"]);
    }
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("a process");
    let (out, said) = (
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr),
    );
    eprintln!("{flags:?}: {status}\n{out}{said}");
    let lines = out
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    Findings {
        exit: status.code(),
        lines: lines.collect(),
    }
}

impl Findings {
    /// The checks in this state.
    fn all(&self, state: &str) -> Vec<&str> {
        let lines = self.lines.iter().filter(|line| line["state"] == state);
        lines
            .map(|line| line["check"].as_str().expect("a name"))
            .collect()
    }

    /// The line of a check.
    fn line(&self, check: &str) -> &Value {
        let mut lines = self.lines.iter();
        let found = lines.find(|line| line["check"] == check);
        found.unwrap_or_else(|| panic!("{check}: not there"))
    }

    /// Expects that one check alone failed, with these words in what was seen and in its fix.
    fn fails(&self, check: &str, seen: &str, fixes: &[&str]) {
        assert_eq!(self.all("failed"), [check]);
        let line = self.line(check);
        let text = |name: &str| line[name].as_str().expect("a text");
        assert!(text("seen").contains(seen), "{line}");
        for fix in fixes {
            assert!(text("fix").contains(fix), "{fix}: {line}");
        }
        assert!(matches!(self.exit, Some(1 | 3)), "{:?}", self.exit);
    }
}

const HERE: [&str; 4] = [
    "--allow-origin=https://app.example.com",
    "--heartbeat-ms=1000",
    "--token-key=hs256:0123456789abcdef0123456789abcdef",
    "--anonymous=on",
];

#[test]
fn nothing_fails_where_all_is_well() {
    for kind in [Kind::Nginx, Kind::HaProxy, Kind::Caddy] {
        let behind = Behind::start(kind, kind.config(), &HERE);
        let origin = ["--origin", "https://app.example.com"];
        let flags = [&origin[..], &["--api-key", KEY, "--wait-s", "60"]].concat();
        let findings = behind.doctor(&flags);
        let all = [
            "address", "port", "ready", "clock", "key", "upgrade", "messages", "origin", "idle",
        ];
        assert_eq!(findings.all("ok"), all, "{kind:?}");
        assert_eq!(findings.exit, Some(0));
    }
}

#[test]
fn lines_are_for_people_without_json() {
    let server = Process::start(&[]);
    let url = format!("http://{}", server.authority);
    let mut command = roomcast();
    command.args(["doctor", &url, "--wait-s", "0"]);
    let output = command.args(["--origin", "https://a.example"]).output();
    let output = output.expect("a process");
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(1), "{text}");
    let lines: Vec<_> = text.lines().collect();
    assert!(
        lines[0].starts_with("ok       address     127.0.0.1:"),
        "{text}"
    );
    let failed = lines
        .iter()
        .position(|line| line.starts_with("FAILED   origin"));
    let fix = lines[failed.expect("it failed") + 1];
    assert!(
        fix.contains("fix: roomcast.toml of the server: allow_origins = [\"https://a.example\"]"),
        "{text}"
    );
    assert!(text.contains("skipped  key"), "{text}");
}

#[test]
fn a_closed_port_is_named() {
    let findings = doctor(&format!("http://127.0.0.1:{}", free_port()), &[]);
    findings.fails(
        "port",
        "nothing listens there",
        &["systemctl start roomcast", "--listen"],
    );
    assert_eq!(findings.exit, Some(3));
}

#[test]
fn a_name_without_an_address_is_named() {
    let findings = doctor("http://nobody.invalid", &[]);
    findings.fails("address", "nobody.invalid", &["DNS"]);
    assert_eq!(findings.exit, Some(3));
}

#[test]
fn a_wrong_key_is_named_and_a_right_one_taken() {
    let hash = roomcast::ApiKey::new("publisher").hashed();
    let keys = format!("{KEY},publish:{hash}");
    let server = Process::start(&["--api-key", &keys]);
    let url = format!("http://{}", server.authority);
    // A hash is for the server and is not sent.
    let findings = doctor_with(&url, &[], &[("ROOMCAST_API_KEY", &hash)]);
    assert!(findings.all("skipped").contains(&"key"));
    assert_eq!(findings.exit, Some(0));
    let findings = doctor(&url, &["--api-key", "wrong"]);
    findings.fails("key", "401", &["api_keys", "roomcast.toml", "--api-key"]);
    for key in [KEY, "publisher"] {
        let findings = doctor(&url, &["--api-key", key]);
        assert!(findings.all("ok").contains(&"key"));
        assert_eq!(findings.exit, Some(0));
    }
}

#[test]
fn a_server_that_wants_a_token_is_told_apart() {
    let secret = "hs256:0123456789abcdef0123456789abcdef";
    let server = Process::start(&["--token-key", secret]);
    let url = format!("http://{}", server.authority);
    let made = roomcast()
        .args(["token", "--key", secret, "--user", "ann"])
        .output();
    let token = String::from_utf8(made.expect("a process").stdout).expect("text");
    let findings = doctor(&url, &["--token", token.trim()]);
    let messages = findings
        .lines
        .iter()
        .find(|line| line["check"] == "messages");
    let seen = messages.expect("checked")["seen"].as_str().expect("text");
    assert!(seen.contains("user \"ann\""), "{seen}");
    let findings = doctor(&url, &["--token", "none"]);
    findings.fails("upgrade", "401", &["--token"]);
    assert_eq!(
        doctor(&url, &["--wait-s", "60"]).all("skipped"),
        ["key", "origin", "idle"]
    );
}
