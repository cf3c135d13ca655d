//! Schedules as deadlines.

use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::{Timestamp, whole_millis};

/// The times at which the schedules of an application are due; in memory and in saved state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Timetable(Vec<Schedule>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Schedule {
    every_ms: u64,
    due: Option<Timestamp>,
}

impl Timetable {
    /// Schedules that do not run yet. A period below a millisecond is one millisecond.
    pub(super) fn new(periods: &[Duration]) -> Self {
        let schedules = periods.iter().map(|&period| Schedule {
            every_ms: whole_millis(period).max(1),
            due: None,
        });
        Self(schedules.collect())
    }

    /// Takes over the deadlines of a saved table for schedules whose period is still the same.
    pub(super) fn resume(&mut self, saved: &Self) {
        for (schedule, before) in self.0.iter_mut().zip(&saved.0) {
            if schedule.every_ms == before.every_ms {
                schedule.due = before.due;
            }
        }
    }

    /// Starts the schedules that do not run; true when that changed anything.
    pub(super) fn start(&mut self, now: Timestamp) -> bool {
        let mut changed = false;
        for schedule in &mut self.0 {
            if schedule.due.is_none() {
                schedule.due = Some(now + Duration::from_millis(schedule.every_ms));
                changed = true;
            }
        }
        changed
    }

    /// Stops all schedules; true when that changed anything.
    pub(super) fn stop(&mut self) -> bool {
        let mut changed = false;
        for schedule in &mut self.0 {
            changed |= schedule.due.take().is_some();
        }
        changed
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        self.0.iter().filter_map(|schedule| schedule.due).min()
    }

    /// Takes the schedule that is due first, if any, and sets it to its next time after `now`.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<usize> {
        let runs = self.0.iter_mut().enumerate();
        let due = runs.filter_map(|(index, schedule)| Some((schedule.due?, index, schedule)));
        let (due, index, schedule) = due.min_by_key(|&(due, index, _)| (due, index))?;
        let late = now.as_millis().checked_sub(due.as_millis())?;
        let missed = late / schedule.every_ms;
        let step = schedule.every_ms.saturating_mul(missed.saturating_add(1));
        schedule.due = Some(due + Duration::from_millis(step));
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_call_keeps_the_phase() {
        let at = Timestamp::from_millis;
        let mut table = Timetable::new(&[Duration::from_millis(10), Duration::from_millis(25)]);
        assert_eq!(table.next(), None);
        assert!(table.start(at(5)) && !table.start(at(6)));
        assert_eq!((table.next(), table.take_due(at(14))), (Some(at(15)), None));
        assert_eq!(table.take_due(at(47)), Some(0));
        assert_eq!(table.take_due(at(47)), Some(1));
        assert_eq!((table.take_due(at(47)), table.next()), (None, Some(at(55))));
        assert!(table.stop() && table.next().is_none());
    }
}
