//! Journals in `tests/journals`, and what is kept beside them.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use roomcast_core::{Command, Frame, journal::Entry, outbox::Class};

use super::kinds::command_kind;

/// A journal, in its folder.
pub(crate) struct Journal {
    pub(crate) name: &'static str,
    pub(crate) folder: PathBuf,
    text: String,
}

impl Journal {
    /// Reads its files, in their order.
    pub(crate) fn read(name: &'static str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("journals")
            .join(name);
        let files = fs::read_dir(&folder).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        let paths = files.map(|file| file.expect("a file").path());
        let mut paths: Vec<_> = paths
            .filter(|path| path.extension().is_some_and(|ending| ending == "jsonl"))
            .collect();
        paths.sort_unstable();
        let texts = paths
            .iter()
            .map(|path| fs::read_to_string(path).expect("text"));
        let text: String = texts.collect();
        assert!(!text.is_empty(), "there is no journal in {name}");
        Self { name, folder, text }
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.lines()
    }

    /// Returns the entries in its lines, with the numbers of the lines.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (usize, Entry<'_>)> {
        self.lines().zip(1..).map(|(line, number)| {
            let entry = Entry::parse(line);
            let entry = entry.unwrap_or_else(|fault| panic!("{}, {number}: {fault}", self.name));
            (number, entry)
        })
    }
}

/// Writes a command as a line: `NUMBER KIND ...`, in columns separated by tabs. Every member of it
/// is there, and every byte.
pub(crate) fn write_command(text: &mut String, number: usize, command: &Command<'_>) {
    let mut columns = vec![number.to_string(), command_kind(command).to_owned()];
    match *command {
        Command::Send { to, frame, class } => {
            let to: Vec<_> = to.iter().map(ToString::to_string).collect();
            columns.extend([to.join(","), class_name(class), frame_text(frame)]);
        }
        Command::Close { conn, code, reason } => {
            columns.extend([conn.to_string(), code.to_string(), visible(reason)]);
        }
        Command::Ping { conn } | Command::Persist { conn } => columns.push(conn.to_string()),
        Command::Append {
            room,
            offset,
            at,
            frame,
            except,
        } => {
            let except = serde_json::to_string(except).expect("JSON");
            let numbers = [offset.to_string(), at.as_millis().to_string()];
            columns.push(visible(room));
            columns.extend(numbers);
            columns.extend([except, visible(frame)]);
        }
        Command::PersistRoom { room } | Command::LoadHistory { room } => {
            columns.push(visible(room));
        }
        Command::Relay(command) => columns.push(visible(&format!("{command:?}"))),
        Command::Tell { event, .. } => columns.push(visible(event)),
        Command::PersistKey { client, key } => columns.extend([visible(client), visible(key)]),
    }
    let _ = writeln!(text, "{}", columns.join("\t"));
}

fn class_name(class: Class<'_>) -> String {
    match class {
        // A notice of a gap before it does not count behind it; for the client both are answers.
        Class::Control | Class::Position(_) => "control".into(),
        Class::Message => "message".into(),
        Class::Sheddable(shed) => format!(
            "{:?} {} of {} in {}",
            shed.overflow(),
            shed.offset(),
            visible(shed.event()),
            visible(shed.room())
        ),
    }
}

fn frame_text(frame: Frame<'_>) -> String {
    match frame {
        Frame::Text(text) => visible(text),
        Frame::Binary(bytes) => format!("binary {}", bytes.escape_ascii()),
    }
}

/// A text in one line, so that no two texts look the same.
fn visible(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => line.push_str("\\\\"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                line.extend(c.escape_default());
            }
            c => line.push(c),
        }
    }
    line
}

/// Asserts that a file holds exactly the bytes that came. With `ROOMCAST_BLESS=1` in the
/// environment they are written into the file first.
pub(crate) fn hold(path: &Path, came: &[u8]) {
    if env::var("ROOMCAST_BLESS").as_deref() == Ok("1") {
        fs::write(path, came).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()));
    }
    let kept = fs::read(path).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()));
    if let Some(fault) = difference(&kept, came) {
        panic!("{}, {fault}", path.display());
    }
}

/// The first line in which two texts differ; `None` when they are the same.
fn difference(kept: &[u8], came: &[u8]) -> Option<String> {
    if kept == came {
        return None;
    }
    let lines = |bytes| <[u8]>::split_inclusive(bytes, |byte: &u8| *byte == b'\n').collect();
    let (kept, came): (Vec<&[u8]>, Vec<&[u8]>) = (lines(kept), lines(came));
    let pairs = kept.iter().zip(&came);
    let at = pairs.take_while(|(kept, came)| kept == came).count();
    let shown = |lines: &[&[u8]]| {
        let line = lines.get(at).copied().unwrap_or(b"the end");
        String::from_utf8_lossy(line).into_owned()
    };
    let (line, kept, came) = (at + 1, shown(&kept), shown(&came));
    Some(format!("line {line}:\n  kept: {kept:?}\n  came: {came:?}"))
}

#[test]
fn one_byte_is_a_difference() {
    let kept = b"1\tsend\n2\tclose\n";
    assert_eq!(difference(kept, kept), None);
    for (came, line) in [
        (&b"1\tsend\n2\tclosf\n"[..], 2),
        (b"1\tsend\n2\tclose", 2),
        (b"1\tsend\n", 2),
        (b"1\tsend\n2\tclose\n3", 3),
        (b"", 1),
    ] {
        let fault = difference(kept, came).expect("it differs");
        assert!(fault.starts_with(&format!("line {line}:")), "{fault}");
    }
    assert!(difference(b"\xff\n", b"\xfe\n").is_some());
}
