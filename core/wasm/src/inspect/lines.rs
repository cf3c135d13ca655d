//! The lines of a journal.

use std::ops::Range;

use roomcast_core::journal::{Entry, Record};

use super::fault::InspectError;

/// The bytes of a journal, at most: all of it is in memory.
const JOURNAL_BYTES_MAX: usize = 256 << 20;

/// The text of a journal, with its lines, which are counted from 1.
#[derive(Debug)]
pub(super) struct Lines {
    text: String,
    ranges: Vec<Range<usize>>,
    /// True when the last line was cut off, and left out.
    pub(super) cut_off: bool,
}

impl Lines {
    /// Splits a text into lines. Only the last line is parsed, if it may be cut off.
    pub(super) fn new(journal: Vec<u8>) -> Result<Self, InspectError> {
        if journal.len() > JOURNAL_BYTES_MAX {
            let fault = format!("a journal has at most {JOURNAL_BYTES_MAX} bytes: open its parts");
            return Err(InspectError::new(fault));
        }
        let Ok(text) = String::from_utf8(journal) else {
            return Err(InspectError::new("not a journal: it is not UTF-8"));
        };
        let mut lines = Self {
            ranges: ranges(&text),
            text,
            cut_off: false,
        };
        let last = lines.len();
        if !lines.text.ends_with('\n') && lines.entry(last).is_err() {
            lines.ranges.pop();
            lines.cut_off = last > 0;
        }
        if lines.ranges.is_empty() {
            return Err(InspectError::new("not a journal: it has no line"));
        }
        Ok(lines)
    }

    pub(super) const fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Fails when there is no such line.
    pub(super) fn check(&self, line: usize) -> Result<(), InspectError> {
        let lines = self.len();
        if (1..=lines).contains(&line) {
            return Ok(());
        }
        let fault = format!("there is no line {line}: the journal has the lines 1 to {lines}");
        Err(InspectError::new(fault))
    }

    /// The content of a line. A namespace with an application is refused.
    pub(super) fn entry(&self, line: usize) -> Result<Entry<'_>, InspectError> {
        self.check(line)?;
        let text = &self.text[self.ranges[line - 1].clone()];
        let entry = Entry::parse(text).map_err(|fault| InspectError::of_line(line, &fault))?;
        if let Record::Open(opening) = &entry.record
            && opening.application
        {
            let namespace = &entry.namespace;
            let fault = format!(
                "the namespace `{namespace}` has an application, and what that said is not in \
                 the journal: leave its lines out"
            );
            return Err(InspectError::of_line(line, &fault));
        }
        Ok(entry)
    }

    /// The number of bytes up to the end of a line; 0 for line 0.
    pub(super) fn bytes_to(&self, line: usize) -> usize {
        let range = self.ranges.get(line.wrapping_sub(1));
        range.map_or(0, |range| range.end)
    }
}

fn ranges(text: &str) -> Vec<Range<usize>> {
    let mut start = 0;
    let lines = text.split_terminator('\n').map(|line| {
        let range = start..start + line.len();
        start = range.end + 1;
        range
    });
    lines.collect()
}
