//! Futures of handlers, polled without waiting.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
};

use roomcast_core::{
    Outcome,
    gateway::{Token, Work},
};

/// Pending futures with their namespaces. A clone has none, like a clone of the application.
#[derive(Default)]
pub(super) struct UnderWay(Vec<(Box<str>, Token, Work)>);

impl Clone for UnderWay {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// True when a future was woken while it was polled: it waits only for itself.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

/// The largest number of polls in a row: a future that always wakes itself would never end.
const POLLS_MAX: usize = 1_000;

impl UnderWay {
    pub(super) fn extend(&mut self, namespace: &str, works: Vec<(Token, Work)>) {
        let works = works.into_iter();
        let works = works.map(|(token, work)| (namespace.into(), token, work));
        self.0.extend(works);
    }

    pub(super) fn cancel(&mut self, namespace: &str, cancelled: &[Token]) {
        self.0
            .retain(|(home, token, _)| **home != *namespace || !cancelled.contains(token));
    }

    /// Removes a future that is done, and returns its outcome.
    pub(super) fn take_done(&mut self) -> Option<(Box<str>, Token, Outcome)> {
        let (at, outcome) = poll_through(|cx| {
            let mut all = self.0.iter_mut().enumerate();
            all.find_map(|(at, (_, _, work))| match work.as_mut().poll(cx) {
                Poll::Ready(outcome) => Some((at, outcome)),
                Poll::Pending => None,
            })
        })?;
        let (namespace, token, _) = self.0.remove(at);
        Some((namespace, token, outcome))
    }
}

/// Polls again while nothing is done and a polled future has woken itself.
pub(super) fn poll_through<T>(mut poll: impl FnMut(&mut Context<'_>) -> Option<T>) -> Option<T> {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let cx = &mut Context::from_waker(&waker);
    let mut done = poll(cx);
    for _ in 1..POLLS_MAX {
        if done.is_some() || !woken.0.swap(false, Relaxed) {
            break;
        }
        done = poll(cx);
    }
    done
}
