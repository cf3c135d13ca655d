//! Effects of signals.

use std::{future::Future, path::PathBuf, thread, time::Duration};

use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Builder;

use super::child::{Process, write};
use crate::crowd::Client;

fn block_on<R>(future: impl Future<Output = R>) -> R {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

fn config(text: &str) -> (TempDir, PathBuf, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("roomcast.toml");
    write(&path, text);
    let flag = format!("--config={}", path.display());
    (folder, path, flag)
}

async fn ask(client: &mut Client, text: &str) -> Value {
    assert!(client.send(text.into()).await, "the socket is open");
    client.next().await.expect("an answer")
}

#[test]
fn a_signal_to_stop_says_goodbye_to_everybody() {
    for signal in ["TERM", "INT", "QUIT"] {
        let mut process = Process::start(&["--threads=2"]);
        block_on(async {
            let mut client = Client::connect(&process.authority).await;
            process.signal(signal);
            let bye = client.next().await.expect("a message");
            assert_eq!(bye["event"], "$bye", "{signal}");
            assert_eq!(client.next().await, Err(1001), "{signal}");
        });
        assert_eq!(process.ended().code(), Some(0), "{signal}");
    }
}

#[test]
fn a_second_signal_to_stop_ends_at_once() {
    for (first, second) in [("TERM", "QUIT"), ("QUIT", "INT")] {
        let mut process = Process::start(&["--drain-delay-ms=3600000"]);
        process.signal(first);
        process.logged("shutting down");
        process.signal(second);
        assert_eq!(process.ended().code(), Some(1));
        assert!(process.rest_of_log().contains("stopped by a second signal"));
    }
}

#[test]
fn a_hangup_without_a_file_changes_nothing() {
    let mut process = Process::start(&[]);
    process.signal("HUP");
    process.logged("nothing to read again");
    assert_eq!(process.get("/healthz"), Some(200));
    process.signal("TERM");
    assert_eq!(process.ended().code(), Some(0));
}

#[test]
fn a_hangup_brings_new_policies_to_rooms_that_there_are() {
    for threads in ["1", "3"] {
        let (_folder, path, flag) = config("[[rooms]]\nmatch = \"chat:*\"\nhistory.messages = 9\n");
        let mut process = Process::start(&[&flag, "--threads", threads]);
        block_on(async {
            let mut client = Client::connect(&process.authority).await;
            let before = client.join("chat:a", None).await.position;
            let publish = r#"{"event":"n","id":1,"room":"chat:a","data":1}"#;
            assert_eq!(ask(&mut client, publish).await["data"]["offset"], 1);
            let members = r#"{"event":"$members","id":2,"room":"chat:a"}"#;
            assert_eq!(
                ask(&mut client, members).await["error"]["code"],
                "forbidden"
            );

            let policy = "history.messages = 9\npresence = \"members\"\n";
            write(&path, &format!("[[rooms]]\nmatch = \"chat:*\"\n{policy}"));
            process.signal("HUP");
            let line = process.logged("again");
            assert!(line.contains("policies ~chat:*"), "{line}");
            assert_eq!(ask(&mut client, members).await["data"]["users"], 1);
            assert_eq!(ask(&mut client, publish).await["data"]["offset"], 2);
            let mut other = Client::connect(&process.authority).await;
            let after = other.join("chat:a", Some((&before, "0"))).await;
            assert_eq!(
                (after.position.epoch, after.recovered),
                (before.epoch, Some(true))
            );

            write(&path, "# none\n");
            process.signal("HUP");
            let line = process.logged("again");
            assert!(line.contains("policies -chat:*"), "{line}");
            let mut third = Client::connect(&process.authority).await;
            assert_eq!(third.join("chat:a", None).await.position.offset, 0);
        });
        process.signal("TERM");
        assert_eq!(process.ended().code(), Some(0));
    }
}

#[test]
fn a_hangup_changes_keys_and_origins_and_tells_no_key() {
    let (_folder, path, flag) = config("api_keys = [\"old-key\"]\n");
    let mut process = Process::start(&[&flag, "--api-key=flag-key"]);
    let api = |process: &Process, key: &str| {
        let authority = &process.authority;
        process.request(&format!(
            "GET /api/v1/default/rooms HTTP/1.1\r\nhost: {authority}\r\nauthorization: Bearer {key}\r\n\
             connection: close\r\n\r\n"
        ))
    };
    let page = |process: &Process, origin: &str| {
        let authority = &process.authority;
        process.request(&format!(
            "GET /ws HTTP/1.1\r\nhost: {authority}\r\norigin: {origin}\r\nconnection: upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ))
    };
    let keys = ["flag-key", "old-key", "new-key"];
    let answers = |process: &Process| keys.map(|key| api(process, key).expect("an answer"));
    assert_eq!(answers(&process), [200, 200, 401]);
    let before = page(&process, "https://app.example.com");
    assert_eq!(before, Some(403));
    write(
        &path,
        "api_keys = [\"new-key\"]\nallow_origins = [\"https://*.example.com\"]\n",
    );
    process.signal("HUP");
    let line = process.logged("again");
    assert!(line.contains("API keys 1 new, 1 gone"), "{line}");
    assert!(line.contains("origins +https://*.example.com"), "{line}");
    assert!(
        !line.contains("new-key") && !line.contains("old-key"),
        "{line}"
    );
    assert_eq!(answers(&process), [200, 401, 200]);
    assert_eq!(page(&process, "https://app.example.com"), Some(101));
}

#[test]
fn a_file_with_a_fault_is_refused_whole() {
    let good = "api_keys = [\"a-key\"]\n[[rooms]]\nmatch = \"a\"\nhistory.messages = 2\n";
    let (_folder, path, flag) = config(good);
    let mut process = Process::start(&[&flag]);
    for (bad, says) in [
        (
            "api_keys = []\n[[rooms]]\nmatch = \"a\"\nhistory.messages = 0\n",
            ":4: ",
        ),
        ("api_keys = [\"b c\"]\n", ":1: `api_keys`: an API key has"),
        ("api_keys = [\"b,c\"]\n", ":1: `api_keys`: an API key has"),
        (
            "allow_origins = [\"*\"]\n",
            ":1: `allow_origins`: an origin is",
        ),
        (
            "[[room]]\n",
            ":1: `room` is no setting: `rooms` may be meant",
        ),
        ("\u{1}", ":1: "),
    ] {
        write(&path, bad);
        process.signal("HUP");
        let line = process.logged("nothing was changed");
        assert!(
            line.contains("roomcast.toml") && line.contains(says),
            "{line}"
        );
    }
    std::fs::remove_file(&path).expect("removed");
    process.signal("HUP");
    process.logged("cannot be read");
    block_on(async {
        let mut client = Client::connect(&process.authority).await;
        client.join("a", None).await;
        let publish = r#"{"event":"n","id":1,"room":"a","data":1}"#;
        assert_eq!(ask(&mut client, publish).await["data"]["offset"], 1);
    });
    assert_eq!(process.get("/api/v1/default/rooms"), Some(401));
    write(&path, good);
    process.signal("HUP");
    let line = process.logged("again");
    assert!(line.contains("nothing"), "{line}");
}

/// A file that is cut short must not open the API to all of this machine.
#[test]
fn a_hangup_does_not_take_the_last_key() {
    let (_folder, path, flag) = config("api_keys = [\"a-key\"]\n");
    let mut process = Process::start(&[&flag]);
    for lost in [
        "api_keys = []\n",
        "# api_keys = [\"a-key\"]\n",
        "allow_origins = [\"http://localhost:5173\"]\n",
        "[[rooms]]\nmatch = \"a\"\n",
    ] {
        write(&path, lost);
        process.signal("HUP");
        let line = process.logged("nothing was changed");
        assert!(line.contains("would have none"), "{line}");
        assert_eq!(process.get("/api/v1/default/rooms"), Some(401));
    }
    write(&path, "api_keys = [\"b-key\"]\n");
    process.signal("HUP");
    let line = process.logged("again");
    assert!(line.contains("API keys 1 new, 1 gone"), "{line}");
}

/// Editors may empty the file before they write.
#[test]
fn a_file_that_became_empty_takes_no_history_away() {
    let (_folder, path, flag) = config("[[rooms]]\nmatch = \"a\"\nhistory.messages = 2\n");
    let mut process = Process::start(&[&flag]);
    block_on(async {
        let mut client = Client::connect(&process.authority).await;
        client.join("a", None).await;
        let publish = r#"{"event":"n","id":1,"room":"a","data":1}"#;
        assert_eq!(ask(&mut client, publish).await["data"]["offset"], 1);
        for text in ["", " \n\n"] {
            write(&path, text);
            process.signal("HUP");
            let line = process.logged("nothing was changed");
            assert!(line.contains("is empty"), "{line}");
        }
        assert_eq!(ask(&mut client, publish).await["data"]["offset"], 2);
    });
}

/// A pipe has nothing left, and one with a name may never have anything.
#[test]
fn a_hangup_reads_no_pipe() {
    let (folder, path, _) = config("[[rooms]]\nmatch = \"a\"\nhistory.messages = 2\n");
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo").success());
    let text = std::fs::read(&path).expect("a file");
    let writer = thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::write(pipe, text)
    });
    let mut process = Process::start(&[&format!("--config={}", pipe.display())]);
    writer.join().expect("a thread").expect("written");
    process.signal("HUP");
    process.logged("is no regular file");
    block_on(async {
        let mut client = Client::connect(&process.authority).await;
        client.join("a", None).await;
        let publish = r#"{"event":"n","id":1,"room":"a","data":1}"#;
        assert_eq!(ask(&mut client, publish).await["data"]["offset"], 1);
    });
    process.signal("HUP");
    process.signal("TERM");
    assert_eq!(process.ended().code(), Some(0));
}

/// A server that anybody could reach must not lose its last key.
#[test]
fn a_hangup_does_not_open_a_public_server() {
    let (_folder, path, flag) = config("api_keys = [\"a-key\"]\n");
    let mut command = super::child::roomcast();
    command.args(["--listen=0.0.0.0:0", &flag]);
    let mut process = Process::run(command);
    write(&path, "");
    process.signal("HUP");
    let line = process.logged("nothing was changed");
    assert!(line.contains("--api-key"), "{line}");
}

#[test]
fn readiness_ends_before_the_listener_does() {
    // All that is done meanwhile may take long on a busy machine. Both wait at the same time.
    thread::scope(|scope| {
        for threads in ["1", "2"] {
            scope.spawn(move || readiness_ends(&["--drain-delay-ms=10000", "--threads", threads]));
        }
    });
}

fn readiness_ends(flags: &[&str]) {
    let mut process = Process::start(flags);
    assert_eq!(process.get("/readyz"), Some(200));
    block_on(async {
        let mut early = Client::connect(&process.authority).await;
        process.signal("TERM");
        process.until("it is not ready", |process| {
            process.get("/readyz") == Some(503)
        });
        // Everything else goes on.
        assert_eq!(process.get("/healthz"), Some(200));
        assert_eq!(process.get("/api/v1/default/rooms"), Some(200));
        let mut late = Client::connect(&process.authority).await;
        late.join("r", None).await;
        early.join("r", None).await;
        assert!(
            late.send(r#"{"event":"n","room":"r","data":1}"#.into())
                .await
        );
        assert_eq!(early.next().await.expect("a message")["event"], "n");
        for client in [&mut early, &mut late] {
            assert_eq!(client.next().await.expect("a message")["event"], "$bye");
            assert_eq!(client.next().await, Err(1001));
        }
    });
    assert_eq!(process.ended().code(), Some(0));
}

#[test]
fn without_a_delay_the_shutdown_begins_at_once() {
    let mut process = Process::start(&[]);
    let begun = std::time::Instant::now();
    process.signal("TERM");
    assert_eq!(process.ended().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(10));
}
