//! The sweep: checks deadlines of all connections together, without a timer for each.
//!
//! It visits only connections with a deadline that may pass: those that do not accept data, are in
//! the middle of a message, or are being closed. Idle ones cost nothing here. Heartbeats belong to
//! the hub, in a tree by time.

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

/// The time between two sweeps: deadlines, except those of schedules, are met this late at most.
pub(crate) const SWEEP: Duration = Duration::from_millis(100);

/// The minimum time between two checks of schedules, whatever their periods: the clock is no finer.
const PAUSE: Duration = Duration::from_millis(1);

/// True when the wall clock was set, and not only read a moment later.
const fn has_stepped(before_ms: u64, now_ms: u64) -> bool {
    before_ms.abs_diff(now_ms) >= 500
}

impl Shard {
    /// Does the work of all connections that is due a few times a second.
    pub(crate) fn sweep(self: &Rc<Self>) {
        self.follow_wall_clock();
        if self.patience.is_over(Instant::now()) {
            for namespace in self.namespaces() {
                self.timeout(&namespace);
                self.count_relayed(&namespace);
            }
            for key in self.egress.watched.take() {
                // The key of a closed socket may belong to another one, and a check of that does no
                // harm.
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

    /// Updates the namespaces when the wall clock was set or the machine slept: the times of the
    /// hub advance evenly.
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

    /// Releases memory when many connections have ended.
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

/// Schedules of applications, which run when they are due, and not at the next sweep.
impl Shard {
    /// Requests a new search for the next deadline.
    pub(crate) fn tick_schedules(&self) {
        self.begun.notify_one();
    }

    /// Runs due schedules, as long as the shard exists.
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
