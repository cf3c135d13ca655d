//! Parsing and formatting of times.

use std::str::FromStr;

use chrono::{DateTime, SecondsFormat};
use roomcast_core::{Timestamp, journal::Start};

/// A time given on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// A time of the wall clock, in milliseconds since 1970.
    Unix(u64),
    /// A time of the journal, in the milliseconds of its `at`.
    At(u64),
}

impl FromStr for Moment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        let time = DateTime::parse_from_rfc3339(text).ok();
        let unix = time.and_then(|time| u64::try_from(time.timestamp_millis()).ok());
        unix.map(Self::Unix).ok_or(
            "write a time like 2026-07-13T10:15:00Z or 2026-07-13T12:15:00.250+02:00, or a number of \
             milliseconds as in `at` of the journal",
        )
    }
}

/// The mapping from times of the journal to the wall clock, if the journal has one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct WallClock(Option<(Timestamp, u64)>);

impl WallClock {
    /// The mapping that the first line of a file defines.
    pub(super) const fn of(at: Timestamp, start: &Start) -> Self {
        Self(Some((at, start.unix_ms)))
    }

    fn unix_ms(self, at: Timestamp) -> Option<u64> {
        let (zero, unix_ms) = self.0?;
        let passed = at.as_millis().saturating_add(unix_ms);
        Some(passed.saturating_sub(zero.as_millis()))
    }

    /// True when a line is not before a moment; `None` when the journal has no wall-clock times.
    pub(super) fn has_reached(self, at: Timestamp, moment: Moment) -> Option<bool> {
        match moment {
            Moment::At(ms) => Some(at.as_millis() >= ms),
            Moment::Unix(ms) => Some(self.unix_ms(at)? >= ms),
        }
    }

    /// Formats the time of a line: the wall-clock time, or else the time of the journal.
    pub(super) fn text(self, at: Timestamp) -> String {
        let unix = self.unix_ms(at).and_then(|ms| i64::try_from(ms).ok());
        match unix.and_then(DateTime::from_timestamp_millis) {
            Some(time) => time.to_rfc3339_opts(SecondsFormat::Millis, true),
            None => at.as_millis().to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_it_is_printed() {
        let start = Start::new("r", 1, 1_783_937_700_000, "1.0.0");
        let clock = WallClock::of(Timestamp::from_millis(5), &start);
        let at = Timestamp::from_millis(255);
        assert_eq!(clock.text(at), "2026-07-13T10:15:00.250Z");
        for text in [
            "2026-07-13T10:15:00.250Z",
            "2026-07-13T12:15:00.250+02:00",
            "255",
        ] {
            let moment = text.parse().expect(text);
            assert_eq!(clock.has_reached(at, moment), Some(true), "{text}");
            let before = Timestamp::from_millis(254);
            assert_eq!(clock.has_reached(before, moment), Some(false), "{text}");
        }
        assert!("today".parse::<Moment>().is_err() && "-1".parse::<Moment>().is_err());
    }

    #[test]
    fn a_journal_without_a_wall_clock_has_its_own_times() {
        let at = Timestamp::from_millis(7);
        assert_eq!(WallClock::default().text(at), "7");
        assert_eq!(WallClock::default().has_reached(at, Moment::Unix(1)), None);
    }
}
