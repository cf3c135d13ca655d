//! The state that all clients of a run share.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::sync::watch;

use super::random::Random;

/// The size of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) clients: usize,
    /// The number of clients that publish too.
    pub(super) publishers: usize,
    /// Rooms with a history.
    pub(super) logs: usize,
    /// Rooms without.
    pub(super) plains: usize,
    /// Milliseconds between two publishes of one client, at least and at most.
    pub(super) pause_ms: (u64, u64),
}

impl Plan {
    pub(super) const fn rooms(&self) -> usize {
        self.logs + self.plains
    }

    pub(super) fn room(&self, number: usize) -> String {
        match number.checked_sub(self.logs) {
            None => format!("log-{number}"),
            Some(number) => format!("plain-{number}"),
        }
    }

    pub(super) const fn keeps(&self, room: usize) -> bool {
        room < self.logs
    }

    /// Publishers are spread over the rooms as all clients are.
    pub(super) const fn publishers_in(&self, room: usize) -> usize {
        (self.publishers + self.rooms() - 1 - room) / self.rooms()
    }
}

/// The part of a run that it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Going,
    /// Publishers mark their messages as last ones, until all members have one of each.
    Ending,
    /// Clients end, whatever they have.
    Over,
}

/// The state of a run.
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) random: Random,
    /// Addresses of the servers; `None` for one that is dead.
    addresses: Mutex<Vec<Option<String>>>,
    acked: Vec<AtomicU64>,
    joined: AtomicUsize,
    pub(super) done: AtomicUsize,
    pub(super) connects: AtomicU64,
}

impl World {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            phase: watch::Sender::new(Phase::Going),
            random: Random::new(plan.seed),
            addresses: Mutex::default(),
            acked: (0..plan.rooms()).map(|_| AtomicU64::new(0)).collect(),
            joined: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            connects: AtomicU64::new(0),
            plan,
        }
    }

    pub(super) fn set_address(&self, server: usize, address: Option<String>) {
        let mut addresses = self.addresses.lock().expect("no panic");
        if addresses.len() <= server {
            addresses.resize(server + 1, None);
        }
        addresses[server] = address;
    }

    /// Any of the servers that are not dead.
    pub(super) fn address(&self, random: &mut Random) -> Option<String> {
        let addresses = self.addresses.lock().expect("no panic");
        let mut living = addresses.iter().flatten();
        let count = living.clone().count();
        living.nth(random.below(count)).cloned()
    }

    pub(super) fn note_joined(&self) {
        self.joined.fetch_add(1, SeqCst);
    }

    /// True when each client has joined once.
    pub(super) fn has_begun(&self) -> bool {
        self.joined.load(SeqCst) >= self.plan.clients
    }

    pub(super) fn note_acked(&self, room: usize) {
        self.acked[room].fetch_add(1, SeqCst);
    }

    /// Acknowledged messages of each room.
    pub(super) fn all_acked(&self) -> Vec<u64> {
        self.acked.iter().map(|count| count.load(SeqCst)).collect()
    }

    /// Waits, on a thread of its own, until something is so.
    pub(super) fn wait_until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let began = std::time::Instant::now();
        while !is_so() {
            assert!(began.elapsed() < crate::relay::PATIENCE, "{what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
