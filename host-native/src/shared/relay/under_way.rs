//! Messages in flight from the relay to the shards.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicU64, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::{Duration, Instant},
};

/// The number of bytes in flight from which a shard is behind. Then messages wait in the ring of
/// the relay, whose overflow is a loss that members are told of.
const BYTES_MAX: usize = 16 << 20;
/// The time within which batches share one mark, and so one age.
const MARK: Duration = Duration::from_millis(10);
/// The maximum number of marks per shard. Further batches share the last mark.
const MARKS_MAX: usize = 1_024;

/// The messages in flight to one shard, in their order.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    bytes: AtomicUsize,
    /// The bytes of all messages so far.
    begun: AtomicU64,
    /// Times, each with the total bytes up to then.
    marks: Mutex<VecDeque<(Instant, u64)>>,
}

impl UnderWay {
    pub(super) fn begins(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Relaxed);
        self.begun.fetch_add(bytes as u64, Release);
    }

    /// Called when the shard has processed a message. Returns true if it has thereby caught up.
    pub(super) fn is_done(&self, bytes: usize) -> bool {
        let before = self.bytes.fetch_sub(bytes, Relaxed);
        before >= BYTES_MAX && before - bytes < BYTES_MAX
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// True when the shard is not behind.
    pub(super) fn has_space(&self) -> bool {
        self.bytes() < BYTES_MAX
    }

    /// Marks the time of the messages so far.
    pub(super) fn mark(&self, now: Instant) {
        let begun = self.begun.load(Relaxed);
        let mut marks = self.done_marks();
        let is_full = marks.len() >= MARKS_MAX;
        match marks.back_mut() {
            Some((at, until)) if is_full || now.saturating_duration_since(*at) < MARK => {
                *until = begun;
            }
            _ => marks.push_back((now, begun)),
        }
    }

    /// The age of the oldest message that the shard has not processed.
    pub(super) fn age(&self, now: Instant) -> Duration {
        let marks = self.done_marks();
        let oldest = marks.front();
        oldest.map_or(Duration::ZERO, |(at, _)| now.saturating_duration_since(*at))
    }

    /// The marks, without those whose messages are all processed.
    fn done_marks(&self) -> MutexGuard<'_, VecDeque<(Instant, u64)>> {
        // Loaded in this order, so that a message that starts meanwhile counts as in flight.
        let begun = self.begun.load(Acquire);
        let done = begun.saturating_sub(self.bytes() as u64);
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        while marks.front().is_some_and(|(_, until)| *until <= done) {
            marks.pop_front();
        }
        marks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_has_space_until_it_is_behind() {
        let under_way = UnderWay::default();
        under_way.begins(BYTES_MAX - 1);
        assert!(under_way.has_space());
        under_way.begins(6);
        assert!(!under_way.has_space());
        assert!(!under_way.is_done(5), "it is behind still");
        assert!(under_way.is_done(1) && under_way.has_space());
        assert!(!under_way.is_done(1), "it was not behind");
    }

    #[test]
    fn the_oldest_message_has_the_age_of_its_batch() {
        let (under_way, start) = (UnderWay::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        for (millis, bytes) in [(0, 5), (9, 5), (300, 7), (700, 9)] {
            under_way.begins(bytes);
            under_way.mark(at(millis));
        }
        let age = |millis| u64::try_from(under_way.age(at(millis)).as_millis()).unwrap();
        assert_eq!(age(1_000), 1_000);
        under_way.is_done(5);
        assert_eq!(age(1_000), 1_000, "the second came with the first");
        under_way.is_done(5);
        assert_eq!(age(1_000), 700);
        under_way.is_done(7);
        under_way.is_done(9);
        assert_eq!(age(1_000), 0);
    }
}
