//! Turns of connections in HTTP or in a TLS handshake.
//!
//! Thousands may arrive at once, and a handshake costs as much as a hundred deliveries. Without
//! separate turns, all that are ready would run before a member's next message is read.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use tokio::{sync::Notify, task::yield_now};

/// The number of newcomers' steps before other tasks get their turn. With fewer, calls of the API
/// would be slow beside long turns.
const STEPS: usize = 2;

/// The work of a newcomer in one turn, in steps: HTTP takes some 30 µs, a part of a TLS handshake
/// at least four times as much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cost {
    Http,
    Handshake,
}

impl Cost {
    const fn steps(self) -> usize {
        match self {
            Self::Http => 1,
            Self::Handshake => STEPS,
        }
    }
}

/// The connections of a shard that are ready to continue, and wait for their turn.
///
/// Connections that have started go first: in an overload some finish their handshake in time,
/// where otherwise all would be late.
#[derive(Debug)]
pub(crate) struct Newcomers {
    /// The steps that are left for newcomers that arrive while nobody waits.
    left: Cell<usize>,
    begun: Line,
    fresh: Line,
    bell: Notify,
}

#[derive(Debug, Default)]
struct Line {
    waiting: RefCell<VecDeque<(Waker, Cost)>>,
    /// The number of places that were given out, and of those that were called.
    given: Cell<u64>,
    called: Cell<u64>,
}

impl Line {
    fn is_empty(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    fn place(&self, waker: &Waker, cost: Cost) -> u64 {
        self.waiting.borrow_mut().push_back((waker.clone(), cost));
        self.given.replace(self.given.get() + 1)
    }

    /// Calls the first waiting newcomers, as far as `left` steps suffice; returns the remaining
    /// steps.
    fn call(&self, mut left: usize) -> usize {
        let mut waiting = self.waiting.borrow_mut();
        while let Some((waker, cost)) = waiting.pop_front_if(|(_, cost)| cost.steps() <= left) {
            left -= cost.steps();
            self.called.set(self.called.get() + 1);
            waker.wake();
        }
        if waiting.is_empty() {
            waiting.shrink_to(STEPS);
        }
        left
    }
}

impl Default for Newcomers {
    fn default() -> Self {
        Self {
            left: Cell::new(STEPS),
            begun: Line::default(),
            fresh: Line::default(),
            bell: Notify::new(),
        }
    }
}

impl Newcomers {
    /// Calls waiting newcomers, a few at a time, as long as the shard exists.
    pub(crate) async fn call(self: Rc<Self>) {
        loop {
            self.bell.notified().await;
            loop {
                // Yields until sockets were polled, and tasks that are ready were queued.
                yield_now().await;
                self.left.set(self.fresh.call(self.begun.call(STEPS)));
                if self.left.get() == STEPS {
                    break;
                }
            }
        }
    }

    /// Polls a future only in its turns; `cost` is the cost of its next step.
    pub(crate) async fn in_turn<F: Future>(&self, cost: &Cell<Cost>, future: F) -> F::Output {
        let (mut future, mut place, mut line) = (pin!(future), None, &self.fresh);
        poll_fn(|cx| {
            if !self.is_turn(line, &mut place, cost.get(), cx) {
                return Poll::Pending;
            }
            line = &self.begun;
            future.as_mut().poll(cx)
        })
        .await
    }

    /// True when it is the turn of `place` in the line, or no place is needed.
    fn is_turn(&self, line: &Line, place: &mut Option<u64>, cost: Cost, cx: &Context<'_>) -> bool {
        if let Some(number) = *place {
            // Otherwise something else has woken it.
            let is_called = number < line.called.get();
            *place = place.filter(|_| !is_called);
            return is_called;
        }
        self.bell.notify_one();
        let left = self.left.get();
        let is_free = left >= cost.steps() && line.is_empty();
        if is_free {
            self.left.set(left - cost.steps());
        } else {
            *place = Some(line.place(cx.waker(), cost));
        }
        is_free
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        runtime::{Builder, LocalOptions},
        task::spawn_local,
    };

    use super::*;

    /// Runs newcomers that are each ready twice, beside a task that is always ready; returns the
    /// most newcomers that ran between two turns of that task.
    fn most_at_once(count: usize, cost: Cost) -> usize {
        let mut runtime = Builder::new_current_thread();
        let runtime = runtime.build_local(LocalOptions::default());
        runtime.expect("a runtime").block_on(async {
            let newcomers = Rc::<Newcomers>::default();
            spawn_local(newcomers.clone().call());
            let (done, since) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
            for _ in 0..count {
                let (newcomers, done, since) = (newcomers.clone(), done.clone(), since.clone());
                spawn_local(async move {
                    let mut polls = 0;
                    let twice = poll_fn(|cx| {
                        (polls, _) = (polls + 1, since.set(since.get() + 1));
                        if polls == 2 {
                            return Poll::Ready(());
                        }
                        cx.waker().wake_by_ref();
                        Poll::Pending
                    });
                    newcomers.in_turn(&Cell::new(cost), twice).await;
                    done.set(done.get() + 1);
                });
            }
            let mut most = 0;
            while done.get() < count {
                yield_now().await;
                most = most.max(since.replace(0));
            }
            most
        })
    }

    #[test]
    fn few_newcomers_go_before_others_have_their_turn() {
        for (cost, most_max) in [(Cost::Http, 2 * STEPS), (Cost::Handshake, 2)] {
            for count in [1, STEPS, 1000] {
                let most = most_at_once(count, cost);
                assert!(
                    (1..=most_max).contains(&most),
                    "{most} of {count}, {cost:?}"
                );
            }
        }
    }
}
