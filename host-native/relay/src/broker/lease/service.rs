//! Judgement of leases: which ones prove that their nodes are dead.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::super::settings::{Timing, millis};

/// An incarnation and the end of its lease, as the server wrote it.
pub(crate) type Lease = (String, String);

/// The leases that may be taken away; none by default.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Leases that end before this time of the server, in milliseconds, have ended; 0 for none.
    pub(crate) before_ms: u64,
    /// Leases that were not renewed for the length of a lease, by the clock of this node.
    pub(crate) stale: Vec<Lease>,
    /// Leases that end after this time of the server, in milliseconds, are requested; 0 for none.
    pub(crate) late_ms: u64,
}

/// A record of how long heartbeats have come without a pause, and the server's clock without a
/// step.
///
/// An ended lease proves that its node is dead only if the node could have renewed it. It could not
/// while the server was away, while the processes were frozen (this one, and perhaps that one too),
/// or when the server's clock was set forward. When that was set back, the lease of a dead node
/// ends too late, and is judged by the clock of this node.
#[derive(Debug)]
pub(crate) struct Service {
    since: Instant,
    last: Instant,
    /// The time of the server at the last heartbeat, in milliseconds; 0 before the first.
    last_ms: u64,
    /// Leases that end late, and the times at which this was first seen.
    late: BTreeMap<Lease, Instant>,
}

impl Service {
    pub(crate) const fn begin(now: Instant) -> Self {
        Self {
            since: now,
            last: now,
            last_ms: 0,
            late: BTreeMap::new(),
        }
    }

    /// Records a heartbeat, with the times of this node and of the server. Returns the leases that
    /// may be taken away.
    pub(crate) fn go_on(&mut self, (now, now_ms): (Instant, u64), timing: &Timing) -> Ended {
        let passed = now - self.last;
        let expected_ms = self.last_ms + millis(passed);
        // After a smaller step every node still has time to renew its lease.
        let is_step = now_ms.abs_diff(expected_ms) > millis(timing.lease / 4);
        if passed > timing.heartbeat * 2 || self.last_ms > 0 && is_step {
            self.since = now;
            self.late.clear();
        }
        (self.last, self.last_ms) = (now, now_ms);
        let mut ended = Ended {
            late_ms: now_ms + millis(timing.lease),
            ..Ended::default()
        };
        if now - self.since >= timing.claim_after {
            ended.before_ms = now_ms;
            let late = self.late.iter();
            let stale = late.filter(|(_, since)| now - **since >= timing.lease);
            ended.stale = stale.map(|(lease, _)| lease.clone()).collect();
        }
        ended
    }

    /// Records the leases that end late. A renewed lease has another end, so it counts from now.
    pub(crate) fn note_late(&mut self, now: Instant, late: Vec<Lease>) {
        let late = late.into_iter().map(|lease| {
            let since = self.late.get(&lease).copied().unwrap_or(now);
            (lease, since)
        });
        self.late = late.collect();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HOUR: u64 = 3_600;

    /// True for each heartbeat, at seconds of this node and of the server, that takes leases away.
    fn claims(beats: &[(u64, u64)]) -> Vec<bool> {
        let (timing, start) = (Timing::default(), Instant::now());
        let mut service = Service::begin(start);
        let beats = beats.iter().map(|(at, server)| {
            let at = start + Duration::from_secs(*at);
            service.go_on((at, server * 1_000), &timing).before_ms > 0
        });
        beats.collect()
    }

    #[test]
    fn leases_are_taken_away_after_heartbeats_without_a_pause() {
        let beats = [0, 3, 6, 9, 12, 15, 22, 25, 28, 31, 34].map(|at| (at, HOUR + at));
        let (not, is) = (false, true);
        // Between 15 and 22 the node was frozen.
        let expected = [not, not, not, not, is, is, not, not, not, not, is];
        assert_eq!(claims(&beats), expected);
    }

    #[test]
    fn a_step_of_the_clock_of_the_server_is_a_pause() {
        let (not, is) = (false, true);
        for after in [HOUR - 1_000, HOUR + 10] {
            let before = [9, 12].map(|at| (at, HOUR + at));
            let after = [15, 18, 21, 24, 27].map(|at| (at, after + at));
            let beats = [&[0, 3, 6].map(|at| (at, HOUR + at))[..], &before, &after].concat();
            let expected = [not, not, not, not, is, not, not, not, not, is];
            assert_eq!(claims(&beats), expected);
        }
    }

    #[test]
    fn a_lease_that_is_not_renewed_ends_by_the_clock_of_this_node() {
        let (timing, start) = (Timing::default(), Instant::now());
        let mut service = Service::begin(start);
        let dead = ("dead".to_owned(), "7200000".to_owned());
        let mut stale = Vec::new();
        for at in (0..=30).step_by(3) {
            let now = start + Duration::from_secs(at);
            let ended = service.go_on((now, at * 1_000 + 1), &timing);
            assert_eq!(ended.late_ms, at * 1_000 + 10_001);
            if !ended.stale.is_empty() {
                stale.push((at, ended.stale.clone()));
            }
            // Each lease of the living node is seen once.
            let alive = ("alive".to_owned(), at.to_string());
            let late = if at < 15 {
                vec![dead.clone(), alive]
            } else {
                vec![alive]
            };
            service.note_late(now, late);
        }
        assert_eq!(stale, [(12, vec![dead.clone()]), (15, vec![dead])]);
    }
}
