//! Errors of journals that cannot be opened, or not be stepped.

use std::fmt;

/// The error of a journal, or of a line, that cannot be inspected. It says what to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectError(String);

impl InspectError {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A fault in a line, counted from 1.
    pub(super) fn of_line(number: usize, fault: &impl fmt::Display) -> Self {
        Self(format!("line {number}: {fault}"))
    }
}

impl fmt::Display for InspectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InspectError {}
