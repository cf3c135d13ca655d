//! Random stories give the same commands from the core as WebAssembly as natively, byte for byte.

use std::{
    io::Write as _,
    process::{Output, Stdio},
    thread,
};

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use roomcast_core::{
    Command, ConnId, Frame, Outbox,
    journal::{Entry, Replay},
    outbox::Class,
};
use roomcast_tests::{Cast, Driver, Op, Settings};
use sha2::{Digest, Sha256};

use super::{node, options};
use crate::stories::config;

/// In rooms with and without histories and presence, with a rate that is passed.
fn settings() -> Settings {
    let settings: Settings = "inbound_rate=1 inbound_burst=20"
        .parse()
        .expect("known settings");
    let policy = "l* history.messages=3 history.age_s=20 presence=members overflow=latest";
    settings.with_rooms(policy).expect("a policy")
}

fn stories() -> impl Strategy<Value = Vec<Op>> {
    let cast = || Cast::default().with_users(["ann"]).with_time();
    let plain = cast().with_namespaces(["red"]).with_welcome();
    let kept = cast().with_histories().with_keys();
    prop_oneof![plain.with_raw_texts().ops(1..=40), kept.ops(1..=60)]
}

fn journal(settings: &Settings, story: &[Op]) -> Vec<String> {
    let mut core = settings.core();
    for op in story {
        core.perform(op)
            .unwrap_or_else(|fault| panic!("{op}: {fault}"));
    }
    core.journal().to_vec()
}

/// The hash of all commands of a journal, and of the time of the next timeout after each input.
/// `tests/wasm/stories.mjs` writes the same.
fn native(journal: &[String]) -> String {
    let (mut replay, mut hash) = (Replay::new(), Sha256::new());
    for line in journal {
        let entry = Entry::parse(line).expect("an entry");
        let mut out = Outbox::new();
        replay.apply(&entry, &mut out).expect("opened");
        for command in &out {
            write(&mut hash, &command);
        }
        let hub = replay.hub(&entry.namespace).expect("opened");
        let next = hub.next_timeout().map(|at| at.as_millis().to_string());
        hash.update(format!("next {}\n", next.unwrap_or_default()));
    }
    let hash = hash.finalize();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn write(hash: &mut Sha256, command: &Command<'_>) {
    match *command {
        Command::Send { to, frame, class } => {
            let to: Vec<_> = to.iter().map(ConnId::to_string).collect();
            let (kind, class) = match (frame, class) {
                (Frame::Text(_), Class::Control | Class::Position(_)) => ("text", "control"),
                (Frame::Text(_), Class::Message) => ("text", "message"),
                (Frame::Text(_), Class::Sheddable(_)) => ("text", "droppable"),
                (Frame::Binary(_), _) => ("binary", "message"),
            };
            let bytes = frame.as_bytes();
            hash.update(format!("{kind} {class} {} {} ", to.join(","), bytes.len()));
            hash.update(bytes);
            hash.update("\n");
        }
        Command::Close { conn, code, reason } => {
            hash.update(format!("close {conn} {} {reason}\n", code.as_u16()));
        }
        Command::Ping { conn } => hash.update(format!("ping {conn}\n")),
        Command::Persist { .. }
        | Command::Append { .. }
        | Command::PersistRoom { .. }
        | Command::PersistKey { .. }
        | Command::LoadHistory { .. }
        | Command::Tell { .. } => {}
    }
}

/// `PROPTEST_CASES` says how many, 500 at least.
#[test]
fn the_core_as_webassembly_equals_the_native_one() {
    let settings = settings();
    let count = config(500).cases;
    let mut runner = TestRunner::new(config(0));
    let strategy = stories();
    let mut tell = || strategy.new_tree(&mut runner).expect("a story").current();
    let stories: Vec<Vec<Op>> = (0..count).map(|_| tell()).collect();
    let journals: Vec<_> = stories.iter().map(|ops| journal(&settings, ops)).collect();

    let (limits, policies) = options(&settings);
    let mut input = format!("{{\"settings\":{limits},\"policies\":{policies}}}\n");
    for journal in &journals {
        journal.iter().for_each(|line| input.extend([line, "\n"]));
        input.push('\n');
    }
    let Output { status, stdout, .. } = pass_through_node(input);
    assert!(status.success(), "tests/wasm/stories.mjs failed, see above");
    let stdout = String::from_utf8(stdout).expect("text");
    let hashes: Vec<_> = stdout.lines().collect();
    assert_eq!(hashes.len(), stories.len());
    for ((story, journal), hash) in stories.iter().zip(&journals).zip(hashes) {
        let lines = story.iter().map(|op| format!("{op}\n"));
        let story = || lines.collect::<String>();
        assert!(native(journal) == hash, "this differs:\n{}", story());
    }
}

fn pass_through_node(input: String) -> Output {
    let mut node = node("tests/wasm/stories.mjs");
    let node = node.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut node = node.spawn().expect("node is installed");
    let mut stdin = node.stdin.take().expect("piped");
    let writing = thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = node.wait_with_output().expect("its output");
    // Fails when Node has ended early, which its status says.
    let _ = writing.join();
    output
}
