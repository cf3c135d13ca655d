//! A hub, and what carries out its commands.

use std::{
    cell::RefCell,
    mem,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use roomcast_core::{
    Audience, CloseCode, Command, Config, ConnId, Delivery, DisconnectReason, EncodeError, Frame,
    Handshake, Hub, HubState, Input, JoinError, Opening, Outbox, Payload, Refused, SendError,
    Timestamp, UnknownConn,
};
use serde_json::value::RawValue;

use crate::{
    run::Run,
    shard::{Mail, Shard},
    socket::{Pushed, Socket},
    ws,
};

/// One namespace, on the one shard that is its home.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) name: Arc<str>,
    inner: RefCell<Inner>,
}

#[derive(Debug)]
struct Inner {
    hub: Hub,
    out: Outbox,
    /// By slot of the connection's id.
    members: Vec<Option<Member>>,
    run: Run,
    /// Whether the run is to be ended with the turn.
    listed: bool,
    /// Whose queue passed its limit while commands were carried out.
    overflowed: Vec<ConnId>,
}

/// The way to a connection.
#[derive(Debug)]
struct Member {
    conn: ConnId,
    link: Link,
}

#[derive(Debug, Clone)]
pub(crate) enum Link {
    /// Its socket is on this shard.
    Local(Rc<Socket>),
    /// Its socket is on another shard, under this key.
    Remote { shard: usize, key: u32 },
}

impl Namespace {
    pub(crate) fn new(shard: &Shard, name: Arc<str>, config: Config, state: HubState) -> Self {
        shard.record_opening(&name, || Opening::new(config.clone(), state.clone()));
        // A state without connections contradicts nothing.
        let hub = Hub::restore(config.clone(), state, []).unwrap_or_else(|_| Hub::new(config));
        Self {
            name,
            inner: RefCell::new(Inner {
                hub,
                out: Outbox::new(),
                members: Vec::new(),
                run: Run::default(),
                listed: false,
                overflowed: Vec::new(),
            }),
        }
    }

    /// Asks the hub something.
    pub(crate) fn ask<R>(&self, question: impl FnOnce(&Hub) -> R) -> R {
        question(&self.inner.borrow().hub)
    }

    /// The way to a live connection.
    pub(crate) fn link(&self, conn: ConnId) -> Option<Link> {
        self.inner.borrow().link(conn).cloned()
    }

    pub(crate) fn connect(
        self: &Rc<Self>,
        shard: &Shard,
        handshake: Handshake,
        link: Link,
    ) -> Result<ConnId, Refused> {
        let now = shard.now();
        shard.record(&self.name, now, || Input::Connect(handshake.clone()));
        let inner = &mut *self.inner.borrow_mut();
        let conn = inner.hub.connect(now, handshake, &mut inner.out)?;
        if inner.members.len() <= conn.slot() {
            inner.members.resize_with(conn.slot() + 1, || None);
        }
        inner.members[conn.slot()] = Some(Member { conn, link });
        self.finish(shard, now, inner);
        Ok(conn)
    }

    /// A text message: the hot path.
    pub(crate) fn text(self: &Rc<Self>, shard: &Shard, conn: ConnId, text: &str) {
        shard.metrics().messages_in.fetch_add(1, Relaxed);
        let input = || Input::Text {
            conn,
            text: text.into(),
        };
        self.drive(shard, input, |hub, now, out| {
            // A connection that the hub closed meanwhile is heard no more.
            if let Ok(Some(message)) = hub.receive(now, conn, Frame::Text(text), out) {
                let _ = hub.publish(now, &message, out);
            }
        });
    }

    pub(crate) fn binary(self: &Rc<Self>, shard: &Shard, conn: ConnId, bytes: &[u8]) {
        shard.metrics().messages_in.fetch_add(1, Relaxed);
        let input = || Input::Binary {
            conn,
            bytes: bytes.into(),
        };
        self.drive(shard, input, |hub, now, out| {
            if let Ok(Some(message)) = hub.receive(now, conn, Frame::Binary(bytes), out) {
                let _ = hub.publish(now, &message, out);
            }
        });
    }

    pub(crate) fn heard(self: &Rc<Self>, shard: &Shard, conn: ConnId) {
        self.drive(
            shard,
            || Input::Heard(conn),
            |hub, now, _| hub.heard(now, conn),
        )
        .ok();
    }

    pub(crate) fn disconnect(
        self: &Rc<Self>,
        shard: &Shard,
        conn: ConnId,
        reason: DisconnectReason,
    ) {
        let input = || Input::Disconnect { conn, reason };
        let gone = self.drive(shard, input, |hub, now, out| {
            hub.disconnect(now, conn, reason, out)
        });
        if gone.is_ok() {
            self.inner.borrow_mut().forget(conn);
        }
    }

    pub(crate) fn close(
        self: &Rc<Self>,
        shard: &Shard,
        conn: ConnId,
        code: CloseCode,
        reason: &str,
    ) -> Result<(), UnknownConn> {
        self.close_for(shard, conn, code, reason, Duration::ZERO)
    }

