//! The time that each namespace takes in a turn, to name one when the turn was slow.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use roomcast_core::Timestamp;

use crate::clock::millis;

/// The times that namespaces take in a turn, by the millisecond timestamps of the hubs, without
/// further clock reads. Turns are numbered; the times of the previous turn are dropped when another
/// turn starts, unless they are wanted.
#[derive(Debug)]
pub(crate) struct TurnWatch<N> {
    turn: Cell<u64>,
    seen: Cell<Timestamp>,
    current: RefCell<Option<Rc<N>>>,
    took_ms: RefCell<Vec<Share<N>>>,
    /// The times of a wanted turn.
    kept: RefCell<Option<Kept<N>>>,
}

/// A namespace, and the milliseconds that it took.
pub(crate) type Share<N> = (Rc<N>, u64);

/// The times of a past turn, and the namespace that worked last.
type Kept<N> = (Vec<Share<N>>, Option<Rc<N>>);

impl<N> Default for TurnWatch<N> {
    fn default() -> Self {
        Self {
            turn: Cell::default(),
            seen: Cell::new(Timestamp::ZERO),
            current: RefCell::default(),
            took_ms: RefCell::default(),
            kept: RefCell::default(),
        }
    }
}

impl<N> TurnWatch<N> {
    /// Starts the work of a namespace. `wanted` is the number of a slow turn that is not logged
    /// yet.
    pub(crate) fn enter(&self, now: Timestamp, (turn, wanted): (u64, u64), namespace: &Rc<N>) {
        if turn != self.turn.get() {
            self.restart(now, turn, wanted);
        } else if now != self.seen.get() {
            self.charge(now);
        }
        let current = &mut *self.current.borrow_mut();
        if !current.as_ref().is_some_and(|it| Rc::ptr_eq(it, namespace)) {
            *current = Some(namespace.clone());
        }
    }

    /// Ends the work of a namespace: further time is charged to none.
    pub(crate) fn leave(&self, now: Timestamp) {
        if now != self.seen.get() {
            self.charge(now);
        }
        self.current.take();
    }

    /// The namespace that took longest in a turn that ends at this time.
    pub(crate) fn longest(&self, now: Timestamp) -> Option<Share<N>> {
        self.charge(now);
        self.current.take();
        most(self.took_ms.take())
    }

    /// The namespace that took longest in an earlier turn, by its number and its length.
    pub(crate) fn longest_of(&self, turn: u64, took_ms: u64) -> Option<Share<N>> {
        let (mut shares, last) = if self.turn.get() == turn {
            (self.took_ms.take(), self.current.take())
        } else {
            self.kept.take()?
        };
        let charged = shares.iter().map(|(_, ms)| ms).sum();
        if let Some(last) = last {
            add(&mut shares, &last, took_ms.saturating_sub(charged));
        }
        most(shares)
    }

    /// Drops everything about other turns, so that no namespace is kept alive.
    pub(crate) fn forget_others(&self, turn: u64) {
        if self.turn.get() == turn {
            return;
        }
        self.current.take();
        self.kept.take();
        self.took_ms.borrow_mut().clear();
    }

    #[inline(never)]
    fn restart(&self, now: Timestamp, turn: u64, wanted: u64) {
        if wanted != 0 && wanted == self.turn.get() {
            let kept = (self.took_ms.take(), self.current.take());
            self.kept.replace(Some(kept));
        }
        self.took_ms.borrow_mut().clear();
        self.turn.set(turn);
        self.seen.set(now);
    }

    #[cold]
    fn charge(&self, now: Timestamp) {
        let since = now.saturating_since(self.seen.replace(now));
        let current = self.current.borrow();
        if let Some(current) = current.as_ref() {
            add(&mut self.took_ms.borrow_mut(), current, millis(since));
        }
    }
}

fn add<N>(shares: &mut Vec<Share<N>>, to: &Rc<N>, ms: u64) {
    match shares.iter_mut().find(|(it, _)| Rc::ptr_eq(it, to)) {
        Some((_, sum)) => *sum += ms,
        None if ms > 0 => shares.push((to.clone(), ms)),
        None => {}
    }
}

fn most<N>(shares: Vec<Share<N>>) -> Option<Share<N>> {
    shares.into_iter().max_by_key(|(_, ms)| *ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn the_namespace_that_took_longest_is_named() {
        let (a, b) = (Rc::new("a"), Rc::new("b"));
        let watch = TurnWatch::default();
        watch.enter(at(10), (1, 0), &a);
        watch.enter(at(13), (1, 0), &b);
        watch.enter(at(17), (1, 0), &a);
        watch.enter(at(19), (1, 0), &b);
        watch.leave(at(19));
        // Writing is not charged to a namespace.
        let (longest, ms) = watch.longest(at(90)).expect("one");
        assert_eq!((*longest, ms), ("a", 5));
    }

    #[test]
    fn time_between_turns_is_nobodys() {
        let (a, b) = (Rc::new("a"), Rc::new("b"));
        let watch = TurnWatch::default();
        watch.enter(at(10), (1, 0), &a);
        watch.enter(at(900), (2, 0), &b);
        let (longest, ms) = watch.longest(at(903)).expect("one");
        assert_eq!((*longest, ms), ("b", 3));
    }

    #[test]
    fn a_slow_turn_that_was_not_told_at_once_is_told_later() {
        let (a, b) = (Rc::new("a"), Rc::new("b"));
        for goes_on in [false, true] {
            let watch = TurnWatch::default();
            watch.enter(at(10), (1, 0), &a);
            if goes_on {
                watch.enter(at(300), (3, 1), &b);
            }
            let (longest, ms) = watch.longest_of(1, 200).expect("one");
            assert_eq!((*longest, ms), ("a", 200));
        }
    }
}
