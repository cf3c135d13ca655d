//! The file of `--config`: its settings, and the commands on it.

use std::{fs, path::PathBuf, process::Output};

use tempfile::TempDir;

use super::child::{Process, roomcast, write};
use crate::tokens::unidentified;

fn file(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("roomcast.toml");
    write(&path, text);
    (folder, path)
}

fn run(arguments: &[&str]) -> Output {
    roomcast().args(arguments).output().expect("a process")
}

#[test]
fn a_flag_wins_over_a_variable_and_that_over_the_file() {
    let (_folder, path) = file(
        "listen = \"127.0.0.1:0\"\nheartbeat_ms = 9000\nmessage_bytes_max = 4096\n\
         rooms_per_connection_max = 3\n",
    );
    let mut command = roomcast();
    command.arg("serve").arg("--config").arg(&path);
    command.arg("--rooms-per-connection-max=5");
    command.env("ROOMCAST_HEARTBEAT_MS", "8000");
    command.env("ROOMCAST_ROOMS_PER_CONNECTION_MAX", "4");
    let process = Process::run(command);
    let (_, welcome) = unidentified(&process.authority);
    for member in [
        r#""heartbeat_ms":8000"#,
        r#""message_bytes":4096"#,
        r#""rooms_per_connection":5"#,
    ] {
        assert!(welcome.contains(member), "{member}: {welcome}");
    }
}

#[test]
fn a_wrong_file_ends_the_server_with_the_line() {
    for (text, says) in [
        (
            "\nheartbet_ms = 1\n",
            ":2: `heartbet_ms` is no setting: `heartbeat_ms` may be meant",
        ),
        ("threads = 0\n", ":1: `threads` must be 1 to 1024"),
        (
            "token_key = [\"s3cret\"]\nthreads = [1]\n",
            ":2: `threads`: it must be",
        ),
        (
            "threads = 1\nthre-ads = 2\n",
            ":2: `thre-ads` is no setting: `threads` may be meant",
        ),
        (
            "heartbeat_ms = 1_000\nheartbeat-ms = 2\n",
            ":2: `heartbeat-ms` is no setting: `heartbeat_ms` may be meant",
        ),
        (
            "threads = 1\nlisten = \"127.0.0.1:0\"\nlisten = \"127.0.0.1:1\"\n",
            ":3: `listen` is there twice",
        ),
        ("threads = 1_000_000\n", ":1: `threads` must be 1 to 1024"),
        (
            "listen = \"0.0.0.0:0\"\n",
            "listening on 0.0.0.0:0 without an API key",
        ),
    ] {
        let (_folder, path) = file(text);
        let path = path.to_str().expect("text");
        for arguments in [&["serve", "--config", path][..], &["config", "check", path]] {
            let output = run(arguments);
            assert_eq!(output.status.code(), Some(2), "{output:?}");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains(says) && !said.contains("s3cret"), "{said}");
        }
    }
}

