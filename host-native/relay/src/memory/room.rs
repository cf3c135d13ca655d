//! A room of the broker in memory.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;

use crate::{
    position::{Kept, Page, Position, Read, Start},
    presence::{Arrival, Change, Member, Members, connections_of},
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
    /// The time at which the stream ends, if it does.
    stream_ends_ms: Option<u64>,
    /// The time at which the room expires; set while no node has members in it.
    ends_ms: Option<u64>,
    users: BTreeMap<Box<str>, User>,
}

#[derive(Debug, Clone, Default)]
struct User {
    /// The weight of its presence on each incarnation.
    weights: BTreeMap<Arc<str>, u64>,
    meta: Bytes,
}

impl User {
    fn total(&self) -> u64 {
        self.weights.values().sum()
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
            stream_ends_ms: None,
            ends_ms: None,
            users: BTreeMap::new(),
        }
    }

    /// Begins a new epoch: this room may lack offsets that were given out. Offsets continue, and
    /// the stream stays: nobody has a position in the new epoch below these offsets.
    pub(crate) fn renew(&mut self, epoch: &str) {
        let first = self.epoch.split('.').next().unwrap_or_default();
        self.epoch = format!("{first}.{epoch}").into();
    }

    /// The answer to a repeated publish, made from the first answer. If the room has since
    /// continued in a new epoch, there is an answer only while the message is kept.
    pub(crate) fn repeated(&self, first: &Published) -> Option<Published> {
        let begun = |epoch: &str| epoch.split('.').next().map(str::to_owned);
        let goes_on = begun(&first.epoch) == begun(&self.epoch);
        let is_kept = || self.stream.iter().any(|it| it.offset == first.offset);
        if goes_on && first.epoch != self.epoch && !is_kept() {
            return None;
        }
        let epoch = if goes_on { &self.epoch } else { &first.epoch };
        Some(Published {
            epoch: epoch.clone(),
            offset: first.offset,
            is_repeated: true,
        })
    }

    /// Sets the room to expire after `age_ms`: no node has members any more.
    pub(crate) fn vacate(&mut self, age_ms: u64, now_ms: u64) {
        let age_max = if self.offset == 0 { 60_000 } else { u64::MAX };
        self.ends_ms = Some(now_ms + age_ms.min(age_max));
    }

    /// Keeps the room from expiring: a node has members again.
    pub(crate) const fn occupy(&mut self) {
        self.ends_ms = None;
    }

    /// True when its time is over.
    pub(crate) fn has_ended(&self, now_ms: u64) -> bool {
        self.ends_ms.is_some_and(|ends| ends <= now_ms)
    }

    /// True when the room is listed: it has a stream, or is remembered without members.
    pub(crate) fn is_listed(&self, now_ms: u64) -> bool {
        let is_over = self.stream_ends_ms.is_some_and(|ends| ends <= now_ms);
        let has_stream = !self.stream.is_empty() && !is_over;
        !self.has_ended(now_ms) && (has_stream || self.ends_ms.is_some())
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
            self.stream_ends_ms = (retention.age_ms > 0).then(|| now_ms + retention.age_ms);
            if self.ends_ms.is_some() {
                self.ends_ms = self.stream_ends_ms.or(self.ends_ms);
            }
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

    /// Keeps for how long the room that this one counts the nodes of is remembered, as the
    /// incarnation says that spoke last.
    pub(crate) fn renew_meta(
        &mut self,
        incarnation: &Arc<str>,
        name: &str,
        weight: u64,
        meta: &Bytes,
    ) {
        if let Some(user) = self.users.get_mut(name)
            && (weight > 0 || user.weights.contains_key(incarnation))
        {
            user.meta = meta.clone();
        }
    }

    /// Sets the weight of a user on an incarnation.
    pub(crate) fn set_present(
        &mut self,
        incarnation: &Arc<str>,
        name: &str,
        weight: u64,
        meta: &Bytes,
    ) -> (Arrival, Bytes) {
        let user = self.users.entry(name.into()).or_default();
        let before = user.total();
        if weight == 0 {
            user.weights.remove(incarnation);
        } else {
            user.weights.insert(incarnation.clone(), weight);
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
            connections: connections_of(total),
        };
        (arrival, meta)
    }

    /// The users that an incarnation has here, with their weights.
    pub(crate) fn users_of(&self, incarnation: &str) -> Vec<(Box<str>, u64)> {
        let users = self.users.iter();
        let users = users.filter_map(|(name, user)| {
            let weight = user.weights.get(incarnation)?;
            Some((name.clone(), *weight))
        });
        users.collect()
    }

    pub(crate) fn members(&self, users_max: u32) -> Members {
        let users = self.users.iter();
        let users = users.map(|(name, user)| Member {
            user: name.clone(),
            connections: connections_of(user.total()),
            meta: user.meta.clone(),
        });
        let users_max = usize::try_from(users_max).unwrap_or(usize::MAX);
        Members {
            epoch: self.epoch.clone(),
            notice: self.notice,
            total: self.users.len() as u64,
            connections: self
                .users
                .values()
                .map(|user| connections_of(user.total()))
                .sum(),
            users: if self.users.len() > users_max {
                Vec::new()
            } else {
                users.collect()
            },
        }
    }
}
