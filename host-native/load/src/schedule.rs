//! So many times a second, in small batches.

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// Long enough that thousands of messages a second do not cost a wake-up each, short enough not to
/// be seen in what they do.
const TICK: Duration = Duration::from_millis(2);

/// Says when the next things are due, and how many of them.
#[derive(Debug)]
pub(super) struct Schedule {
    per_second: u32,
    start: Instant,
    end: Option<Instant>,
    ticks: Interval,
    done: u64,
}

/// A batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) count: u64,
    /// How late it is, because this program was doing something else.
    pub(super) lag: Duration,
}

impl Schedule {
    /// Begins with `start`.
    pub(super) fn new(per_second: u32, start: Instant, end: Option<Instant>) -> Self {
        let mut ticks = interval_at(start + TICK, TICK);
        // A tick that is missed is made up for, with its own time: so a stop of 100 ms is 50
        // batches that are late, and weighs what it is.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        Self {
            per_second,
            start,
            end,
            ticks,
            done: 0,
        }
    }

    /// Waits for the next batch, which may be empty; `None` after the last.
    pub(super) async fn next(&mut self) -> Option<Due> {
        let tick = self.ticks.tick().await;
        if self.end.is_some_and(|end| tick > end) {
            return None;
        }
        let total = due(self.per_second, tick - self.start);
        let count = total - self.done;
        self.done = total;
        let lag = tick.elapsed();
        Some(Due { count, lag })
    }
}

/// How many are due after this time.
pub(super) fn due(per_second: u32, elapsed: Duration) -> u64 {
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
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            // All of it is in the past, so nothing is waited for.
            let start = Instant::now() - Duration::from_secs(2);
            let end = start + Duration::from_secs(1);
            let mut schedule = Schedule::new(3_001, start, Some(end));
            let (mut count, mut ticks) = (0, 0);
            while let Some(due) = schedule.next().await {
                assert!(due.lag >= Duration::from_secs(1));
                count += due.count;
                ticks += 1;
            }
            assert_eq!((count, ticks), (3_001, 500));
        });
    }
}
