//! Meters of users: the remaining allowances under the users' rates.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use roomcast_core::{
    Timestamp,
    hub::{self, Allowance, Excess, Resting},
};
use slab::Slab;

/// A user of a namespace.
pub(crate) type UserKey = (Arc<str>, Arc<str>);

/// The remaining allowance of a user. Connections on several threads share it: each message takes a
/// lock for which only connections of the same user contend.
#[derive(Debug, Clone)]
pub(crate) struct Meter(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    allowance: Arc<Allowance>,
    meter: Mutex<hub::Meter>,
}

impl Meter {
    fn lock(&self) -> MutexGuard<'_, hub::Meter> {
        self.0.meter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Charges a message.
    pub(crate) fn message(&self, now: Timestamp, bytes: usize) -> Result<(), Excess> {
        self.lock().message(&self.0.allowance, now, bytes)
    }

    /// Charges bytes outside of messages.
    pub(crate) fn overhead(&self, now: Timestamp, bytes: usize) -> Result<(), Excess> {
        self.lock().overhead(&self.0.allowance, now, bytes)
    }

    /// The time at which the allowance is full again.
    fn full_at(&self) -> Option<Timestamp> {
        self.lock().full_at(&self.0.allowance)
    }
}

/// The meters of all users. The meter of a disconnected user is kept until it is full, so that a
/// user who reconnects has the remaining allowance. Each operation takes amortised constant time.
#[derive(Debug)]
pub(crate) struct Meters {
    allowance: Arc<Allowance>,
    /// The maximum number of meters of disconnected users; beyond it the fullest is removed.
    resting_max: usize,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    numbers: HashMap<UserKey, usize>,
    users: Slab<User>,
    /// Disconnected users, ordered by when their meter is full.
    resting: Resting,
}

#[derive(Debug)]
struct User {
    key: UserKey,
    connections: usize,
    meter: Meter,
}

impl Meters {
    pub(crate) fn new(allowance: Allowance, resting_max: usize) -> Self {
        let table = Table {
            numbers: HashMap::new(),
            users: Slab::new(),
            resting: Resting::new(allowance.full_after_ms()),
        };
        Self {
            allowance: Arc::new(allowance),
            resting_max,
            table: Mutex::new(table),
        }
    }

    /// True when a rate is limited.
    pub(crate) fn are_on(&self) -> bool {
        self.allowance.is_limited()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the meter of a user, and counts one more connection.
    pub(crate) fn enter(&self, now: Timestamp, key: &UserKey) -> Meter {
        let table = &mut *self.table();
        table.forget_full(now);
        let number = *table.numbers.entry(key.clone()).or_insert_with(|| {
            let meter = Mutex::new(hub::Meter::full(&self.allowance, now));
            let allowance = self.allowance.clone();
            table.users.insert(User {
                key: key.clone(),
                connections: 0,
                meter: Meter(Arc::new(Shared { allowance, meter })),
            })
        });
        table.resting.remove(number);
        let user = &mut table.users[number];
        user.connections += 1;
        user.meter.clone()
    }

    /// Counts the end of a user's connection.
    pub(crate) fn leave(&self, now: Timestamp, key: &UserKey) {
        let table = &mut *self.table();
        table.forget_full(now);
        let Some(&number) = table.numbers.get(key) else {
            return;
        };
        let user = &mut table.users[number];
        user.connections -= 1;
        if user.connections > 0 {
            return;
        }
        match user.meter.full_at() {
            Some(full_at) if full_at <= now => table.forget(number),
            full_at => {
                let never = Timestamp::from_millis(u64::MAX);
                table.resting.insert(number, full_at.unwrap_or(never));
            }
        }
        if table.resting.len() > self.resting_max
            && let Some(fullest) = table.resting.take_first()
        {
            table.forget(fullest);
        }
    }
}

impl Table {
    /// Removes users whose meters are full by now, each once.
    fn forget_full(&mut self, now: Timestamp) {
        while let Some(number) = self.resting.take_due(now) {
            self.forget(number);
        }
    }

    fn forget(&mut self, number: usize) {
        let user = self.users.remove(number);
        self.numbers.remove(&user.key);
        if self.users.is_empty() {
            // Releases memory that many users needed.
            (self.numbers, self.users) = (HashMap::new(), Slab::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use roomcast_core::Rate;

    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn key(user: &str) -> UserKey {
        ("red".into(), user.into())
    }

    /// Meters of three messages, with one more each second.
    fn meters(resting_max: usize) -> Meters {
        let rate = |burst| Rate {
            per_second: 1,
            burst,
        };
        Meters::new(Allowance::new(Some(rate(3)), None, rate(3)), resting_max)
    }

    fn users(meters: &Meters) -> Vec<Arc<str>> {
        let table = meters.table();
        let mut users: Vec<_> = table.numbers.keys().map(|(_, user)| user.clone()).collect();
        users.sort_unstable();
        users
    }

    /// Connects a user, sends messages, and disconnects.
    fn visit(meters: &Meters, now: u64, user: &str, messages: usize) {
        let meter = meters.enter(at(now), &key(user));
        for _ in 0..messages {
            assert_eq!(meter.message(at(now), 1), Ok(()), "{user}");
        }
        meters.leave(at(now), &key(user));
    }

    #[test]
    fn a_user_who_comes_back_has_what_was_left() {
        let meters = meters(8);
        let (first, second) = (
            meters.enter(at(0), &key("ann")),
            meters.enter(at(0), &key("ann")),
        );
        let other = meters.enter(at(0), &key("ben"));
        assert!((0..3).all(|_| first.message(at(0), 1).is_ok()));
        assert!(second.message(at(0), 1).is_err(), "they share it");
        assert_eq!(other.message(at(0), 1), Ok(()), "another user");
        for _ in 0..2 {
            meters.leave(at(10), &key("ann"));
        }
        let again = meters.enter(at(20), &key("ann"));
        assert!(
            again.message(at(20), 1).is_err(),
            "it has left, and is back"
        );
        assert_eq!(again.message(at(1000), 1), Ok(()), "what a second gives");
        meters.leave(at(1000), &key("ann"));
        assert_eq!(users(&meters), ["ann", "ben"].map(Arc::from));
        // One slot of the timer wheel after it is full.
        visit(&meters, 4200, "eve", 0);
        assert_eq!(users(&meters), ["ben"].map(Arc::from), "full is forgotten");
    }

    #[test]
    fn past_the_limit_the_fullest_is_forgotten() {
        let meters = meters(2);
        visit(&meters, 0, "three", 3);
        visit(&meters, 0, "one", 1);
        visit(&meters, 0, "two", 2);
        assert_eq!(users(&meters), ["three", "two"].map(Arc::from));
        let here = meters.enter(at(0), &key("three"));
        assert!(here.message(at(0), 1).is_err());
        visit(&meters, 0, "one", 1);
        assert_eq!(users(&meters), ["one", "three", "two"].map(Arc::from));
        meters.leave(at(0), &key("three"));
        assert_eq!(users(&meters), ["three", "two"].map(Arc::from));
    }
}
