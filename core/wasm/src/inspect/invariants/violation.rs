//! Violations of invariants, each with the line after which it is seen.

use roomcast_core::ConnId;
use serde::Serialize;

/// The number of violations that are listed; `count` counts all.
const TOLD_MAX: usize = 500;

/// Violations, and their number.
#[derive(Debug, Default, Serialize)]
pub(super) struct Violations {
    count: usize,
    violations: Vec<Violation>,
    /// The line of the input under check.
    #[serde(skip)]
    line: usize,
}

/// A statement that does not hold.
#[derive(Debug, Serialize)]
struct Violation {
    line: usize,
    /// The name of the invariant.
    invariant: &'static str,
    conn: Option<ConnId>,
    room: String,
    text: String,
}

impl Violations {
    /// Begins a line.
    pub(super) const fn begin(&mut self, line: usize) {
        self.line = line;
    }

    /// The line that was begun last.
    pub(super) const fn line(&self) -> usize {
        self.line
    }

    /// Adds a violation that the current line causes.
    pub(super) fn add(
        &mut self,
        invariant: &'static str,
        (conn, room): (Option<ConnId>, &str),
        text: impl Into<String>,
    ) {
        self.count += 1;
        if self.violations.len() < TOLD_MAX {
            self.violations.push(Violation {
                line: self.line,
                invariant,
                conn,
                room: room.to_owned(),
                text: text.into(),
            });
        }
    }

    /// The violations as `invariant at line: text`.
    #[cfg(test)]
    pub(super) fn list(&self) -> Vec<String> {
        let told = self.violations.iter();
        told.map(|one| format!("{} at {}: {}", one.invariant, one.line, one.text))
            .collect()
    }
}
