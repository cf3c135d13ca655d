//! Deadlines of a process that may be suspended.
//!
//! A process that was stopped, or a machine that slept, is woken by its timers before it has looked
//! at its sockets: every deadline seems to have passed, although what it is about arrived long ago.
//! So a look that comes late is one of a thread that did not run, and proves nothing about anybody
//! else: first there is a while to read what arrived, and to write what can be written. And before
//! any look the sockets get a turn, since a stop that is short makes no look late.

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::{sleep, sleep_until};

/// A look that is later than this comes from a thread that did not run.
pub(crate) const LATE: Duration = Duration::from_millis(250);
/// The time in which what arrived meanwhile is read, before a deadline is called passed.
const GRACE: Duration = Duration::from_millis(500);
/// The number of times that this is granted in a row: a thread that is always late must still end
/// what is over.
const GRACES_MAX: u32 = 4;

/// So long takes a turn of what waits for sockets, at least.
const TURN: Duration = Duration::from_millis(2);
/// Turns at most: those of a busy thread all take longer.
const TURNS_MAX: u32 = 4;

/// Has everything read that arrived, and written that can be, before a deadline is judged. A turn
/// that took long may have been one in which the process did not run.
pub(crate) async fn turn() {
    for _ in 0..TURNS_MAX {
        let begun = Instant::now();
        sleep(TURN).await;
        if begun.elapsed() <= 4 * TURN {
            return;
        }
    }
}

/// Says of a thread that looks regularly if its looks may be believed.
#[derive(Debug)]
pub(crate) struct Patience {
    looked: Cell<Instant>,
    /// The time until which no deadline is called passed.
    until: Cell<Instant>,
    graces: Cell<u32>,
}

impl Patience {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            looked: Cell::new(now),
            until: Cell::new(now),
            graces: Cell::new(0),
        }
    }

    /// True when a deadline that has passed by the clock may be called so; asked at each look,
    /// which is to come more often than [`LATE`].
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        let slept = now.saturating_duration_since(self.looked.replace(now)) > LATE;
        if slept && self.graces.get() < GRACES_MAX {
            self.graces.set(self.graces.get() + 1);
            self.until.set(now + GRACE);
        }
        let over = now >= self.until.get();
        if over {
            self.graces.set(0);
        }
        over
    }
}

/// Waits until a deadline has passed; when that is noticed late, for a while longer.
async fn passed(deadline: Instant) {
    let mut due = deadline;
    sleep_until(due.into()).await;
    for _ in 0..GRACES_MAX {
        let now = Instant::now();
        if now.saturating_duration_since(due) <= LATE {
            break;
        }
        due = now + GRACE;
        sleep_until(due.into()).await;
    }
    turn().await;
}

/// A wait for a deadline, by [`passed`].
pub(crate) struct Wait(Pin<Box<dyn Future<Output = ()> + Send + Sync>>);

impl Wait {
    pub(crate) fn new(time: Duration) -> Self {
        Self(Box::pin(passed(Instant::now() + time)))
    }
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

/// Runs a future for so long at most; `None` when it does not end in time.
pub(crate) async fn within<F: Future>(time: Duration, future: F) -> Option<F::Output> {
    tokio::select! {
        biased;
        result = future => Some(result),
        () = Wait::new(time) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(100);

    #[test]
    fn a_thread_that_did_not_run_believes_no_deadline_for_a_while() {
        let mut now = Instant::now();
        let patience = Patience::new(now);
        let mut looks = |after: Duration| {
            now += after;
            patience.is_over(now)
        };
        assert!(looks(TICK) && looks(TICK));
        assert!(!looks(Duration::from_secs(60)));
        assert!((0..4).all(|_| !looks(TICK)), "half a second");
        assert!(looks(TICK) && looks(TICK));
    }

    #[test]
    fn a_thread_that_is_always_late_calls_deadlines_passed_all_the_same() {
        let mut now = Instant::now();
        let patience = Patience::new(now);
        let over = (0..20).filter(|_| {
            now += 2 * GRACE;
            patience.is_over(now)
        });
        assert_eq!(over.count(), 4);
    }
}
