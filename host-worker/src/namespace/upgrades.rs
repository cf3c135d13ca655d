//! Requests for a WebSocket that wait for the application's decision.

use std::collections::BTreeMap;

use roomcast_core::{
    Rejection,
    gateway::{Admission, Later},
};

use crate::tasks::{Done, Tasks, notify::Notifier};

pub(super) type Said = Result<Admission, Rejection>;

/// Requests that wait for the application's decision, and decisions that were not taken yet.
#[derive(Debug)]
pub(super) struct Upgrades {
    under_way: Tasks<u64, Said>,
    said: BTreeMap<u64, Said>,
    next: u64,
}

/// The decision on a request, or the number under which it is reported to the platform.
#[derive(Debug)]
pub(crate) enum Upgrading {
    Said(Said),
    Waits(u64),
}

impl Upgrades {
    /// The first number: clients about whom a backend is asked have lower ones.
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

    /// Polls one request that was woken; returns its number, if it is decided.
    pub(super) fn poll(&mut self) -> Option<u64> {
        let Done { token, outcome, .. } = self.under_way.poll()?;
        self.said.insert(token, outcome);
        Some(token)
    }

    /// The number of pending requests.
    pub(super) fn len(&self) -> usize {
        self.under_way.len()
    }

    /// Waits for a decision; returns the number under which it can be taken.
    pub(super) fn add(&mut self, saying: Later<Said>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.under_way.add(number, Box::pin(saying));
        number
    }

    /// Drops the work on a decision; false when it has already finished.
    pub(super) fn give_up(&mut self, number: u64) -> bool {
        self.under_way.cancel(number).is_some()
    }

    /// Takes a decision that was made.
    pub(super) fn take(&mut self, number: u64) -> Option<Said> {
        self.said.remove(&number)
    }
}