    /// Closes, and asks the client to stay away for a while.
    pub(crate) fn close_for(
        self: &Rc<Self>,
        shard: &Shard,
        conn: ConnId,
        code: CloseCode,
        reason: &str,
        away: Duration,
    ) -> Result<(), UnknownConn> {
        let input = || Input::Close {
            conn,
            code,
            reason: reason.into(),
            away_ms: u64::try_from(away.as_millis()).unwrap_or(u64::MAX),
        };
        {
            let inner = &mut *self.inner.borrow_mut();
            inner.part(shard, shard.now(), conn);
        }
        self.drive(shard, input, |hub, now, out| {
            hub.close_for(now, conn, code, reason, away, out)
        })
    }

    /// Joins; says whether the connection was in.
    pub(crate) fn join(
        self: &Rc<Self>,
        shard: &Shard,
        conn: ConnId,
        room: &str,
    ) -> Result<bool, JoinError> {
        let input = || Input::Join {
            conn,
            room: room.into(),
        };
        self.drive(shard, input, |hub, now, out| {
            Ok(hub.join(now, conn, room, out)?.already)
        })
    }

    pub(crate) fn leave(
        self: &Rc<Self>,
        shard: &Shard,
        conn: ConnId,
        room: &str,
    ) -> Result<bool, UnknownConn> {
        let input = || Input::Leave {
            conn,
            room: room.into(),
        };
        self.drive(shard, input, |hub, now, out| {
            hub.leave(now, conn, room, out)
        })
    }

    /// Sends, and says what became of it: the queues are looked at, not only the rooms.
    pub(crate) fn send(
        self: &Rc<Self>,
        shard: &Shard,
        key: Option<&str>,
        audience: &Audience,
        event: &str,
        data: &RawValue,
    ) -> Result<Delivery, SendError> {
        let payload = Payload::parse(data.get()).map_err(EncodeError::from)?;
        let now = shard.now();
        shard.record(&self.name, now, || Input::Send {
            key: key.map(Into::into),
            audience: std::borrow::Cow::Borrowed(audience),
            event: event.into(),
            data: data.to_owned(),
        });
        let inner = &mut *self.inner.borrow_mut();
        inner.end_run(shard, now);
        inner.settle_overflow(shard, &self.name, now);
        let mut delivery = match key {
            Some(key) => inner
                .hub
                .send_once(now, key, audience, event, payload, &mut inner.out)?,
            None => inner
                .hub
                .send(now, audience, event, payload, &mut inner.out)?,
        };
        inner.carry_out(shard, now);
        inner.end_run(shard, now);
        delivery.dropped = inner.overflowed.len();
        delivery.queued -= delivery.dropped.min(delivery.queued);
        if let Some(key) = key
            && delivery.dropped > 0
        {
            inner.hub.settle_once(key, delivery);
        }
        self.finish(shard, now, inner);
        Ok(delivery)
    }

    /// Does what is due.
    pub(crate) fn timeout(self: &Rc<Self>, shard: &Shard) {
        let due = |hub: &Hub| hub.next_timeout().is_some_and(|due| due <= shard.now());
        if self.ask(due) {
            self.drive(
                shard,
                || Input::Timeout,
                |hub, now, out| hub.handle_timeout(now, out),
            );
        }
    }

    /// Gives memory back that a larger crowd needed.
    pub(crate) fn shrink_to_fit(&self) {
        let inner = &mut *self.inner.borrow_mut();
        inner.hub.shrink_to_fit();
        while inner.members.pop_if(|slot| slot.is_none()).is_some() {}
        inner.members.shrink_to_fit();
        inner.out = Outbox::new();
    }

    /// Sends the run that is open, if any, at the end of a turn; unless it has more recipients than
    /// that. Says whether none is left open.
    pub(crate) fn end_run(self: &Rc<Self>, shard: &Shard, recipients_max: usize) -> bool {
        let now = shard.now();
        let inner = &mut *self.inner.borrow_mut();
        if inner.run.recipients() > recipients_max {
            return false;
        }
        inner.listed = false;
        inner.end_run(shard, now);
        inner.settle_overflow(shard, &self.name, now);
        true
    }

    fn drive<'a, R>(
        self: &Rc<Self>,
        shard: &Shard,
        input: impl FnOnce() -> Input<'a>,
        act: impl FnOnce(&mut Hub, Timestamp, &mut Outbox) -> R,
    ) -> R {
        let now = shard.now();
        shard.record(&self.name, now, input);
        let inner = &mut *self.inner.borrow_mut();
        let result = act(&mut inner.hub, now, &mut inner.out);
        self.finish(shard, now, inner);
        result
    }

    fn finish(self: &Rc<Self>, shard: &Shard, now: Timestamp, inner: &mut Inner) {
        inner.carry_out(shard, now);
        inner.settle_overflow(shard, &self.name, now);
        if !inner.run.is_empty() && !mem::replace(&mut inner.listed, true) {
            shard.list_run(self);
        }
    }
}

