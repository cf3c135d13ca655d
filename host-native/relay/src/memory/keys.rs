//! Idempotency keys in memory.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use crate::{
    error::RelayError,
    memory::room::Room,
    publish::{Once, Owner, Published},
};

/// The record of a key: the answer, and the fingerprint and the attempt of its publish.
type Record = (Published, u64, Box<str>);

/// Idempotency keys of namespaces. They never expire.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys {
    /// Keys without an owner.
    records: BTreeMap<(Arc<str>, Box<str>), Record>,
    owners: BTreeMap<(Arc<str>, Box<str>), Owned>,
    changes: u64,
}

/// The keys of one owner, the oldest first.
#[derive(Debug, Clone, Default)]
struct Owned {
    keys: VecDeque<(Box<str>, Record)>,
    is_counted: bool,
    /// The number of the last change of their count.
    changed: u64,
}

impl Keys {
    /// Finds the answer to the first attempt of a publish, if its key is known.
    pub(super) fn find(
        &self,
        namespace: &Arc<str>,
        once: &Once,
        room: &Room,
    ) -> Result<Option<Published>, RelayError> {
        for (answer, fingerprint, attempt_id) in self.records(namespace, once) {
            if *fingerprint != once.fingerprint {
                return Err(RelayError::KeyReused);
            }
            if let Some(mut published) = room.repeated(answer) {
                published.is_repeated =
                    once.attempt_id.is_empty() || once.attempt_id != *attempt_id;
                return Ok(Some(published));
            }
        }
        Ok(None)
    }

    /// The records of a key, by its owner and by earlier owners.
    fn records(&self, namespace: &Arc<str>, once: &Once) -> Vec<&Record> {
        let Some(owner) = &once.owner else {
            let name = (namespace.clone(), once.key.clone());
            return self.records.get(&name).into_iter().collect();
        };
        let names = [&owner.name].into_iter().chain(&owner.earlier);
        let owners = names.filter_map(|name| self.owners.get(&(namespace.clone(), name.clone())));
        let records = owners.filter_map(|owned| {
            let mut keys = owned.keys.iter().rev();
            keys.find(|(key, _)| *key == once.key)
        });
        records.map(|(_, record)| record).collect()
    }

    pub(super) fn remember(&mut self, namespace: &Arc<str>, once: &Once, published: Published) {
        let record = (published, once.fingerprint, once.attempt_id.clone());
        let Some(owner) = &once.owner else {
            let name = (namespace.clone(), once.key.clone());
            self.records.insert(name, record);
            return;
        };
        let name = (namespace.clone(), owner.name.clone());
        self.changes += 1;
        let owned = self.owners.entry(name).or_default();
        let before = owned.keys.len();
        owned.is_counted = owner.all_max.is_some();
        owned.keys.push_back((once.key.clone(), record));
        while owned.keys.len() > owner.keys_max.max(1) as usize {
            owned.keys.pop_front();
        }
        if owned.keys.len() != before {
            owned.changed = self.changes;
            self.shrink(namespace, owner);
        }
    }

    /// Forgets keys until all owners together are within their limit.
    fn shrink(&mut self, namespace: &Arc<str>, own: &Owner) {
        let keys_max = own.all_max.map_or(usize::MAX, |keys| keys as usize);
        let is_counted = |name: &(Arc<str>, Box<str>), owned: &Owned| {
            name.0 == *namespace && owned.is_counted && !owned.keys.is_empty()
        };
        loop {
            let owners = self.owners.iter_mut();
            let counted = owners.filter(|(name, owned)| is_counted(name, owned));
            let counted: Vec<_> = counted.collect();
            let keys: usize = counted.iter().map(|(_, owned)| owned.keys.len()).sum();
            // A key that was just added stays.
            let others = counted
                .into_iter()
                .filter(|(name, owned)| name.1 != own.name || owned.keys.len() > 1);
            let most = others.max_by_key(|(_, owned)| (owned.keys.len(), u64::MAX - owned.changed));
            let Some((_, most)) = most.filter(|_| keys > keys_max) else {
                return;
            };
            most.keys.pop_front();
            self.changes += 1;
            most.changed = self.changes;
        }
    }

    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.owners.clear();
    }
}
