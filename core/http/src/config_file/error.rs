//! Errors of a file of settings.

use alloc::{
    format,
    string::{String, ToString},
};

/// A file of policies that cannot be used. Prints the line, the key and what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{fault}", .line.map(|line| format!("line {line}: ")).unwrap_or_default())]
pub struct PolicyFileError {
    line: Option<usize>,
    fault: String,
}

impl PolicyFileError {
    pub(super) fn new(text: &str, at: Option<usize>, fault: impl ToString) -> Self {
        let before = at.and_then(|at| text.get(..at));
        Self {
            line: before.map(|before| before.matches('\n').count() + 1),
            fault: fault.to_string(),
        }
    }

    /// The line, from 1; `None` when the fault is in no single one.
    pub const fn line(&self) -> Option<usize> {
        self.line
    }

    /// The fault, and what to change.
    pub fn fault(&self) -> &str {
        &self.fault
    }
}
