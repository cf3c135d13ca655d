//! Messages of histories that one queue dropped, for questions about the past.

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};

use super::{AtQueue, Sheddable};

/// The maximum number of remembered ranges, and of rooms with forgotten ranges.
const RANGES_MAX: usize = 64;

/// The messages that were dropped last, as ranges of offsets.
#[derive(Debug, Clone, Default)]
pub(super) struct Drops {
    /// The oldest first.
    known: VecDeque<Dropped>,
    /// For each room of which a range is forgotten, one up to the last such offset.
    forgotten: Vec<Dropped>,
    /// True when the rooms of some forgotten ranges are forgotten as well.
    lost: bool,
}

/// Dropped messages of one history, from the first to the last.
#[derive(Debug, Clone)]
struct Dropped {
    room: Box<str>,
    /// The number of the history among the hub's.
    history: u64,
    first: u64,
    last: u64,
}

impl Dropped {
    const fn is_of(&self, history: u64) -> bool {
        self.history == history
    }
}

impl Drops {
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Records a dropped chunk of messages of a history.
    pub(super) fn add(&mut self, shed: &Sheddable, frames: u32) {
        let (history, first) = (shed.history(), shed.offset());
        let mut added = Dropped {
            room: shed.room().into(),
            history,
            first,
            last: first + u64::from(frames).saturating_sub(1),
        };
        // No two ranges touch each other, so one look finds all that the new one joins.
        self.known.retain(|range| {
            let joins = range.is_of(history)
                && added.first <= range.last + 1
                && range.first <= added.last + 1;
            if joins {
                added.first = added.first.min(range.first);
                added.last = added.last.max(range.last);
            }
            !joins
        });
        if self.known.len() == RANGES_MAX
            && let Some(oldest) = self.known.pop_front()
        {
            self.forget(oldest);
        }
        self.known.push_back(added);
    }

    /// Says whether a message was dropped; `None` when that is forgotten.
    pub(super) fn dropped(&self, message: &AtQueue) -> Option<bool> {
        let offset = message.offset;
        let is_of = |range: &&Dropped| range.is_of(message.history) && *range.room == *message.room;
        let mut known = self.known.iter().filter(is_of);
        if known.any(|range| (range.first..=range.last).contains(&offset)) {
            return Some(true);
        }
        let mut forgotten = self.forgotten.iter().filter(is_of);
        let is_forgotten = self.lost || forgotten.any(|range| offset <= range.last);
        (!is_forgotten).then_some(false)
    }

    fn forget(&mut self, oldest: Dropped) {
        let mut same = self.forgotten.iter_mut();
        if let Some(range) = same.find(|range| range.is_of(oldest.history)) {
            range.last = range.last.max(oldest.last);
        } else if self.forgotten.len() < RANGES_MAX {
            self.forgotten.push(oldest);
        } else {
            self.lost = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Overflow;

    fn drop(drops: &mut Drops, history: u64, offset: u64, frames: u32) {
        let shed = Sheddable::new("r", "x", offset, Overflow::Latest).with_history(history);
        drops.add(&shed, frames);
    }

    fn dropped(drops: &Drops, history: u64, offset: u64) -> Option<bool> {
        drops.dropped(&AtQueue::new("r", history, offset))
    }

    #[test]
    fn ranges_join_and_are_told_apart_by_history() {
        let mut drops = Drops::default();
        assert_eq!(dropped(&drops, 1, 1), Some(false));
        for (offset, frames) in [(5, 1), (3, 1), (6, 1), (4, 1)] {
            drop(&mut drops, 1, offset, frames);
        }
        assert_eq!(drops.known.len(), 1);
        let found: Vec<_> = (2..=7).filter_map(|at| dropped(&drops, 1, at)).collect();
        assert_eq!(found, [false, true, true, true, true, false]);
        assert_eq!(dropped(&drops, 2, 4), Some(false));
    }

    #[test]
    fn a_full_record_says_what_it_has_forgotten() {
        let mut drops = Drops::default();
        let ranges = RANGES_MAX as u64;
        for at in 0..=ranges {
            drop(&mut drops, 1, 10 * at + 5, 1);
        }
        assert_eq!(dropped(&drops, 1, 4), None);
        assert_eq!(dropped(&drops, 1, 5), None);
        assert_eq!(dropped(&drops, 1, 6), Some(false));
        assert_eq!(dropped(&drops, 1, 15), Some(true));
        assert_eq!(dropped(&drops, 2, 1), Some(false));
        // One range of each of more histories than are remembered.
        for history in 2..3 + 2 * ranges {
            drop(&mut drops, history, 1, 1);
        }
        assert_eq!(dropped(&drops, 2, 2), None);
        assert_eq!(dropped(&drops, 2 + 2 * ranges, 1), Some(true));
    }
}
