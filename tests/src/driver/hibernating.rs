//! A Worker whose objects are evicted between ops.

use std::{collections::BTreeSet, fmt};

use super::{Driver, DriverError, Url};
use crate::{Actor, Answer, Edge, Event, Op, Sockets};

/// A Worker of an [`Edge`], reached through its URL. Its objects are evicted before some of the
/// ops, and their sockets hibernate.
pub struct Hibernating<'e> {
    url: Url,
    edge: &'e Edge,
    worker: usize,
    /// For each op, true to evict before it.
    schedule: Box<dyn Iterator<Item = bool> + 'e>,
    /// The namespaces that the story has used, by their names on the server.
    namespaces: BTreeSet<String>,
    evictions: usize,
}

impl fmt::Debug for Hibernating<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hibernating")
            .field("url", &self.url)
            .field("evictions", &self.evictions)
            .finish_non_exhaustive()
    }
}

impl<'e> Hibernating<'e> {
    /// The Worker at `url`. The schedule has for each op whether all objects are evicted before it;
    /// after its end none are.
    pub fn new(
        url: Url,
        edge: &'e Edge,
        worker: usize,
        schedule: impl IntoIterator<Item = bool, IntoIter: 'e>,
    ) -> Self {
        Self {
            url,
            edge,
            worker,
            schedule: Box::new(schedule.into_iter()),
            namespaces: BTreeSet::new(),
            evictions: 0,
        }
    }

    /// The number of objects that were evicted from memory.
    pub const fn evictions(&self) -> usize {
        self.evictions
    }

    /// Evicts all objects of the story.
    ///
    /// # Errors
    ///
    /// When an object cannot be evicted.
    pub fn evict(&mut self, sockets: Sockets) -> Result<(), DriverError> {
        for namespace in &self.namespaces {
            let evicted = self.edge.evict(self.worker, namespace, sockets)?;
            self.evictions += usize::from(evicted);
        }
        Ok(())
    }
}

impl Driver for Hibernating<'_> {
    fn supports(&self, op: &Op) -> bool {
        self.url.supports(op)
    }

    fn perform(&mut self, op: &Op) -> Result<Answer, DriverError> {
        if self.schedule.next().unwrap_or_default() {
            self.evict(Sockets::Hibernate)?;
        }
        self.namespaces.insert(self.url.namespace(op.namespace()));
        self.url.perform(op)
    }

    fn is_late(&self) -> bool {
        self.url.is_late()
    }

    fn take(&mut self, actor: &Actor) -> Vec<Event> {
        self.url.take(actor)
    }

    fn conn(&self, actor: &Actor) -> Option<String> {
        self.url.conn(actor)
    }
}
