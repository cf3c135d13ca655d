//! A node of a broker in memory.

use std::{
    future::ready,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::watch;

use super::world::World;
use crate::{
    counters::Counters,
    error::RelayError,
    event::Event,
    position::{Address, Page, Position, Read, RoomList},
    presence::{Arrival, Corrections, Members, Node, Presence},
    publish::{Publish, Published},
    relay::{Answer, Answers, Destination, Relay, State},
    ring::locked,
    withdrawn::Withdrawn,
};

/// A node of a [`MemoryBroker`](crate::MemoryBroker). Each call is answered at once.
#[derive(Debug)]
pub struct MemoryRelay {
    world: Arc<Mutex<World>>,
    node: Arc<str>,
    counters: Arc<Counters>,
}

fn answer<'a, T: Send + 'a>(answer: Result<T, RelayError>) -> Answer<'a, T> {
    Box::pin(ready(answer))
}

impl MemoryRelay {
    pub(super) fn new(world: Arc<Mutex<World>>, node: Arc<str>, counters: Arc<Counters>) -> Self {
        Self {
            world,
            node,
            counters,
        }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        locked(&self.world)
    }

    fn publish_now(&self, publish: &Publish) -> Result<Published, RelayError> {
        let published = self.world().publish(&self.node, publish);
        match &published {
            Ok(_) => self.counters.count_latency(Duration::ZERO),
            Err(RelayError::InDoubt) => self.counters.count_in_doubt(),
            Err(_) => self.counters.count_failed(),
        }
        published
    }

    fn change_topics(&self, rooms: &[Address], is_wanted: bool) -> Result<(), RelayError> {
        let mut world = self.world();
        let state = world.connected(&self.node)?;
        for room in rooms {
            if is_wanted {
                state.rooms.insert(room.clone());
            } else {
                state.rooms.remove(room);
            }
        }
        Ok(())
    }

    fn set_present_now(&self, presence: &Presence) -> Result<Arrival, RelayError> {
        let mut world = self.world();
        let incarnation = world.connected(&self.node)?.incarnation.clone();
        world.renew_meta(&incarnation, presence);
        Ok(world.set_present(&incarnation, presence))
    }

    fn reconcile_now(
        &self,
        room: &Address,
        present: &[Presence],
    ) -> Result<Corrections, RelayError> {
        let mut world = self.world();
        let incarnation = world.connected(&self.node)?.incarnation.clone();
        for presence in present {
            world.renew_meta(&incarnation, presence);
        }
        let kept = world.room(room).users_of(&incarnation);
        let is_kept = |presence: &&Presence| {
            let mut kept = kept.iter();
            kept.any(|(user, weight)| *user == presence.user && *weight == presence.weight())
        };
        let mut corrections = Vec::new();
        corrections.extend(present.iter().filter(|it| !is_kept(it)).cloned());
        for (user, _) in &kept {
            if present.iter().all(|presence| presence.user != *user) {
                corrections.push(Presence {
                    address: room.clone(),
                    user: user.clone(),
                    connections: 0,
                    is_awaited: false,
                    meta: Bytes::new(),
                });
            }
        }
        let mut changes = Vec::new();
        for presence in &corrections {
            let arrival = world.set_present(&incarnation, presence);
            changes.extend(arrival.change.map(|it| (presence.user.clone(), it)));
        }
        drop(world);
        let count = corrections.len();
        self.counters.count_corrections(count);
        Ok(Corrections { count, changes })
    }
}

impl Relay for MemoryRelay {
    fn publish_all<'a>(&'a self, publishes: &'a [Publish]) -> Answers<'a, Published> {
        let answers = publishes.iter().map(|publish| self.publish_now(publish));
        Box::pin(ready(answers.collect()))
    }

    fn read<'a>(&'a self, read: &'a Read) -> Answer<'a, Page> {
        let mut world = self.world();
        let connected = world.connected(&self.node).map(|_| ());
        let now_ms = world.now_ms;
        answer(connected.map(|()| world.room(&read.address).page(read, now_ms)))
    }

    fn positions<'a>(&'a self, rooms: &'a [Address]) -> Answer<'a, Vec<Position>> {
        let mut world = self.world();
        let connected = world.connected(&self.node).map(|_| ());
        let mut positions = || {
            rooms
                .iter()
                .map(|room| world.room(room).position())
                .collect()
        };
        answer(connected.map(|()| positions()))
    }

