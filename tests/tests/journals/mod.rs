//! Recorded journals of servers, replayed: each gives the same bytes as when it was recorded.
//! `tests/journals/README.md` describes their content and how to make them.

mod kept;
mod kinds;
mod record;

use std::{collections::BTreeSet, process::Command};

use roomcast_core::{
    Gateway, Outbox,
    journal::{Record, Replay},
};
use roomcast_tests::server_binary;

use crate::applications::{APPLICATIONS, users::users};

use self::{
    kept::{Journal, hold},
    kinds::{COMMANDS, INPUTS, input_kind},
};

/// Journals of the program alone: it replays them by itself.
const OF_ROOMS: [&str; 8] = [
    "plain",
    "namespaces",
    "threads",
    "histories",
    "keys",
    "losses",
    "identity",
    "backends",
];
/// The journal of a host with a gateway in each namespace.
const OF_GATEWAYS: &str = "application";

fn all() -> impl Iterator<Item = Journal> {
    let names = OF_ROOMS.into_iter().chain([OF_GATEWAYS]);
    names.map(Journal::read)
}

/// The gateway of a namespace of the journal `application`: that of the example which its name
/// begins with, or one that knows users by name.
fn gateway(namespace: &str) -> Box<dyn Gateway> {
    let name = namespace.split('-').next();
    match APPLICATIONS.iter().find(|known| name == Some(known.name)) {
        Some(known) => (known.gateway)(),
        None => Box::new(users()),
    }
}

/// Returns all commands of the core for a journal, one in each line, after the line number of the
/// input.
fn commands(journal: &Journal) -> String {
    let gateways = match journal.name {
        OF_GATEWAYS => gateway,
        _ => |_: &str| Box::new(()) as Box<dyn Gateway>,
    };
    let (mut replay, mut out) = (Replay::with_gateways(gateways), Outbox::new());
    let mut text = String::new();
    for (number, entry) in journal.entries() {
        out.clear();
        let played = replay.apply(&entry, &mut out);
        played.unwrap_or_else(|fault| panic!("{}, line {number}: {fault}", journal.name));
        for command in &out {
            kept::write_command(&mut text, number, &command);
        }
    }
    text
}

#[test]
fn the_program_prints_the_same() {
    for name in OF_ROOMS {
        let journal = Journal::read(name);
        let replay = Command::new(server_binary())
            .arg("replay")
            .arg(&journal.folder)
            .env_clear()
            .output()
            .expect("a process");
        let said = String::from_utf8_lossy(&replay.stderr);
        assert_eq!((replay.status.code(), &*said), (Some(0), ""), "{name}");
        hold(&journal.folder.join("output"), &replay.stdout);
    }
}

/// All commands, also those that the program does not print: what is to be stored, what may be
/// dropped of a full queue.
#[test]
fn the_core_commands_the_same() {
    for journal in all() {
        let commands = commands(&journal);
        hold(&journal.folder.join("commands"), commands.as_bytes());
    }
}

#[test]
fn a_line_is_written_as_it_was_read() {
    for journal in all() {
        for ((number, entry), line) in journal.entries().zip(journal.lines()) {
            assert_eq!(entry.to_line(), line, "{}, line {number}", journal.name);
        }
    }
}

/// Every kind of input and of command is in a journal: a kind in no journal could change unnoticed.
#[test]
fn the_journals_have_every_kind_of_input_and_of_command() {
    let (mut inputs, mut given) = (BTreeSet::new(), BTreeSet::new());
    for journal in all() {
        for (_, entry) in journal.entries() {
            if let Record::Input(input) = &entry.record {
                inputs.insert(input_kind(input));
            }
        }
        for line in commands(&journal).lines() {
            given.extend(line.split('\t').nth(1).map(str::to_owned));
        }
    }
    // `skip_due` is of the worker alone, which records nothing; `relay` of several nodes, whose
    // journals `cluster/` replays.
    let expected = INPUTS.into_iter();
    let expected = expected.filter(|kind| !matches!(*kind, "skip_due" | "relay"));
    assert_eq!(inputs, expected.collect());
    // Only a host that lets its rooms' messages go, as the worker does, is asked for them.
    let expected = COMMANDS.into_iter();
    let expected = expected.filter(|kind| !matches!(*kind, "load_history" | "relay"));
    assert_eq!(given, expected.map(str::to_owned).collect());
}
