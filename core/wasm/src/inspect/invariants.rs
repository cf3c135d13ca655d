//! The invariants of the rules, checked over a journal.

mod client;
mod envelope;
mod frames;
mod room;
mod tables;
#[cfg(test)]
mod tests;
mod turn;
mod violation;
mod watch;

use std::{collections::BTreeMap, rc::Rc};

use roomcast_core::{
    ConnId, Outbox,
    journal::{Entry, Record, Replay},
};

use self::{
    turn::{Applied, conn_of},
    violation::Violations,
    watch::Watch,
};
use super::{fault::InspectError, lines::Lines, output::Output, output::json, player::apply};

/// Lines from one check of the tables of all hubs to the next.
const TABLES_LINES: usize = 256;

/// A check of each input by the frames that follow from it: the order of messages, their
/// recipients, answers, recovery and presence.
///
/// It believes what connections are told, and keeps its own account of it. Of the hub it knows what
/// no frame says: the rooms that a backend joined a connection to, and positions.
#[derive(Debug)]
pub struct Invariants {
    lines: Rc<Lines>,
    replay: Replay,
    out: Outbox,
    at: usize,
    end: usize,
    namespaces: BTreeMap<String, Watch>,
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
            violations: Violations::default(),
        }
    }

    /// Checks so many lines further; true at the end.
    ///
    /// # Errors
    ///
    /// When a line is none of a journal.
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
        let Record::Input(input) = &entry.record else {
            match &entry.record {
                // The first part of a run begins without any namespace.
                Record::Start(start) if start.part == 1 => self.namespaces.clear(),
                Record::Open(_) => {
                    let namespace = entry.namespace.to_string();
                    self.namespaces.insert(namespace, Watch::default());
                }
                Record::Start(_) | Record::Input(_) | _ => {}
            }
            return apply(&mut self.replay, entry, line, &mut self.out);
        };
        let hub = self.replay.hub(&entry.namespace);
        let is_alive = |conn: &ConnId| hub.is_some_and(|hub| hub.connection(*conn).is_some());
        let conn = conn_of(input).filter(is_alive);
        apply(&mut self.replay, entry, line, &mut self.out)?;
        let hub = self.replay.hub(&entry.namespace);
        let watch = self.namespaces.get_mut(&*entry.namespace);
        if let Some((watch, hub)) = watch.zip(hub) {
            let outputs: Vec<_> = Output::all(&self.out).collect();
            let applied = Applied { input, conn, hub };
            watch.step(&applied, &outputs, &mut self.violations);
        }
        Ok(())
    }

    fn check_tables(&mut self) {
        for (namespace, hub) in self.replay.hubs() {
            tables::check(hub, &mut self.violations);
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
