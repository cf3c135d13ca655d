//! Random stories give the same bytes from the core as WebAssembly as natively.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hasher as _},
    io::{Read as _, Write as _},
    process::{Child, ChildStdin, Stdio},
    sync::mpsc::{SyncSender, sync_channel},
    thread,
};

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngSeed, TestRunner},
};
use roomcast_core::{
    Command, ConnId, Frame, Outbox,
    journal::{Entry, Replay},
    outbox::Class,
};
use roomcast_tests::{Cast, Driver, Op, Settings};

use super::{node, options};
use crate::stories::config;

/// Stories that are told natively before Node has read them.
const AHEAD_MAX: usize = 64;

/// In rooms with and without histories and presence, with a rate that is passed.
fn settings(history: &str) -> Settings {
    let settings: Settings = "inbound_rate=1 inbound_burst=20"
        .parse()
        .expect("known settings");
    let policy = format!("l* {history} history.age_s=20 presence=members overflow=latest");
    settings.with_rooms(&policy).expect("a policy")
}

fn stories() -> impl Strategy<Value = Vec<Op>> {
    let cast = || Cast::default().with_users(["ann"]).with_time();
    let plain = cast().with_namespaces(["red"]).with_welcome();
    let kept = cast().with_histories().with_keys();
    prop_oneof![plain.with_raw_texts().ops(1..=40), kept.ops(1..=60)]
}

/// A story as it was told natively.
struct Story {
    /// With it as `PROPTEST_RNG_SEED` the story is the first one.
    seed: u64,
    ops: Vec<Op>,
    journal: Vec<String>,
    /// The results of all lines, one behind the other, and the end of those of each line.
    results: Vec<u8>,
    ends: Vec<usize>,
}

impl Story {
    fn tell(seed: u64, strategy: &impl Strategy<Value = Vec<Op>>, settings: &Settings) -> Self {
        let mut runner = TestRunner::new(Config {
            rng_seed: RngSeed::Fixed(seed),
            ..config(0)
        });
        let ops = strategy.new_tree(&mut runner).expect("a story").current();
        let mut core = settings.core();
        for op in &ops {
            core.perform(op)
                .unwrap_or_else(|fault| panic!("{op}: {fault}"));
        }
        let journal = core.journal().to_vec();
        let (mut replay, mut out) = (Replay::new(), Outbox::new());
        let (mut results, mut ends) = (Vec::new(), Vec::new());
        for line in &journal {
            let entry = Entry::parse(line).expect("an entry");
            out.clear();
            replay.apply(&entry, &mut out).expect("opened");
            for command in &out {
                write(&mut results, &command);
            }
            let hub = replay.hub(&entry.namespace).expect("opened");
            let next = hub.next_timeout().map(|at| at.as_millis().to_string());
            let next = next.unwrap_or_default();
            results.extend(format!("next {next}\n").as_bytes());
            ends.push(results.len());
        }
        Self {
            seed,
            ops,
            journal,
            results,
            ends,
        }
    }

    /// Shows the first line that differs, with the input that led to it and the whole story.
    fn difference(&self, found: &[u8]) -> Option<String> {
        if self.results == found {
            return None;
        }
        let pairs = self.results.iter().zip(found);
        let at = pairs.take_while(|(expected, found)| expected == found);
        let at = at.count();
        let input = self.ends.partition_point(|end| *end <= at);
        let input = self.journal.get(input).map_or("its end", |line| line);
        let start = self.results[..at].iter().rposition(|byte| *byte == b'\n');
        let start = start.map_or(0, |before| before + 1);
        let line = |bytes: &[u8]| {
            let line = bytes[start..].split(|byte| *byte == b'\n').next();
            String::from_utf8_lossy(line.unwrap_or_default()).into_owned()
        };
        let (seed, expected, found) = (self.seed, line(&self.results), line(found));
        let story: String = self.ops.iter().map(|op| format!("{op}\n")).collect();
        Some(format!(
            "the story of PROPTEST_RNG_SEED={seed} differs behind\n{input}\n  \
             native: {expected}\n  wasm:   {found}\nThe story:\n{story}"
        ))
    }
}

/// Writes a command. `tests/wasm/stories.mjs` writes the same.
fn write(results: &mut Vec<u8>, command: &Command<'_>) {
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
            let head = format!("{kind} {class} {} {} ", to.join(","), bytes.len());
            results.extend_from_slice(head.as_bytes());
            results.extend_from_slice(bytes);
            results.push(b'\n');
        }
        Command::Close { conn, code, reason } => {
            let line = format!("close {conn} {} {reason}\n", code.as_u16());
            results.extend_from_slice(line.as_bytes());
        }
        Command::Ping { conn } => results.extend_from_slice(format!("ping {conn}\n").as_bytes()),
        Command::Persist { .. }
        | Command::Append { .. }
        | Command::PersistRoom { .. }
        | Command::PersistKey { .. }
        | Command::LoadHistory { .. }
        | Command::Relay(_)
        | Command::Tell { .. } => {}
    }
}

/// Sums over all stories that were compared.
#[derive(Debug, Default)]
struct Compared {
    stories: u32,
    inputs: usize,
    bytes: usize,
}

