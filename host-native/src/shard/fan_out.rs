//! The way from commands to sockets.

use std::{borrow::Cow, mem};

use roomcast_core::{
    Command, ConnId, Frame, Outbox, Timestamp,
    outbox::Class,
    queue::{Pushed, Tag},
};

use serde::Deserialize;
use tracing::Level;

use super::state::{FanOut, Largest, Link, Mail, Member, Shard};
use crate::ws;

/// The room of an envelope.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    room: Option<Cow<'a, str>>,
}

impl Largest {
    /// Remembers a fan-out, if the log wants it; else none is looked at any more.
    #[cold]
    fn set(&mut self, recipients: usize, frame: Frame<'_>) {
        if !tracing::enabled!(Level::DEBUG) {
            self.recipients = usize::MAX;
            return;
        }
        let envelope = match frame {
            Frame::Text(text) => serde_json::from_str::<Envelope<'_>>(text).ok(),
            Frame::Binary(_) => None,
        };
        let room = envelope.and_then(|envelope| envelope.room);
        self.room = room.map(|room| room.into());
        self.recipients = recipients;
    }

    /// Logs the largest fan-out since the last call.
    pub(super) fn tell(&mut self, namespace: &str) {
        if (1..usize::MAX).contains(&self.recipients) {
            let Self { recipients, room } = mem::take(self);
            let room = room.as_deref();
            tracing::debug!(namespace, room, recipients, "largest fan-out of 10 s");
        }
    }
}

impl FanOut {
    pub(super) fn enter(&mut self, conn: ConnId, link: Link) {
        if self.members.len() <= conn.slot() {
            self.members.resize_with(conn.slot() + 1, || None);
        }
        self.members[conn.slot()] = Some(Member { conn, link });
    }

    pub(super) fn link(&self, conn: ConnId) -> Option<&Link> {
        link(&self.members, conn)
    }

    pub(super) fn forget(&mut self, conn: ConnId) -> Option<Link> {
        let slot = self.members.get_mut(conn.slot())?;
        let member = slot.take_if(|member| member.conn == conn)?;
        Some(member.link)
    }

    pub(super) fn carry_out(&mut self, shard: &Shard, now: Timestamp, commands: &Outbox) {
        for command in commands {
            match command {
                Command::Send { to, frame, class } => {
                    let metrics = shard.metrics();
                    metrics.deliveries.add(to.len() as u64);
                    if matches!(class, Class::Message | Class::Sheddable(_)) {
                        metrics.fan_out.observe(to.len());
                        if to.len() > self.largest.recipients {
                            self.largest.set(to.len(), frame);
                        }
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
                    if let Some(link) = self.forget(conn) {
                        shard.close(&link, code, reason);
                    }
                }
                Command::Ping { conn } => {
                    if let Some(link) = self.link(conn) {
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
        let pushed = match self.link(conn) {
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
            match link(&self.members, conn) {
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
        if let Some(link) = self.link(conn) {
            shard.at_socket(link, |_, socket| socket.part());
        }
    }

    /// Gives memory back that a larger crowd needed.
    pub(super) fn shrink_to_fit(&mut self) {
        while self.members.pop_if(|slot| slot.is_none()).is_some() {}
        self.members.shrink_to_fit();
    }
}

fn link(members: &[Option<Member>], conn: ConnId) -> Option<&Link> {
    let member = members.get(conn.slot())?.as_ref()?;
    (member.conn == conn).then_some(&member.link)
}
