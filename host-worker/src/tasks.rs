//! The work that answers wait for.

pub(crate) mod notify;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
};

use roomcast_core::{
    Outcome,
    gateway::{Token, Work},
};

use self::notify::Notifier;

/// Futures that are polled one by one, each as an input of its own: what traps in one is known, and
/// what its answer leads to is saved and sent like anything else.
pub(crate) struct Tasks {
    works: BTreeMap<Token, Task>,
    ready: Ready,
    notifier: Notifier,
    next_id: u32,
}

struct Task {
    id: u32,
    work: Work,
    waker: Waker,
}

/// Work that came to its end.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) id: u32,
    pub(crate) token: Token,
    pub(crate) outcome: Outcome,
}

/// Tokens of the work that can go on, in the order in which it said so.
type Ready = Arc<Mutex<VecDeque<Token>>>;

struct Signal {
    token: Token,
    ready: Ready,
    notifier: Notifier,
}

impl Tasks {
    pub(crate) fn new(notifier: Notifier) -> Self {
        Self {
            works: BTreeMap::new(),
            ready: Ready::default(),
            notifier,
            next_id: 0,
        }
    }

    /// Takes work on, under a number of its own; it begins soon.
    pub(crate) fn add(&mut self, token: Token, work: Work) -> u32 {
        let (ready, notifier) = (Arc::clone(&self.ready), self.notifier);
        let signal = Signal {
            token,
            ready,
            notifier,
        };
        let waker = Waker::from(Arc::new(signal));
        waker.wake_by_ref();
        let id = self.number();
        self.works.insert(token, Task { id, work, waker });
        id
    }

    /// A number for work that the platform is to know of.
    pub(crate) const fn number(&mut self) -> u32 {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        id
    }

    /// Drops work; its number, if it was there.
    pub(crate) fn cancel(&mut self, token: Token) -> Option<u32> {
        Some(self.works.remove(&token)?.id)
    }

    /// Drops all work.
    pub(crate) fn clear(&mut self) {
        self.works.clear();
        tokens(&self.ready).clear();
    }

    /// Polls one of those that can go on; what it came to, if it came to an end.
    pub(crate) fn poll(&mut self) -> Option<Done> {
        let token = tokens(&self.ready).pop_front()?;
        let Task { id, work, waker } = self.works.get_mut(&token)?;
        let id = *id;
        match work.as_mut().poll(&mut Context::from_waker(waker)) {
            Poll::Ready(outcome) => {
                self.works.remove(&token);
                Some(Done { id, token, outcome })
            }
            Poll::Pending => None,
        }
    }

    /// True when a task can go on.
    pub(crate) fn is_ready(&self) -> bool {
        !tokens(&self.ready).is_empty()
    }
}

fn tokens(ready: &Ready) -> MutexGuard<'_, VecDeque<Token>> {
    ready.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        let mut tokens = tokens(&self.ready);
        if !tokens.contains(&self.token) {
            tokens.push_back(self.token);
        }
        drop(tokens);
        self.notifier.notify();
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks")
            .field("works", &self.works.keys())
            .finish_non_exhaustive()
    }
}
