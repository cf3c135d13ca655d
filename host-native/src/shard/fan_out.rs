//! Fan-out: commands of the hub to sockets.

mod largest;
mod members;

use roomcast_core::{
    Command, ConnId, Frame, Outbox, Timestamp,
    outbox::Class,
    queue::{Pushed, Tag},
};

use self::{largest::Largest, members::Members};
use super::{
    batch::Batch,
    egress::{Egress, Link, Mail},
};
use crate::ws;

/// Carries out the hub's commands.
#[derive(Debug, Default)]
pub(super) struct FanOut {
    pub(super) members: Members,
    pub(super) batch: Batch,
    /// Connections whose queue overflowed while commands were carried out. The hub has yet to close
    /// them.
    pub(super) overflowed: Vec<ConnId>,
    pub(super) largest: Largest,
}

impl FanOut {
    pub(super) fn carry_out<S>(&mut self, egress: &Egress<S>, now: Timestamp, commands: &Outbox) {
        for command in commands {
            match command {
                Command::Send { to, frame, class } => {
                    let metrics = egress.metrics();
                    metrics.deliveries.add(to.len() as u64);
                    if matches!(class, Class::Message | Class::Sheddable(_)) {
                        metrics.fan_out.observe(to.len());
                        self.largest.observe(to.len(), frame);
                    }
                    if let &[conn] = to {
                        self.send_one(egress, now, conn, frame, class);
                    } else {
                        while !self.batch.add(to, frame, class) {
                            self.end_batch(egress, now);
                        }
                    }
                }
                Command::Close { conn, code, reason } => {
                    if self.batch.reaches(conn) {
                        self.end_batch(egress, now);
                    }
                    if let Some(link) = self.members.remove(conn) {
                        egress.close(&link, code, reason);
                    }
                }
                Command::Ping { conn } => {
                    if let Some(link) = self.members.get(conn) {
                        let pushed = egress.deliver_one(link, now, ws::PING, Tag::Control);
                        if pushed == Pushed::Overflow {
                            self.overflowed.push(conn);
                        }
                    }
                }
                // `Inner::carry_out` has stored or forwarded these. This host does not sleep, and
                // loads all histories when a namespace starts.
                Command::Persist { .. }
                | Command::Append { .. }
                | Command::PersistRoom { .. }
                | Command::PersistKey { .. }
                | Command::LoadHistory { .. }
                | Command::Relay(_)
                | Command::Tell { .. } => {}
            }
        }
    }

    fn send_one<S>(
        &mut self,
        egress: &Egress<S>,
        now: Timestamp,
        conn: ConnId,
        frame: Frame<'_>,
        class: Class<'_>,
    ) {
        if self.batch.reaches(conn) {
            self.end_batch(egress, now);
        }
        let pushed = match self.members.get(conn) {
            Some(Link::Local(socket)) if egress.is_corked(socket) => {
                egress.cork(socket, now, frame, class)
            }
            Some(link) => egress.deliver_one(link, now, ws::message(frame), class.into()),
            None => return,
        };
        if pushed == Pushed::Overflow {
            self.overflowed.push(conn);
        }
    }

    pub(super) fn end_batch<S>(&mut self, egress: &Egress<S>, now: Timestamp) {
        if self.batch.is_empty() {
            return;
        }
        let (to, bytes, frames, tag) = self.batch.end();
        let mut remote: Vec<Vec<u32>> = Vec::new();
        for &conn in to {
            match self.members.get(conn) {
                Some(Link::Local(socket)) => {
                    let pushed = egress.push(socket, now, bytes.clone(), frames, tag.clone());
                    if pushed == Pushed::Overflow {
                        self.overflowed.push(conn);
                    }
                }
                Some(&Link::Remote { shard: index, key }) => {
                    if remote.len() <= index {
                        remote.resize_with(index + 1, Vec::new);
                    }
                    remote[index].push(key);
                }
                None => {} // it has left
            }
        }
        for (index, keys) in remote.into_iter().enumerate() {
            if !keys.is_empty() {
                let deliver = Mail::Deliver {
                    keys: keys.into_boxed_slice(),
                    bytes: bytes.clone(),
                    frames,
                    tag: tag.clone(),
                };
                egress.post(index, deliver);
            }
        }
    }

    /// Lets `$bye` into the queue of a connection that drops everything else, while its close is
    /// being decided. The turn's output for it so far is older: it goes first, or is dropped too.
    pub(super) fn admit_bye<S>(&mut self, egress: &Egress<S>, now: Timestamp, conn: ConnId) {
        if self.batch.reaches(conn) {
            self.end_batch(egress, now);
        }
        if let Some(link) = self.members.get(conn) {
            egress.admit_bye(link);
        }
    }
}
