//! Requests for a WebSocket that wait for the word of the application.

use std::collections::BTreeMap;

use roomcast_core::{
    Rejection,
    gateway::{Admission, Later},
};

use crate::tasks::{Done, Tasks, notify::Notifier};

pub(super) type Said = Result<Admission, Rejection>;

/// Requests that wait for the word of the application, and words that nobody has taken.
#[derive(Debug)]
pub(super) struct Upgrades {
    under_way: Tasks<u64, Said>,
    said: BTreeMap<u64, Said>,
    next: u64,
}

/// The word on a request, or the number by which the platform is told that it is there.
#[derive(Debug)]
pub(crate) enum Upgrading {
    Said(Said),
    Waits(u64),
}

impl Upgrades {
    /// Numbers of clients that a backend is asked for are below.
    const FIRST: u64 = 1 << 63;

    pub(super) fn new(notifier: Notifier) -> Self {
        Self {
            under_way: Tasks::new(notifier),
            said: BTreeMap::new(),
            next: Self::FIRST,
        }
    }

    /// True when one can go on.
    pub(super) fn is_ready(&self) -> bool {
        self.under_way.is_ready()
    }

    /// Polls one of those that can go on; the number of one that need not wait any more.
    pub(super) fn poll(&mut self) -> Option<u64> {
        let Done { token, outcome, .. } = self.under_way.poll()?;
        self.said.insert(token, outcome);
        Some(token)
    }

    /// The number of those that wait.
    pub(super) fn len(&self) -> usize {
        self.under_way.len()
    }

    /// Waits for a word; the number under which it will be there.
    pub(super) fn add(&mut self, saying: Later<Said>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.under_way.add(number, Box::pin(saying));
        number
    }

    /// Drops what works on a word; false when that is done.
    pub(super) fn give_up(&mut self, number: u64) -> bool {
        self.under_way.cancel(number).is_some()
    }

    /// Takes a word that is there.
    pub(super) fn take(&mut self, number: u64) -> Option<Said> {
        self.said.remove(&number)
    }
}
