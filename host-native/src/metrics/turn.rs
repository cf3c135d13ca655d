//! Measurement of turns.

use std::time::{Duration, Instant};

use super::counter::Counter;

/// The current turn of a shard: the time since its thread woke, or since the previous turn ended.
///
/// Costs two clock reads per turn, however many messages it has.
#[derive(Debug)]
pub(crate) struct Turn {
    zero: Instant,
    /// The number of the turn, unique on its shard.
    number: Counter,
    /// The duration from which a turn is slow.
    slow_ns: u64,
    begun_ns: Counter,
    /// Inputs and deliveries of the shard before the turn.
    before: [Counter; 2],
    /// The longest slow turn that ended with a wait and has not been taken yet: its number, or 0 if
    /// there is none, its nanoseconds and its counts.
    kept: [Counter; 4],
}

/// A turn that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EndedTurn {
    pub(crate) number: u64,
    pub(crate) took: Duration,
    /// Inputs to namespaces.
    pub(crate) inputs: u64,
    /// Frames for recipients, counted per recipient.
    pub(crate) sends: u64,
}

impl Turn {
    /// The first turn. Turns from `slow` on count as slow.
    pub(super) fn new(slow: Option<Duration>) -> Self {
        Self {
            zero: Instant::now(),
            number: Counter::default(),
            slow_ns: slow.map_or(u64::MAX, nanos),
            begun_ns: Counter::default(),
            before: Default::default(),
            kept: Default::default(),
        }
    }

    /// The numbers of the current turn and of the kept slow turn, or 0 if there is none.
    pub(crate) fn numbers(&self) -> (u64, u64) {
        (self.number.get(), self.kept[0].get())
    }

    /// True when a turn was slow.
    pub(crate) fn is_slow(&self, turn: &EndedTurn) -> bool {
        nanos(turn.took) >= self.slow_ns
    }

    fn now_ns(&self) -> u64 {
        nanos(self.zero.elapsed())
    }

    /// Starts a turn, when the thread has woken.
    pub(super) fn begin(&self) {
        self.begun_ns.set(self.now_ns());
        self.number.add(1);
    }

    /// Ends the turn, and starts the next one. `counts` are the shard's total inputs and
    /// deliveries.
    pub(super) fn end(&self, counts: [u64; 2]) -> EndedTurn {
        let now_ns = self.now_ns();
        let took = now_ns.saturating_sub(self.begun_ns.get());
        self.begun_ns.set(now_ns);
        let [inputs, sends] = [0, 1].map(|of| counts[of].wrapping_sub(self.before[of].get()));
        for (before, count) in self.before.iter().zip(counts) {
            before.set(count);
        }
        let number = self.number.get();
        self.number.add(1);
        EndedTurn {
            number,
            took: Duration::from_nanos(took),
            inputs,
            sends,
        }
    }

    /// True when there was no input since the turn started.
    pub(super) fn is_idle(&self, inputs: u64) -> bool {
        self.before[0].get() == inputs
    }

    /// Keeps a slow turn that ended with a wait, if it is the longest so far.
    pub(super) fn keep(&self, ended: EndedTurn) {
        let took_ns = nanos(ended.took);
        if took_ns >= self.slow_ns && took_ns > self.kept[1].get() {
            let values = [ended.number, took_ns, ended.inputs, ended.sends];
            for (kept, value) in self.kept.iter().zip(values) {
                kept.set(value);
            }
        }
    }

    /// Takes the longest kept turn.
    pub(crate) fn take_kept(&self) -> Option<EndedTurn> {
        let [number, took_ns, inputs, sends] = [0, 1, 2, 3].map(|of| self.kept[of].get());
        if number == 0 {
            return None;
        }
        self.kept[0].set(0);
        self.kept[1].set(0);
        Some(EndedTurn {
            number,
            took: Duration::from_nanos(took_ns),
            inputs,
            sends,
        })
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_has_what_was_counted_since_the_one_before() {
        let turn = Turn::new(None);
        turn.begin();
        assert!(turn.is_idle(0) && !turn.is_idle(3));
        let ended = turn.end([3, 40]);
        assert_eq!((ended.inputs, ended.sends), (3, 40));
        assert!(turn.is_idle(3) && !turn.is_slow(&ended));
        let next = turn.end([4, 40]);
        assert_eq!(next.inputs, 1);
        assert_ne!(next.number, ended.number);
    }

    #[test]
    fn the_longest_slow_turn_is_kept_and_given_once() {
        let turn = Turn::new(Some(Duration::from_millis(3)));
        assert_eq!(turn.take_kept(), None);
        for ms in [2, 9, 4] {
            turn.keep(EndedTurn {
                number: ms,
                took: Duration::from_millis(ms),
                inputs: ms,
                sends: 0,
            });
        }
        assert_eq!(turn.numbers().1, 9);
        let kept = turn.take_kept().expect("one");
        assert_eq!((kept.took, kept.inputs), (Duration::from_millis(9), 9));
        assert!(turn.is_slow(&kept));
        assert_eq!(turn.take_kept(), None);
    }
}
