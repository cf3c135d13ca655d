//! The replay of a journal up to any of its lines.

use std::rc::Rc;

use roomcast_core::journal::{Record, Replay};

use super::{
    comparison::Comparison,
    fault::InspectError,
    invariants::Invariants,
    lines::Lines,
    missed::Missed,
    output::{self, Output, json},
    player::Player,
    snapshots::Snapshots,
    state::State,
};

/// A journal, with the state after one of its lines.
///
/// Lines are counted from 1. They are played for the first time by [`read`](Self::read), in slices
/// of any size, or by the first method that needs the state after them.
#[derive(Debug)]
pub struct Stepper {
    lines: Rc<Lines>,
    /// The last line that can be played, as far as known.
    end: usize,
    snapshots: Snapshots,
    /// The replay after the last line that was read.
    front: Player,
    /// The replay after the line that was shown last.
    look: Player,
    /// The number of lines that the last jump replayed.
    replayed: usize,
    /// The number of deliveries of each line that was read.
    deliveries: Vec<u32>,
}

impl Stepper {
    /// Opens a whole journal, and plays none of it. Parts of a run are concatenated.
    ///
    /// # Errors
    ///
    /// When it is too long, has no line, or is not UTF-8.
    pub fn open(journal: Vec<u8>) -> Result<Self, InspectError> {
        let lines = Rc::new(Lines::new(journal)?);
        Ok(Self {
            snapshots: Snapshots::new(),
            front: Player::new(&lines, 0, Replay::new()),
            look: Player::new(&lines, 0, Replay::new()),
            replayed: 0,
            deliveries: Vec::new(),
            end: lines.len(),
            lines,
        })
    }

    /// The number of lines.
    pub fn lines(&self) -> usize {
        self.lines.len()
    }

    /// True when the last line was cut off: it is left out.
    pub fn cut_off(&self) -> bool {
        self.lines.cut_off
    }

    /// Plays this number of further lines for the first time; true when all were played.
    ///
    /// # Errors
    ///
    /// When a line is not a line of a journal, or opens a namespace with an application, whose
    /// answers are not in the journal. The lines before it can be shown.
    pub fn read(&mut self, lines_max: usize) -> Result<bool, InspectError> {
        let to = self.front.at.saturating_add(lines_max);
        self.read_to(to.min(self.lines.len()))?;
        Ok(self.front.at == self.lines.len())
    }

    fn read_to(&mut self, line: usize) -> Result<(), InspectError> {
        while self.front.at < line {
            let before = self.front.at;
            self.front.play().inspect_err(|_| self.end = before)?;
            let Player {
                at, replay, out, ..
            } = &self.front;
            let reached = output::deliveries(out);
            self.deliveries
                .push(u32::try_from(reached).unwrap_or(u32::MAX));
            self.snapshots.offer(*at, &self.lines, replay);
        }
        Ok(())
    }

    /// The numbers of deliveries of the lines after this one, up to the last that was read.
    pub fn deliveries(&self, after: usize) -> &[u32] {
        self.deliveries.get(after..).unwrap_or_default()
    }

    /// Jumps to a line, and returns its commands as JSON. Work: lines that were not read, and the
    /// lines from the previous snapshot on.
    ///
    /// # Errors
    ///
    /// When there is no such line, or [`read`](Self::read) fails before it.
    pub fn step(&mut self, line: usize) -> Result<String, InspectError> {
        self.go(line)?;
        let outputs: Vec<_> = Output::all(&self.look.out).collect();
        Ok(json(&outputs))
    }

    /// Jumps to a line, and returns the state of its namespace after it as JSON; `null` for a line
    /// without a namespace.
    ///
    /// # Errors
    ///
    /// As of [`step`](Self::step).
    pub fn state(&mut self, line: usize) -> Result<String, InspectError> {
        self.go(line)?;
        let namespace = &*self.lines.entry(line)?.namespace;
        let hub = self.look.replay.hub(namespace);
        Ok(json(&hub.map(|hub| State::of(namespace, hub))))
    }

    /// The differences from this line to the end when its input is skipped: a comparison that
    /// begins there.
    ///
    /// # Errors
    ///
    /// As of [`step`](Self::step), or when the line has no input.
    pub fn skip(&mut self, line: usize) -> Result<Comparison, InspectError> {
        let fault = "only an input can be skipped: this line begins a file or a namespace";
        if !matches!(self.lines.entry(line)?.record, Record::Input(_)) {
            return Err(InspectError::of_line(line, &fault));
        }
        // The first line cannot be an input, so there is a line before it.
        self.read_to(line)?;
        self.go(line - 1)?;
        Ok(Comparison::new(
            &self.lines,
            line..=self.end,
            &self.look.replay,
        ))
    }

