//! Comparison of a journal with the same journal without one of its inputs.

use std::{ops::RangeInclusive, rc::Rc};

use roomcast_core::{Outbox, journal::Replay};

use super::{
    difference::Differences, fault::InspectError, lines::Lines, output::json, player::Player,
    player::apply,
};

/// Two replays of a journal, with an input and without it, and their differences so far.
#[derive(Debug)]
pub struct Comparison {
    with: Player,
    without: Replay,
    out: Outbox,
    /// The line of the input.
    skipped: usize,
    end: usize,
    differences: Differences,
}

impl Comparison {
    /// Compares these lines. The first is skipped; `replay` is the state before it.
    pub(super) fn new(lines: &Rc<Lines>, compared: RangeInclusive<usize>, replay: &Replay) -> Self {
        let (skipped, end) = compared.into_inner();
        Self {
            with: Player::new(lines, skipped - 1, replay.clone()),
            without: replay.clone(),
            out: Outbox::new(),
            skipped,
            end,
            differences: Differences::default(),
        }
    }

    /// Compares this number of further lines; true at the end.
    ///
    /// # Errors
    ///
    /// When a line is not a line of a journal.
    pub fn read(&mut self, lines_max: usize) -> Result<bool, InspectError> {
        let lines = Rc::clone(&self.with.lines);
        let to = self.end.min(self.with.at.saturating_add(lines_max));
        for line in self.with.at + 1..=to {
            let entry = lines.entry(line)?;
            self.with.out.clear();
            self.out.clear();
            apply(&mut self.with.replay, &entry, line, &mut self.with.out)?;
            if line != self.skipped {
                apply(&mut self.without, &entry, line, &mut self.out)?;
            }
            self.differences.compare(line, &self.with.out, &self.out);
            self.with.at = line;
        }
        Ok(to == self.end)
    }

    /// The line that was compared last.
    pub const fn at(&self) -> usize {
        self.with.at
    }

    /// The differences so far, as JSON.
    pub fn differences(&self) -> String {
        json(&self.differences)
    }
}
