//! The state of a broker in memory.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    keys::Keys,
    node::{NodeState, Trouble},
    room::Room,
};
use crate::{
    error::RelayError,
    event::Event,
    position::{Address, Channel, RoomList},
    presence::{Arrival, Change, Presence},
    publish::{Publish, Published},
    withdrawn::Withdrawn,
};

/// The times of withdrawn users, and the time that holds for everyone.
type Times = (BTreeMap<Box<str>, u64>, u64);

#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) rooms: BTreeMap<Address, Room>,
    pub(super) keys: Keys,
    pub(super) nodes: BTreeMap<Arc<str>, NodeState>,
    epochs: u64,
    /// Withdrawn users of namespaces.
    withdrawn: BTreeMap<Box<str>, Times>,
    pub(super) joins: u64,
    /// The next serial of a connection.
    pub(super) next_serial: u64,
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
        let now_ms = self.now_ms;
        if self.rooms[address].has_ended(now_ms) {
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
        self.room(&publish.address);
        let room = &self.rooms[&publish.address];
        if let Some(once) = &publish.once
            && let Some(published) = self.keys.find(namespace, once, room)?
        {
            return Ok(published);
        }
        let now_ms = self.now_ms;
        let room = self.room(&publish.address);
        let published = room.append(publish.body.clone(), publish.retention, now_ms);
        if let Some(once) = &publish.once {
            self.keys.remember(namespace, once, published.clone());
        }
        let event = Event::Message {
            address: publish.address.clone(),
            epoch: (*published.epoch).into(),
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

    /// Sends an event to all nodes, or to one of them, and returns the number of those nodes.
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
            meta,
            ..
        } = presence;
        let room = self.room(address);
        let (arrival, meta) = room.set_present(incarnation, user, presence.weight(), meta);
        if let Some(change) = arrival.change {
            self.note_occupied(address, change, &meta);
            let event = Event::Presence {
                address: address.clone(),
                epoch: (*arrival.epoch).into(),
                notice: arrival.notice,
                change,
                user: user.clone(),
                meta,
            };
            self.push(address, &event);
        }
        arrival
    }

    /// Takes what a node says of a room that counts nodes, before it is entered.
    pub(super) fn renew_meta(&mut self, incarnation: &Arc<str>, presence: &Presence) {
        let address = &presence.address;
        if address.occupied().is_some() {
            let (user, weight) = (&presence.user, presence.weight());
            self.room(address)
                .renew_meta(incarnation, user, weight, &presence.meta);
        }
    }

    /// Records that a room has members on a first node, or on none any more.
    fn note_occupied(&mut self, address: &Address, change: Change, meta: &[u8]) {
        let now_ms = self.now_ms;
        let occupied = address.occupied();
        let Some(room) = occupied.and_then(|room| self.rooms.get_mut(&room)) else {
            return;
        };
        let age_ms = std::str::from_utf8(meta)
            .ok()
            .and_then(|age| age.parse().ok());
        match (change, age_ms) {
            (Change::Joined, _) => room.occupy(),
            (Change::Left, Some(age_ms)) => room.vacate(age_ms, now_ms),
            (Change::Left, None) => {}
        }
    }

    pub(super) fn list(&self, list: &RoomList) -> Vec<Box<str>> {
        let after = Address::room(list.namespace.clone(), list.after.as_deref().unwrap_or(""));
        let rooms = self.rooms.range(after..).filter_map(|(address, room)| {
            let is_here = address.namespace == list.namespace && room.is_listed(self.now_ms);
            match &address.channel {
                Channel::Room(name) if is_here => Some(&**name),
                Channel::Room(_) | Channel::All => None,
            }
        });
        let wanted = rooms
            .filter(|name| name.starts_with(&*list.prefix) && Some(*name) != list.after.as_deref());
        wanted.take(list.rooms_max).map(Into::into).collect()
    }

    /// Removes all users of an incarnation, and notifies one node other than `node`.
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
                    is_awaited: false,
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
