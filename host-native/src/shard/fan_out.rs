//! The way from commands to sockets.

pub(super) mod largest;
pub(super) mod members;

use roomcast_core::{
    Command, ConnId, Frame, Outbox, Timestamp,
    outbox::Class,
    queue::{Pushed, Tag},
};

use super::state::{FanOut, Link, Mail, Shard};
use crate::ws;

impl FanOut {
    pub(super) fn carry_out(&mut self, shard: &Shard, now: Timestamp, commands: &Outbox) {
        for command in commands {
            match command {
                Command::Send { to, frame, class } => {
                    let metrics = shard.metrics();
                    metrics.deliveries.add(to.len() as u64);
                    if matches!(class, Class::Message | Class::Sheddable(_)) {
                        metrics.fan_out.observe(to.len());
                        self.largest.observe(to.len(), frame);
                    }
                    if let &[conn] = to {
                        self.send_one(shard, now, conn, frame, class);
                    } else {
                        while !self.batch.add(to, frame, class) {
                            self.end_run(shard, now);
                        }
                    }
                }
                Command::Close { conn, code, reason } => {
                    if self.batch.reaches(conn) {
                        self.end_run(shard, now);
                    }
                    if let Some(link) = self.members.remove(conn) {
                        shard.close(&link, code, reason);
                    }
                }
                Command::Ping { conn } => {
                    if let Some(link) = self.members.get(conn) {
                        let pushed = shard.deliver_one(link, now, ws::PING, Tag::Control);
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
                | Command::Tell { .. } => {}
            }
        }
    }

    fn send_one(
        &mut self,
        shard: &Shard,
        now: Timestamp,
        conn: ConnId,
        frame: Frame<'_>,
        class: Class<'_>,
    ) {
        if self.batch.reaches(conn) {
            self.end_run(shard, now);
        }
        let pushed = match self.members.get(conn) {
            Some(Link::Local(socket)) if shard.is_corked(socket) => {
                shard.cork(socket, now, frame, class)
            }
            Some(link) => shard.deliver_one(link, now, ws::message(frame), class.into()),
            None => return,
        };
        if pushed == Pushed::Overflow {
            self.overflowed.push(conn);
        }
    }

    pub(super) fn end_run(&mut self, shard: &Shard, now: Timestamp) {
        if self.batch.is_empty() {
            return;
        }
        let (to, bytes, frames, tag) = self.batch.end();
        let mut remote: Vec<Vec<u32>> = Vec::new();
        for &conn in to {
            match self.members.get(conn) {
                Some(Link::Local(socket)) => {
                    let pushed = shard.push(socket, now, bytes.clone(), frames, tag.clone());
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
                shard.post(index, deliver);
            }
        }
    }

    /// Lets the goodbye of a connection follow what was dropped: its close is being decided. What
    /// the turn has for it so far is older than the goodbye, and goes first or is dropped too.
    pub(super) fn part(&mut self, shard: &Shard, now: Timestamp, conn: ConnId) {
        if self.batch.reaches(conn) {
            self.end_run(shard, now);
        }
        if let Some(link) = self.members.get(conn) {
            shard.at_socket(link, |_, socket| socket.part());
        }
    }
}