impl Inner {
    fn link(&self, conn: ConnId) -> Option<&Link> {
        let member = self.members.get(conn.slot())?.as_ref()?;
        (member.conn == conn).then_some(&member.link)
    }

    fn forget(&mut self, conn: ConnId) -> Option<Link> {
        let slot = self.members.get_mut(conn.slot())?;
        let member = slot.take_if(|member| member.conn == conn)?;
        Some(member.link)
    }

    fn carry_out(&mut self, shard: &Shard, now: Timestamp) {
        if self.out.is_empty() {
            return;
        }
        let mut out = mem::take(&mut self.out);
        for command in &out {
            match command {
                Command::Send { to, frame } => {
                    let Frame::Text(text) = frame else {
                        debug_assert!(false, "the hub sends text only");
                        continue;
                    };
                    self.send(shard, now, to, text);
                }
                Command::Close { conn, code, reason } => {
                    if self.run.reaches(conn) {
                        self.end_run(shard, now);
                    }
                    if let Some(link) = self.forget(conn) {
                        shard.close(&link, now, code, reason);
                    }
                }
                Command::Ping { conn } => {
                    if let Some(link) = self.link(conn) {
                        let pushed = shard.deliver_one(link, now, ws::PING);
                        self.note(conn, pushed);
                    }
                }
                Command::Persist { .. } => {} // this host does not sleep
            }
        }
        out.clear();
        self.out = out;
    }

    fn send(&mut self, shard: &Shard, now: Timestamp, to: &[ConnId], text: &str) {
        shard
            .metrics()
            .deliveries
            .fetch_add(to.len() as u64, Relaxed);
        if let &[conn] = to {
            if self.run.reaches(conn) {
                self.end_run(shard, now);
            }
            let pushed = match self.link(conn) {
                Some(Link::Local(socket)) if shard.is_corked(socket) => {
                    shard.cork(socket, now, text)
                }
                Some(link) => shard.deliver_one(link, now, text_frame(text)),
                None => return,
            };
            self.note(conn, pushed);
        } else {
            if !self.run.takes(to) {
                self.end_run(shard, now);
                self.run.begin(to);
            }
            self.run.add(text);
        }
    }

    fn end_run(&mut self, shard: &Shard, now: Timestamp) {
        if self.run.is_empty() {
            return;
        }
        let (to, bytes, frames) = self.run.end();
        let mut abroad: Vec<Vec<u32>> = Vec::new();
        for &conn in &to {
            match self.link(conn) {
                Some(Link::Local(socket)) => {
                    let pushed = shard.push(socket, now, bytes.clone(), frames);
                    self.note(conn, pushed);
                }
                Some(&Link::Remote { shard: index, key }) => {
                    if abroad.len() <= index {
                        abroad.resize_with(index + 1, Vec::new);
                    }
                    abroad[index].push(key);
                }
                None => {} // gone since
            }
        }
        for (index, keys) in abroad.into_iter().enumerate() {
            if !keys.is_empty() {
                let bytes = bytes.clone();
                let keys = keys.into_boxed_slice();
                shard.post(
                    index,
                    Mail::Deliver {
                        keys,
                        bytes,
                        frames,
                    },
                );
            }
        }
        self.run.reuse(to);
    }

    /// Lets the goodbye of a connection follow what was dropped: its close is being decided. What
    /// the turn has for it so far is older than the goodbye, and goes first or is dropped too.
    fn part(&mut self, shard: &Shard, now: Timestamp, conn: ConnId) {
        if self.run.reaches(conn) {
            self.end_run(shard, now);
        }
        match self.link(conn) {
            Some(Link::Local(socket)) => socket.part(),
            Some(&Link::Remote { shard: index, key }) => {
                let part = move |shard: &Rc<Shard>| {
                    if let Some(socket) = shard.socket(key) {
                        socket.part();
                    }
                };
                shard.post(index, Mail::Task(Box::new(part)));
            }
            None => {}
        }
    }

    fn note(&mut self, conn: ConnId, pushed: Pushed) {
        if pushed == Pushed::Overflow {
            self.overflowed.push(conn);
        }
    }

    /// Closes those who were too slow. Their queues are empty by now, so that this ends.
    fn settle_overflow(&mut self, shard: &Shard, name: &Arc<str>, now: Timestamp) {
        while let Some(conn) = self.overflowed.pop() {
            let (code, reason) = (CloseCode::TOO_SLOW, "too slow: the outbox passed its limit");
            shard.record(name, now, || Input::Close {
                conn,
                code,
                reason: reason.into(),
                away_ms: 0,
            });
            self.part(shard, now, conn);
            let closed = self.hub.close(now, conn, code, reason, &mut self.out);
            if closed.is_ok() {
                self.carry_out(shard, now);
            }
        }
    }
}

/// A whole text frame in a buffer of its own.
fn text_frame(text: &str) -> Bytes {
    let (head, used) = ws::text_header(text.len());
    let mut bytes = BytesMut::with_capacity(used + text.len());
    bytes.put_slice(&head[..used]);
    bytes.put_slice(text.as_bytes());
    bytes.freeze()
}
