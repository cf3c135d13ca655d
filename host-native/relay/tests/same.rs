//! The relay in memory answers like the relay over Redis, so tests of hosts may rely on it.

use std::collections::HashMap;

use bytes::Bytes;
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use roomcast_relay::{
    Address, Event, Events, MemoryBroker, Once, Owner, Presence, Publish, Read, Relay, RelayError,
    Retention, RoomList, Start,
};

use crate::{node::Node, server::Server};

/// An operation of a node in a room.
#[derive(Debug, Clone)]
enum Op {
    Publish {
        node: usize,
        room: usize,
        kept: (u32, u64),
        key: Option<(u8, u64)>,
    },
    After {
        node: usize,
        room: usize,
        offset: u64,
        messages_max: u32,
        bytes_max: u32,
    },
    Above {
        node: usize,
        room: usize,
        offset: u64,
        messages_max: u32,
    },
    Before {
        node: usize,
        room: usize,
        offset: Option<u64>,
        messages_max: u32,
    },
    Present {
        node: usize,
        room: usize,
        user: u8,
        connections: u32,
    },
    Reconcile {
        node: usize,
        room: usize,
        users: Vec<(u8, u32)>,
    },
    Members {
        node: usize,
        room: usize,
    },
    Occupied {
        node: usize,
        room: usize,
        /// Members or none, the age of the history, and whether it is a reconciliation.
        entry: (bool, &'static str, bool),
    },
    Rooms {
        node: usize,
        after: Option<usize>,
        rooms_max: usize,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let (node, room) = (0..2_usize, 0..2_usize);
    let key = prop::option::of((0..3_u8, 0..2_u64));
    let users = prop::collection::btree_map(0..3_u8, 1..4_u32, 0..3);
    // Without one, the room has no history.
    let age = prop_oneof![Just(""), Just("600000"), Just("700000")];
    // Bodies have two or three bytes.
    let kept = (0..4_u32, prop_oneof![Just(0), 1..10_u64]);
    prop_oneof![
        4 => (node.clone(), room.clone(), kept, key)
            .prop_map(|(node, room, kept, key)| Op::Publish { node, room, kept, key }),
        2 => (node.clone(), room.clone(), 0..8_u64, 1..4_u32, 1..12_u32).prop_map(
            |(node, room, offset, messages_max, bytes_max)| Op::After {
                node, room, offset, messages_max, bytes_max,
            },
        ),
        1 => (node.clone(), room.clone(), 0..8_u64, 1..4_u32).prop_map(
            |(node, room, offset, messages_max)| Op::Above { node, room, offset, messages_max },
        ),
        1 => (node.clone(), room.clone(), prop::option::of(0..8_u64), 1..4_u32).prop_map(
            |(node, room, offset, messages_max)| Op::Before { node, room, offset, messages_max },
        ),
        3 => (node.clone(), room.clone(), 0..3_u8, 0..4_u32).prop_map(
            |(node, room, user, connections)| Op::Present { node, room, user, connections },
        ),
        1 => (node.clone(), room.clone(), users).prop_map(|(node, room, users)| Op::Reconcile {
            node, room, users: users.into_iter().collect(),
        }),
        1 => (node.clone(), room.clone()).prop_map(|(node, room)| Op::Members { node, room }),
        2 => (node.clone(), room.clone(), (any::<bool>(), age, any::<bool>()))
            .prop_map(|(node, room, entry)| Op::Occupied { node, room, entry }),
        1 => (node, prop::option::of(room), 1..3_usize).prop_map(|(node, after, rooms_max)| {
            Op::Rooms { node, after, rooms_max }
        }),
    ]
}

/// Two nodes of one broker. Epochs are numbered by their first appearance, to compare brokers.
struct Side<'a> {
    nodes: [&'a dyn Relay; 2],
    namespace: String,
    epochs: HashMap<String, String>,
}

impl Side<'_> {
    fn room(&self, room: usize) -> Address {
        Address::room(&*self.namespace, format!("r{room}"))
    }

    fn epoch(&mut self, epoch: &str) -> String {
        let next = format!("e{}", self.epochs.len());
        self.epochs.entry(epoch.to_owned()).or_insert(next).clone()
    }

    /// A user with so many connections, who is awaited with 3.
    fn presence(&self, room: usize, user: u8, connections: u32) -> Presence {
        let is_awaited = connections == 3;
        let connections = if is_awaited { 0 } else { connections };
        Presence {
            address: self.room(room),
            user: format!("u{user}").into(),
            connections,
            is_awaited,
            meta: Bytes::from(format!("meta of {user}")),
        }
    }

    fn message(
        &self,
        step: usize,
        room: usize,
        (messages, bytes): (u32, u64),
        key: Option<(u8, u64)>,
    ) -> Publish {
        Publish {
            address: self.room(room),
            body: format!("m{step}").into(),
            retention: Retention {
                messages,
                bytes,
                age_ms: 0,
            },
            once: key.map(|(key, print)| Once {
                key: format!("k{key}").into(),
                // Two keys of an owner that has one.
                owner: (key > 0).then(|| Owner {
                    name: "o".into(),
                    earlier: Vec::new(),
                    keys_max: 1,
                    all_max: None,
                }),
                // Messages to different rooms are different ones.
                fingerprint: 2 * print + room as u64,
                expiry_ms: 600_000,
                attempt_id: ["", "one", "another"][step % 3].into(),
            }),
        }
    }

    async fn publish(&mut self, node: usize, publish: &Publish) -> String {
        match self.nodes[node].publish(publish).await {
            Ok(published) => {
                let epoch = self.epoch(&published.epoch);
                format!("{epoch} {} {}", published.offset, published.is_repeated)
            }
            Err(RelayError::KeyReused) => "reused".to_owned(),
            Err(error) => panic!("{error}"),
        }
    }

    /// Performs an operation, and returns the answer without the parts that differ between brokers.
    async fn carry_out(&mut self, step: usize, op: &Op) -> String {
        match op {
            Op::Publish {
                node,
                room,
                kept,
                key,
            } => {
                let publish = self.message(step, *room, *kept, *key);
                self.publish(*node, &publish).await
            }
            Op::After {
                node,
                room,
                offset,
                messages_max,
                bytes_max,
            } => {
                let mut read = Read::position(self.room(*room));
                let epoch = self.nodes[*node].read(&read).await.unwrap().position.epoch;
                read.start = Start::After {
                    epoch,
                    offset: *offset,
                };
                (read.messages_max, read.bytes_max) = (*messages_max, *bytes_max);
                self.read(*node, &read).await
            }
            Op::Above {
                node,
                room,
                offset,
                messages_max,
            } => {
                let start = Start::Above(*offset);
                self.read_from(*node, *room, start, *messages_max).await
            }
            Op::Before {
                node,
                room,
                offset,
                messages_max,
            } => {
                let start = Start::Before(*offset);
                self.read_from(*node, *room, start, *messages_max).await
            }
            Op::Present {
                node,
                room,
                user,
                connections,
            } => {
                let presence = self.presence(*room, *user, *connections);
                let arrival = self.nodes[*node].set_present(&presence).await.unwrap();
                let epoch = self.epoch(&arrival.epoch);
                let (change, notice) = (arrival.change, arrival.notice);
                format!("{epoch} {notice} {change:?} {}", arrival.connections)
            }
            Op::Reconcile { node, room, users } => self.reconcile(*node, *room, users).await,
            Op::Members { node, room } => {
                let room = self.room(*room);
                let mut members = self.nodes[*node].members(&room, 100).await.unwrap();
                members.users.sort_by(|a, b| a.user.cmp(&b.user));
                let epoch = self.epoch(&members.epoch);
                let (notice, connections) = (members.notice, members.connections);
                format!("{epoch} {notice} {connections} {:?}", members.users)
            }
            Op::Occupied { node, room, entry } => self.occupy(*node, *room, *entry).await,
            Op::Rooms {
                node,
                after,
                rooms_max,
            } => self.rooms(*node, *after, *rooms_max).await,
        }
    }

    async fn reconcile(&self, node: usize, room: usize, users: &[(u8, u32)]) -> String {
        let users = users.iter();
        let users = users.map(|(user, count)| self.presence(room, *user, *count));
        let (users, room) = (users.collect::<Vec<_>>(), self.room(room));
        let mut corrected = self.nodes[node].reconcile(&room, &users).await.unwrap();
        corrected.changes.sort_by(|a, b| a.0.cmp(&b.0));
        format!("{corrected:?}")
    }

    async fn read_from(
        &mut self,
        node: usize,
        room: usize,
        start: Start,
        messages_max: u32,
    ) -> String {
        let mut read = Read::position(self.room(room));
        (read.start, read.messages_max) = (start, messages_max);
        self.read(node, &read).await
    }

    async fn rooms(&self, node: usize, after: Option<usize>, rooms_max: usize) -> String {
        let list = RoomList {
            namespace: (*self.namespace).into(),
            prefix: "r".into(),
            after: after.map(|room| format!("r{room}").into()),
            rooms_max,
        };
        format!("{:?}", self.nodes[node].rooms(&list).await.unwrap())
    }

    /// Says whether a node has members of a room, and for how long it is remembered.
    async fn occupy(
        &self,
        node: usize,
        room: usize,
        (occupied, age_ms, reconciles): (bool, &'static str, bool),
    ) -> String {
        let (node, presence) = (self.nodes[node], self.occupant(room, occupied, age_ms));
        let address = &presence.address;
        let told = if reconciles {
            let own = std::slice::from_ref(&presence);
            let own = if occupied { own } else { &[] };
            let corrected = node.reconcile(address, own).await.unwrap();
            format!("{corrected:?}")
        } else {
            let arrival = node.set_present(&presence).await.unwrap();
            format!("{:?}", arrival.change)
        };
        let members = node.members(address, 100).await.unwrap();
        format!("{told} {:?}", members.users)
    }

    /// A node that has members of a room, or has none.
    fn occupant(&self, room: usize, occupied: bool, age_ms: &'static str) -> Presence {
        Presence {
            address: Address::room(&*self.namespace, format!("\u{1}r{room}")),
            user: "*".into(),
            connections: occupied.into(),
            is_awaited: false,
            meta: Bytes::from_static(age_ms.as_bytes()),
        }
    }

    async fn read(&mut self, node: usize, read: &Read) -> String {
        let page = self.nodes[node].read(read).await.unwrap();
        let epoch = self.epoch(&page.position.epoch);
        let messages = page.messages.iter();
        let messages: Vec<_> = messages.map(|kept| (kept.offset, &kept.body)).collect();
        let position = (page.position.offset, page.position.notice);
        let (first, whole) = (page.first, page.is_whole);
        format!("{epoch} {position:?} {first} {messages:?} {whole}")
    }

    /// Everything that was pushed to a node up to a last message.
    async fn pushed(&mut self, events: &mut Events) -> Vec<String> {
        let mut pushed = Vec::new();
        loop {
            match events.next().await.unwrap() {
                Event::Message {
                    address,
                    epoch,
                    offset,
                    body,
                } => {
                    let Some((_, room)) = address
                        .to_string()
                        .split_once('/')
                        .map(|(a, b)| (a.to_owned(), b.to_owned()))
                    else {
                        return pushed;
                    };
                    let epoch = self.epoch(&epoch);
                    pushed.push(format!("{room} {epoch} {offset} {body:?}"));
                }
                Event::Presence {
                    epoch,
                    notice,
                    change,
                    user,
                    meta,
                    ..
                } => {
                    let epoch = self.epoch(&epoch);
                    pushed.push(format!("{epoch} {notice} {change:?} {user} {meta:?}"));
                }
                Event::Ready | Event::Registered { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_and_redis_give_the_same_answers() {
    const STORIES: usize = 60;
    let server = Server::start(&[]);
    let (mut a, b) = (Node::start(&server).await, Node::start(&server).await);
    let mut runner = TestRunner::new(Config::default());
    let ops = prop::collection::vec(op(), 40);
    for story in 0..STORIES {
        let ops = ops.new_tree(&mut runner).unwrap().current();
        let broker = MemoryBroker::new();
        let ((c, mut events), (d, _)) = (broker.join(), broker.join());
        let namespace = format!("ns{story}");
        let side = |nodes| Side {
            nodes,
            namespace: namespace.clone(),
            epochs: HashMap::new(),
        };
        let mut redis = side([&a.relay, &b.relay]);
        let mut memory = side([&c, &d]);
        for side in [&redis, &memory] {
            let rooms = [side.room(0), side.room(1), Address::all(&*namespace)];
            side.nodes[0].subscribe(&rooms).await.unwrap();
        }
        for (step, op) in ops.iter().enumerate() {
            let told = redis.carry_out(step, op).await;
            let simulated = memory.carry_out(step, op).await;
            assert_eq!(told, simulated, "step {step} of {ops:#?}");
        }
        let last = Publish {
            address: Address::all(&*namespace),
            body: Bytes::new(),
            retention: Retention::default(),
            once: None,
        };
        redis.nodes[1].publish(&last).await.unwrap();
        memory.nodes[1].publish(&last).await.unwrap();
        let told = redis.pushed(&mut a.events).await;
        let simulated = memory.pushed(&mut events).await;
        assert_eq!(told, simulated, "{ops:#?}");
    }
}
