//! Queues of calls to the relay.

use std::{collections::VecDeque, pin::Pin, rc::Rc, sync::Arc};

use futures_util::{
    FutureExt,
    stream::{FuturesUnordered, StreamExt},
};
use roomcast_core::relay::RelayEvent;
use tokio::{
    join, select,
    task::{coop::Unconstrained, unconstrained},
};

use super::presence::Pace;

/// The limit for publishing calls in flight, each up to 1 MiB. It is below the relay's `calls_max`,
/// so that none waits for a permit there and is overtaken. Publishes that arrive meanwhile wait,
/// and are sent together.
const PUBLISHES_MAX: usize = 16;
/// The limit for calls that set presence: a node that enters all of its users again has thousands.
const ENTRIES_MAX: usize = 64;
/// The limit for calls that read messages, up to 4 MiB each: many clients may reconnect at once.
const READS_MAX: usize = 16;
/// The limit for subscriptions, which read up to 16 MiB each.
const SUBSCRIPTIONS_MAX: usize = 4;

/// The limit for lists of users.
const LISTS_MAX: usize = 4;

/// The overhead in bytes that is counted for each message.
const MESSAGE_BYTES: usize = 256;

/// All calls of a node.
pub(super) struct Queues {
    /// Publishing calls; a hub's calls are sent in its order.
    pub(super) publishes: Queue,
    /// Calls that need no order.
    pub(super) calls: Queue,
    /// Calls that set presence: of two calls about one user the later one counts.
    pub(super) entries: Queue,
    /// Subscribe and unsubscribe calls, in order, so that an unsubscribe does not overtake its
    /// subscribe.
    pub(super) subscriptions: Queue,
    /// Reads of messages.
    pub(super) reads: Queue,
    /// Lists of users, and their pace.
    pub(super) lists: Queue,
    pub(super) pace: Rc<Pace>,
}

impl Queues {
    pub(super) fn new() -> Self {
        Self {
            publishes: Queue::new(PUBLISHES_MAX),
            calls: Queue::new(usize::MAX),
            entries: Queue::new(ENTRIES_MAX),
            subscriptions: Queue::new(SUBSCRIPTIONS_MAX),
            reads: Queue::new(READS_MAX),
            lists: Queue::new(LISTS_MAX),
            pace: Rc::default(),
        }
    }

    /// Starts calls up to the limits; calls that read only while there is space for messages.
    pub(super) fn begin(&mut self, has_space: bool) {
        self.publishes.begin();
        self.calls.begin();
        self.entries.begin();
        self.lists.begin();
        if has_space {
            self.subscriptions.begin();
            self.reads.begin();
        }
    }

    /// Waits for the next finished call, and returns its answers; `None` when no call is in flight.
    /// Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Vec<Answer>> {
        select! {
            Some(answers) = self.publishes.next() => Some(answers),
            Some(answers) = self.calls.next() => Some(answers),
            Some(answers) = self.entries.next() => Some(answers),
            Some(answers) = self.subscriptions.next() => Some(answers),
            Some(answers) = self.reads.next() => Some(answers),
            Some(answers) = self.lists.next() => Some(answers),
            else => None,
        }
    }

    /// The answers of a publish or another call that has already finished.
    pub(super) fn try_next(&mut self) -> Option<Vec<Answer>> {
        let publish = self.publishes.next().now_or_never().flatten();
        publish.or_else(|| self.calls.next().now_or_never().flatten())
    }

    /// Drops queued calls after a loss of the relay: hubs are told that they failed.
    pub(super) fn clear(&mut self) {
        self.publishes.clear();
        self.entries.clear();
        self.lists.clear();
    }

    /// Carries out all calls that change something.
    pub(super) async fn await_changes(&mut self) {
        join!(
            self.publishes.await_all(),
            self.calls.await_all(),
            self.entries.await_all()
        );
    }
}

/// A call of the relay.
type Call = Pin<Box<dyn Future<Output = Vec<Answer>>>>;

/// An answer to a command of a namespace.
pub(super) struct Answer {
    pub(super) namespace: Arc<str>,
    pub(super) instance: u64,
    pub(super) event: RelayEvent,
}

/// Calls that start in the order in which they are queued, a limited number at a time. The response
/// timeout of each starts with the call.
pub(super) struct Queue {
    queued: VecDeque<Call>,
    /// Without tokio's cooperative budget for one turn of a task: beyond it, calls would be woken
    /// later and in another order, and a publisher's messages would be reordered.
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

    /// Queues a call with one answer or none.
    pub(super) fn push(&mut self, call: impl Future<Output = Option<Answer>> + 'static) {
        self.push_all(async move { call.await.into_iter().collect() });
    }

    /// Queues a call with any number of answers.
    pub(super) fn push_all(&mut self, call: impl Future<Output = Vec<Answer>> + 'static) {
        self.queued.push_back(Box::pin(call));
    }

    /// True when the next queued call would start at once.
    pub(super) fn has_place(&self) -> bool {
        self.queued.is_empty() && self.under_way.len() < self.under_way_max
    }

    /// Starts queued calls up to the limit.
    pub(super) fn begin(&mut self) {
        while self.under_way.len() < self.under_way_max
            && let Some(call) = self.queued.pop_front()
        {
            self.under_way.push(unconstrained(call));
        }
    }

    /// Waits for the next finished call, and returns its answers; `None` when no call is in flight.
    /// Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Vec<Answer>> {
        self.under_way.next().await
    }

    /// Drops calls that have not started.
    pub(super) fn clear(&mut self) {
        self.queued.clear();
    }

    /// Runs all calls, and discards the answers.
    pub(super) async fn await_all(&mut self) {
        self.begin();
        while self.next().await.is_some() {
            self.begin();
        }
    }
}

/// The size of an event in bytes, as counted until a shard has taken it.
#[allow(clippy::wildcard_enum_match_arm)] // the others are small
pub(super) fn bytes_of(event: &RelayEvent) -> usize {
    let pages = match event {
        RelayEvent::Message { body, .. } => return MESSAGE_BYTES + body.len(),
        RelayEvent::Subscribed { pages, .. } => &**pages,
        RelayEvent::Page { page, .. } => std::slice::from_ref(page),
        RelayEvent::Users { page, .. } => return MESSAGE_BYTES * (1 + page.users.len()),
        _ => return MESSAGE_BYTES,
    };
    let messages = pages.iter().flat_map(|page| &page.messages);
    let bytes: usize = messages.map(|it| MESSAGE_BYTES + it.body.len()).sum();
    bytes + MESSAGE_BYTES * (1 + pages.len())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::task::coop::consume_budget;

    use super::*;

    /// Queues calls that record the order in which they resume after their first steps.
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
        queue.begin();
        while queue.next().await.is_some() {}
        assert_eq!(*order.borrow(), [0, 1]);
        queue.begin();
        queue.clear();
        queue.await_all().await;
        assert_eq!(*order.borrow(), [0, 1, 2, 3]);
    }
}
