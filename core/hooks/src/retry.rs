//! Pauses between attempts.

use core::time::Duration;

use crate::limits::{RETRY_MAX, RETRY_MIN};

/// The pause after a number of failures in a row: doubled each time, plus up to half as much by
/// `random`, so that many lines do not retry at the same time.
pub(crate) fn pause(failures: u32, random: u64) -> Duration {
    let longest = RETRY_MAX * 2 / 3;
    let doubled = RETRY_MIN.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let pause = doubled.min(longest);
    let half_ms = u64::try_from(pause.as_millis() / 2).unwrap_or(u64::MAX);
    pause + Duration::from_millis(random % (half_ms + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_one_second_to_five_minutes() {
        assert_eq!(pause(1, 0), RETRY_MIN);
        assert_eq!(pause(2, 0), 2 * RETRY_MIN);
        for failures in 0..200 {
            for random in [0, 1, 499, 77_777, u64::MAX] {
                let pause = pause(failures, random);
                assert!(
                    (RETRY_MIN..=RETRY_MAX).contains(&pause),
                    "{failures}: {pause:?}"
                );
            }
        }
        assert_eq!(pause(99, 100_000), RETRY_MAX);
    }
}
