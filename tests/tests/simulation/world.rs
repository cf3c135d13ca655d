//! The server, its clients, and what must follow from each op.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash},
};

use roomcast_core::queue::QueueLimits;
use roomcast_tests::{Actor, Core, Driver, Op, Overflows};

use super::{
    client::Client,
    scene::{Host, ROOMS, settings},
    truth::{Entry, Truth},
};

/// More bytes than any message of these stories takes in a history.
const MESSAGE_BYTES: usize = 400;

pub(crate) struct World {
    pub(crate) core: Core,
    pub(crate) truth: Truth,
    pub(crate) clients: Vec<Client>,
    pub(crate) queues: QueueLimits,
    store: bool,
    /// Sends by idempotency key: the op, its answer, and the time until which the key is known.
    pub(crate) keys: BTreeMap<Box<str>, (String, String, u64)>,
    overflows: Overflows,
    pub(crate) hash: DefaultHasher,
}

impl World {
    pub(crate) fn new(host: Host) -> Self {
        let settings = settings(host.store);
        let users = [Some("ann"), Some("ann"), Some("ben"), None, None];
        let names = ["alice", "bob", "carol", "dave", "erin"];
        let clients = names.iter().zip(users);
        Self {
            core: Core::new(&host.limits(&settings))
                .with_policies(settings.policies())
                .with_queues(settings.queues())
                .with_store(host.store)
                .with_sleep(host.sleep),
            truth: Truth::new(&settings, &ROOMS),
            clients: clients
                .map(|(name, user)| Client::new(name, user))
                .collect(),
            queues: settings.queues(),
            store: host.store,
            keys: BTreeMap::new(),
            overflows: Overflows::default(),
            hash: DefaultHasher::new(),
        }
    }

    /// Does what the op says, and checks all that follows.
    pub(crate) fn perform(&mut self, op: &Op) {
        op.to_string().hash(&mut self.hash);
        let Op::Wait { millis } = op else {
            return self.step(op);
        };
        // From one timeout to the next, so that what follows from each is known by itself.
        let mut left = *millis;
        while left > 0 {
            let hub = self.core.hub("default");
            let due = hub.and_then(roomcast_core::Hub::next_timeout);
            let due = due.map_or(left, |due| due.as_millis().saturating_sub(self.truth.now));
            let millis = due.clamp(1, left);
            self.step(&Op::Wait { millis });
            left -= millis;
        }
    }

    fn step(&mut self, op: &Op) {
        if let Op::Wait { millis } = op {
            self.truth.tick(*millis);
        }
        let before = self.histories_bytes();
        let answer = self
            .core
            .perform(op)
            .unwrap_or_else(|fault| panic!("I44: {op}: {fault}"));
        // How many timeouts there are is up to the hub, and may differ when it slept.
        if !answer.body.is_empty() {
            answer.body.hash(&mut self.hash);
        }
        if matches!(op, Op::Text { .. } | Op::Send { .. }) {
            self.i22_messages_are_dropped_by_right(before);
        }
        self.follow(op, &answer.body);
        let closed = self.i23_end_who_was_too_slow();
        for client in &mut self.clients {
            for event in self.core.take(&client.actor) {
                event.to_string().hash(&mut self.hash);
                client.sees(&event);
            }
        }
        self.check(op, closed);
    }

    /// Returns the bytes of all histories, including those that the host may load.
    fn histories_bytes(&self) -> usize {
        let Some(hub) = self.core.hub("default") else {
            return 0;
        };
        let rooms = self.truth.rooms.iter();
        let away = rooms.filter(|(name, _)| hub.is_away(name));
        let messages = away.flat_map(|(_, room)| room.kept(self.truth.now));
        hub.counts().history_bytes + messages.map(Entry::memory).sum::<usize>()
    }

    /// Allows dropped messages when one more might exceed the limit on all histories. The hub
    /// chooses which.
    fn i22_messages_are_dropped_by_right(&mut self, before: usize) {
        let Some(hub) = self.core.hub("default") else {
            return;
        };
        let (limit, after) = (hub.limits().history_bytes, hub.counts().history_bytes);
        if before + MESSAGE_BYTES <= limit {
            return;
        }
        let now = self.truth.now;
        for (name, room) in &mut self.truth.rooms {
            let Some(first) = hub.history_first(name).filter(|_| room.epoch.is_some()) else {
                continue;
            };
            // Where one more was said the policy may be the reason.
            let quiet = hub.position(name).offset == room.top;
            if quiet && first > room.first(now) {
                let least = limit - limit / 16 - MESSAGE_BYTES;
                assert!(
                    after >= least,
                    "I22: {after} bytes are left, and {name} lost messages"
                );
            }
            room.dropped = room.dropped.max(first);
        }
    }

    /// Applies the changes of an op to the truth, and adds the frames that clients are owed for it.
    fn follow(&mut self, op: &Op, answer: &str) {
        let at = op.client().and_then(|actor| self.index(actor));
        match (op, at) {
            (Op::Connect { .. }, Some(at)) if self.clients[at].live().is_none() => {
                let id = self.core.conn(&self.clients[at].actor);
                let id = id.and_then(|id| id.parse().ok()).expect("it is connected");
                self.clients[at].connected(id);
            }
            (Op::Disconnect { .. } | Op::Vanish { .. }, Some(at)) => {
                self.end(at, true);
                self.clients[at].disconnected();
            }
            (Op::Stall { .. }, Some(at)) => {
                if let Some(link) = self.clients[at].live() {
                    link.stalled = true;
                }
            }
            (Op::Read { bytes: None, .. }, Some(at)) => {
                if let Some(link) = &mut self.clients[at].link {
                    link.stalled = false;
                }
            }
            (Op::Text { text, .. }, Some(at)) => {
                if let Some(id) = self.clients[at].live().map(|link| link.id) {
                    let frame = serde_json::from_str(text).expect("JSON");
                    self.requested(at, id, &frame);
                }
            }
            (Op::Send { .. }, _) => self.sent(op, answer),
            (Op::Close { actor, code, .. }, _) => {
                let at = self.index(actor).expect("a client");
                self.end(at, *code == 1001);
            }
            (Op::Crash, _) => {
                self.truth.crash(self.store);
                if !self.store {
                    self.keys.clear();
                }
                self.clients.iter_mut().for_each(Client::disconnected);
            }
            _ => {}
        }
    }

    pub(crate) fn index(&self, actor: &Actor) -> Option<usize> {
        self.clients
            .iter()
            .position(|client| client.actor == *actor)
    }

    /// A connection is over for the server.
    fn end(&mut self, at: usize, waits: bool) {
        let Some(link) = self.clients[at].live() else {
            return;
        };
        link.ended = true;
        let id = link.id;
        let now = self.truth.now;
        for room in self.truth.rooms.values_mut() {
            room.leave(now, id, waits);
        }
    }

    /// Queues that passed their limits ended these connections, and no others are over.
    fn i23_end_who_was_too_slow(&mut self) -> usize {
        let before = std::mem::replace(&mut self.overflows, self.core.overflows());
        let mut closed = 0;
        for at in 0..self.clients.len() {
            let Some(link) = self.clients[at].live() else {
                continue;
            };
            let id = link.id.to_string().parse().expect("an id");
            let hub = self.core.hub("default").expect("it is connected");
            if hub.connection(id).is_none() {
                self.end(at, true);
                closed += 1;
            }
        }
        let overflows = self.overflows.closed - before.closed;
        assert!(
            closed <= overflows,
            "I23: {closed} closed, {overflows} queues overflowed"
        );
        closed
    }
}
