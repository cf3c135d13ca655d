//! A count of faulty answers, of which ever fewer are logged.

use core::time::Duration;

use roomcast_core::Timestamp;

/// The time after which the count restarts.
const TIME: Duration = Duration::from_secs(60);

/// Faults of a minute: clients can cause them, so they must not fill a log.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    since: Timestamp,
    count: u32,
}

impl Faults {
    /// Counts a fault, and returns its number in the minute.
    pub(super) fn count(&mut self, now: Timestamp) -> u32 {
        if now.saturating_since(self.since) >= TIME {
            (self.since, self.count) = (now, 0);
        }
        self.count = self.count.saturating_add(1);
        self.count
    }
}
