//! The way to each connection of a namespace.

use roomcast_core::ConnId;

/// Values of type `L` for live connections, by the slots of their ids.
#[derive(Debug)]
pub(in crate::shard) struct Members<L>(Vec<Option<(ConnId, L)>>);

impl<L> Default for Members<L> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<L> Members<L> {
    pub(in crate::shard) fn insert(&mut self, conn: ConnId, link: L) {
        if self.0.len() <= conn.slot() {
            self.0.resize_with(conn.slot() + 1, || None);
        }
        self.0[conn.slot()] = Some((conn, link));
    }

    pub(in crate::shard) fn get(&self, conn: ConnId) -> Option<&L> {
        let (member, link) = self.0.get(conn.slot())?.as_ref()?;
        (*member == conn).then_some(link)
    }

    pub(in crate::shard) fn remove(&mut self, conn: ConnId) -> Option<L> {
        let slot = self.0.get_mut(conn.slot())?;
        let (_, link) = slot.take_if(|(member, _)| *member == conn)?;
        Some(link)
    }

    /// Gives memory back that a larger crowd needed.
    pub(in crate::shard) fn shrink_to_fit(&mut self) {
        while self.0.pop_if(|slot| slot.is_none()).is_some() {}
        self.0.shrink_to_fit();
    }
}
