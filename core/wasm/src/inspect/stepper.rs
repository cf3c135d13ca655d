//! The replay of a journal, to any of its lines.

use std::ops::Range;

use roomcast_core::{
    Outbox,
    journal::{Entry, Record, Replay},
};
use serde::Serialize;

use super::{
    difference::Differences,
    fault::InspectError,
    output::{self, Output},
    state::State,
};

/// Bytes of a journal: it is in memory as a whole.
const JOURNAL_BYTES_MAX: usize = 256 << 20;
/// Lines from one snapshot to the next, at first: a jump plays fewer.
const SNAPSHOT_LINES: usize = 256;
/// Snapshots that are kept. At the limit each second one is dropped, and the way between them
/// doubles.
const SNAPSHOTS_MAX: usize = 128;

/// A journal, with the state behind one of its lines.
///
/// Lines are counted from 1; line 0 is before the first.
#[derive(Debug)]
pub struct Stepper {
    text: String,
    lines: Vec<Range<usize>>,
    /// States behind the lines 0, `stride`, 2 `stride`, ...
    snapshots: Vec<Replay>,
    stride: usize,
    replay: Replay,
    /// The line that was played last.
    at: usize,
    /// The commands of that line.
    out: Outbox,
    summary: Summary,
}

/// A journal at a glance.
#[derive(Debug, Default, Serialize)]
struct Summary {
    lines: usize,
    /// True when the last line was cut off, and left out.
    cut_off: bool,
    /// Connections that each line reaches.
    deliveries: Vec<usize>,
}

impl Stepper {
    /// Reads and plays a whole journal. Parts of a run stand behind each other.
    ///
    /// # Errors
    ///
    /// When it is no journal, too long, or of a namespace with an application, whose answers are
    /// not in it.
    pub fn open(journal: Vec<u8>) -> Result<Self, InspectError> {
        if journal.len() > JOURNAL_BYTES_MAX {
            let fault = format!("a journal has at most {JOURNAL_BYTES_MAX} bytes: open its parts");
            return Err(InspectError::new(fault));
        }
        let Ok(text) = String::from_utf8(journal) else {
            return Err(InspectError::new("not a journal: it is not UTF-8"));
        };
        let mut stepper = Self {
            lines: lines(&text),
            text,
            snapshots: vec![Replay::new()],
            stride: SNAPSHOT_LINES,
            replay: Replay::new(),
            at: 0,
            out: Outbox::new(),
            summary: Summary::default(),
        };
        stepper.play_all()?;
        Ok(stepper)
    }

    fn play_all(&mut self) -> Result<(), InspectError> {
        let mut deliveries = Vec::with_capacity(self.lines.len());
        for line in 1..=self.lines.len() {
            let is_last = line == self.lines.len() && !self.text.ends_with('\n');
            match self.play(line) {
                Ok(()) => deliveries.push(output::deliveries(&self.out)),
                Err(_) if is_last && Entry::parse(self.text_of(line)).is_err() => {
                    self.lines.pop();
                    self.summary.cut_off = true;
                    break;
                }
                Err(fault) => return Err(fault),
            }
            if line.is_multiple_of(self.stride) {
                self.snapshots.push(self.replay.clone());
                self.thin_out();
            }
        }
        if deliveries.is_empty() {
            return Err(InspectError::new("not a journal: it has no line"));
        }
        self.summary.lines = deliveries.len();
        self.summary.deliveries = deliveries;
        Ok(())
    }

    fn thin_out(&mut self) {
        if self.snapshots.len() > SNAPSHOTS_MAX {
            let mut index = 0;
            self.snapshots.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.stride *= 2;
        }
    }

    /// The number of lines, and how many connections each reaches, as JSON.
    pub fn summary(&self) -> String {
        json(&self.summary)
    }

    /// The commands that a line led to, as JSON, behind a jump to it.
    ///
    /// # Errors
    ///
    /// When there is no such line.
    pub fn step(&mut self, line: usize) -> Result<String, InspectError> {
        self.go(line)?;
        let outputs: Vec<_> = Output::all(&self.out).collect();
        Ok(json(&outputs))
    }

    /// The state of the line's namespace behind the line, as JSON, behind a jump to it; `null` for
    /// a line of no namespace.
    ///
    /// # Errors
    ///
    /// When there is no such line.
    pub fn state(&mut self, line: usize) -> Result<String, InspectError> {
        self.go(line)?;
        let entry = entry(self.text_of(line), line)?;
        let namespace = &*entry.namespace;
        let hub = self.replay.hub(namespace);
        Ok(json(&hub.map(|hub| State::of(namespace, hub))))
    }

    /// The differences from this line to the end when its input is skipped, as JSON. Work: all
    /// lines from the snapshot before, twice.
    ///
    /// # Errors
    ///
    /// When there is no such line, or no input in it.
    pub fn skip(&mut self, line: usize) -> Result<String, InspectError> {
        let fault = "only an input can be skipped: this line begins a file or a namespace";
        if !matches!(entry(self.checked(line)?, line)?.record, Record::Input(_)) {
            return Err(InspectError::of_line(line, &fault));
        }
        self.go(line - 1)?;
        let (mut with, mut without) = (self.replay.clone(), self.replay.clone());
        let (mut out, mut other) = (Outbox::new(), Outbox::new());
        let mut differences = Differences::default();
        for number in line..=self.lines.len() {
            out.clear();
            other.clear();
            let entry = entry(self.text_of(number), number)?;
            apply(&mut with, &entry, number, &mut out)?;
            if number != line {
                apply(&mut without, &entry, number, &mut other)?;
            }
            differences.compare(number, &out, &other);
        }
        Ok(json(&differences))
    }

