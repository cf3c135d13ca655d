//! Idempotency keys of clients, each with the client that it belongs to.
//!
//! Two bounds keep one client from evicting another's keys. A client has only its few newest keys.
//! When all clients together have too many, the client with the most keys loses its oldest.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet, VecDeque},
    format,
    vec::Vec,
};
use core::cmp::Reverse;

use super::Known;
use crate::hub::{limits::Limits, state::ClientKeyState};
use crate::{time::Timestamp, wire::ConnId};

/// The keys of clients that a hub remembers. They are bounded, and need no timer: expired keys are
/// removed when one is added.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClientKeys {
    /// The keys of each client, oldest first; clients without keys have no entry.
    by_client: BTreeMap<Box<str>, VecDeque<ClientKey>>,
    /// The client of each key, by the number of the key.
    by_age: BTreeMap<u64, Box<str>>,
    /// The count of each client's keys, and the number of its oldest.
    by_count: BTreeSet<(usize, Reverse<u64>)>,
    /// The number of the next key. It only grows, so that a host may be slow to forget keys.
    next: u64,
    unsaved: bool,
}

#[derive(Debug, Clone)]
struct ClientKey {
    /// Higher than the numbers of all older keys.
    number: u64,
    key: Box<str>,
    known: Known,
}

/// The name under which a client's keys are kept. All connections of a user are one client; without
/// a user each connection is a client. The first letter tells the two apart.
pub(crate) fn client_name(user: Option<&str>, conn: ConnId) -> Box<str> {
    match user {
        Some(user) => format!("u{user}").into(),
        None => format!("c{conn}").into(),
    }
}

impl ClientKeys {
    /// Work: the keys of the client.
    pub(crate) fn find(&self, now: Timestamp, client: &str, key: &str) -> Option<&Known> {
        let known = self.get(client, key).map(|key| &key.known);
        known.filter(|known| known.expires > now)
    }

    fn get(&self, client: &str, key: &str) -> Option<&ClientKey> {
        // The newest, in case the clock was set back and an older one has not expired.
        let mut keys = self.by_client.get(client)?.iter().rev();
        keys.find(|known| *known.key == *key)
    }

    /// Adds a key; returns the unexpired keys that were evicted for it.
    pub(crate) fn insert(
        &mut self,
        now: Timestamp,
        limits: &Limits,
        client: &str,
        key: &str,
        known: Known,
    ) -> Vec<(Box<str>, Box<str>)> {
        self.unsaved = true;
        self.forget_expired(now);
        let (number, key) = (self.next, key.into());
        self.push(client, ClientKey { number, key, known });
        let mut forgotten = Vec::new();
        while self.by_client.get(client).map_or(0, VecDeque::len)
            > limits.idempotency_keys_per_client
        {
            forgotten.extend(self.forget_oldest(client));
        }
        self.shrink(limits.idempotency_keys, &mut forgotten);
        forgotten
    }

    /// The number of keys that are remembered.
    pub(crate) fn len(&self) -> usize {
        self.by_age.len()
    }

    /// Evicts keys until at most `keys_max` are left; returns the unexpired ones among them.
    pub(crate) fn trim(&mut self, now: Timestamp, keys_max: usize) -> Vec<(Box<str>, Box<str>)> {
        let mut forgotten = Vec::new();
        if self.len() > keys_max {
            self.unsaved = true;
            self.forget_expired(now);
            self.shrink(keys_max, &mut forgotten);
        }
        forgotten
    }

    fn forget_expired(&mut self, now: Timestamp) {
        while let Some((_, client)) = self.by_age.first_key_value()
            && self
                .oldest(client)
                .is_none_or(|key| key.known.expires <= now)
        {
            let client = client.clone();
            self.forget_oldest(&client);
        }
    }

    fn shrink(&mut self, keys_max: usize, forgotten: &mut Vec<(Box<str>, Box<str>)>) {
        while self.by_age.len() > keys_max
            && let Some((_, Reverse(number))) = self.by_count.last()
            && let Some(client) = self.by_age.get(number).cloned()
        {
            forgotten.extend(self.forget_oldest(&client));
        }
    }

