//! The links to the connections of a namespace.

use roomcast_core::ConnId;

use crate::shard::egress::Link;

/// The links to live connections, by the slots of their ids.
#[derive(Debug, Default)]
pub(in crate::shard) struct Members(Vec<Option<(ConnId, Link)>>);

impl Members {
    pub(in crate::shard) fn insert(&mut self, conn: ConnId, link: Link) {
        if self.0.len() <= conn.slot() {
            self.0.resize_with(conn.slot() + 1, || None);
        }
        self.0[conn.slot()] = Some((conn, link));
    }

    pub(in crate::shard) fn get(&self, conn: ConnId) -> Option<&Link> {
        let (member, link) = self.0.get(conn.slot())?.as_ref()?;
        (*member == conn).then_some(link)
    }

    pub(in crate::shard) fn remove(&mut self, conn: ConnId) -> Option<Link> {
        let slot = self.0.get_mut(conn.slot())?;
        let (_, link) = slot.take_if(|(member, _)| *member == conn)?;
        Some(link)
    }

    /// Releases memory that a larger number of connections needed.
    pub(in crate::shard) fn shrink_to_fit(&mut self) {
        while self.0.pop_if(|slot| slot.is_none()).is_some() {}
        self.0.shrink_to_fit();
    }
}
