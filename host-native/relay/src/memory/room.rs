//! A room of the broker in memory.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;

use crate::{
    position::{Kept, Page, Position, Read, Start},
    presence::{Arrival, Change, Member, Members},
    publish::{Published, Retention},
};

/// A room: its order, its stream, and its users.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    pub(crate) epoch: Arc<str>,
    pub(crate) offset: u64,
    pub(crate) notice: u64,
    stream: VecDeque<Kept>,
    /// Bytes of the bodies in it.
    bytes: u64,
    users: BTreeMap<Box<str>, User>,
}

#[derive(Debug, Clone, Default)]
struct User {
    /// Connections on each incarnation.
    connections: BTreeMap<Arc<str>, u32>,
    meta: Bytes,
}

impl User {
    fn total(&self) -> u64 {
        let connections = self.connections.values();
        connections.map(|&connections| u64::from(connections)).sum()
    }
}

impl Room {
    pub(crate) fn new(epoch: Arc<str>) -> Self {
        Self {
            epoch,
            offset: 0,
            notice: 0,
            stream: VecDeque::new(),
            bytes: 0,
            users: BTreeMap::new(),
        }
    }

    /// Begins a new epoch: offsets that were given out may be missing here.
    pub(crate) fn renew(&mut self, epoch: Arc<str>) {
        self.epoch = epoch;
        self.offset = 0;
        self.notice = 0;
        self.stream.clear();
        self.bytes = 0;
    }

    pub(crate) fn append(&mut self, body: Bytes, retention: Retention, now_ms: u64) -> Published {
        self.offset += 1;
        if retention.messages > 0 {
            self.bytes += body.len() as u64;
            self.stream.push_back(Kept {
                offset: self.offset,
                at_ms: now_ms,
                body,
            });
            self.trim(retention);
        }
        Published {
            epoch: self.epoch.clone(),
            offset: self.offset,
            is_repeated: false,
        }
    }

    fn trim(&mut self, retention: Retention) {
        let messages_max = usize::try_from(retention.messages).unwrap_or(usize::MAX);
        for _ in 0..Retention::TRIM_MAX {
            let has_excess_bytes = retention.bytes > 0 && self.bytes > retention.bytes;
            if self.stream.len() <= messages_max && !has_excess_bytes {
                return;
            }
            if let Some(oldest) = self.stream.pop_front() {
                self.bytes -= oldest.body.len() as u64;
            }
        }
    }

    pub(crate) fn position(&self) -> Position {
        Position {
            epoch: self.epoch.clone(),
            offset: self.offset,
            notice: self.notice,
        }
    }

    pub(crate) fn page(&self, read: &Read, now_ms: u64) -> Page {
        let messages_max = usize::try_from(read.messages_max).unwrap_or(usize::MAX);
        let found: Vec<_> = match &read.start {
            Start::Nothing => Vec::new(),
            Start::After { offset, .. } | Start::Above(offset) => {
                let later = self.stream.iter().filter(|kept| kept.offset > *offset);
                later.take(messages_max).cloned().collect()
            }
            Start::Before(before) => {
                let is_before = |kept: &&Kept| before.is_none_or(|before| kept.offset < before);
                let earlier = self.stream.iter().rev().filter(is_before);
                earlier.take(messages_max).cloned().collect()
            }
        };
        let mut bytes = 0;
        let found = found.into_iter().take_while(|kept| {
            let is_wanted = bytes < u64::from(read.bytes_max);
            bytes += kept.body.len() as u64;
            is_wanted
        });
        let first = self.stream.front().map(|kept| kept.offset);
        let first = first.unwrap_or(self.offset + 1);
        Page::new(read, self.position(), first, now_ms, found.collect())
    }

    /// Sets the connections of a user on an incarnation.
    pub(crate) fn set_present(
        &mut self,
        incarnation: &Arc<str>,
        name: &str,
        connections: u32,
        meta: &Bytes,
    ) -> (Arrival, Bytes) {
        let user = self.users.entry(name.into()).or_default();
        let before = user.total();
        if connections == 0 {
            user.connections.remove(incarnation);
        } else {
            user.connections.insert(incarnation.clone(), connections);
        }
        let total = user.total();
        let change = match (before, total) {
            (0, 1..) => Some(Change::Joined),
            (1.., 0) => Some(Change::Left),
            _ => None,
        };
        if change == Some(Change::Joined) {
            user.meta = meta.clone();
        }
        let meta = user.meta.clone();
        if total == 0 {
            self.users.remove(name);
        }
        self.notice += u64::from(change.is_some());
        let arrival = Arrival {
            change,
            epoch: self.epoch.clone(),
            notice: self.notice,
            connections: total,
        };
        (arrival, meta)
    }

    /// The users that an incarnation has here, with their connections.
    pub(crate) fn users_of(&self, incarnation: &str) -> Vec<(Box<str>, u32)> {
        let users = self.users.iter();
        let users = users.filter_map(|(name, user)| {
            let connections = user.connections.get(incarnation)?;
            Some((name.clone(), *connections))
        });
        users.collect()
    }

    pub(crate) fn members(&self, users_max: u32) -> Members {
        let users = self.users.iter();
        let users = users.map(|(name, user)| Member {
            user: name.clone(),
            connections: user.total(),
            meta: user.meta.clone(),
        });
        let users_max = usize::try_from(users_max).unwrap_or(usize::MAX);
        Members {
            epoch: self.epoch.clone(),
            notice: self.notice,
            total: self.users.len() as u64,
            connections: self.users.values().map(User::total).sum(),
            users: users.take(users_max).collect(),
        }
    }
}