#[test]
fn a_check_names_each_line_that_must_change() {
    let (_folder, path) = file(
        "threds = 2\nheartbeat_ms = 0\n[[rooms]]\nmatch = \"a\"\nmtach = 1\n\
         [[grants]]\nfor = \"users\"\nrooms = \"b\"\ncan = [\"publsh\"]\n",
    );
    let output = run(&["config", "check", path.to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    let name = format!("{}:", path.display());
    let lines = said.lines().filter_map(|line| line.split_once(&name));
    let lines: Vec<_> = lines
        .filter_map(|(_, rest)| rest.split(':').next())
        .collect();
    assert_eq!(lines, ["1", "2", "5", "9"], "{said}");
}

/// A file that a server refuses at its start is an error of its check.
#[test]
fn a_check_reads_the_files_that_a_file_names() {
    let hook = |key: &str| {
        format!(
            "\n[[hooks]]\ntell = \"http://127.0.0.1:1/\"\nevents = [\"room.vacated\"]\nkeys = [\"{key}\"]\n"
        )
    };
    let ask = |key: &str| {
        format!("\n[ask]\nurl = \"http://127.0.0.1:1/\"\non = [\"join\"]\nkeys = [\"{key}\"]\n")
    };
    let tls = "threads = 1\ntls_cert = \"/nope.pem\"\ntls_key = \"/nope.key\"\n";
    for (text, says) in [
        (tls.to_owned(), ":2: --tls-cert /nope.pem: "),
        (
            "token_key = [\"/nope.pem\"]\n".to_owned(),
            ":1: --token-key has a key 1 that is no file",
        ),
        (ask("file:/nope"), ":2: the file /nope of `keys` cannot be"),
        (hook("file:/nope"), ":2: the file /nope of `keys` cannot be"),
    ] {
        let (_folder, path) = file(&text);
        let path = path.to_str().expect("text");
        let output = run(&["config", "check", path]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(&format!("{path}{says}")), "{said}");
        let output = run(&["serve", "--config", path]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        // This command only explains rooms.
        let output = run(&["config", "explain", "lobby", "--config", path]);
        assert!(output.status.success(), "{output:?}");
    }
    // It may be set where the server runs.
    let (_folder, path) = file(&hook("env:NOPE_KEY"));
    let output = run(&["config", "check", path.to_str().expect("text")]);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    let warning = ":2: the variable NOPE_KEY of `keys` is not set here";
    assert!(said.contains(warning), "{said}");
}

#[test]
fn a_check_warns_of_patterns_that_fit_more_than_is_meant() {
    let grant = "[[grants]]\nfor = \"users\"\nrooms = \"org:acme*\"\ncan = [\"join\"]\n";
    let (_folder, path) = file(grant);
    let output = run(&["config", "check", path.to_str().expect("text")]);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("org:acme*"), "{said}");
}

#[test]
fn grants_for_anyone_where_anonymous_clients_are_refused_have_a_warning() {
    let rule = |who: &str, rooms: &str| {
        format!("[[grants]]\nfor = \"{who}\"\nrooms = \"{rooms}\"\ncan = [\"join\"]\n")
    };
    let anyone = [
        rule("users", "a"),
        rule("anyone", "news"),
        rule("anyone", "b"),
    ]
    .concat();
    let key = "token_key = [\"hs256:a secret of at least thirty-two bytes\"]\n";
    for (settings, grants, warns) in [
        ("anonymous = \"off\"\n".to_owned(), &anyone, true),
        (key.to_owned(), &anyone, true),
        (format!("{key}anonymous = \"on\"\n"), &anyone, false),
        (String::new(), &anyone, false),
        (key.to_owned(), &rule("users", "a"), false),
    ] {
        let (_folder, path) = file(&(settings + grants));
        let path = path.to_str().expect("text");
        let output = run(&["config", "check", path]);
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        let warning = r#"the rule for "news" (and 1 more) is for "anyone""#;
        assert_eq!(said.contains(warning), warns, "{said}");
        assert_eq!(said.contains("ROOMCAST_ANONYMOUS"), warns, "{said}");
        assert!(!said.contains("thirty-two"), "{said}");
        let mut command = roomcast();
        command.args(["--listen", "127.0.0.1:0", "--config", path]);
        let log = Process::unstarted(command).log_up_to("listening on http");
        assert_eq!(log.contains(warning), warns, "{log}");
    }
}

#[test]
fn a_setting_that_changed_waits_for_a_restart_and_is_named() {
    let (_folder, path) = file("heartbeat_ms = 9000\nthreads = 1\n");
    let flag = format!("--config={}", path.display());
    let mut process = Process::start(&[&flag]);
    write(
        &path,
        "heartbeat_ms = 8000\nthreads = 1\nlog = \"debug\"\n[[rooms]]\nmatch = \"a\"\n",
    );
    process.signal("HUP");
    process.logged("read ");
    let line = process.logged("at the start alone");
    assert!(line.contains("alone: heartbeat_ms, log"), "{line}");
    for (text, says) in [
        ("threds = 1\n", ":1: `threds` is no setting"),
        (
            "threads = 0\n[[rooms]]\nmatch = \"b\"\n",
            ":1: `threads` must be 1 to 1024",
        ),
    ] {
        write(&path, text);
        process.signal("HUP");
        let line = process.logged("nothing was changed");
        assert!(line.contains(says), "{line}");
    }
}

#[test]
fn the_file_that_is_printed_is_one_that_can_be_used() {
    let printed = run(&["config", "default"]).stdout;
    let (_folder, path) = file("");
    fs::write(&path, &printed).expect("written");
    let path = path.to_str().expect("text");
    let checked = run(&["config", "check", path]);
    assert!(checked.status.success(), "{checked:?}");
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(
        said.contains("0 settings, 0 room policies, 0 grants"),
        "{said}"
    );
    let explained = run(&["config", "explain", "lobby", "--config", path]);
    let said = String::from_utf8_lossy(&explained.stdout);
    assert!(said.starts_with("policy: none matches"), "{said}");
}
