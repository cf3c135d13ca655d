//! The sweep: what is due, for all connections together instead of a timer each.
//!
//! It saves the timers, and it looks only at connections that something may become due for: those
//! that do not take what is written, are amid a message, or are being closed. Idle ones cost
//! nothing here. Heartbeats are the hub's, in a tree by time.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    time::{Duration, Instant},
};

use roomcast_core::{CloseCode, Input};

use super::{Hosted, Shard, Socket};
use crate::socket::Stage;

/// How often what is due is looked for: deadlines are met this late at most, but for schedules.
pub(crate) const SWEEP: Duration = Duration::from_millis(100);

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
                namespace.timeout(self);
            }
            for key in self.watched.take() {
                // One that has gone may have left its key to another: a look at that does no harm.
                if let Some(socket) = self.socket(key) {
                    socket.watched.set(false);
                    self.sweep_socket(&socket);
                    self.watch(&socket);
                }
            }
        }
        self.retire_namespaces();
        self.trim();
        self.shared.flush_record();
    }

    /// Tells the namespaces where the wall clock is now, when it was set or the machine slept: the
    /// times of the hub go on evenly.
    fn follow_wall_clock(self: &Rc<Self>) {
        let unix_zero_ms = self.shared.clock.unix_zero_ms();
        if has_stepped(self.unix_zero_ms.get(), unix_zero_ms) {
            self.unix_zero_ms.set(unix_zero_ms);
            for namespace in self.namespaces() {
                namespace.apply(self, &Input::WallClock { unix_zero_ms });
            }
        }
    }

    /// Has the sweep look at a socket, for as long as something may become due for it.
    pub(crate) fn watch(&self, socket: &Socket) {
        if socket.may_be_due() && !socket.watched.replace(true) {
            self.watched.borrow_mut().push(socket.key);
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

    /// Ends namespaces that have nothing left to lose.
    fn retire_namespaces(&self) {
        let now = self.now();
        let idle = |namespace: &&Rc<Hosted>| {
            let mounted = self.shared.gateways.is_mounted(&namespace.name);
            !mounted && namespace.is_idle(now)
        };
        let idle: Vec<_> = self
            .namespaces
            .borrow()
            .values()
            .filter(idle)
            .cloned()
            .collect();
        for namespace in idle {
            self.retire(namespace);
        }
    }

    /// Ends a namespace that nobody is connected to and that holds no message: there is no place
    /// for another one, and strangers must not keep the others out with rooms that they left
    /// behind.
    pub(super) fn retire_one(&self) {
        let now = self.now();
        let spare = |namespace: &&Rc<Hosted>| {
            let mounted = self.shared.gateways.is_mounted(&namespace.name);
            !mounted && namespace.is_spare(now)
        };
        let spare = self.namespaces.borrow().values().find(spare).cloned();
        if let Some(namespace) = spare {
            self.retire(namespace);
        }
    }

    fn retire(&self, namespace: Rc<Hosted>) {
        let next = namespace.ask(|hub| hub.state().next_serial());
        self.serial.set(self.serial.get().max(next));
        self.namespaces.borrow_mut().remove(&namespace.name);
        if self.shared.store.is_some() {
            self.keep(|batch| batch.forget(&namespace.name));
        }
        self.shared.namespaces.release();
        self.count_histories(namespace.history_bytes(), 0);
        // With the application's state, whose own `Drop` may panic.
        if catch_unwind(AssertUnwindSafe(|| drop(namespace))).is_err() {
            tracing::error!("an application panicked when it was dropped");
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
