//! The server, its clients, and what must follow from each op.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash},
};

use roomcast_core::QueueLimits;
use roomcast_tests::{Actor, Core, Driver, Op, Overflows};

use crate::{
    client::Client,
    scene::{Host, ROOMS, settings},
    truth::Truth,
};

pub(crate) struct World {
    pub(crate) core: Core,
    pub(crate) truth: Truth,
    pub(crate) clients: Vec<Client>,
    pub(crate) queues: QueueLimits,
    store: bool,
    /// What was sent under which key: the op, its answer, and until when it is known.
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
            core: settings.core().with_sleep(host.sleep),
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
        let answer = self
            .core
            .perform(op)
            .unwrap_or_else(|fault| panic!("I44: {op}: {fault}"));
        // How many timeouts there are is up to the hub, and may differ when it slept.
        if !answer.body.is_empty() {
            answer.body.hash(&mut self.hash);
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

    /// What the op changes, and who is owed what for it.
    fn follow(&mut self, op: &Op, answer: &str) {
        let at = op.client().and_then(|actor| self.index(actor));
        match (op, at) {
            (Op::Connect { .. }, Some(at)) if self.clients[at].live().is_none() => {
                let id = self.core.conn(&self.clients[at].actor);
                let id = id.and_then(|id| id.parse().ok()).expect("it is connected");
                self.clients[at].connected(id);
            }
            (Op::Disconnect { .. } | Op::Vanish { .. }, Some(at)) => {
                self.depart(at, true);
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
                self.depart(at, *code == 1001);
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
    fn depart(&mut self, at: usize, waits: bool) {
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
                self.depart(at, true);
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
