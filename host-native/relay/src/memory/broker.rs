//! A broker in memory that can be broken on command.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use super::{
    keys::Keys,
    node::{NodeState, Trouble},
    relay::MemoryRelay,
    room::Room,
    world::World,
};
use crate::{
    event::Loss,
    position::Address,
    ring::{Events, locked},
};

/// A broker for nodes of one process, with the rules of the relay over Redis. It has no clock and
/// no tasks: time passes by [`set_now_ms`](Self::set_now_ms), and leases end by
/// [`expire`](Self::expire).
///
/// A test breaks it between calls: [`trouble`](Self::trouble) for single nodes,
/// [`lose`](Self::lose) and [`restore`](Self::restore) for outages, [`replica`](Self::replica) and
/// [`promote`](Self::promote) for failovers, [`flush`](Self::flush), [`expire`](Self::expire).
#[derive(Debug, Clone, Default)]
pub struct MemoryBroker {
    world: Arc<Mutex<World>>,
}

/// A copy of the rooms and keys of a broker at a moment, as a replica that falls behind has them.
#[derive(Debug, Clone)]
pub struct Replica {
    rooms: BTreeMap<Address, Room>,
    keys: Keys,
}

impl MemoryBroker {
    /// A broker without rooms and nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a node. Its first events are [`Registered`](crate::Event::Registered) and
    /// [`Ready`](crate::Event::Ready).
    pub fn join(&self) -> (MemoryRelay, Events) {
        let mut world = self.world();
        world.joins += 1;
        let node: Arc<str> = format!("node{}", world.joins).into();
        let (state, events) = NodeState::new(&node);
        let counters = state.counters.clone();
        world.nodes.insert(node.clone(), state);
        drop(world);
        (MemoryRelay::new(self.world.clone(), node, counters), events)
    }

    fn world(&self) -> MutexGuard<'_, World> {
        locked(&self.world)
    }

    /// Sets the time by which messages and rooms expire, in milliseconds.
    pub fn set_now_ms(&self, now_ms: u64) {
        self.world().now_ms = now_ms;
    }

    /// Begins a fault towards a node.
    ///
    /// # Panics
    ///
    /// When there is no such node. This holds for all methods that take the name of a node.
    pub fn trouble(&self, node: &str, trouble: Trouble) {
        self.world().node(node).troubles.insert(trouble);
    }

    /// Ends all faults towards a node.
    pub fn relieve(&self, node: &str) {
        self.world().node(node).troubles.clear();
    }

    /// Disconnects a node. It gets [`Lost`](crate::Event::Lost), and its calls fail.
    pub fn lose(&self, node: &str) {
        self.world().node(node).lose(Loss::Disconnected);
    }

    /// Reconnects a node.
    pub fn restore(&self, node: &str) {
        let mut world = self.world();
        let state = world.node(node);
        if state.is_fenced {
            state.register(node);
        }
        state.ready();
    }

    /// The data as a replica has it now.
    pub fn replica(&self) -> Replica {
        let world = self.world();
        Replica {
            rooms: world.rooms.clone(),
            keys: world.keys.clone(),
        }
    }

    /// Promotes a replica: everything after its copy is lost. If the lineage is read, all rooms
    /// begin new epochs, and nodes register again, as if their old leases ended at once. If not,
    /// the loss is hidden, as a negative control.
    pub fn promote(&self, replica: Replica, is_lineage_read: bool) {
        let mut world = self.world();
        world.keys = replica.keys;
        world.rooms = replica.rooms;
        if is_lineage_read {
            let addresses: Vec<_> = world.rooms.keys().cloned().collect();
            for address in addresses {
                let epoch = world.fresh_epoch();
                world.room(&address).renew(&epoch);
            }
            let nodes: Vec<_> = world.nodes.keys().cloned().collect();
            for node in nodes {
                let old = world.node(&node).incarnation.clone();
                world.clear(&old, &node);
                world.node(&node).register(&node);
            }
        }
    }

    /// Forgets all rooms and idempotency keys. Nodes register again.
    pub fn flush(&self) {
        let mut world = self.world();
        world.rooms.clear();
        world.keys.clear();
        for (node, state) in &mut world.nodes {
            state.register(node);
        }
    }

    /// Ends the lease of a node: its users are removed, and another node is notified of them. The
    /// node registers again: at once if it is connected, else when it is [restored](Self::restore).
    ///
    /// Work: all rooms.
    pub fn expire(&self, node: &str) {
        let mut world = self.world();
        let state = world.node(node);
        state.is_fenced = true;
        let dead = state.incarnation.clone();
        world.clear(&dead, node);
        let state = world.node(node);
        if state.is_ready() {
            state.register(node);
        }
    }
}