/// Compares so many stories, the first of this seed. `there` are the settings of the core as
/// WebAssembly.
fn compare(
    count: u32,
    seed: u64,
    there: &Settings,
    is_inspected: bool,
) -> Result<Compared, String> {
    let (limits, policies) = options(there);
    let mut node = node("tests/wasm/stories.mjs");
    let node = node.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut node = node.spawn().expect("node is installed");
    let mut stdin = node.stdin.take().expect("piped");
    let options =
        format!("{{\"settings\":{limits},\"policies\":{policies},\"inspect\":{is_inspected}}}\n");
    let (told, telling) = sync_channel(AHEAD_MAX);
    let teller = thread::spawn(move || {
        // Fails when Node has ended early, which its status says.
        let _ = stdin.write_all(options.as_bytes());
        tell(count, seed, &told, &mut stdin);
    });
    let mut compared = Compared::default();
    let found = telling.into_iter().try_for_each(|story: Story| {
        let results = results(&mut node)?;
        compared.stories += 1;
        compared.inputs += story.journal.len();
        compared.bytes += results.len();
        story.difference(&results).map_or(Ok(()), Err)
    });
    if found.is_err() {
        // Else it waits for the stories that are not told.
        let _ = node.kill();
    }
    let status = node.wait().expect("its status");
    teller.join().expect("the stories can be told");
    found.map(|()| assert!(status.success(), "tests/wasm/stories.mjs failed, see above"))?;
    Ok(compared)
}

/// Tells stories to both: to the one who compares, and to Node.
fn tell(count: u32, seed: u64, told: &SyncSender<Story>, stdin: &mut ChildStdin) {
    let (strategy, settings) = (stories(), settings("history.messages=3"));
    for number in 0..count {
        let story = Story::tell(seed.wrapping_add(number.into()), &strategy, &settings);
        let lines = story.journal.iter().map(|line| format!("{line}\n"));
        let journal = lines.collect::<String>() + "\n";
        if told.send(story).is_err() || stdin.write_all(journal.as_bytes()).is_err() {
            return;
        }
    }
}

/// The results of the next story, with their length before them.
fn results(node: &mut Child) -> Result<Vec<u8>, String> {
    let stdout = node.stdout.as_mut().expect("piped");
    let mut bytes = [0; 4];
    let read = stdout.read_exact(&mut bytes).and_then(|()| {
        let mut results = vec![0; u32::from_le_bytes(bytes) as usize];
        stdout.read_exact(&mut results).map(|()| results)
    });
    read.map_err(|_| "tests/wasm/stories.mjs ended early, see above".into())
}

/// The seed that the environment names, or another one each time.
fn seed() -> u64 {
    match Config::default().rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => RandomState::new().build_hasher().finish(),
    }
}

/// `PROPTEST_CASES` says how many more, `PROPTEST_RNG_SEED` which.
#[test]
fn the_core_as_webassembly_equals_the_native_one() {
    let seed = seed();
    let settings = settings("history.messages=3");
    let compared = compare(config(10_000).cases, seed, &settings, true);
    let Compared {
        stories,
        inputs,
        bytes,
    } = compared.unwrap_or_else(|difference| panic!("{difference}"));
    eprintln!(
        "{stories} stories from seed {seed}: {inputs} inputs give the same {bytes} bytes natively \
         and as WebAssembly"
    );
}

/// A history with one more message gives a returning client other frames.
#[test]
fn a_core_with_another_rule_is_found() {
    let other = settings("history.messages=4");
    let difference = compare(100, 1, &other, false).expect_err("it differs");
    let line = |from: &str| {
        let line = difference.lines().find_map(|line| line.strip_prefix(from));
        line.unwrap_or_else(|| panic!("no line {from}\n{difference}"))
    };
    let (native, wasm) = (line("  native: "), line("  wasm:   "));
    assert!(native != wasm, "{difference}");
    assert!(difference.starts_with("the story of PROPTEST_RNG_SEED="));
    let input = difference.lines().nth(1).expect("an input");
    let entry = Entry::parse(input).expect("a line of the journal");
    assert_eq!(&*entry.namespace, "default", "{difference}");
}

#[test]
fn the_first_line_that_differs_is_shown() {
    let story = Story {
        seed: 7,
        ops: vec!["ann connects".parse().expect("an op")],
        journal: vec!["first".into(), "second".into()],
        results: b"ping 1\nnext 5\nping 2\nnext 6\n".to_vec(),
        ends: vec![14, 28],
    };
    assert_eq!(story.difference(&story.results), None);
    let shown = |found: &str| story.difference(found.as_bytes()).expect("it differs");
    assert_eq!(
        shown("ping 1\nnext 5\nping 3\nnext 6\n"),
        "the story of PROPTEST_RNG_SEED=7 differs behind\nsecond\n  native: ping 2\n  \
         wasm:   ping 3\nThe story:\nann connects\n"
    );
    for (found, lines) in [
        (
            "ping 1\nnext \n",
            "first\n  native: next 5\n  wasm:   next \n",
        ),
        ("ping 1\nnext 5\n", "second\n  native: ping 2\n  wasm:   \n"),
        (
            "ping 1\nnext 5\nping 2\nnext 6\nping 1\n",
            "its end\n  native: \n  wasm:   ping 1\n",
        ),
    ] {
        assert!(
            shown(found).contains(&format!("behind\n{lines}")),
            "{found}"
        );
    }
}
