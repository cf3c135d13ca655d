//! The hub's own notion of time.

use core::{fmt, ops::Add, time::Duration};

use serde::{Deserialize, Serialize};

/// A point in time: milliseconds since an epoch that the host chooses.
///
/// The hub has no clock. A host passes the time with every input, from a monotonic source: only
/// differences matter, never the epoch. A time below an earlier one is harmless; deadlines are then
/// met later.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The epoch itself.
    pub const ZERO: Self = Self(0);

    /// The time `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The time since `earlier`; zero when `earlier` is later.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Adds a duration, rounded down to whole milliseconds; stops at the largest time.
impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(whole_millis(duration)))
    }
}

/// Milliseconds of a duration, rounded down and saturating. The standard library's 128-bit numbers
/// take three times as long to write.
pub(crate) fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// True for a number that need not be written, for serde.
#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
pub(crate) const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A time of the wall clock: milliseconds since 1970, UTC.
///
/// It prints as RFC 3339, in whole seconds:
///
/// ```
/// use roomcast_core::UnixTime;
///
/// let time = UnixTime::from_millis(1_780_914_194_999);
/// assert_eq!(time.to_string(), "2026-06-08T10:23:14Z");
/// ```
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixTime(u64);

impl UnixTime {
    /// The time `millis` milliseconds after the beginning of 1970.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the beginning of 1970.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the beginning of 1970.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000;
        let (day, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = date(day);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

/// The year, month and day of a day since 1970. Years begin with March here, so that the day of a
/// leap year is their last.
const fn date(day: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    const DAYS_FROM_YEAR_0: u64 = 719_468;
    let day = day + DAYS_FROM_YEAR_0;
    let (cycle, day) = (day / DAYS_OF_400_YEARS, day % DAYS_OF_400_YEARS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (cycle * 400 + year + (month <= 2) as u64, month, day)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn wall_clock_times_are_dates_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_735_689_600, "2025-01-01T00:00:00Z"),
            (1_780_914_194, "2026-06-08T10:23:14Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            let time = UnixTime::from_millis(seconds * 1000 + 999);
            assert_eq!(time.to_string(), text);
        }
    }

    #[test]
    fn every_day_is_one_after_the_day_before() {
        let mut before = (1969, 12, 31);
        for day in 0..200_000 {
            let (year, month, of_month) = date(day);
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let february = 28 + u64::from(leap);
            let days = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            let length = days
                .into_iter()
                .zip(1..)
                .find(|(_, month)| *month == before.1);
            let length = length.map(|(days, _)| days);
            let expected = match before {
                (year, 12, 31) => (year + 1, 1, 1),
                (year, month, last) if Some(last) == length => (year, month + 1, 1),
                (year, month, day) => (year, month, day + 1),
            };
            assert_eq!((year, month, of_month), expected, "day {day}");
            before = expected;
        }
    }

    #[test]
    fn addition_stops_at_the_end_of_time() {
        let end = Timestamp::from_millis(u64::MAX);
        assert_eq!(end + Duration::from_secs(1), end);
        assert_eq!(
            Timestamp::ZERO + Duration::MAX,
            Timestamp::from_millis(u64::MAX)
        );
    }

    #[test]
    fn a_clock_that_steps_back_yields_zero() {
        let (early, late) = (Timestamp::from_millis(5), Timestamp::from_millis(9));
        assert_eq!(early.saturating_since(late), Duration::ZERO);
        assert_eq!(late.saturating_since(early), Duration::from_millis(4));
    }
}
