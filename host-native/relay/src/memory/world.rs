//! Everything that a broker in memory knows.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    node::{NodeState, Trouble},
    room::Room,
};
use crate::{
    error::RelayError,
    event::Event,
    position::Address,
    presence::{Arrival, Change, Presence},
    publish::{Publish, Published},
    withdrawn::Withdrawn,
};

/// Records of idempotency keys of namespaces, each with the print of its message.
pub(super) type Records = BTreeMap<(Arc<str>, Box<str>), (Published, u64)>;

/// Times of withdrawn users, and that of all others.
type Times = (BTreeMap<Box<str>, u64>, u64);

#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) rooms: BTreeMap<Address, Room>,
    pub(super) records: Records,
    pub(super) nodes: BTreeMap<Arc<str>, NodeState>,
    epochs: u64,
    /// Withdrawn users of namespaces.
    withdrawn: BTreeMap<Box<str>, Times>,
    pub(super) joins: u64,
    /// The next of the numbers that are given out once.
    pub(super) numbers: u64,
    pub(super) now_ms: u64,
}

impl World {
    #[allow(clippy::expect_used)] // documented where a test names the node
    pub(super) fn node(&mut self, node: &str) -> &mut NodeState {
        self.nodes.get_mut(node).expect("a node of this broker")
    }

    /// The node, if it is connected.
    pub(super) fn connected(&mut self, node: &str) -> Result<&mut NodeState, RelayError> {
        let state = self.nodes.get_mut(node);
        let state = state.filter(|state| state.is_ready());
        state.ok_or(RelayError::Unavailable("there is no connection"))
    }

    pub(super) fn fresh_epoch(&mut self) -> Arc<str> {
        self.epochs += 1;
        format!("epoch{}", self.epochs).into()
    }

    pub(super) fn room(&mut self, address: &Address) -> &mut Room {
        if !self.rooms.contains_key(address) {
            let epoch = self.fresh_epoch();
            self.rooms.insert(address.clone(), Room::new(epoch));
        }
        let room = self.rooms.get_mut(address);
        #[allow(clippy::expect_used)] // it was put there
        room.expect("a room")
    }

    pub(super) fn publish(
        &mut self,
        node: &str,
        publish: &Publish,
    ) -> Result<Published, RelayError> {
        let troubles = &mut self.connected(node)?.troubles;
        if troubles.remove(&Trouble::Refusal) {
            return Err(RelayError::Refusal("OOM on command".into()));
        }
        if troubles.remove(&Trouble::PublishLost) {
            return Err(RelayError::InDoubt);
        }
        let is_answered = !troubles.remove(&Trouble::AnswerLost);
        let published = self.publish_once(publish)?;
        if is_answered {
            Ok(published)
        } else {
            Err(RelayError::InDoubt)
        }
    }

    fn publish_once(&mut self, publish: &Publish) -> Result<Published, RelayError> {
        let namespace = &publish.address.namespace;
        let names = publish.once.iter();
        let names = names.flat_map(|once| [&once.key].into_iter().chain(&once.earlier));
        for name in names {
            if let Some((published, print)) = self.records.get(&(namespace.clone(), name.clone())) {
                let is_same = publish
                    .once
                    .as_ref()
                    .is_some_and(|once| once.print == *print);
                let mut published = published.clone();
                published.is_repeated = true;
                return is_same.then_some(published).ok_or(RelayError::KeyReused);
            }
        }
        let now_ms = self.now_ms;
        let room = self.room(&publish.address);
        let published = room.append(publish.body.clone(), publish.retention, now_ms);
        if let Some(once) = &publish.once {
            let name = (namespace.clone(), once.key.clone());
            self.records.insert(name, (published.clone(), once.print));
        }
        let event = Event::Message {
            address: publish.address.clone(),
            epoch: published.epoch.clone(),
            offset: published.offset,
            body: publish.body.clone(),
        };
        self.push(&publish.address, &event);
        Ok(published)
    }

    /// Pushes an event to the nodes that are subscribed to a room.
    fn push(&self, address: &Address, event: &Event) {
        for state in self.nodes.values() {
            if state.rooms.contains(address) {
                state.push(event);
            }
        }
    }

    /// Sends something to all nodes, or to one of them.
    pub(super) fn send(&self, to: Option<&Arc<str>>, event: &Event) -> usize {
        let nodes = self.nodes.iter();
        let nodes = nodes.filter(|(node, _)| to.is_none_or(|to| to == *node));
        nodes.map(|(_, state)| state.push(event)).count()
    }

    pub(super) fn withdraw(&mut self, namespace: &str, more: &Withdrawn, users_max: u32) {
        let kept = self.withdrawn.entry(namespace.into()).or_default();
        for (user, time) in &more.users {
            let kept = kept.0.entry(user.clone()).or_default();
            *kept = (*time).max(*kept);
        }
        kept.1 = kept.1.max(more.everyone_s);
        while kept.0.len() > users_max as usize {
            let earliest = kept.0.values().copied().min().unwrap_or_default();
            kept.1 = kept.1.max(earliest);
            kept.0.retain(|_, time| *time > earliest);
        }
        kept.0.retain(|_, time| *time > kept.1);
    }

    pub(super) fn withdrawn(&self, namespace: &str) -> Withdrawn {
        let kept = self.withdrawn.get(namespace);
        kept.map_or_else(Withdrawn::default, |(users, everyone_s)| Withdrawn {
            users: users
                .iter()
                .map(|(user, time)| (user.clone(), *time))
                .collect(),
            everyone_s: *everyone_s,
        })
    }

    pub(super) fn set_present(&mut self, incarnation: &Arc<str>, presence: &Presence) -> Arrival {
        let Presence {
            address,
            user,
            connections,
            meta,
        } = presence;
        let room = self.room(address);
        let (arrival, meta) = room.set_present(incarnation, user, *connections, meta);
        if let Some(change) = arrival.change {
            let event = Event::Presence {
                address: address.clone(),
                epoch: arrival.epoch.clone(),
                notice: arrival.notice,
                change,
                user: user.clone(),
                meta,
            };
            self.push(address, &event);
        }
        arrival
    }

    /// Removes all users of an incarnation, and tells one other node.
    pub(super) fn clear(&mut self, incarnation: &Arc<str>, node: &str) {
        let addresses: Vec<_> = self.rooms.keys().cloned().collect();
        for address in addresses {
            let users = self.room(&address).users_of(incarnation);
            let mut gone = Vec::new();
            for (user, _) in users {
                let presence = Presence {
                    address: address.clone(),
                    user,
                    connections: 0,
                    meta: bytes::Bytes::new(),
                };
                let arrival = self.set_present(incarnation, &presence);
                if arrival.change == Some(Change::Left) {
                    gone.push(presence.user);
                }
            }
            let is_other =
                |(name, state): &(&Arc<str>, &NodeState)| &***name != node && state.is_ready();
            let teller = self.nodes.iter().find(is_other);
            if let Some((_, teller)) = teller.filter(|_| !gone.is_empty()) {
                let users = gone;
                teller.tell(Event::Reaped { address, users });
            }
        }
    }
}

pub(super) fn locked(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}
