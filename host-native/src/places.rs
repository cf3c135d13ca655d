//! Places: bounded numbers of connections and namespaces.

use std::{
    collections::hash_map::Entry,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use crate::shared::Shared;

/// A bounded number of something.
#[derive(Debug)]
pub(crate) struct Places {
    taken: AtomicUsize,
    max: usize,
}

impl Places {
    pub(crate) const fn new(max: usize) -> Self {
        Self {
            taken: AtomicUsize::new(0),
            max,
        }
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Relaxed)
    }

    /// Takes a place; `None` when all are taken.
    pub(crate) fn reserve(&self) -> Option<()> {
        let more = |taken| (taken < self.max).then_some(taken + 1);
        self.taken.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(())
    }

    pub(crate) fn release(&self) {
        self.taken.fetch_sub(1, Relaxed);
    }
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    shared: Arc<Shared>,
    address: IpAddr,
}

impl Permit {
    /// A place for one more connection from this address; `None` when there is none.
    pub(crate) fn take(shared: &Arc<Shared>, address: IpAddr) -> Option<Self> {
        shared.connections.reserve()?;
        if let Some(max) = shared.settings.connections_per_address_max {
            let mut addresses = shared.addresses();
            let count = addresses.entry(address).or_default();
            if *count >= max {
                drop(addresses);
                shared.connections.release();
                return None;
            }
            *count += 1;
        }
        let shared = shared.clone();
        Some(Self { shared, address })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.connections.release();
        if self.shared.settings.connections_per_address_max.is_some() {
            let mut addresses = self.shared.addresses();
            if let Entry::Occupied(mut count) = addresses.entry(self.address) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
    }
}
