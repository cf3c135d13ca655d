//! Differences between the commands of a journal with and without one of its inputs.

use std::collections::BTreeMap;

use roomcast_core::{ConnId, Outbox};
use serde::Serialize;

use super::output::Output;

/// The number of differences that are listed; `count` counts all.
const TOLD_MAX: usize = 500;

/// Differences, and their number.
#[derive(Debug, Default, Serialize)]
pub(super) struct Differences {
    count: usize,
    differences: Vec<Difference>,
}

/// Frames of one step to one connection.
#[derive(Debug, Serialize)]
struct Difference {
    /// The line of the input, from 1.
    line: usize,
    conn: ConnId,
    /// Frames that it gets, in their order.
    with: Vec<String>,
    /// Frames that it gets when the input is skipped.
    without: Vec<String>,
}

impl Differences {
    /// Compares a step.
    pub(super) fn compare(&mut self, line: usize, with: &Outbox, without: &Outbox) {
        // Most steps are the same in both.
        if Output::all(with).eq(Output::all(without)) {
            return;
        }
        let (mut with, mut without) = (frames(with), frames(without));
        let mut conns: Vec<ConnId> = with.keys().chain(without.keys()).copied().collect();
        conns.sort_unstable();
        conns.dedup();
        for conn in conns {
            let with = with.remove(&conn).unwrap_or_default();
            let without = without.remove(&conn).unwrap_or_default();
            if with == without {
                continue;
            }
            self.count += 1;
            if self.differences.len() < TOLD_MAX {
                self.differences.push(Difference {
                    line,
                    conn,
                    with,
                    without,
                });
            }
        }
    }
}

/// The frames of a step by recipient.
fn frames(out: &Outbox) -> BTreeMap<ConnId, Vec<String>> {
    let mut frames: BTreeMap<ConnId, Vec<String>> = BTreeMap::new();
    for output in Output::all(out) {
        for conn in output.to() {
            frames.entry(*conn).or_default().push(output.text());
        }
    }
    frames
}
