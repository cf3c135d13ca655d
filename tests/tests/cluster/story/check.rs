//! The end of a story, and what holds then.

use std::collections::{BTreeMap, BTreeSet};

use roomcast_core::relay::Topic;

use super::{NODES, Story};
use crate::cluster::client::{holds, keeps};
use crate::cluster::truth::{Message, Publisher};

impl Story {
    /// The faults end: hosts find out what is dead, and everything gets there.
    pub(super) fn end(&mut self) {
        for node in 0..NODES {
            if self.nodes[node].stopped {
                self.go_on(node);
            }
            while !self.nodes[node].late.is_empty() {
                self.relay_acts(node);
            }
            let dead = self.nodes[node].cut_off || !self.nodes[node].app.hub().is_relay_up();
            let detached = self.nodes[node].detached && !self.plants.no_probe;
            if dead || detached {
                self.reconnect(node, false);
                self.look(node);
            }
        }
        // Longer than the time after which a node tells the relay again who is there.
        for _ in 0..14 {
            self.drain();
            self.wait(6_000);
        }
        self.drain();
        for client in 0..self.clients.len() {
            let rooms: Vec<String> = self.clients[client].rooms.keys().cloned().collect();
            for room in rooms.iter().filter(|room| keeps(room)) {
                self.check_seen(client, room, false);
                self.list_members(client, room);
                self.drain();
                self.check_seen(client, room, true);
            }
        }
        self.check();
    }

    /// Checks that a client that ever listed a room knows its users, and by a page also the number
    /// of connections.
    fn check_seen(&self, client: usize, room: &str, counts: bool) {
        let mut there: BTreeMap<String, usize> = BTreeMap::new();
        let hubs = self.nodes.iter().map(|node| node.app.hub());
        for (hub, conn) in hubs.flat_map(|hub| hub.members(room).iter().map(move |it| (hub, it))) {
            let user = hub.connection(*conn).and_then(|info| info.user);
            let name = user.map_or_else(|| conn.to_string(), Into::into);
            *there.entry(name).or_default() += 1;
        }
        let client = &self.clients[client];
        let Some(seen) = client.seen.get(room) else {
            return;
        };
        let (_, conn) = client.link.expect("it is connected");
        let own = client.user.map_or_else(|| conn.to_string(), Into::into);
        let others = there.keys().map(String::as_str).filter(|name| *name != own);
        let others: BTreeSet<&str> = others.collect();
        holds!(
            seen.others(&own) == others,
            "I36: {} sees {:?} in {room}, where {others:?} are",
            client.index,
            seen.others(&own)
        );
        holds!(
            !counts || seen.page == there,
            "I36: {} gets {:?} of {room}, where {there:?} are",
            client.index,
            seen.page
        );
    }

    /// Checks what holds when everything got there.
    fn check(&self) {
        let log = &self.broker.log;
        for client in &self.clients {
            client.check_end(&self.truth, log);
        }
        holds!(self.sent.is_empty(), "backends wait for {:?}", self.sent);
        for (number, node) in self.nodes.iter().enumerate() {
            let hub = node.app.hub();
            let rooms = hub.rooms("", None).map(|room| Topic::room(room.name));
            let wanted: BTreeSet<Topic> = rooms.chain([Topic::All]).collect();
            let subscribed = &node.subscribed;
            holds!(
                *subscribed == wanted,
                "I41: {number} has {subscribed:?}, not {wanted:?}"
            );
            holds!(
                hub.relay_pending() == 0,
                "{number} waits for answers to publishes"
            );
        }
        for (id, message) in &self.truth.messages {
            let positions = self.truth.positions(*id).len();
            let lost = message.losses != self.broker.losses;
            let once = positions <= 1 || lost || self.is_late(*id, message);
            holds!(once, "I34: {id} has {positions} positions");
            holds!(
                !message.acked || positions > 0,
                "{id} was answered, and has no place"
            );
        }
        self.check_order();
    }

    /// True if the relay took the attempts of a guest in the order from its newest connection to
    /// its oldest. An attempt checks the keys of earlier connections, but not of later ones: a
    /// client that could use the key of another connection could block its publishes.
    fn is_late(&self, id: u64, message: &Message) -> bool {
        let Publisher::Client { client, conns, .. } = &message.publisher else {
            return false;
        };
        let positions = self.truth.positions(id).iter();
        let at = positions.map(|&place| {
            let conn = self.broker.log[place].conn;
            conns.iter().position(|of| Some(*of) == conn)
        });
        self.clients[*client].user.is_none() && at.is_sorted_by(|a, b| a > b)
    }

    /// Checks that the messages of a publisher keep its order, except for those published
    /// repeatedly or not acknowledged.
    fn check_order(&self) {
        let mut last = BTreeMap::new();
        for (id, message) in &self.truth.messages {
            let Publisher::Client { conns, .. } = &message.publisher else {
                continue;
            };
            if !message.acked || message.attempts > 1 {
                continue;
            }
            let Some(&at) = self.truth.positions(*id).first() else {
                continue;
            };
            let before = last.insert(conns[0], at);
            holds!(
                before < Some(at),
                "I16: {id} of {:?} is before an earlier one",
                conns[0]
            );
        }
    }
}
