//! The table of live connections, with their users and their timers.

use alloc::{boxed::Box, collections::BTreeMap, collections::BTreeSet, vec::Vec};

use super::conn::Connection;
use crate::{time::Timestamp, wire::ConnId};

/// Live connections by slot; a new one takes the lowest free slot.
///
/// Lowest rather than last freed, as `slab` would choose: the next slot then depends on who is
/// connected and on nothing else, and a hub restored from its connections gives out the same ids
/// as one that never slept. It also keeps the slots, and every table indexed by them, dense.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conns {
    slots: Vec<Option<Connection>>,
    free: BTreeSet<u32>,
    live: usize,
    /// Connections of each user, sorted.
    users: BTreeMap<Box<str>, Vec<ConnId>>,
    /// An entry for each connection that has a deadline.
    timers: BTreeSet<(Timestamp, ConnId)>,
}

impl Conns {
    /// The slot that the next connection takes; `None` when all are taken.
    pub(crate) fn vacant(&self) -> Option<u32> {
        match self.free.first() {
            Some(&slot) => Some(slot),
            None if self.slots.len() < ConnId::SLOTS => u32::try_from(self.slots.len()).ok(),
            None => None,
        }
    }

    /// Puts a connection into its slot; false when that is taken.
    pub(crate) fn insert(&mut self, conn: Connection) -> bool {
        let (id, slot) = (conn.id, conn.id.slot());
        while self.slots.len() <= slot {
            #[allow(clippy::cast_possible_truncation)] // slots have 20 bits
            self.free.insert(self.slots.len() as u32);
            self.slots.push(None);
        }
        if self.slots[slot].is_some() {
            return false;
        }
        #[allow(clippy::cast_possible_truncation)]
        self.free.remove(&(slot as u32));
        if let Some(user) = conn.user.clone() {
            let conns = self.users.entry(user).or_default();
            if let Err(at) = conns.binary_search(&id) {
                conns.insert(at, id);
            }
        }
        if let Some(deadline) = conn.heartbeat.deadline {
            self.timers.insert((deadline, id));
        }
        self.slots[slot] = Some(conn);
        self.live += 1;
        true
    }

    pub(crate) fn remove(&mut self, id: ConnId) -> Option<Connection> {
        let slot = self.slots.get_mut(id.slot())?;
        let conn = slot.take_if(|conn| conn.id == id)?;
        #[allow(clippy::cast_possible_truncation)]
        self.free.insert(id.slot() as u32);
        self.live -= 1;
        if self.live == 0 {
            // The idle state is the empty state: nothing of a past crowd stays allocated.
            *self = Self::default();
            return Some(conn);
        }
        if let Some(user) = &conn.user
            && let Some(conns) = self.users.get_mut(user)
        {
            conns.retain(|&other| other != id);
            if conns.is_empty() {
                self.users.remove(user);
            }
        }
        if let Some(deadline) = conn.heartbeat.deadline {
            self.timers.remove(&(deadline, id));
        }
        Some(conn)
    }

    pub(crate) fn get(&self, id: ConnId) -> Option<&Connection> {
        let slot = self.slots.get(id.slot())?;
        slot.as_ref().filter(|conn| conn.id == id)
    }

    /// The connection, to be changed in all but its id, its user and its deadline.
    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut Connection> {
        let slot = self.slots.get_mut(id.slot())?;
        slot.as_mut().filter(|conn| conn.id == id)
    }

    /// The connections of a user, sorted.
    pub(crate) fn of_user(&self, user: &str) -> &[ConnId] {
        self.users.get(user).map_or(&[], Vec::as_slice)
    }

    /// When a connection is to be looked at next.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.timers.first().map(|&(deadline, _)| deadline)
    }

    /// Takes the timer of a connection whose deadline has passed.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Option<ConnId> {
        self.timers
            .first()
            .filter(|(deadline, _)| *deadline <= now)?;
        let (_, id) = self.timers.pop_first()?;
        self.get_mut(id)?.heartbeat.deadline = None;
        Some(id)
    }

    /// Sets the timer of a connection that has none.
    pub(crate) fn set_deadline(&mut self, id: ConnId, deadline: Timestamp) {
        if let Some(conn) = self.get_mut(id) {
            conn.heartbeat.deadline = Some(deadline);
            self.timers.insert((deadline, id));
        }
    }

    /// Frees the slots above the last that is taken.
    pub(crate) fn shrink_to_fit(&mut self) {
        while self.slots.pop_if(|slot| slot.is_none()).is_some() {}
        self.slots.shrink_to_fit();
        #[allow(clippy::cast_possible_truncation)]
        self.free.split_off(&(self.slots.len() as u32));
    }

    pub(crate) const fn len(&self) -> usize {
        self.live
    }

    /// In the order of slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.slots.iter().flatten()
    }

    /// Checks that everything derived agrees with what it is derived from; for tests.
    pub(crate) fn assert_consistent(&self) {
        let (mut users, mut timers) = (0, 0);
        for conn in self.iter() {
            if let Some(user) = &conn.user {
                assert!(self.users[user].contains(&conn.id), "a user that lacks it");
                users += 1;
            }
            if let Some(deadline) = conn.heartbeat.deadline {
                assert!(self.timers.contains(&(deadline, conn.id)), "a lost timer");
                timers += 1;
            }
        }
        assert_eq!(users, self.users.values().map(Vec::len).sum::<usize>());
        assert_eq!(timers, self.timers.len());
        assert_eq!(self.live, self.iter().count());
    }
}
