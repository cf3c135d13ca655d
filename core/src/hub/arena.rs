//! The table of live connections.

use alloc::{collections::BTreeSet, vec::Vec};

use crate::hub::conn::{ConnId, Connection};

/// Live connections by slot; a new one takes the lowest free slot.
///
/// Lowest rather than last freed, as `slab` would choose: the next slot then depends on who is
/// connected and on nothing else, and a hub restored from its connections gives out the same ids
/// as one that never slept. It also keeps the slots, and every table indexed by them, dense.
#[derive(Debug, Clone, Default)]
pub(crate) struct Arena {
    slots: Vec<Option<Connection>>,
    free: BTreeSet<u32>,
    live: usize,
}

impl Arena {
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
        let slot = conn.id.slot();
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
        }
        Some(conn)
    }

    pub(crate) fn get(&self, id: ConnId) -> Option<&Connection> {
        self.slots
            .get(id.slot())?
            .as_ref()
            .filter(|conn| conn.id == id)
    }

    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut Connection> {
        self.slots
            .get_mut(id.slot())?
            .as_mut()
            .filter(|conn| conn.id == id)
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
}
