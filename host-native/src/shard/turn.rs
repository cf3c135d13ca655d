//! The end of a turn: batches and mail are sent, and each socket with new output is flushed once.
//!
//! This saves a system call for every message of a turn to a connection but the first. The end of
//! the turn is a task that wakes after all tasks whose input was ready, so it runs after all of
//! that was read.
//!
//! The messages of a large room are written in slices, with turns in between, so that members of
//! other rooms need not wait for all of them. Messages that are published to the room meanwhile
//! wait, and are joined. The order on each socket does not change, since each has its own queue. No
//! socket waits for ever: every turn writes a slice, and a waiting socket is in the list once.

pub(super) mod newcomers;
pub(super) mod watch;

use std::{
    collections::VecDeque,
    mem,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::task;

use self::watch::Share;
use super::{egress::SLICE_SOCKETS, hosted::Hosted, state::Shard};
use crate::{clock::millis, metrics::turn::EndedTurn};

/// The minimum time between two warnings of slow turns, for each shard.
const WARNINGS: Duration = Duration::from_secs(10);
/// The number of sweeps in ten seconds.
const SWEEPS_OF_A_LARGEST: u64 = 100;
/// The number of sweeps in a minute.
const SWEEPS_OF_A_PEAK: u64 = 600;

impl Shard {
    /// Ends every turn, as long as the shard exists.
    pub(crate) async fn end_turns(self: Rc<Self>) {
        let (mut line, mut sliced) = (Line::new(), false);
        loop {
            // Yields after the last slice too: input that arrived while it was written is read
            // first, and its output is sent with what was held back.
            if line.sockets.is_empty() && !sliced {
                self.egress.bell.notified().await;
            } else {
                task::yield_now().await;
            }
            let begun = Instant::now();
            self.turn_watch.leave(self.shared.clock.at(begun));
            // Sent first, so that the relay works while the rest is written.
            self.egress.send_relayed();
            sliced = !line.sockets.is_empty();
            let all = line.is_past_mark();
            let recipients_max = if all { usize::MAX } else { SLICE_SOCKETS };
            let mut batches = mem::take(&mut *self.batches.borrow_mut());
            batches.retain(|namespace| {
                let now = self.now();
                let turn = self.metrics().turn.numbers();
                self.turn_watch.enter(now, turn, namespace);
                let ended = namespace.end_batch(&self.egress, now, recipients_max);
                ended.map(|it| self.follow_up(namespace, it)).is_none()
            });
            // The end of a batch may close slow connections. An application may notify others of
            // that, which starts another batch.
            self.batches.borrow_mut().append(&mut batches);
            if self.histories_full.take() {
                self.end_histories();
            }
            if self.client_keys_full.take() {
                self.end_client_keys();
            }
            self.egress.commit();
            self.egress.grant_message_credit();
            self.egress.send_mail();
            let mut dirty = VecDeque::from(mem::take(&mut *self.egress.dirty.borrow_mut()));
            if dirty.len() <= SLICE_SOCKETS {
                // So few sockets need not wait for the many.
                let now = self.now();
                self.turn_watch.leave(now);
                self.egress.flush_slice(now, &mut dirty);
            }
            line.join(&mut dirty, all);
            if self.egress.dirty.borrow().capacity() == 0 {
                // Reused as the buffer for the next turn's list.
                self.egress.dirty.replace(dirty.into());
            }
            let now = self.now();
            // Writing is not charged to a namespace.
            self.turn_watch.leave(now);
            line.written += self.egress.flush_slice(now, &mut line.sockets);
            if line.sockets.is_empty() {
                if self.high_water.trimmed.take() {
                    line.sockets.shrink_to_fit();
                }
                self.shared.flush_record();
            }
            let (metrics, wrote) = (self.metrics(), begun.elapsed());
            metrics.writes.observe(wrote);
            let ended = metrics.end_turn();
            if metrics.turn.is_slow(&ended) {
                let longest = self.turn_watch.longest(self.now());
                self.tell_slow(&ended, Some(wrote), longest);
            }
        }
    }

    /// Logs a slow turn that ended without a write, and rotates the figures of the last minute.
    pub(super) fn watch_turns(&self) {
        if let Some(ended) = self.metrics().turn.take_kept() {
            let longest = self.turn_watch.longest_of(ended.number, millis(ended.took));
            self.tell_slow(&ended, None, longest);
        }
        self.turn_watch
            .forget_others(self.metrics().turn.numbers().0);
        let sweeps = self.sweeps.get() + 1;
        self.sweeps.set(sweeps);
        if sweeps.is_multiple_of(SWEEPS_OF_A_LARGEST) {
            for namespace in self.namespaces() {
                namespace.tell_largest();
            }
        }
        if sweeps.is_multiple_of(SWEEPS_OF_A_PEAK) {
            self.metrics().outbox.rotate();
        }
    }

    #[cold]
    fn tell_slow(
        &self,
        ended: &EndedTurn,
        wrote: Option<Duration>,
        longest: Option<Share<Hosted>>,
    ) {
        let now = self.now();
        let (untold, told) = self.slow_turns.get();
        if told.is_some_and(|told| now.saturating_since(told) < WARNINGS) {
            return self.slow_turns.set((untold + 1, told));
        }
        self.slow_turns.set((0, Some(now)));
        let (namespace, namespace_ms) = longest.unzip();
        tracing::warn!(
            shard = self.index,
            took_ms = millis(ended.took),
            write_ms = wrote.map(millis),
            inputs = ended.inputs,
            sends = ended.sends,
            namespace = namespace.as_deref().map(|it| &*it.name),
            namespace_ms,
            others_untold = untold,
            "slow turn: an I/O thread served nobody else meanwhile"
        );
    }
}

/// The sockets that wait to be flushed, each once.
#[derive(Debug)]
struct Line<S> {
    sockets: VecDeque<S>,
    /// The numbers of sockets that have joined, and that were written.
    joined: usize,
    written: usize,
    /// Batches for many recipients are held back until this many sockets were written: those that
    /// were waiting when such batches last ended.
    mark: usize,
}

impl<S> Line<S> {
    const fn new() -> Self {
        Self {
            sockets: VecDeque::new(),
            joined: 0,
            written: 0,
            mark: 0,
        }
    }

    fn is_past_mark(&self) -> bool {
        self.written >= self.mark
    }

    /// Adds sockets. `mark` tells that they include those of all batches.
    fn join(&mut self, sockets: &mut VecDeque<S>, mark: bool) {
        self.joined += sockets.len();
        self.sockets.append(sockets);
        if mark {
            self.mark = self.joined;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Held-back output for waiting sockets is sent even if others are busy without end.
    #[test]
    fn a_large_batch_is_held_back_for_a_bounded_number_of_turns() {
        let mut line = Line::new();
        line.join(&mut (0..10 * SLICE_SOCKETS).collect(), true);
        let mut turns = 0;
        while !line.is_past_mark() {
            // As many join as are written, so the list never gets shorter.
            line.join(&mut (0..SLICE_SOCKETS).collect(), false);
            line.written += line.sockets.drain(..SLICE_SOCKETS).count();
            turns += 1;
        }
        assert_eq!((turns, line.sockets.len()), (10, 10 * SLICE_SOCKETS));
    }
}
