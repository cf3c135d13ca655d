//! So many times a second, in small batches.

use std::time::{Duration, Instant};

/// Long enough that thousands of messages a second do not cost a wake-up each, short enough not to
/// be seen in what they do.
const TICK: Duration = Duration::from_millis(2);

/// Knows when the next things are due, and how many of them.
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
    /// Number of things that are due.
    pub count: u64,
    /// The lateness, because this program was doing something else.
    pub lag: Duration,
}

impl Schedule {
    /// A schedule that begins with `start`.
    pub fn new(per_second: u32, start: Instant, end: Option<Instant>) -> Self {
        Self {
            per_second,
            start,
            end,
            tick: start + TICK,
            done: 0,
        }
    }

    /// The next batch, which may be empty, unless it is still to come. A tick that was missed is
    /// made up for, with its own time: so a stop of 100 ms is 50 batches that are late, and weighs
    /// what it is.
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

/// Number of things that are due after this time.
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
