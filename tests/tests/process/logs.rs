//! A log that cannot be written, or that nobody reads: only lines are lost.

use std::{
    fs::OpenOptions,
    io::{PipeReader, Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use roomcast_tests::server_binary;
use rustix::process::{Resource, Rlimit};
use tempfile::TempDir;

use super::child::{Process, roomcast, run};
use crate::peer::{Peer, Said, free_port};

fn full() -> Stdio {
    let full = OpenOptions::new().write(true).open("/dev/full");
    full.expect("/dev/full").into()
}

/// A pipe without a reader.
fn broken() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

/// Connects, and reads the bytes that come until the end.
fn stay(process: &Process) -> impl FnOnce() -> String + use<> {
    let mut stream = TcpStream::connect(&process.authority).expect("connected");
    let request = format!(
        "GET /ws HTTP/1.1\r\nhost: {}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-protocol: roomcast.v1\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        process.authority
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut head = [0; 12];
    stream.read_exact(&mut head).expect("an answer");
    assert_eq!(&head, b"HTTP/1.1 101");
    move || {
        let mut bytes = Vec::new();
        // Not in order, for nothing answers the close.
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[test]
fn a_server_whose_log_cannot_be_written_starts_serves_and_ends_in_order() {
    for stderr in [full(), broken()] {
        let flags = ["--close-wait-ms=200", "--log-format=json"];
        let mut process = Process::with_log(stderr, &flags);
        let client = stay(&process);
        process.signal("TERM");
        assert!(client().contains("$bye"));
        assert_eq!(process.ended().code(), Some(0));
    }
}

#[test]
fn a_server_outlives_the_reader_of_its_log() {
    let mut process = Process::start(&["--close-wait-ms=200", "--log=debug"]);
    process.drop_log();
    let client = stay(&process);
    assert_eq!(process.get("/healthz"), Some(200));
    process.signal("TERM");
    assert!(client().contains("$bye"));
    assert_eq!(process.ended().code(), Some(0));
}

/// Texts of strangers and of panics stay in their lines.
#[test]
fn every_line_of_a_log_in_json_is_an_object() {
    let flags = ["--close-wait-ms=200", "--log=debug", "--log-format=json"];
    let mut process = Process::start(&flags);
    let fields = "Origin: https://a.example\r\nX-Forwarded-For: \"\u{fc}\r\n";
    let request = format!("GET /ws HTTP/1.1\r\nHost: \"a\\b\r\n{fields}\r\n");
    assert!(process.request(&request).is_some());
    assert_eq!(process.request("nonsense\r\n\r\n"), Some(400));
    let client = stay(&process);
    process.signal("TERM");
    client();
    let log = process.rest_of_log();
    assert_eq!(process.ended().code(), Some(0));
    let mut levels = Vec::new();
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect(line);
        for name in ["timestamp", "level", "target", "message"] {
            assert!(line[name].is_string(), "{name}: {line}");
        }
        levels.push(line["level"].as_str().expect("a level").to_owned());
    }
    for level in ["DEBUG", "INFO"] {
        assert!(levels.iter().any(|found| found == level), "{log}");
    }
}

#[test]
fn the_last_words_of_a_server_are_json_too() {
    let (_folder, config) = kept_rooms();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address").to_string();
    let (code, said) = run(&["--listen", &taken, "--log-format=json", &config]);
    assert_eq!(code, Some(1));
    let last = said.lines().last().expect("a line");
    let last: serde_json::Value = serde_json::from_str(last).expect(last);
    let message = last["message"].as_str().expect("a text");
    assert!(message.contains("choose another --listen"), "{message}");
}

#[test]
fn faults_of_settings_are_json_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("roomcast.toml");
    let text = "log_format = \"json\"\nadmin_listen = \"0.0.0.0:0\"\n";
    std::fs::write(&file, text).expect("written");
    let config = format!("--config={}", file.display());
    for flags in [
        &["--log-format=json", "--admin-listen=0.0.0.0:0"][..],
        &["--log-format=json", "--config=/nowhere"],
        &[&config],
    ] {
        let (code, said) = run(&[&["--listen=127.0.0.1:0"], flags].concat());
        assert_eq!(code, Some(2), "{said}");
        let said: serde_json::Value = serde_json::from_str(&said).expect(&said);
        assert_eq!(said["level"], "ERROR", "{said}");
    }
}

#[test]
fn refusals_are_logged_with_the_setting_that_helps() {
    let flags = [
        "--connections-max=1",
        "--namespaces=default",
        "--api-key=test-key",
    ];
    let mut process = Process::start(&flags);
    let host = format!("Host: {}\r\n", process.authority);
    let call = format!("GET /api/v1/default/rooms HTTP/1.1\r\n{host}\r\n");
    assert_eq!(process.request(&call), Some(401));
    let line = process.logged("refused an API call");
    assert!(
        line.contains("WARN") && line.contains("--api-key"),
        "{line}"
    );
    let _only = Peer::connect(&process.authority, "");
    for (path, status, said, setting) in [
        ("/ws", 503, "refused a connection", "--connections-max"),
        ("/ws/other", 404, "refused a namespace", "--namespaces"),
    ] {
        let head = Peer::silent(&process.authority).ask(&process.authority, path, "");
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
        let line = process.logged(said);
        assert!(line.contains(setting), "{line}");
    }
}

/// A pipe holds 64 KiB, which nobody takes here: it fills up, or is full from the start.
#[test]
fn nobody_waits_for_a_reader_of_the_log_that_does_not_read() {
    let flags = ["--log=debug", "--close-wait-ms=200"];
    let (_reader, full) = stuck();
    for mut process in [Process::start(&flags), Process::with_log(full, &flags)] {
        for _ in 0..2_000 {
            // Each is worth a line.
            assert_eq!(process.request("nonsense\r\n\r\n"), Some(400));
        }
        let client = stay(&process);
        assert_eq!(process.get("/healthz"), Some(200));
        let begun = Instant::now();
        process.signal("TERM");
        assert!(client().contains("$bye"));
        assert_eq!(process.ended().code(), Some(0));
        // The log may take half a second at the end; a busy machine takes longer for the rest.
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(15), "{took:?}");
    }
}

/// A full pipe that nobody reads.
fn stuck() -> (PipeReader, Stdio) {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(&[b'x'; 64 * 1024]).expect("there is room");
    (reader, writer.into())
}

#[test]
fn nobody_waits_for_a_reader_of_last_words() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = listener.local_addr().expect("an address").to_string();
    for (arguments, code) in [
        (vec!["--listen", "nowhere"], 2),
        (vec!["--config", "/nowhere"], 2),
        (vec!["--threads", "0"], 2),
        (vec!["--listen", &taken], 1),
        (vec!["replay", "/nowhere"], 1),
    ] {
        let (_reader, stderr) = stuck();
        let mut command = roomcast();
        let child = command
            .args(&arguments)
            .stdout(Stdio::null())
            .stderr(stderr);
        let child = child.spawn().expect("a process");
        let mut process = Process::adopt(child, String::new());
        assert_eq!(process.ended().code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn a_server_that_fails_waits_for_no_reader() {
    let (folder, config) = kept_rooms();
    let (_reader, stderr) = stuck();
    let store = format!("--store={}", folder.path().join("store").display());
    let mut process = Process::with_log(stderr, &[&config, &store]);
    let mut peer = Peer::connect(&process.authority, "");
    let id = rustix::process::Pid::from_raw(process.id().cast_signed());
    let limit = Rlimit {
        current: Some(1),
        maximum: None,
    };
    rustix::process::prlimit(id, Resource::Fsize, limit).expect("a limit");
    peer.say(r#"{"event":"e","id":1,"room":"r"}"#);
    assert_eq!(peer.next(), Said::End);
    assert_eq!(process.ended().code(), Some(1));
}

/// The log cannot tell of its own failure.
#[test]
fn a_stranger_who_takes_all_descriptors_does_not_end_a_server_without_a_log() {
    let authority = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new("sh");
    let script = r#"ulimit -n 90; exec "$@" 2>/dev/full"#;
    command.args(["-c", script, "sh"]).arg(server_binary());
    command.args(["--listen", &authority]).env_clear();
    let child = command.spawn().expect("a process");
    let mut process = Process::adopt(child, authority);
    process.until("it serves", |process| process.get("/healthz") == Some(200));
    let all = take_all(&process);
    process.until("it accepts no more", |process| process.descriptors() >= 70);
    drop(all);
    process.until("it serves again", |process| {
        process.get("/healthz") == Some(200)
    });
}

/// More connections than descriptors.
fn take_all(process: &Process) -> Vec<TcpStream> {
    let connect = |_| TcpStream::connect(&process.authority).expect("the backlog has room");
    (0..120).map(connect).collect()
}

/// A folder, and the flag for a file in it with a policy for histories.
fn kept_rooms() -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rooms.toml");
    std::fs::write(&path, "[[rooms]]\nmatch = \"*\"\nhistory.messages = 9\n").expect("written");
    (folder, format!("--config={}", path.display()))
}

/// A server with a store, which may open so many files.
fn with_store(files: usize) -> (TempDir, Process) {
    let (folder, config) = kept_rooms();
    let mut command = Command::new("sh");
    let script = format!(r#"ulimit -n {files}; exec "$@""#);
    command.args(["-c", &script, "sh"]).arg(server_binary());
    command.args(["--listen=127.0.0.1:0", &config]);
    command.arg("--store").arg(folder.path().join("store"));
    command.env_clear();
    (folder, Process::run(command))
}

fn publish(peer: &mut Peer) {
    for _ in 0..20 {
        peer.say(r#"{"event":"e","id":1,"room":"r"}"#);
        assert!(matches!(peer.next(), Said::Text(text) if text.contains("offset")));
    }
}

#[test]
fn a_stranger_who_takes_all_descriptors_leaves_some_to_the_store() {
    let (_folder, mut process) = with_store(90);
    let mut peer = Peer::connect(&process.authority, "");
    let _all = take_all(&process);
    process.until("it accepts no more", |process| process.descriptors() >= 70);
    publish(&mut peer);
    assert!(process.descriptors() < 90);
    process.signal("TERM");
    process.logged("shutting down");
}

#[test]
fn a_store_goes_on_without_a_descriptor() {
    let (_folder, mut process) = with_store(1_000);
    let mut peer = Peer::connect(&process.authority, "");
    let id = rustix::process::Pid::from_raw(process.id().cast_signed());
    let limit = Rlimit {
        current: Some(3),
        maximum: Some(1_000),
    };
    rustix::process::prlimit(id, Resource::Nofile, limit).expect("a limit");
    publish(&mut peer);
    process.signal("KILL");
    let log = process.rest_of_log();
    assert!(!log.contains("ERROR"), "{log}");
}

/// Exit codes of the commands tell the outcome of the work, whoever reads what they print.
#[test]
fn commands_do_not_fail_for_want_of_a_reader() {
    let server = Process::start(&[]);
    let url = format!("http://{}", server.authority);
    let folder = tempfile::tempdir().expect("a folder");
    let journal = folder.path().join("j.jsonl");
    let lines = [
        r#"{"at":0,"namespace":"a","open":{"config":{"epoch":"e"},"state":{"next_serial":0}}}"#,
        r#"{"at":1,"namespace":"a","input":{"connect":{}}}"#,
        "cut",
    ];
    std::fs::write(&journal, lines.join("\n")).expect("written");
    let journal = journal.display().to_string();
    for (arguments, code) in [
        (vec!["send", "--url", &url, "--all", "e", "1"], 0),
        (vec!["replay", &journal], 0),
        (vec!["replay", "/nowhere"], 1),
        (vec!["--listen", "nowhere"], 2),
        (vec!["--log", "a=b=c"], 2),
        (vec!["--config", "/nowhere"], 2),
        (vec!["--threads", "0"], 2),
        (vec!["join", "--url", "http://127.0.0.1:1", "r"], 3),
        (vec!["send", "--url", "http://127.0.0.1:1", "--all", "e"], 3),
        (vec!["--help"], 0),
        (
            vec![
                "bench",
                &url,
                "--connections=2",
                "--rate=10",
                "--rooms=1",
                "--duration-s=1",
                "--warmup-s=0",
            ],
            0,
        ),
    ] {
        for (name, stdout, stderr) in [
            ("no reader", broken(), broken()),
            ("a full disk for remarks", Stdio::null(), full()),
        ] {
            let mut command = roomcast();
            let command = command.args(&arguments).stdout(stdout).stderr(stderr);
            let status = command.status().expect("a process");
            assert_eq!(status.code(), Some(code), "{arguments:?}: {name}");
        }
    }
    // Output that cannot be written is a failure.
    let status = roomcast()
        .args(["replay", &journal])
        .stdout(full())
        .status();
    assert_eq!(status.expect("a process").code(), Some(1));
    assert_eq!(run(&["--threads", "0"]).1.lines().count(), 1);
}
