//! The way from commands to sockets.

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

/// Carries out what the hub commands.
#[derive(Debug, Default)]
pub(super) struct FanOut {
    pub(super) members: Members,
    pub(super) batch: Batch,
    /// Connections whose queue passed its limit while commands were carried out; the hub is still
    /// to close them.
    pub(super) overflowed: Vec<ConnId>,
    pub(super) largest: Largest,
}

impl FanOut {
    pub(super) fn carry_out<S>(&mut self, out: &Egress<S>, now: Timestamp, commands: &Outbox) {
        for command in commands {
            match command {
                Command::Send { to, frame, class } => {
                    let metrics = out.metrics();
                    metrics.deliveries.add(to.len() as u64);
                    if matches!(class, Class::Message | Class::Sheddable(_)) {
                        metrics.fan_out.observe(to.len());
                        self.largest.observe(to.len(), frame);
                    }
                    if let &[conn] = to {
                        self.send_one(out, now, conn, frame, class);
                    } else {
                        while !self.batch.add(to, frame, class) {
                            self.end_run(out, now);
                        }
                    }
                }
                Command::Close { conn, code, reason } => {
                    if self.batch.reaches(conn) {
                        self.end_run(out, now);
                    }
                    if let Some(link) = self.members.remove(conn) {
                        out.close(&link, code, reason);
                    }
                }
                Command::Ping { conn } => {
                    if let Some(link) = self.members.get(conn) {
                        let pushed = out.deliver_one(link, now, ws::PING, Tag::Control);
                        if pushed == Pushed::Overflow {
                            self.overflowed.push(conn);
                        }
                    }
                }
                // This host does not sleep. What is to be kept was seen to before, and all that was
                // kept was given back when the namespace began.
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
        out: &Egress<S>,
        now: Timestamp,
        conn: ConnId,
        frame: Frame<'_>,
        class: Class<'_>,
    ) {
        if self.batch.reaches(conn) {
            self.end_run(out, now);
        }
        let pushed = match self.members.get(conn) {
            Some(Link::Local(socket)) if out.is_corked(socket) => {
                out.cork(socket, now, frame, class)
            }
            Some(link) => out.deliver_one(link, now, ws::message(frame), class.into()),
            None => return,
        };
        if pushed == Pushed::Overflow {
            self.overflowed.push(conn);
        }
    }

    pub(super) fn end_run<S>(&mut self, out: &Egress<S>, now: Timestamp) {
        if self.batch.is_empty() {
            return;
        }
        let (to, bytes, frames, tag) = self.batch.end();
        let mut remote: Vec<Vec<u32>> = Vec::new();
        for &conn in to {
            match self.members.get(conn) {
                Some(Link::Local(socket)) => {
                    let pushed = out.push(socket, now, bytes.clone(), frames, tag.clone());
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
                None => {} // gone since
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
                out.post(index, deliver);
            }
        }
    }

    /// Lets the goodbye of a connection follow what was dropped: its close is being decided. What
    /// the turn has for it so far is older than the goodbye, and goes first or is dropped too.
    pub(super) fn part<S>(&mut self, out: &Egress<S>, now: Timestamp, conn: ConnId) {
        if self.batch.reaches(conn) {
            self.end_run(out, now);
        }
        if let Some(link) = self.members.get(conn) {
            out.part(link);
        }
    }
}
