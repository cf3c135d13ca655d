use std::{fs, path::Path, path::PathBuf, rc::Rc};

use roomcast_core::{
    ConnId, Outbox,
    journal::{Entry, Record, Replay},
};
use serde_json::{Value, json};

use super::{
    Invariants, Output, Watch,
    turn::{Applied, conn_of},
    violation::Violations,
};
use crate::inspect::lines::Lines;

/// A command, to be changed.
enum Planted {
    Send(Vec<ConnId>, String),
    Close(ConnId),
}

const A: &str = "0";
const B: &str = "1048577";
const C: &str = "2097154";

fn id(text: &str) -> ConnId {
    text.parse().expect("an id")
}

/// A story with a line for each thing that may go wrong; 1 opens the namespace.
fn story() -> String {
    let said = json!({"event": "said", "room": "r", "data": 1});
    let asked = json!({"event": "said", "room": "r", "id": 2});
    let since = json!({"since": {"epoch": "e.1", "offset": 2}});
    let text =
        |conn: &str, value: &Value| json!({"text": {"conn": conn, "text": value.to_string()}});
    let join = |conn| text(conn, &json!({"event": "$join", "room": "r", "id": 1}));
    let policy = json!({"match": "*", "history": {"messages": 9}, "presence": "members"});
    let send = json!({"audience": {"rooms": ["r"], "except_conns": [C]}, "event": "e", "data": 1});
    let inputs = [
        json!({"connect": {"welcome": true}}), // 2
        json!({"connect": {"welcome": true}}),
        json!({"connect": {}}),
        join(A), // 5
        join(B),
        join(C),                                                    // 7: `$joined` to A and B
        text(A, &asked),                                            // 8
        text(A, &said),                                             // 9: without an answer
        text(B, &json!({"event": "$leave", "room": "r", "id": 2})), // 10
        text(A, &said),                                             // 11
        text(
            B,
            &json!({"event": "$join", "room": "r", "id": 3, "data": since}),
        ), // 12
        json!({"send": send}),                                      // 13
        json!({"disconnect": {"conn": C, "reason": "lost"}}),       // 14
        text(A, &said),                                             // 15
        json!({"close": {"conn": B, "code": 4000, "reason": ""}}),  // 16
        text(A, &asked),                                            // 17
    ];
    let config = json!({"epoch": "e", "policies": {"rooms": [policy]}});
    let open =
        json!({"at": 0, "namespace": "n", "open": {"config": config, "state": {"next_serial": 0}}});
    let mut story = format!("{open}\n");
    for input in inputs {
        let line = json!({"at": 1, "namespace": "n", "input": input});
        story += &format!("{line}\n");
    }
    story
}

/// The violations of the story when the commands of a line are changed.
fn planted(line: usize, plant: impl Fn(&mut Vec<Planted>)) -> Vec<String> {
    let (story, mut replay) = (story(), Replay::new());
    let (mut watch, mut violations) = (Watch::default(), Violations::default());
    for (index, text) in story.lines().enumerate() {
        violations.begin(index + 1);
        let entry = Entry::parse(text).expect(text);
        let mut out = Outbox::new();
        let alive = |conn: &ConnId| {
            let hub = replay.hub("n");
            hub.is_some_and(|hub| hub.connection(*conn).is_some())
        };
        let Record::Input(input) = &entry.record else {
            replay.apply(&entry, &mut out).expect(text);
            continue;
        };
        let conn = conn_of(input).filter(alive);
        replay.apply(&entry, &mut out).expect(text);
        let outputs = Output::all(&out).map(|output| match output {
            Output::Send { to, frame, .. } => Planted::Send(to.to_vec(), frame.into_owned()),
            Output::Close { conn, .. } | Output::Ping { conn } => Planted::Close(conn),
        });
        let mut outputs: Vec<_> = outputs.collect();
        if index + 1 == line {
            plant(&mut outputs);
        }
        let outputs: Vec<_> = outputs.iter().map(Planted::output).collect();
        let hub = replay.hub("n").expect("it is open");
        watch.step(&Applied { input, conn, hub }, &outputs, &mut violations);
    }
    violations.list()
}

impl Planted {
    fn output(&self) -> Output<'_> {
        match self {
            Self::Send(to, frame) => Output::Send {
                to,
                frame: frame.as_str().into(),
                binary: false,
            },
            Self::Close(conn) => Output::Close {
                conn: *conn,
                code: 4000,
                reason: "",
            },
        }
    }
}

/// Changes the recipients of the frames that contain a text.
fn to(outputs: &mut [Planted], with: &str, change: impl Fn(&mut Vec<ConnId>)) {
    let mut found = false;
    for output in outputs {
        if let Planted::Send(to, frame) = output
            && frame.contains(with)
        {
            change(to);
            found = true;
        }
    }
    assert!(found, "there is no {with}");
}

