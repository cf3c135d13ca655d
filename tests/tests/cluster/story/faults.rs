//! Faults of a story: of the relay, of the lines to it, and of nodes.

use roomcast_core::relay::Topic;

use super::{NODES, Story};
use crate::cluster::broker::LEASE_MS;
use crate::cluster::client::ROOMS;

impl Story {
    pub(super) fn fault(&mut self) {
        self.figures.faults += 1;
        let node = self.one_of(NODES);
        let finds = self.chance(2);
        if self.nodes[node].stopped {
            return self.go_on(node);
        }
        match self.one_of(19) {
            0..=2 => {
                self.say(|| {
                    format!("{node} waits too long, and the relay finds it later: {finds}")
                });
                self.nodes[node].time_out(self.now, finds);
            }
            3 => {
                self.say(|| format!("{node} loses its connections"));
                self.nodes[node].down(self.now, finds);
            }
            4..=6 => self.reconnect(node, finds),
            7 => {
                self.say(|| format!("{node} gets no messages any more"));
                self.nodes[node].detached = true;
            }
            8 => self.duplicate(node),
            9..=11 => {
                self.say(|| "the replica gets everything".to_owned());
                self.broker.replicate();
            }
            12 => {
                self.say(|| "the replica is promoted".to_owned());
                self.broker.promote();
                self.all_cut_off();
            }
            13 => {
                self.say(|| "the relay is restarted".to_owned());
                self.broker.restart();
                self.all_cut_off();
            }
            14 => {
                let topic = Topic::room(ROOMS[self.one_of(ROOMS.len())].0);
                self.say(|| format!("the relay drops {topic:?}"));
                self.broker.evict(&topic);
            }
            15 => {
                self.say(|| format!("{node} stands still"));
                self.nodes[node].stopped = true;
            }
            16 => self.kill(node),
            17 => {
                // Longer than a lease.
                self.wait(LEASE_MS + 1_000);
            }
            _ if self.chance(3) => {
                self.say(|| "the relay drops everything".to_owned());
                self.broker.flush();
            }
            _ => self.foreign(node),
        }
        self.look(node);
    }

    /// A node that stood still goes on: most often its connections are lost.
    pub(super) fn go_on(&mut self, node: usize) {
        self.say(|| format!("{node} goes on"));
        self.nodes[node].stopped = false;
        if !self.chance(3) {
            self.reconnect(node, true);
            self.look(node);
        }
    }

    /// A node ends at once, and another begins in its place.
    pub(crate) fn kill(&mut self, node: usize) {
        self.say(|| format!("{node} is killed"));
        let mut next = self.new_node();
        next.up(self.now, &mut self.broker);
        let mut dead = std::mem::replace(&mut self.nodes[node], next);
        // The relay may have got what it sent.
        let commands = dead.late.into_iter().chain(dead.commands.drain(..));
        self.nodes[node].late = commands.collect();
        for client in &mut self.clients {
            if client.link.is_some_and(|(of, _)| of == node) {
                client.disconnected();
            }
        }
        self.sent.retain(|(of, _, _)| *of != node);
        self.look(node);
    }

    /// The relay that all nodes talk to is gone.
    fn all_cut_off(&mut self) {
        for node in &mut self.nodes {
            node.cut_off = true;
        }
        // Most hosts see it at once.
        for node in 0..NODES {
            if !self.chance(3) && !self.nodes[node].stopped {
                self.reconnect(node, false);
                self.look(node);
            }
        }
    }

    pub(super) fn reconnect(&mut self, node: usize, finds: bool) {
        self.say(|| format!("{node} connects anew"));
        self.nodes[node].down(self.now, finds);
        self.look(node);
        self.nodes[node].up(self.now, &mut self.broker);
    }

    /// A message comes a second time.
    fn duplicate(&mut self, node: usize) {
        let count = self.nodes[node].pushes.len();
        if count > 0 {
            let at = self.one_of(count);
            self.say(|| format!("{node} gets a message twice"));
            let pushes = &mut self.nodes[node].pushes;
            let again = pushes[at].clone();
            pushes.push_back(again);
        }
    }

    /// Delivers bytes on a topic that no hub wrote. The relay gave them no position: a host can
    /// tell, and the core must tolerate them.
    fn foreign(&mut self, node: usize) {
        self.say(|| format!("{node} gets something foreign"));
        let body = [&b""[..], b"1e", b"{}", &[0xff; 9]][self.one_of(4)].into();
        let topic = Topic::room(ROOMS[self.one_of(ROOMS.len())].0);
        let message = roomcast_core::relay::RelayEvent::Message {
            topic,
            epoch: "foreign".into(),
            offset: 1 + self.one_of(9) as u64,
            body,
        };
        self.nodes[node].pushes.push_back(message);
    }
}
