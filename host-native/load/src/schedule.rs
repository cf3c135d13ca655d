//! A schedule of a fixed rate, in small batches.

use std::time::{Duration, Instant};

/// The interval between batches: long enough that thousands of messages a second do not cost a
/// wake-up each, short enough not to show in the results.
const TICK: Duration = Duration::from_millis(2);

/// The times of batches, and the number of actions in each.
#[derive(Debug)]
pub struct Schedule {
    per_second: u32,
    start: Instant,
    end: Option<Instant>,
    tick: Instant,
    done: u64,
}

/// A batch.
#[derive(Debug, PartialEq, Eq)]
pub struct Due {
    /// The number of actions that are due.
    pub count: u64,
    /// The delay of the batch, because this program was busy.
    pub lag: Duration,
}

impl Schedule {
    /// A schedule that begins at `start`.
    pub fn new(per_second: u32, start: Instant, end: Option<Instant>) -> Self {
        Self {
            per_second,
            start,
            end,
            tick: start + TICK,
            done: 0,
        }
    }

    /// Takes the next batch, which may be empty; `None` if it is not due yet, or after the last. A
    /// missed tick is made up for as a batch of its own. So a pause of 100 ms counts as 50 late
    /// batches, and has its full weight in the lag.
    pub fn next(&mut self, now: Instant) -> Option<Due> {
        if now < self.tick || self.is_over() {
            return None;
        }
        let total = due(self.per_second, self.tick - self.start);
        let count = total - self.done;
        let lag = now - self.tick;
        self.done = total;
        self.tick += TICK;
        Some(Due { count, lag })
    }

    /// The time at which the next batch is due.
    pub fn at(&self) -> Instant {
        self.tick
    }

    /// True after the last batch.
    pub fn is_over(&self) -> bool {
        self.end.is_some_and(|end| self.tick > end)
    }
}

/// The number of actions that are due after this time.
pub fn due(per_second: u32, elapsed: Duration) -> u64 {
    let total = elapsed.as_nanos() * u128::from(per_second) / 1_000_000_000;
    u64::try_from(total).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_exact_however_it_is_cut_into_ticks() {
        for per_second in [0, 1, 7, 100, 499, 500, 501, 99_999] {
            let ticks = (1..=1_500).map(|tick| due(per_second, TICK * tick));
            let mut before = 0;
            for total in ticks {
                let share = u64::from(per_second) / 500;
                assert!((share..=share + 1).contains(&(total - before)));
                before = total;
            }
            assert_eq!(before, 3 * u64::from(per_second));
        }
    }

    #[test]
    fn the_last_tick_is_the_end() {
        let start = Instant::now();
        let (end, late) = (start + SECOND, start + 2 * SECOND);
        let mut schedule = Schedule::new(3_001, start, Some(end));
        assert_eq!(schedule.next(start), None);
        let (mut count, mut ticks) = (0, 0);
        while let Some(due) = schedule.next(late) {
            assert!(due.lag >= SECOND);
            count += due.count;
            ticks += 1;
        }
        assert_eq!((count, ticks, schedule.is_over()), (3_001, 500, true));
    }

    const SECOND: Duration = Duration::from_secs(1);
}
