//! Deadlines of a process that may be suspended.
//!
//! When a stopped process or a sleeping machine resumes, timers fire before sockets are read: every
//! deadline seems to have passed, although the awaited data arrived long ago. A check that comes
//! late shows that this thread did not run, and proves nothing about peers. So after a late check
//! there is a grace period to read what arrived and to write what can be written. Sockets also get
//! a turn before every check, since a short stop makes no check late.

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::{sleep, sleep_until};

/// A check that is later than this shows that the thread did not run.
pub(crate) const LATE: Duration = Duration::from_millis(250);
/// The time to read what arrived meanwhile, before a deadline counts as passed.
const GRACE: Duration = Duration::from_millis(500);
/// The number of grace periods in a row: a thread that is always late must still enforce deadlines.
const GRACES_MAX: u32 = 4;

/// The minimum time of a turn for tasks that wait for sockets.
const TURN: Duration = Duration::from_millis(2);
/// The maximum number of turns: on a busy thread all of them take longer.
const TURNS_MAX: u32 = 4;

/// Lets other tasks read what arrived and write what they can, before a deadline is judged. During
/// a turn that took long the process may not have run, so another one follows.
pub(crate) async fn turn() {
    for _ in 0..TURNS_MAX {
        let begun = Instant::now();
        sleep(TURN).await;
        if begun.elapsed() <= 4 * TURN {
            return;
        }
    }
}

/// Tells whether a thread that checks deadlines regularly may trust its checks.
#[derive(Debug)]
pub(crate) struct Patience {
    looked: Cell<Instant>,
    /// The time before which no deadline counts as passed.
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

    /// True when a deadline that has passed by the clock counts as passed. Called at each check,
    /// more often than every [`LATE`].
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

/// Waits until a deadline has passed; if the timer fires late, waits a grace period more.
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

/// A future that ends when a deadline has [`passed`].
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

/// Runs a future for at most `time`; `None` when it does not finish in time.
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
