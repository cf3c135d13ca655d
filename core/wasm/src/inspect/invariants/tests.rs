use std::{fs, path::Path, path::PathBuf, rc::Rc};

use roomcast_core::{
    ConnId, Outbox, Policies, Timestamp,
    journal::{Entry, Record, Replay},
};
use serde_json::{Value, json};

use super::{
    Invariants, Output, Watch,
    tables::{HistoryTable, RoomTable, Tables},
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
/// In the place of B.
const D: &str = "3145729";

const POLICIES: &str = r#"{"rooms":[{"match":"*","history":{"messages":9},"presence":"members"}]}"#;

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
    let send = |except: &str| {
        json!({"send": {
            "audience": {"rooms": ["r"], "except_conns": [except]}, "event": "e", "data": 1
        }})
    };
    let back = |epoch: &str, offset: u64| {
        let since = json!({"since": {"epoch": epoch, "offset": offset}});
        json!({"event": "$join", "room": "r", "id": 3, "data": since})
    };
    let keyed = |id: u64| json!({"event": "said", "room": "r", "data": 1, "key": "k", "id": id});
    let labelled =
        json!({"send": {"audience": {"rooms": ["r"]}, "event": "e", "path": "/p", "data": 1}});
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
        send(C),                                                    // 13
        json!({"disconnect": {"conn": C, "reason": "lost"}}),       // 14
        text(A, &said),                                             // 15
        json!({"close": {"conn": B, "code": 4000, "reason": ""}}),  // 16
        text(A, &asked),                                            // 17
        text(C, &said),                                             // 18: it has ended
        text(A, &json!({"event": "$leave", "room": "r", "id": 3})), // 19
        text(A, &back("x", 1)),                                     // 20: recovers nothing
        json!({"connect": {}}),                                     // 21: D
        send(D),                                                    // 22
        text(D, &back("e.1", 6)),                                   // 23
        labelled,                                                   // 24
        text(A, &keyed(5)),                                         // 25
        text(A, &keyed(6)),                                         // 26
        json!("timeout"),                                           // 27: too early
        text(A, &json!({"event": "$leave", "room": "r", "echo": "true"})), // 28: it stays
    ];
    let policies: Value = serde_json::from_str(POLICIES).expect("JSON");
    let config = json!({"epoch": "e", "policies": policies});
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
    told(line, false, plant)
}

/// The same; with `is_stale` the hub has not taken the line.
fn told(line: usize, is_stale: bool, plant: impl Fn(&mut Vec<Planted>)) -> Vec<String> {
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
        let before = replay.clone();
        let next = replay.hub("n").and_then(roomcast_core::Hub::next_timeout);
        let is_due = next.is_some_and(|next| next <= entry.at);
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
        let behind = if is_stale && index + 1 == line {
            &before
        } else {
            &replay
        };
        let applied = Applied {
            input,
            at: entry.at,
            conn,
            is_due,
            hub: behind.hub("n").expect("it is open"),
        };
        watch.step(&applied, &outputs, &mut violations);
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

/// A message of the room.
fn said(to: &[ConnId], offset: u64) -> Planted {
    let frame = json!({"event": "said", "room": "r", "offset": offset, "data": 1});
    Planted::Send(to.to_vec(), frame.to_string())
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

type Plants = &'static [(&'static str, usize, fn(&mut Vec<Planted>))];

fn are_seen(plants: Plants) {
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
fn each_violation_that_is_planted_in_a_room_is_seen_where_it_is() {
    are_seen(&[
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
    ]);
}

#[test]
fn each_violation_that_is_planted_in_another_message_is_seen_where_it_is() {
    are_seen(&[
        ("I7", 18, |outputs| outputs.push(said(&[id(A)], 9))),
        ("I13", 24, |outputs| drop_frames(outputs, "/p")),
        ("I18", 9, |outputs| {
            texts(outputs, "\"data\":1", "\"data\":[1]");
        }),
        ("I18", 13, |outputs| {
            texts(outputs, "\"event\":\"e\"", "\"event\":\"f\"");
        }),
        ("I19", 8, |outputs| {
            texts(outputs, "\"data\":{\"reached", "\"error\":{\"reached");
        }),
        ("I31", 20, |outputs| outputs.push(said(&[id(A)], 9))),
        ("I32", 12, |outputs| {
            texts(outputs, "\"e.1\",\"offset\":3", "\"e.1\",\"offset\":2");
        }),
        ("I33", 23, |outputs| {
            texts(outputs, "\"missed\":0", "\"missed\":1");
            outputs.push(said(&[id(D)], 7));
        }),
        ("I34", 26, |outputs| outputs.push(said(&[id(D)], 10))),
        ("I43", 27, |outputs| outputs.push(Planted::Close(id(A)))),
        ("I35", 12, |outputs| {
            let frame = r#"{"event":"$joined","room":"r","data":{"user":"","conn":"2097154"}}"#;
            outputs.push(Planted::Send(vec![id(A)], frame.into()));
        }),
    ]);
}

#[test]
fn a_member_that_outlives_its_connection_is_seen() {
    for line in [14, 16] {
        let seen = told(line, true, |_| ());
        let begin = format!("I6 at {line}: ");
        assert!(seen.iter().any(|text| text.starts_with(&begin)), "{seen:?}");
    }
}

/// The tables are those of the story's end: A and D are in a room with a history.
#[test]
fn each_violation_that_is_planted_in_the_tables_is_seen() {
    type Plant = fn(&mut Tables<'_>);
    let plants: &[(&str, Plant)] = &[
        ("I1", |tables| {
            tables.connections.insert(id(A), Vec::new());
        }),
        ("I1", |tables| tables.rooms[0].members = &[]),
        ("I2", |tables| tables.rooms[0].counted += 1),
        ("I2", |tables| tables.counts.memberships += 1),
        ("I3", |tables| {
            tables.rooms.push(RoomTable {
                name: "s",
                counted: 0,
                members: &[],
                unentitled: Vec::new(),
                history: None,
            });
        }),
        ("I4", |tables| {
            tables.connections.remove(&id(D));
        }),
        ("I4", |tables| tables.rooms[0].unentitled.push(id(A))),
        ("I9", |tables| tables.rooms_max = 0),
        ("I29", |tables| {
            history(tables).offsets.pop();
        }),
        ("I29", |tables| {
            history(tables).offsets.remove(1);
        }),
        ("I29", |tables| history(tables).last += 1),
        ("I29", |tables| history(tables).messages_max = Some(1)),
    ];
    let mut replay = Replay::new();
    for line in story().lines() {
        let entry = Entry::parse(line).expect(line);
        replay.apply(&entry, &mut Outbox::new()).expect(line);
    }
    let hub = replay.hub("n").expect("it is open");
    let policies: Policies = serde_json::from_str(POLICIES).expect("policies");
    let seen = |plant: Plant| {
        let mut tables = Tables::of(hub, &policies, Timestamp::from_millis(1));
        plant(&mut tables);
        let mut violations = Violations::default();
        tables.check(&mut violations);
        violations.list()
    };
    assert_eq!(seen(|_| ()), [""; 0]);
    for (invariant, plant) in plants {
        let (seen, begin) = (seen(*plant), format!("{invariant} at 0: "));
        assert!(
            seen.iter().any(|text| text.starts_with(&begin)),
            "{begin}{seen:?}"
        );
    }
}

fn history<'a>(tables: &'a mut Tables<'_>) -> &'a mut HistoryTable {
    tables.rooms[0].history.as_mut().expect("it keeps one")
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
