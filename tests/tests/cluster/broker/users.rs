//! Users in rooms and leases of nodes, as the scripts of a relay count them.

use std::collections::BTreeMap;

use roomcast_core::relay::{
    Notice, PresenceChange, PresentUser, RelayEvent, RoomUsers, Topic, TopicPosition,
};

use super::Broker;

/// The time for which a node has a lease, in milliseconds.
pub(crate) const LEASE_MS: u64 = 10_000;

/// A message to those who subscribe to a topic.
pub(crate) type Push = (Topic, RelayEvent);

/// Users of all rooms, and the leases of incarnations of nodes.
#[derive(Debug, Clone, Default)]
pub(super) struct Users {
    rooms: BTreeMap<Box<str>, Room>,
    /// The end of each lease.
    leases: BTreeMap<u64, u64>,
}

#[derive(Debug, Clone, Default)]
struct Room {
    /// Connections of each user on each node, and whether that waits for it.
    nodes: BTreeMap<u64, BTreeMap<Box<str>, (u64, bool)>>,
    /// The meta that is shown of each user who is on any node.
    all: BTreeMap<Box<str>, Option<Box<str>>>,
}

/// Users who came or went.
pub(crate) type Changes = Vec<(Box<str>, PresenceChange)>;

impl Room {
    /// Sets the connections of a user on a node.
    fn set(&mut self, node: u64, user: &PresentUser) -> Option<PresenceChange> {
        let here = self.nodes.entry(node).or_default();
        if user.conns == 0 && !user.waits {
            here.remove(&user.name);
        } else {
            here.insert(user.name.clone(), (user.conns, user.waits));
        }
        let mut nodes = self.nodes.values();
        let is_there = nodes.any(|here| here.contains_key(&user.name));
        match (self.all.contains_key(&user.name), is_there) {
            (false, true) => {
                self.all.insert(user.name.clone(), user.meta.clone());
                Some(PresenceChange::Joined)
            }
            (true, false) => {
                self.all.remove(&user.name);
                Some(PresenceChange::Left)
            }
            _ => None,
        }
    }

    /// The connections of a user on all nodes.
    fn conns(&self, name: &str) -> u64 {
        let nodes = self.nodes.values().filter_map(|here| here.get(name));
        nodes.map(|(conns, _)| conns).sum()
    }
}

/// Users that were removed: the room and their names.
pub(crate) type Reaped = (Box<str>, Vec<Box<str>>);

impl Broker {
    /// Gives a node a lease under a name that no other has.
    pub(crate) fn register(&mut self, now: u64) -> u64 {
        self.incarnations += 1;
        let users = &mut self.master.users;
        users.leases.insert(self.incarnations, now + LEASE_MS);
        self.incarnations
    }

    /// Renews a lease; false when there is none.
    pub(crate) fn renew(&mut self, node: u64, now: u64) -> bool {
        let lease = self.master.users.leases.get_mut(&node);
        lease.map(|end| *end = now + LEASE_MS).is_some()
    }

    fn has_lease(&self, node: u64) -> bool {
        self.plants.no_fence || self.master.users.leases.contains_key(&node)
    }

    /// Sets the connections of a user on a node; `None` when that has no lease.
    pub(crate) fn set_present(
        &mut self,
        node: u64,
        room: &str,
        user: &PresentUser,
    ) -> Option<(Option<PresenceChange>, Vec<Push>)> {
        if !self.has_lease(node) {
            return None;
        }
        let users = &mut self.master.users;
        let change = users.rooms.entry(room.into()).or_default().set(node, user);
        let push = change.map(|change| self.notice(room, change, user));
        Some((change, push.into_iter().collect()))
    }

    fn notice(&mut self, room: &str, change: PresenceChange, user: &PresentUser) -> Push {
        let topic = Topic::room(room);
        let (position, number) = self.numbered(&topic, 1);
        let notice = Notice {
            room: room.into(),
            epoch: position.epoch,
            number,
            change,
            name: user.name.clone(),
            meta: user.meta.clone(),
        };
        (topic, RelayEvent::Notice(notice))
    }

    /// Counts notices of a room.
    fn numbered(&mut self, topic: &Topic, more: u64) -> (TopicPosition, u64) {
        let stream = self.stream(topic);
        stream.notices += more;
        (stream.position.clone(), stream.notices)
    }

    /// Makes the users of a node in a room those given; `None` when it has no lease.
    pub(crate) fn reconcile(
        &mut self,
        node: u64,
        room: &str,
        present: &[PresentUser],
    ) -> Option<(Changes, Vec<Push>)> {
        if !self.has_lease(node) {
            return None;
        }
        let all = self.master.users.rooms.entry(room.into()).or_default();
        let here = all.nodes.entry(node).or_default().keys();
        let gone = here.filter(|name| !present.iter().any(|user| user.name == **name));
        let gone: Vec<_> = gone.cloned().map(absent).collect();
        let (mut changes, mut pushes) = (Vec::new(), Vec::new());
        for user in gone.iter().chain(present) {
            let (change, told) = self.set_present(node, room, user)?;
            changes.extend(change.map(|change| (user.name.clone(), change)));
            pushes.extend(told);
        }
        Some((changes, pushes))
    }

    pub(crate) fn list_users(&mut self, room: &str, limit: usize) -> RoomUsers {
        let (position, number) = self.numbered(&Topic::room(room), 0);
        let number = number + u64::from(self.plants.list_too_new);
        let all = self.master.users.rooms.entry(room.into()).or_default();
        let users = all.all.iter().map(|(name, meta)| PresentUser {
            name: name.clone(),
            conns: all.conns(name),
            waits: false,
            meta: meta.clone(),
        });
        let conns: u64 = all.all.keys().map(|name| all.conns(name)).sum();
        RoomUsers {
            room: room.into(),
            epoch: position.epoch,
            number,
            total: all.all.len(),
            conns: usize::try_from(conns).expect("few"),
            users: users.take(limit).collect(),
        }
    }

    /// Removes the users of nodes whose lease has ended.
    pub(crate) fn reap(&mut self, now: u64) -> (Vec<Reaped>, Vec<Push>) {
        let leases = &mut self.master.users.leases;
        let dead: Vec<u64> = leases
            .extract_if(.., |_, end| *end < now)
            .map(|it| it.0)
            .collect();
        let (mut reaped, mut pushes) = (Vec::new(), Vec::new());
        if self.plants.no_reaper {
            return (reaped, pushes);
        }
        let rooms: Vec<Box<str>> = self.master.users.rooms.keys().cloned().collect();
        for node in dead {
            for name in &rooms {
                let room = self.master.users.rooms.get_mut(name).expect("it is there");
                let here = room.nodes.get(&node).cloned().unwrap_or_default();
                let mut gone = Vec::new();
                for user in here.into_keys().map(absent) {
                    let room = self.master.users.rooms.get_mut(name).expect("it is there");
                    if let Some(change) = room.set(node, &user) {
                        pushes.push(self.notice(name, change, &user));
                        gone.push(user.name);
                    }
                }
                if !gone.is_empty() {
                    reaped.push((name.clone(), gone));
                }
            }
        }
        (reaped, pushes)
    }
}

fn absent(name: Box<str>) -> PresentUser {
    PresentUser {
        name,
        conns: 0,
        waits: false,
        meta: None,
    }
}
