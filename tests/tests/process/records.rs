//! The journal of a server: kept over restarts, and played again.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use roomcast_tests::server_binary;
use tokio::runtime::Builder;

use super::child::{Process, roomcast, run, write};
use crate::crowd::Client;

/// The files of a folder and what is in them.
fn files(folder: &Path) -> BTreeMap<PathBuf, String> {
    let all = fs::read_dir(folder).expect("a folder");
    let paths = all.map(|file| file.expect("a file").path());
    paths
        .map(|path| (path.clone(), fs::read_to_string(path).expect("readable")))
        .collect()
}

/// A client that joins a room, publishes and reads its own; gives its id and the texts that it got.
fn chat(process: &Process, room: &str, count: u64) -> (String, Vec<String>) {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut client = Client::connect(&process.authority).await;
        client.join(room, None).await;
        let mut got = Vec::new();
        for number in 0..count {
            let text = format!(
                "{{\"event\":\"n\",\"id\":{number},\"room\":\"{room}\",\"echo\":true,\"data\":[{number},\n1]}}"
            );
            assert!(client.send(text).await);
            for _ in ["the message", "the answer"] {
                got.push(client.text().await.expect("a text").replace('\n', " "));
            }
        }
        (client.conn.clone(), got)
    })
}

fn replay(arguments: &[&str]) -> String {
    let output = roomcast().arg("replay").args(arguments).output();
    let output = output.expect("a process");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_restart_keeps_the_journal_of_what_was_before_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = folder.path().join("journal");
    let flag = format!("--record={}", journal.display());
    let mut before = BTreeMap::<PathBuf, String>::new();
    let mut heard = Vec::new();
    for (end, threads) in [("KILL", "1"), ("TERM", "2"), ("KILL", "3")] {
        let mut process = Process::start(&[&flag, "--threads", threads]);
        heard.push(chat(&process, "r", 3));
        process.until("the answers are in the journal", |_| {
            let all: String = files(&journal).into_values().collect();
            all.matches(r#"\"data\":[2,\n1]"#).count() == heard.len()
        });
        process.signal(end);
        process.ended();
        let after = files(&journal);
        for (path, text) in &before {
            assert_eq!(after.get(path), Some(text), "{}", path.display());
        }
        assert_eq!(after.len(), before.len() + 1);
        before = after;
    }
    let whole = replay(&[journal.to_str().expect("text")]);
    for (conn, texts) in &heard {
        for text in texts {
            let line = format!("\tsend\t{conn}\t{text}");
            assert!(whole.contains(&line), "{line}");
        }
    }
}

#[test]
fn what_is_no_folder_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("j.log");
    write(&path, "evidence");
    let flag = format!("--record={}", path.display());
    let (code, said) = run(&["--listen=127.0.0.1:0", &flag]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("a folder is wanted"), "{said}");
    assert_eq!(fs::read_to_string(&path).expect("there"), "evidence");
}

#[test]
fn parts_of_a_journal_replay_as_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let flag = format!("--record={}", folder.path().display());
    let mut process = Process::start(&[&flag, "--record-bytes-max=1000", "--threads=2"]);
    let (conn, got) = chat(&process, "r", 40);
    process.signal("TERM");
    assert_eq!(process.ended().code(), Some(0));
    let parts = files(folder.path());
    assert!(parts.len() > 3, "{}", parts.len());
    let whole = replay(&[folder.path().to_str().expect("text")]);
    for text in &got {
        assert!(
            whole.contains(&format!("\tsend\t{conn}\t{text}\n")),
            "{text}"
        );
    }
    let paths: Vec<_> = parts
        .keys()
        .map(|path| path.to_str().expect("text"))
        .collect();
    assert_eq!(replay(&paths), whole);
    // One that is missing is named.
    let (code, said) = run(&["replay", paths[0], paths[2]]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("part 3 of the journal"), "{said}");
}

#[test]
fn a_replay_shows_when_what_input_led_to_what() {
    let folder = tempfile::tempdir().expect("a folder");
    let flag = format!("--record={}", folder.path().display());
    let mut process = Process::start(&[&flag]);
    let (conn, _) = chat(&process, "red", 2);
    chat(&process, "blue", 2);
    process.signal("TERM");
    process.ended();
    let path = folder.path().to_str().expect("text");
    let whole = replay(&[path]);
    let mut input = None;
    for line in whole.lines() {
        let columns: Vec<_> = line.split('\t').collect();
        assert!(
            columns[0].starts_with("20") && columns[0].ends_with('Z'),
            "{line}"
        );
        match columns[3] {
            "input" | "start" | "open" => input = Some(columns[..3].to_vec()),
            _ => assert_eq!(input, Some(columns[..3].to_vec()), "{line}"),
        }
    }
    let red = replay(&[path, "--room", "red"]);
    assert!(
        red.contains(r#"\"room\":\"red\""#) && !red.contains("blue"),
        "{red}"
    );
    assert!(red.lines().count() >= 6, "{red}");
    let times: Vec<_> = whole
        .lines()
        .map(|line| line.split('\t').next().expect("a time"))
        .collect();
    let (first, last) = (times[0], times[times.len() - 1]);
    let from_last = replay(&[path, "--since", last]);
    assert!(from_last.lines().all(|line| line.starts_with(last)) && !from_last.is_empty());
    let before_last = replay(&[path, "--until", last]);
    assert_eq!(before_last + &from_last, whole);
    assert_eq!(replay(&[path, "--until", first]), "");
    // A line break from a client does not start a new line.
    let sent = replay(&[path, "--namespace", "default", "--conn", &conn]);
    assert!(
        sent.lines()
            .all(|line| line.starts_with('{') && line.ends_with('}')),
        "{sent}"
    );
}

#[test]
fn a_file_that_may_not_grow_ends_the_recording_and_not_the_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new("sh");
    // Blocks of 512 bytes.
    command
        .args(["-c", r#"ulimit -f 8; exec "$@""#, "sh"])
        .arg(server_binary());
    command.args(["--listen", "127.0.0.1:0", "--record"]);
    command.arg(folder.path()).env_clear();
    let mut process = Process::run(command);
    chat(&process, "r", 60);
    process.logged("recording ends here");
    assert_eq!(chat(&process, "r", 2).1.len(), 4);
    process.signal("TERM");
    assert_eq!(process.ended().code(), Some(0));
}

#[test]
fn new_policies_are_a_part_of_the_journal() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("roomcast.toml");
    write(&config, "[[rooms]]\nmatch = \"r\"\n");
    let journal = folder.path().join("journal");
    let record = format!("--record={}", journal.display());
    let flag = format!("--config={}", config.display());
    let mut process = Process::start(&[&record, &flag, "--threads=2"]);
    // Somebody stays, and the namespace with it.
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let stays = runtime.block_on(Client::connect(&process.authority));
    let before = chat(&process, "r", 1);
    write(&config, "[[rooms]]\nmatch = \"r\"\nhistory.messages = 5\n");
    process.signal("HUP");
    process.logged("again");
    let after = chat(&process, "r", 1);
    let counted = |texts: &[String]| texts.iter().any(|text| text.contains("\"offset\":1"));
    assert!(!counted(&before.1) && counted(&after.1), "{after:?}");
    drop(stays);
    process.signal("TERM");
    process.ended();
    let whole = replay(&[journal.to_str().expect("text")]);
    for (conn, texts) in [before, after] {
        for text in texts {
            let line = format!("\tsend\t{conn}\t{text}");
            assert!(whole.contains(&line), "{line}");
        }
    }
    assert!(whole.contains("set_policies"), "{whole}");
}
