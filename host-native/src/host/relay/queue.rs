//! Calls of the relay, in line.

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

/// Calls under way that publish, each up to 1 MiB: fewer than the relay's `calls_max`, so that none
/// waits for a permit there and is overtaken. What comes meanwhile waits, and leaves together.
const PUBLISHES_MAX: usize = 16;
/// The limit for calls that say who is in rooms: a node that enters all of its users anew has
/// thousands.
const ENTRIES_MAX: usize = 64;
/// The limit for calls that read messages, up to 4 MiB each: many clients come back at one time.
const READS_MAX: usize = 16;
/// The limit for subscriptions, which read up to 16 MiB each.
const SUBSCRIPTIONS_MAX: usize = 4;

/// The limit for lists of users.
const LISTS_MAX: usize = 4;

/// Bytes that a message counts beside its body.
const MESSAGE_BYTES: usize = 256;

/// All calls of a node.
pub(super) struct Queues {
    /// Calls that publish: those of a hub leave in its order.
    pub(super) publishes: Queue,
    /// Calls that need no order.
    pub(super) calls: Queue,
    /// Calls that tell the relay who is in rooms: of two that are about one user the later counts.
    pub(super) entries: Queue,
    /// Subscriptions and their ends, which are not to overtake the beginnings.
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

    /// Begins calls whose turn has come; those that read only while there is space for messages.
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

    /// The answers to the next call that has them; `None` when no call is under way. Nothing is
    /// lost when it is dropped early.
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

    /// Answers to publishes or a call that are there already.
    pub(super) fn try_next(&mut self) -> Option<Vec<Answer>> {
        let publish = self.publishes.next().now_or_never().flatten();
        publish.or_else(|| self.calls.next().now_or_never().flatten())
    }

    /// The relay is lost, and hubs are told that what they asked for failed.
    pub(super) fn clear(&mut self) {
        self.publishes.clear();
        self.entries.clear();
        self.lists.clear();
    }

    /// Carries out all that changes something.
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

/// The answer to a command of a namespace.
pub(super) struct Answer {
    pub(super) namespace: Arc<str>,
    pub(super) instance: u64,
    pub(super) event: RelayEvent,
}

/// Calls that begin in the order in which they are queued, a limited number at a time. The response
/// timeout of each starts when the call begins.
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

    /// Puts a call in line, with one answer or none.
    pub(super) fn push(&mut self, call: impl Future<Output = Option<Answer>> + 'static) {
        self.push_all(async move { call.await.into_iter().collect() });
    }

    /// Puts a call in line that has any number of answers.
    pub(super) fn push_all(&mut self, call: impl Future<Output = Vec<Answer>> + 'static) {
        self.queued.push_back(Box::pin(call));
    }

    /// True when a call that is put in line begins at once.
    pub(super) fn has_place(&self) -> bool {
        self.queued.is_empty() && self.under_way.len() < self.under_way_max
    }

    /// Begins those whose turn has come.
    pub(super) fn begin(&mut self) {
        while self.under_way.len() < self.under_way_max
            && let Some(call) = self.queued.pop_front()
        {
            self.under_way.push(unconstrained(call));
        }
    }

    /// The answers to the next call that has them; `None` when no call is under way. Nothing is
    /// lost when it is dropped early.
    pub(super) async fn next(&mut self) -> Option<Vec<Answer>> {
        self.under_way.next().await
    }

    /// Drops those that have not begun.
    pub(super) fn clear(&mut self) {
        self.queued.clear();
    }

    /// Carries out all calls, and discards the answers.
    pub(super) async fn await_all(&mut self) {
        self.begin();
        while self.next().await.is_some() {
            self.begin();
        }
    }
}

/// Bytes that an event counts for while a shard has not taken it.
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
        queue.begin();
        while queue.next().await.is_some() {}
        assert_eq!(*order.borrow(), [0, 1]);
        queue.begin();
        queue.clear();
        queue.await_all().await;
        assert_eq!(*order.borrow(), [0, 1, 2, 3]);
    }
}