    /// The lines whose messages a connection does not get: a search that begins at the first.
    ///
    /// # Errors
    ///
    /// When it is not the id of a connection.
    pub fn missed(&self, conn: &str) -> Result<Missed, InspectError> {
        Missed::new(&self.lines, self.end, conn)
    }

    /// A check of the invariants that begins at the first line.
    pub fn invariants(&self) -> Invariants {
        Invariants::new(&self.lines, self.end)
    }

    /// The number of lines that the last jump played, from the previous position or from a
    /// snapshot; 0 for a jump to the current line.
    pub const fn replayed(&self) -> usize {
        self.replayed
    }

    /// Plays up to this line, from the current position or from a snapshot.
    fn go(&mut self, line: usize) -> Result<(), InspectError> {
        self.lines.check(line)?;
        self.read_to(line)?;
        if line == self.look.at {
            self.replayed = 0;
            return Ok(());
        }
        // The line itself must be played, since its commands are needed as well.
        let (from, snapshot) = self.snapshots.before(line - 1);
        if self.look.at >= line || self.look.at < from {
            self.look = Player::new(&self.lines, from, snapshot.clone());
        }
        self.replayed = line - self.look.at;
        while self.look.at < line {
            self.look.play()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::snapshots::STRIDE;

    const OPEN: &str =
        r#"{"at":0,"namespace":"a","open":{"config":{"epoch":"e"},"state":{"next_serial":0}}}"#;

    fn input(value: &str) -> String {
        format!("{{\"at\":1,\"namespace\":\"a\",\"input\":{value}}}\n")
    }

    fn journal(messages: usize) -> String {
        let mut text = format!("{OPEN}\n");
        text += &input(r#"{"connect":{"welcome":false}}"#).repeat(2);
        text += &input(r#"{"join":{"conn":"0","room":"r"}}"#);
        for number in 0..messages {
            let send = format!(r#"{{"audience":{{"rooms":["r"]}},"event":"e","data":{number}}}"#);
            text += &input(&format!(r#"{{"send":{send}}}"#));
        }
        text
    }

    fn open(text: &str) -> Stepper {
        Stepper::open(text.into()).expect("a journal")
    }

    fn says(text: &str) -> String {
        let opened = Stepper::open(text.into()).and_then(|mut stepper| stepper.read(usize::MAX));
        opened.expect_err("a fault").to_string()
    }

    /// In any order the lines lead to the same, with more lines than snapshots are kept for too.
    #[test]
    fn a_jump_leads_to_the_same_as_steps() {
        let text = journal(STRIDE * 130);
        let lines = text.lines().count();
        let (mut jumping, mut stepping) = (open(&text), open(&text));
        stepping.step(1).expect("a line");
        for line in (2..=lines).step_by(997).chain([lines]) {
            let expected = stepping.step(line).expect("a line");
            jumping.step(lines - line + 1).expect("a line");
            assert_eq!(jumping.step(line).expect("a line"), expected, "{line}");
            assert_eq!(jumping.state(line), stepping.state(line), "{line}");
        }
    }

    #[test]
    fn a_jump_plays_no_more_lines_than_are_between_snapshots() {
        let text = journal(10_000);
        let lines = text.lines().count();
        let mut stepper = open(&text);
        stepper.read(usize::MAX).expect("a journal");
        let mut most = 0;
        for line in (1..=lines).rev().step_by(83) {
            stepper.step(line).expect("a line");
            most = most.max(stepper.replayed());
        }
        assert!((200..=STRIDE).contains(&most), "{most}");
        stepper.step(lines - 1).expect("a line");
        stepper.step(lines).expect("a line");
        assert_eq!(stepper.replayed(), 1);
        stepper.state(lines).expect("a line");
        assert_eq!(stepper.replayed(), 0);
    }

    #[test]
    fn slices_read_the_same_as_one_turn() {
        let text = journal(100);
        let (mut sliced, mut whole) = (open(&text), open(&text));
        assert_eq!(whole.read(usize::MAX), Ok(true));
        let mut slices = 1;
        while !sliced.read(7).expect("a line") {
            assert_eq!(sliced.deliveries(0).len(), 7 * slices);
            slices += 1;
        }
        assert_eq!(slices, 104_usize.div_ceil(7));
        assert_eq!(sliced.deliveries(0), whole.deliveries(0));
        assert_eq!(sliced.deliveries(103), [1]);
        assert!(sliced.deliveries(104).is_empty() && sliced.deliveries(999).is_empty());
    }

    #[test]
    fn without_a_join_nobody_gets_a_message() {
        let mut comparison = open(&journal(1)).skip(4).expect("an input");
        assert_eq!(comparison.read(1), Ok(false));
        assert_eq!((comparison.read(1), comparison.at()), (Ok(true), 5));
        assert_eq!(
            comparison.differences(),
            r#"{"count":1,"differences":[{"line":5,"conn":"0","with":["{\"event\":\"e\",\"room\":\"r\",\"data\":0}"],"without":[]}]}"#
        );
    }

    #[test]
    fn a_message_is_missed_by_whoever_is_there_and_gets_none_of_it() {
        let text = |conn: u32, text: &str| {
            let text = serde_json::to_string(text).expect("a text");
            input(&format!(r#"{{"text":{{"conn":"{conn}","text":{text}}}}}"#))
        };
        let said = r#"{"event":"said","room":"r","id":1}"#;
        let keyed = r#"{"event":"said","room":"s","key":"k","id":1}"#;
        // Lines 2 to 4: connections 0 and 1048577, and 0 joins.
        let mut journal = journal(1); // 5: sent to 0
        journal += &text(0, said); // 6: to nobody but its publisher
        journal += &text(1_048_577, said); // 7: refused, for it is no member
        journal += &text(1_048_577, r#"{"event":"$join","room":"r"}"#); // 8
        journal += &text(0, said); // 9: to both
        journal += &text(0, r#"{"event":"$join","room":"s"}"#); // 10
        journal += &text(0, said.replace("\"r\"", "\"s\"").as_str()); // 11
        journal += &text(0, keyed); // 12: it may be a repetition
        journal += &input(r#"{"disconnect":{"conn":"1048577","reason":"lost"}}"#); // 13
        journal += &text(0, said); // 14
        let stepper = open(&journal);
        let missed = |conn: &str| {
            let mut missed = stepper.missed(conn).expect("an id");
            while !missed.read(3).expect("a line") {}
            assert_eq!(missed.at(), 14);
            missed.take()
        };
        assert_eq!(missed("1048577"), [5, 6, 11]);
        assert_eq!(missed("0"), [0_u32; 0]);
        assert_eq!(missed("77"), [0_u32; 0]);
        let refused = stepper.missed("bob").expect_err("no id").to_string();
        assert!(refused.starts_with("`bob` is no connection"), "{refused}");
    }

    #[test]
    fn a_bad_journal_says_where_it_is_bad() {
        assert_eq!(says(""), "not a journal: it has no line");
        assert!(says("x\n").starts_with("line 1: not a journal line"));
        let text = journal(0).replacen("\"state\"", "\"application\":true,\"state\"", 1);
        assert!(says(&text).starts_with("line 1: the namespace `a` has an application"));
        let mut cut = journal(1);
        cut.truncate(cut.len() - 9);
        let cut = open(&cut);
        assert_eq!((cut.lines(), cut.cut_off()), (4, true));
        let refused = open(&journal(0)).skip(1).expect_err("no input").to_string();
        assert!(refused.starts_with("line 1: only an input"), "{refused}");
        assert!(open(&journal(0)).step(9).is_err());
    }

    #[test]
    fn what_is_before_a_bad_line_can_be_looked_at() {
        let mut stepper = open(&(journal(1) + "x\n"));
        let fault = stepper.read(100).expect_err("a fault").to_string();
        assert!(fault.starts_with("line 6: not a journal line"), "{fault}");
        assert_eq!(stepper.deliveries(0), [0, 0, 0, 0, 1]);
        assert!(stepper.step(5).is_ok() && stepper.step(6).is_err());
        let mut comparison = stepper.skip(4).expect("an input");
        assert_eq!((comparison.read(9), comparison.at()), (Ok(true), 5));
        assert_eq!(
            stepper.missed("0").map(|mut missed| missed.read(9)),
            Ok(Ok(true))
        );
    }
}