    fn subscribe<'a>(&'a self, rooms: &'a [Address]) -> Answer<'a, ()> {
        answer(self.change_topics(rooms, true))
    }

    fn unsubscribe<'a>(&'a self, rooms: &'a [Address]) -> Answer<'a, ()> {
        answer(self.change_topics(rooms, false))
    }

    fn set_present<'a>(&'a self, presence: &'a Presence) -> Answer<'a, Arrival> {
        answer(self.set_present_now(presence))
    }

    fn reconcile<'a>(
        &'a self,
        room: &'a Address,
        present: &'a [Presence],
    ) -> Answer<'a, Corrections> {
        answer(self.reconcile_now(room, present))
    }

    fn members<'a>(&'a self, room: &'a Address, users_max: u32) -> Answer<'a, Members> {
        let mut world = self.world();
        let connected = world.connected(&self.node).map(|_| ());
        answer(connected.map(|()| world.room(room).members(users_max)))
    }

    fn rooms<'a>(&'a self, list: &'a RoomList) -> Answer<'a, Vec<Box<str>>> {
        let mut world = self.world();
        let connected = world.connected(&self.node).map(|_| ());
        answer(connected.map(|()| world.list(list)))
    }

    fn send<'a>(&'a self, to: &'a Destination, body: Bytes) -> Answer<'a, usize> {
        let mut world = self.world();
        let (namespace, node) = match to {
            Destination::Nodes(namespace) => (namespace, None),
            Destination::Node { namespace, node } => (namespace, Some(node)),
        };
        let event = Event::Bus {
            namespace: namespace.clone(),
            from: self.node.clone(),
            body,
        };
        let connected = world.connected(&self.node).map(|_| ());
        answer(connected.map(|()| world.send(node, &event)))
    }

    fn withdraw<'a>(
        &'a self,
        namespace: &'a str,
        users: &'a Withdrawn,
        users_max: u32,
    ) -> Answer<'a, ()> {
        let mut world = self.world();
        let connected = world.connected(&self.node).map(|_| ());
        answer(connected.map(|()| world.withdraw(namespace, users, users_max)))
    }

    fn withdrawn<'a>(&'a self, namespace: &'a str) -> Answer<'a, Withdrawn> {
        let mut world = self.world();
        let connected = world.connected(&self.node).map(|_| ());
        answer(connected.map(|()| world.withdrawn(namespace)))
    }

    fn nodes(&self) -> Answer<'_, Vec<Node>> {
        let mut world = self.world();
        let connected = world.connected(&self.node).map(|_| ());
        let nodes = world.nodes.values().map(|state| Node {
            incarnation: (*state.incarnation).into(),
            // The lease of a disconnected node has ended, but nobody has taken it away.
            lease_ms: if state.is_ready() { u64::MAX } else { 0 },
            about: Bytes::new(),
        });
        let nodes = nodes.collect();
        answer(connected.map(|()| nodes))
    }

    fn take_serials(&self, count: u64, floor: u64) -> Answer<'_, u64> {
        let mut world = self.world();
        let connected = world.connected(&self.node).map(|_| ());
        answer(connected.map(|()| {
            let first = world.next_serial.max(floor);
            world.next_serial = first + count;
            first
        }))
    }

    fn retire(&self) -> Answer<'_, ()> {
        let mut world = self.world();
        let incarnation = world
            .connected(&self.node)
            .map(|state| state.incarnation.clone());
        let retired = incarnation.map(|incarnation| {
            world.clear(&incarnation, &self.node);
            if let Some(state) = world.nodes.remove(&self.node) {
                state.close();
            }
        });
        answer(retired)
    }

    // Leases do not end by time here, so the node retires at once.
    fn retire_after(&self, _: Duration) -> Answer<'_, ()> {
        self.retire()
    }

    fn node(&self) -> Arc<str> {
        self.node.clone()
    }

    fn state(&self) -> watch::Receiver<State> {
        let world = self.world();
        let state = world.nodes.get(&self.node);
        match state {
            Some(state) => state.state.subscribe(),
            // It has retired.
            None => watch::Sender::new(State::Lost).subscribe(),
        }
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}
