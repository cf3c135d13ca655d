//! The replay of lines, one after the other.

use std::rc::Rc;

use roomcast_core::{
    Outbox,
    journal::{Entry, Replay},
};

use super::{fault::InspectError, lines::Lines};

/// A replay of lines, with the commands of the last one.
#[derive(Debug)]
pub(super) struct Player {
    pub(super) lines: Rc<Lines>,
    pub(super) replay: Replay,
    /// The line that was played last; 0 before the first.
    pub(super) at: usize,
    pub(super) out: Outbox,
}

impl Player {
    /// A replay after a line, in this state.
    pub(super) fn new(lines: &Rc<Lines>, at: usize, replay: Replay) -> Self {
        Self {
            lines: Rc::clone(lines),
            replay,
            at,
            out: Outbox::new(),
        }
    }

    /// Plays the next line.
    pub(super) fn play(&mut self) -> Result<(), InspectError> {
        let line = self.at + 1;
        self.out.clear();
        let entry = self.lines.entry(line)?;
        apply(&mut self.replay, &entry, line, &mut self.out)?;
        self.at = line;
        Ok(())
    }
}

/// Plays a line.
pub(super) fn apply(
    replay: &mut Replay,
    entry: &Entry<'_>,
    line: usize,
    out: &mut Outbox,
) -> Result<(), InspectError> {
    let played = replay.apply(entry, out);
    played.map_err(|fault| InspectError::of_line(line, &fault))
}