    /// Plays up to this line, from where it is or from a snapshot.
    fn go(&mut self, line: usize) -> Result<(), InspectError> {
        if line > 0 {
            self.checked(line)?;
        }
        // Its commands are wanted as well, so it is played itself.
        let before = line.saturating_sub(1);
        let index = (before / self.stride).min(self.snapshots.len() - 1);
        let from = index * self.stride;
        if line == self.at && line > 0 {
            return Ok(());
        }
        if self.at > before || self.at < from {
            self.replay = self.snapshots[index].clone();
            self.at = from;
        }
        self.out.clear();
        while self.at < line {
            self.play(self.at + 1)?;
        }
        Ok(())
    }

    fn play(&mut self, line: usize) -> Result<(), InspectError> {
        self.out.clear();
        let text = &self.text[self.lines[line - 1].clone()];
        let entry = entry(text, line)?;
        apply(&mut self.replay, &entry, line, &mut self.out)?;
        self.at = line;
        Ok(())
    }

    fn checked(&self, line: usize) -> Result<&str, InspectError> {
        let lines = self.lines.len();
        if (1..=lines).contains(&line) {
            return Ok(self.text_of(line));
        }
        let fault = format!("there is no line {line}: the journal has the lines 1 to {lines}");
        Err(InspectError::new(fault))
    }

    fn text_of(&self, line: usize) -> &str {
        let range = self.lines.get(line.wrapping_sub(1));
        range.map_or("", |range| &self.text[range.clone()])
    }
}

fn lines(text: &str) -> Vec<Range<usize>> {
    let mut start = 0;
    let lines = text.split_terminator('\n').map(|line| {
        let range = start..start + line.len();
        start = range.end + 1;
        range
    });
    lines.collect()
}

fn entry(text: &str, line: usize) -> Result<Entry<'_>, InspectError> {
    Entry::parse(text).map_err(|fault| InspectError::of_line(line, &fault))
}

fn apply(
    replay: &mut Replay,
    entry: &Entry<'_>,
    line: usize,
    out: &mut Outbox,
) -> Result<(), InspectError> {
    if let Record::Open(opening) = &entry.record
        && opening.application
    {
        let namespace = &entry.namespace;
        let fault = format!(
            "the namespace `{namespace}` has an application, and what that said is not in the \
             journal: leave its lines out"
        );
        return Err(InspectError::of_line(line, &fault));
    }
    let played = replay.apply(entry, out);
    played.map_err(|fault| InspectError::of_line(line, &fault))
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(messages: usize) -> String {
        let mut text = concat!(
            r#"{"at":0,"namespace":"a","open":{"config":{"epoch":"e"},"state":{"next_serial":0}}}"#,
            "\n",
            r#"{"at":1,"namespace":"a","input":{"connect":{"welcome":false}}}"#,
            "\n",
            r#"{"at":1,"namespace":"a","input":{"connect":{"welcome":false}}}"#,
            "\n",
            r#"{"at":2,"namespace":"a","input":{"join":{"conn":"0","room":"r"}}}"#,
            "\n",
        )
        .to_owned();
        for number in 0..messages {
            let send = format!(r#"{{"audience":{{"rooms":["r"]}},"event":"e","data":{number}}}"#);
            let line = format!(r#"{{"at":3,"namespace":"a","input":{{"send":{send}}}}}"#);
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    fn open(text: &str) -> Stepper {
        Stepper::open(text.into()).expect("a journal")
    }

    /// In any order the lines lead to the same, with more lines than snapshots are kept for too.
    #[test]
    fn a_jump_leads_to_the_same_as_steps() {
        let text = journal(SNAPSHOT_LINES * (SNAPSHOTS_MAX + 2));
        let lines = text.lines().count();
        let (mut jumping, mut stepping) = (open(&text), open(&text));
        assert!(jumping.stride > SNAPSHOT_LINES);
        stepping.step(1).expect("a line");
        for line in (2..=lines).step_by(997).chain([lines]) {
            let expected = stepping.step(line).expect("a line");
            jumping.step(lines - line + 1).expect("a line");
            assert_eq!(jumping.step(line).expect("a line"), expected, "{line}");
            assert_eq!(jumping.state(line), stepping.state(line), "{line}");
        }
    }

    #[test]
    fn without_a_join_nobody_gets_a_message() {
        let differences = open(&journal(1)).skip(4).expect("an input");
        assert_eq!(
            differences,
            r#"{"count":1,"differences":[{"line":5,"conn":"0","with":["{\"event\":\"e\",\"room\":\"r\",\"data\":0}"],"without":[]}]}"#
        );
    }

    #[test]
    fn a_bad_journal_says_where_it_is_bad() {
        let says = |text: &str| Stepper::open(text.into()).expect_err("a fault").to_string();
        assert_eq!(says(""), "not a journal: it has no line");
        assert!(says("x\n").starts_with("line 1: not a journal line"));
        let text = journal(0).replacen("\"state\"", "\"application\":true,\"state\"", 1);
        assert!(says(&text).starts_with("line 1: the namespace `a` has an application"));
        let mut cut = journal(1);
        cut.truncate(cut.len() - 9);
        assert!(
            open(&cut)
                .summary()
                .starts_with(r#"{"lines":4,"cut_off":true"#)
        );
        let refused = open(&journal(0)).skip(1).expect_err("no input").to_string();
        assert!(refused.starts_with("line 1: only an input"), "{refused}");
        assert!(open(&journal(0)).step(9).is_err());
    }
}