    fn oldest(&self, client: &str) -> Option<&ClientKey> {
        self.by_client.get(client)?.front()
    }

    fn push(&mut self, client: &str, key: ClientKey) {
        if !self.by_client.contains_key(client) {
            self.by_client.insert(client.into(), VecDeque::new());
        }
        let Some(keys) = self.by_client.get_mut(client) else {
            return;
        };
        self.next = self.next.max(key.number + 1);
        self.by_age.insert(key.number, client.into());
        if let Some(oldest) = keys.front() {
            self.by_count.remove(&(keys.len(), Reverse(oldest.number)));
        }
        keys.push_back(key);
        self.by_count.insert((keys.len(), Reverse(keys[0].number)));
    }

    /// Removes the oldest key of a client; returns the client and the key.
    fn forget_oldest(&mut self, client: &str) -> Option<(Box<str>, Box<str>)> {
        let keys = self.by_client.get_mut(client)?;
        let count = keys.len();
        let oldest = keys.pop_front()?;
        self.by_count.remove(&(count, Reverse(oldest.number)));
        match keys.front() {
            Some(next) => {
                self.by_count.insert((count - 1, Reverse(next.number)));
            }
            None => {
                self.by_client.remove(client);
            }
        }
        self.by_age.remove(&oldest.number);
        Some((client.into(), oldest.key))
    }

    /// The expiry of the newest key; `None` when no key is remembered.
    pub(crate) fn latest(&self) -> Option<Timestamp> {
        let (_, client) = self.by_age.last_key_value()?;
        let newest = self.by_client.get(client)?.back();
        newest.map(|key| key.known.expires)
    }

    pub(crate) const fn take_unsaved(&mut self) -> bool {
        core::mem::replace(&mut self.unsaved, false)
    }

    pub(crate) fn state(&self, client: &str, key: &str) -> Option<ClientKeyState> {
        self.get(client, key).map(|key| state(client, key))
    }

    /// All keys, oldest first.
    pub(crate) fn to_vec(&self) -> Vec<ClientKeyState> {
        let all = self.by_client.iter();
        let all = all.flat_map(|(client, keys)| keys.iter().map(|key| state(client, key)));
        let mut all: Vec<_> = all.collect();
        all.sort_unstable_by_key(|key| key.number);
        all
    }

    /// Restores saved keys, in any order. No hub saves a number twice: a second key with the same
    /// number is left out.
    pub(crate) fn from_vec(mut saved: Vec<ClientKeyState>) -> Self {
        saved.sort_by_key(|key| key.number);
        saved.dedup_by_key(|key| key.number);
        let mut keys = Self::default();
        for saved in saved {
            let (number, key, known) = (saved.number, saved.key, saved.known);
            keys.push(&saved.client, ClientKey { number, key, known });
        }
        keys
    }

    /// Checks that all derived state agrees with its source.
    pub(crate) fn assert_consistent(&self) {
        let mut total = 0;
        for (client, keys) in &self.by_client {
            assert!(keys.iter().is_sorted_by(|a, b| a.number < b.number));
            let oldest = keys.front().map(|key| Reverse(key.number));
            let oldest = oldest.unwrap_or_else(|| panic!("{client} has no key"));
            assert!(self.by_count.contains(&(keys.len(), oldest)));
            assert!(
                keys.iter()
                    .all(|key| self.by_age.get(&key.number) == Some(client))
            );
            total += keys.len();
        }
        assert_eq!(total, self.by_age.len());
        assert!(
            self.by_age
                .last_key_value()
                .is_none_or(|(last, _)| *last < self.next)
        );
        assert_eq!(self.by_count.len(), self.by_client.len());
    }
}

fn state(client: &str, key: &ClientKey) -> ClientKeyState {
    ClientKeyState {
        client: client.into(),
        key: key.key.clone(),
        number: key.number,
        known: key.known.clone(),
    }
}
