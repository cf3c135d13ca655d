//! Errors of a file of settings.

use alloc::{
    format,
    string::{String, ToString},
};

/// The beginning of a fault whose key is not shown.
pub(super) const A_KEY: &str = "a key";

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

    /// Shows the key in a fault that hides it, if the key is one of these settings.
    pub(super) fn with_key(mut self, text: &str, names: &[&str]) -> Self {
        let line = self.line.and_then(|line| text.lines().nth(line - 1));
        let key = line.and_then(|line| line.split_once('='));
        let key = key.map(|(key, _)| key.trim().trim_matches('"'));
        if let Some(key) = key.filter(|key| names.contains(&&*key.replace('_', "-")))
            && let Some(rest) = self.fault.strip_prefix(A_KEY)
        {
            self.fault = format!("`{key}`{rest}");
        }
        self
    }

    /// The line, from 1; `None` when the fault is not in a single line.
    pub const fn line(&self) -> Option<usize> {
        self.line
    }

    /// The fault, and what to change.
    pub fn fault(&self) -> &str {
        &self.fault
    }
}
