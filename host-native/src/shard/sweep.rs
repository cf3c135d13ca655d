//! The sweep: what is due, for all connections together instead of a timer each.
//!
//! It saves the timers, and looks only at connections for which something may become due: those
//! that do not take what is written, are in the middle of a message, or are being closed. Idle ones
//! cost nothing here. Heartbeats are the hub's, in a tree by time.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use roomcast_core::{CloseCode, Input};
use tokio::time::sleep;

use super::{state::Shard, trim};
use crate::{
    clock::patience,
    socket::{Socket, Stage},
};

/// The time between two looks for what is due: deadlines are met this late at most, but for
/// schedules.
pub(crate) const SWEEP: Duration = Duration::from_millis(100);

/// Schedules are looked at no more often than this, whatever their periods: the clock is no finer.
const PAUSE: Duration = Duration::from_millis(1);

/// True when the wall clock is somewhere else, and not only read a moment later.
const fn has_stepped(before_ms: u64, now_ms: u64) -> bool {
    before_ms.abs_diff(now_ms) >= 500
}

impl Shard {
    /// Does the work that is due a few times a second, for all connections together instead of with
    /// a timer each.
    pub(crate) fn sweep(self: &Rc<Self>) {
        self.follow_wall_clock();
        if self.patience.is_over(Instant::now()) {
            for namespace in self.namespaces() {
                self.timeout(&namespace);
                self.count_relayed(&namespace);
            }
            for key in self.egress.watched.take() {
                // The key of a closed socket may belong to another by now: a look does no harm.
                if let Some(socket) = self.egress.socket(key) {
                    socket.watched.set(false);
                    self.sweep_socket(&socket);
                    self.metrics().outbox.note(socket.queued_bytes());
                    self.egress.watch(&socket);
                }
            }
        }
        self.retire_namespaces();
        self.trim();
        self.watch_turns();
        self.shared.flush_record();
    }

    /// Tells the namespaces where the wall clock is now, when it was set or the machine slept: the
    /// times of the hub go on evenly.
    fn follow_wall_clock(self: &Rc<Self>) {
        let unix_zero_ms = self.shared.clock.unix_zero_ms();
        if has_stepped(self.unix_zero_ms.get(), unix_zero_ms) {
            self.unix_zero_ms.set(unix_zero_ms);
            for namespace in self.namespaces() {
                self.apply(&namespace, &Input::WallClock { unix_zero_ms });
            }
        }
    }

    fn sweep_socket(&self, socket: &Socket) {
        let (now, settings) = (self.now(), &self.shared.settings);
        match socket.stage() {
            Stage::Open => {
                if let Some(since) = socket.blocked_since()
                    && now.saturating_since(since) >= settings.write_stall
                {
                    socket.discard();
                    self.ask_close(socket, CloseCode::TOO_SLOW, "too slow: nothing was taken");
                } else if let Some(since) = socket.message_since.get()
                    && now.saturating_since(since) >= settings.message_time
                {
                    self.ask_close(socket, CloseCode::POLICY, "a message took too long");
                }
            }
            Stage::Closing(since) => {
                if now.saturating_since(since) >= settings.close_wait {
                    socket.set_stage(Stage::Dead);
                }
            }
            Stage::Done => {
                if let Some(since) = socket.blocked_since()
                    && now.saturating_since(since) >= settings.close_wait
                {
                    socket.set_stage(Stage::Dead);
                }
            }
            Stage::Dead => {}
        }
    }

    /// Gives memory back when a crowd has gone.
    fn trim(&self) {
        if !self
            .high_water
            .must_trim(self.egress.sockets.borrow().len())
        {
            return;
        }
        self.high_water.trimmed.set(true);
        self.egress.sockets.borrow_mut().shrink_to_fit();
        self.egress.dirty.borrow_mut().shrink_to_fit();
        self.batches.borrow_mut().shrink_to_fit();
        for namespace in self.namespaces() {
            namespace.shrink_to_fit();
        }
        trim::release();
    }
}

/// Schedules of applications: run when they are due, not at the next sweep.
impl Shard {
    /// Has the next deadline looked for anew.
    pub(crate) fn tick_schedules(&self) {
        self.begun.notify_one();
    }

    /// Runs what is due, for as long as the shard lives.
    pub(crate) async fn keep_schedules(self: Rc<Self>) {
        let mut pause = PAUSE;
        loop {
            let namespaces = self.namespaces();
            let next = namespaces.iter().filter_map(|n| n.next_schedule()).min();
            drop(namespaces);
            let Some(due) = next else {
                self.begun.notified().await;
                continue;
            };
            tokio::select! {
                () = sleep(due.saturating_since(self.now()).max(pause)) => {
                    patience::turn().await;
                    if !self.patience.is_over(Instant::now()) {
                        pause = SWEEP;
                        continue;
                    }
                    pause = PAUSE;
                    for namespace in self.namespaces() {
                        self.timeout(&namespace);
                    }
                }
                () = self.begun.notified() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_is_set_is_told_from_one_that_is_read_late() {
        assert!(!has_stepped(1_000_000, 1_000_000));
        assert!(!has_stepped(1_000_000, 1_000_003));
        assert!(!has_stepped(1_000_003, 1_000_000));
        assert!(has_stepped(1_000_000, 1_000_500));
        assert!(has_stepped(1_000_000, 0));
    }
}