/// Changes a text in all frames.
fn texts(outputs: &mut [Planted], from: &str, to: &str) {
    let mut found = false;
    for output in outputs {
        if let Planted::Send(_, frame) = output {
            found |= frame.contains(from);
            *frame = frame.replace(from, to);
        }
    }
    assert!(found, "there is no {from}");
}

fn drop_frames(outputs: &mut Vec<Planted>, with: &str) {
    let before = outputs.len();
    outputs.retain(|output| !matches!(output, Planted::Send(_, frame) if frame.contains(with)));
    assert!(outputs.len() < before, "there is no {with}");
}

#[test]
fn the_story_holds() {
    assert_eq!(planted(0, |_| ()), [""; 0]);
}

#[test]
fn each_planted_violation_is_seen_where_it_is() {
    type Plant = fn(&mut Vec<Planted>);
    let plants: &[(&str, usize, Plant)] = &[
        ("I1", 6, |outputs| drop_frames(outputs, "epoch")),
        ("I5", 5, |outputs| {
            texts(outputs, "\"already\":false", "\"already\":true");
        }),
        ("I10", 11, |outputs| {
            to(outputs, "from", |to| to.push(id(B)));
        }),
        ("I10", 14, |outputs| {
            outputs.push(Planted::Send(
                vec![id(B)],
                r#"{"event":"e","room":"s","data":1}"#.into(),
            ));
        }),
        ("I12", 9, |outputs| {
            texts(outputs, "\"offset\":2", "\"offset\":1");
        }),
        ("I13", 8, |outputs| {
            to(outputs, "from", |to| to.retain(|conn| *conn != id(C)));
        }),
        ("I13", 9, |outputs| drop_frames(outputs, "from")),
        ("I13", 13, |outputs| drop_frames(outputs, "\"e\"")),
        ("I13", 8, |outputs| {
            texts(outputs, "\"reached\":2", "\"reached\":3");
        }),
        ("I14", 9, |outputs| to(outputs, "from", |to| to.push(id(B)))),
        ("I15", 13, |outputs| {
            to(outputs, "\"e\"", |to| to.push(id(C)));
        }),
        ("I17", 8, |outputs| {
            to(outputs, "\"id\":2", |to| to.push(id(A)));
        }),
        ("I17", 8, |outputs| texts(outputs, "\"id\":2", "\"id\":3")),
        ("I25", 15, |outputs| {
            to(outputs, "from", |to| to.push(id(C)));
        }),
        ("I25", 17, |outputs| outputs.push(Planted::Close(id(B)))),
        ("I28", 9, |outputs| {
            texts(outputs, "\"offset\":2", "\"offset\":7");
        }),
        ("I30", 12, |outputs| drop_frames(outputs, "from")),
        ("I30", 12, |outputs| {
            texts(outputs, "\"offset\":3,\"data", "\"offset\":2,\"data");
        }),
        ("I30", 12, |outputs| {
            texts(outputs, "\"missed\":1", "\"missed\":0");
            drop_frames(outputs, "from");
        }),
        ("I35", 12, |outputs| {
            let frame = r#"{"event":"$joined","room":"r","data":{"user":"","conn":"2097154"}}"#;
            outputs.push(Planted::Send(vec![id(A)], frame.into()));
        }),
    ];
    for (invariant, line, plant) in plants {
        let seen = planted(*line, plant);
        let begin = format!("{invariant} at {line}: ");
        assert!(
            seen.iter().any(|text| text.starts_with(&begin)),
            "{begin}{seen:?}"
        );
    }
}

#[test]
fn a_journal_without_faults_has_no_violation() {
    let mut journals: Vec<PathBuf> = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/journals");
    for entry in fs::read_dir(root).expect("a folder") {
        let path = entry.expect("an entry").path();
        // One with an application cannot be inspected.
        if path.is_dir() && !path.ends_with("application") {
            journals.push(path);
        }
    }
    assert!(journals.len() >= 8, "{journals:?}");
    for folder in journals {
        let files = fs::read_dir(&folder).expect("a folder");
        let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
        files.retain(|file| file.extension().is_some_and(|end| end == "jsonl"));
        files.sort();
        let bytes = files
            .iter()
            .flat_map(|file| fs::read(file).expect("a file"));
        let lines = Rc::new(Lines::new(bytes.collect()).expect("a journal"));
        let mut invariants = Invariants::new(&lines, lines.len());
        while !invariants.read(100).expect("a line") {}
        assert_eq!(invariants.at(), lines.len());
        assert_eq!(
            invariants.violations.list(),
            [""; 0],
            "{}",
            folder.display()
        );
    }
}
