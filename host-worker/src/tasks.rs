//! Pending work that answers wait for.

pub(crate) mod notify;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
};

use roomcast_core::{Outcome, gateway::Token};

use self::notify::Notifier;

/// Futures that are polled one by one, each as an input of its own: so a trap can be attributed to
/// one future, and the effects of its answer are saved and sent like any others. Each has a key.
pub(crate) struct Tasks<K = Token, T = Outcome> {
    works: BTreeMap<K, Task<T>>,
    ready: Ready<K>,
    notifier: Notifier,
    next_id: u32,
}

struct Task<T> {
    id: u32,
    work: Pin<Box<dyn Future<Output = T>>>,
    waker: Waker,
}

/// Work that came to its end.
#[derive(Debug)]
pub(crate) struct Done<K = Token, T = Outcome> {
    pub(crate) id: u32,
    pub(crate) token: K,
    pub(crate) outcome: T,
}

/// Keys of the work that was woken, in the order of the wakes.
type Ready<K> = Arc<Mutex<VecDeque<K>>>;

struct Signal<K> {
    token: K,
    ready: Ready<K>,
    notifier: Notifier,
}

impl<K: Copy + Ord + Send + Sync + 'static, T> Tasks<K, T> {
    pub(crate) fn new(notifier: Notifier) -> Self {
        Self {
            works: BTreeMap::new(),
            ready: Arc::default(),
            notifier,
            next_id: 0,
        }
    }

    /// Adds work under a number of its own; it is polled soon.
    pub(crate) fn add(&mut self, token: K, work: Pin<Box<dyn Future<Output = T>>>) -> u32 {
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

    /// Returns a number for work that the platform must know of.
    pub(crate) const fn number(&mut self) -> u32 {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        id
    }

    /// Drops work; returns its number, if it existed.
    pub(crate) fn cancel(&mut self, token: K) -> Option<u32> {
        Some(self.works.remove(&token)?.id)
    }

    /// Drops all work.
    pub(crate) fn clear(&mut self) {
        self.works.clear();
        tokens(&self.ready).clear();
    }

    /// Polls one future that was woken; returns its result, if it has finished.
    pub(crate) fn poll(&mut self) -> Option<Done<K, T>> {
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

    /// The number of pending tasks.
    pub(crate) fn len(&self) -> usize {
        self.works.len()
    }

    /// True when a task can go on.
    pub(crate) fn is_ready(&self) -> bool {
        !tokens(&self.ready).is_empty()
    }
}

fn tokens<K>(ready: &Ready<K>) -> MutexGuard<'_, VecDeque<K>> {
    ready.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K: Copy + PartialEq + Send + Sync + 'static> Wake for Signal<K> {
    fn wake(self: Arc<Self>) {
        let mut tokens = tokens(&self.ready);
        if !tokens.contains(&self.token) {
            tokens.push_back(self.token);
        }
        drop(tokens);
        self.notifier.notify();
    }
}

impl<K: fmt::Debug, T> fmt::Debug for Tasks<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks")
            .field("works", &self.works.keys())
            .finish_non_exhaustive()
    }
}
