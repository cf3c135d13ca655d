//! Findings, and their lines.

use std::fmt::Display;

use anyhow::Context;
use serde::Serialize;

use super::super::{replay::show::one_line, say};

/// The outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Ok,
    Failed,
    Skipped,
}

/// The outcome of a check, what was seen, and what to change.
#[derive(Debug)]
pub(super) struct Finding {
    state: State,
    seen: String,
    fix: Option<String>,
}

impl Finding {
    fn new(state: State, seen: impl Display) -> Self {
        // It may contain text from the server or a proxy.
        let seen = one_line(&seen.to_string()).into_owned();
        let fix = None;
        Self { state, seen, fix }
    }

    pub(super) fn ok(seen: impl Display) -> Self {
        Self::new(State::Ok, seen)
    }

    /// A failed check, with the setting to change and its file.
    pub(super) fn failed(seen: impl Display, fix: impl Display) -> Self {
        let fix = Some(one_line(&fix.to_string()).into_owned());
        Self {
            fix,
            ..Self::new(State::Failed, seen)
        }
    }

    pub(super) fn skipped(why: impl Display) -> Self {
        Self::new(State::Skipped, why)
    }
}

/// A check as it is printed in JSON.
#[derive(Serialize)]
struct Line<'a> {
    check: &'a str,
    state: State,
    seen: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<&'a str>,
}

/// A printer of findings, which counts the failed ones.
#[derive(Debug)]
pub(super) struct Report {
    is_json: bool,
    /// Checks that failed.
    pub(super) failed: usize,
}

impl Report {
    pub(super) const fn new(is_json: bool) -> Self {
        Self { is_json, failed: 0 }
    }

    /// Prints what a check found.
    ///
    /// # Errors
    ///
    /// When it cannot be printed.
    pub(super) fn add(&mut self, check: &str, finding: Finding) -> anyhow::Result<()> {
        let Finding { state, seen, fix } = finding;
        self.failed += usize::from(state == State::Failed);
        let text = if self.is_json {
            let (seen, fix) = (&*seen, fix.as_deref());
            serde_json::to_string(&Line {
                check,
                state,
                seen,
                fix,
            })?
        } else {
            let state = match state {
                State::Ok => "ok",
                State::Failed => "FAILED",
                State::Skipped => "skipped",
            };
            let fix = fix.map_or_else(String::new, |fix| format!("\n{:21}fix: {fix}", ""));
            format!("{state:7}  {check:11} {seen}{fix}")
        };
        say::result(format_args!("{text}")).context("cannot write what was found")
    }
}
