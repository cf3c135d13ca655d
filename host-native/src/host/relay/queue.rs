//! Calls of the relay, in line.

use std::{collections::VecDeque, pin::Pin, sync::Arc};

use futures_util::stream::{FuturesUnordered, StreamExt};
use roomcast_core::relay::RelayEvent;
use tokio::task::{coop::Unconstrained, unconstrained};

/// A call of the relay.
type Call = Pin<Box<dyn Future<Output = Option<Answer>>>>;

/// The answer to a command of a namespace.
pub(super) struct Answer {
    pub(super) namespace: Arc<str>,
    pub(super) instance: u64,
    pub(super) event: RelayEvent,
}

/// Calls that are begun in the order in which they are put in, so many at one time: the time that
/// each has for its answer begins when its turn has come.
pub(super) struct Queue {
    queued: VecDeque<Call>,
    /// Without the budget that tokio gives a task for one turn: past it calls would be woken later,
    /// in another order, and so would be the messages of a publisher.
    under_way: FuturesUnordered<Unconstrained<Call>>,
    under_way_max: usize,
}

impl Queue {
    pub(super) fn new(under_way_max: usize) -> Self {
        Self {
            queued: VecDeque::new(),
            under_way: FuturesUnordered::new(),
            under_way_max,
        }
    }

    /// Puts a call in line.
    pub(super) fn push(&mut self, call: impl Future<Output = Option<Answer>> + 'static) {
        self.queued.push_back(Box::pin(call));
    }

    /// Begins those whose turn has come.
    pub(super) fn begin(&mut self) {
        while self.under_way.len() < self.under_way_max
            && let Some(call) = self.queued.pop_front()
        {
            self.under_way.push(unconstrained(call));
        }
    }

    /// The next answer; `None` when no call is under way. Nothing is lost when it is dropped early.
    pub(super) async fn next(&mut self) -> Option<Option<Answer>> {
        self.under_way.next().await
    }

    /// True when no call is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Drops those that have not begun: the relay is lost, and hubs are told that they failed.
    pub(super) fn clear(&mut self) {
        self.queued.clear();
    }

    /// Carries out all, without a word about the answers.
    pub(super) async fn await_all(&mut self) {
        self.begin();
        while self.next().await.is_some() {
            self.begin();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use tokio::task::coop::consume_budget;

    use super::*;

    /// Puts calls in line that note in which order they go on behind their first steps.
    fn line(queue: &mut Queue, count: usize) -> Rc<RefCell<Vec<usize>>> {
        let order = Rc::new(RefCell::new(Vec::new()));
        for number in 0..count {
            let order = order.clone();
            queue.push(async move {
                consume_budget().await;
                order.borrow_mut().push(number);
                None
            });
        }
        order
    }

    #[tokio::test]
    async fn calls_keep_their_order_however_many_they_are() {
        let mut queue = Queue::new(usize::MAX);
        let order = line(&mut queue, 1_000);
        queue.await_all().await;
        assert_eq!(*order.borrow(), (0..1_000).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn calls_past_the_limit_wait_for_their_turn() {
        let mut queue = Queue::new(2);
        let order = line(&mut queue, 5);
        assert!(queue.is_idle());
        queue.begin();
        while queue.next().await.is_some() {}
        assert_eq!(*order.borrow(), [0, 1]);
        queue.begin();
        queue.clear();
        queue.await_all().await;
        assert_eq!(*order.borrow(), [0, 1, 2, 3]);
    }
}
