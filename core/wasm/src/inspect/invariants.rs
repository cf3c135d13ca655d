//! The invariants of the rules, checked over a journal.

mod client;
mod envelope;
mod frames;
mod keys;
mod publish;
mod room;
mod tables;
#[cfg(test)]
mod tests;
mod turn;
mod violation;
mod watch;

use std::{collections::BTreeMap, rc::Rc};

use roomcast_core::{
    ConnId, Input, Outbox, Policies, Timestamp,
    journal::{Entry, Record, Replay},
};

use self::{
    tables::Tables,
    turn::{Applied, conn_of},
    violation::Violations,
    watch::Watch,
};
use super::{fault::InspectError, lines::Lines, output::Output, output::json, player::apply};

/// The number of lines between two checks of the tables of all hubs.
const TABLES_LINES: usize = 256;

/// A check of each input by the frames that follow from it: the order of messages, their
/// recipients, answers, recovery and presence.
///
/// It trusts the frames that connections get, and keeps its own account of them. From the hub it
/// takes only facts that no frame has: the rooms that a backend joined a connection to, and
/// positions.
#[derive(Debug)]
pub struct Invariants {
    lines: Rc<Lines>,
    replay: Replay,
    out: Outbox,
    at: usize,
    end: usize,
    namespaces: BTreeMap<String, Watch>,
    /// The room policies of each namespace.
    policies: BTreeMap<String, Policies>,
    /// The time of the last line.
    now: Timestamp,
    violations: Violations,
}

impl Invariants {
    pub(super) fn new(lines: &Rc<Lines>, end: usize) -> Self {
        Self {
            lines: Rc::clone(lines),
            replay: Replay::new(),
            out: Outbox::new(),
            at: 0,
            end,
            namespaces: BTreeMap::new(),
            policies: BTreeMap::new(),
            now: Timestamp::ZERO,
            violations: Violations::default(),
        }
    }

    /// Checks this number of further lines; true at the end.
    ///
    /// # Errors
    ///
    /// When a line is not a line of a journal.
    pub fn read(&mut self, lines_max: usize) -> Result<bool, InspectError> {
        let lines = Rc::clone(&self.lines);
        let to = self.end.min(self.at.saturating_add(lines_max));
        while self.at < to {
            let line = self.at + 1;
            self.line(line, &lines.entry(line)?)?;
            self.at = line;
            if line.is_multiple_of(TABLES_LINES) || line == self.end {
                self.check_tables();
            }
        }
        Ok(to == self.end)
    }

    fn line(&mut self, line: usize, entry: &Entry<'_>) -> Result<(), InspectError> {
        self.violations.begin(line);
        self.out.clear();
        self.now = entry.at;
        let Record::Input(input) = &entry.record else {
            self.begin(entry);
            return apply(&mut self.replay, entry, line, &mut self.out);
        };
        let hub = self.replay.hub(&entry.namespace);
        let is_alive = |conn: &ConnId| hub.is_some_and(|hub| hub.connection(*conn).is_some());
        let conn = conn_of(input).filter(is_alive);
        let is_due = hub.is_some_and(|hub| hub.next_timeout().is_some_and(|next| next <= entry.at));
        apply(&mut self.replay, entry, line, &mut self.out)?;
        let hub = self.replay.hub(&entry.namespace);
        let watch = self.namespaces.get_mut(&*entry.namespace);
        if let Some((watch, hub)) = watch.zip(hub) {
            let outputs: Vec<_> = Output::all(&self.out).collect();
            let applied = Applied {
                input,
                at: entry.at,
                conn,
                is_due,
                hub,
            };
            watch.step(&applied, &outputs, &mut self.violations);
        }
        if let Input::SetPolicies { policies } = input {
            let policies = policies.clone().into_owned();
            self.policies.insert(entry.namespace.to_string(), policies);
        }
        Ok(())
    }

    /// Handles the beginning of a part of a run, or of a namespace.
    fn begin(&mut self, entry: &Entry<'_>) {
        if let Record::Open(opening) = &entry.record {
            let namespace = entry.namespace.to_string();
            let policies = opening.config.policies.clone();
            self.policies.insert(namespace.clone(), policies);
            self.namespaces.insert(namespace, Watch::default());
        } else if let Record::Start(start) = &entry.record
            && start.part == 1
        {
            // The first part begins without any namespace.
            self.namespaces.clear();
            self.policies.clear();
        }
    }

    fn check_tables(&mut self) {
        for (namespace, hub) in self.replay.hubs() {
            let none = Policies::default();
            let policies = self.policies.get(namespace).unwrap_or(&none);
            Tables::of(hub, policies, self.now).check(&mut self.violations);
            if let Some(watch) = self.namespaces.get(namespace) {
                for info in hub.connections() {
                    let rooms = hub.rooms_of(info.id);
                    watch.check_rooms(info.id, rooms, &mut self.violations);
                }
            }
        }
    }

    /// The line that was checked last.
    pub const fn at(&self) -> usize {
        self.at
    }

    /// The violations so far, as JSON.
    pub fn violations(&self) -> String {
        json(&self.violations)
    }
}
