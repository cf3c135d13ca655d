//! The end of a turn: batches are sent, mail leaves, each socket that got something is written
//! once.
//!
//! It saves a system call for every message but the first that one turn has for a connection. The
//! end of the turn is a task that wakes behind all tasks whose input was ready, so that it comes
//! after all of that was read.
//!
//! The messages of a large room are written in slices, with turns in between: other rooms' members
//! do not wait for all of them. Messages that are published to it meanwhile wait, and join. Nothing
//! of that changes an order: each socket has a queue of its own. No socket waits for good either:
//! every turn writes a slice, and a socket that waits stands in line once.

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

/// The least time between two warnings of slow turns, of each shard.
const WARNINGS: Duration = Duration::from_secs(10);
/// Sweeps of ten seconds.
const SWEEPS_OF_A_LARGEST: u64 = 100;
/// Sweeps of a minute.
const SWEEPS_OF_A_PEAK: u64 = 600;

impl Shard {
    /// Ends every turn, for as long as the shard lives.
    pub(crate) async fn end_turns(self: Rc<Self>) {
        let (mut line, mut sliced) = (Line::new(), false);
        loop {
            // Also behind the last slice: what arrived while it was written is read first, and goes
            // out with what was held back.
            if line.sockets.is_empty() && !sliced {
                self.egress.bell.notified().await;
            } else {
                task::yield_now().await;
            }
            let begun = Instant::now();
            self.turn_watch.leave(self.shared.clock.at(begun));
            // First: the relay has it while the rest is written.
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
            // Ending a batch may close slow connections, which an application may want to tell the
            // others: then a batch has begun.
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
                // Few: they need not wait for the many.
                let now = self.now();
                self.turn_watch.leave(now);
                self.egress.flush_slice(now, &mut dirty);
            }
            line.join(&mut dirty, all);
            if self.egress.dirty.borrow().capacity() == 0 {
                // The buffer for the next turn's list.
                self.egress.dirty.replace(dirty.into());
            }
            let now = self.now();
            // Writing is the work of no namespace.
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

    /// Names a slow turn that ended without a write, and rotates what is told of the last minute.
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

/// The sockets that stand in line to be written, each once.
#[derive(Debug)]
struct Line<S> {
    sockets: VecDeque<S>,
    /// Number of sockets that have joined, and of those that were written.
    joined: usize,
    written: usize,
    /// Batches for many recipients are held back until this many sockets were written: those that
    /// were in line when such batches last ended.
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

    /// Takes sockets in. `mark` says that they are of all batches.
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

    /// Others may be busy without end: what was held back for those in line goes on.
    #[test]
    fn a_large_batch_is_held_back_for_a_bounded_number_of_turns() {
        let mut line = Line::new();
        line.join(&mut (0..10 * SLICE_SOCKETS).collect(), true);
        let mut turns = 0;
        while !line.is_past_mark() {
            // As many as are written: the line never gets shorter.
            line.join(&mut (0..SLICE_SOCKETS).collect(), false);
            line.written += line.sockets.drain(..SLICE_SOCKETS).count();
            turns += 1;
        }
        assert_eq!((turns, line.sockets.len()), (10, 10 * SLICE_SOCKETS));
    }
}
