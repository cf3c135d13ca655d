//! The hub of a namespace, and what carries out its commands.

use roomcast_core::{
    CloseCode, Command, ConnId, DisconnectReason, ErrorCode, Frame, Handshake, Hub, Limits, Outbox,
    Refused, Timestamp,
    http::{Answer, ApiCall, Problem},
};

use crate::{
    attachment,
    desk::Desk,
    platform::{Attachments, Fault, Platform},
    wake::{Wake, wake},
};

/// One namespace.
///
/// Each input is done in this order: the hub, the storage, the attachments, then messages and
/// closes. When something cannot be saved, nothing of the input is sent, and the hub is made anew
/// of what is saved: as if the input had never been.
#[derive(Debug)]
pub(crate) struct Namespace<P> {
    platform: P,
    limits: Limits,
    /// `None` before it has woken.
    hub: Option<Hub>,
    out: Outbox,
    /// By slot.
    conns: Vec<Option<ConnId>>,
    /// Buffers to save with.
    attachments: Attachments,
    changed: Vec<ConnId>,
    /// When the platform is to call.
    alarm: Option<Timestamp>,
}

const UNAVAILABLE: &str =
    "the server could not save what this message changes, and did not process it: send it again";

impl<P: Platform> Namespace<P> {
    pub(crate) fn new(platform: P, limits: Limits) -> Self {
        Self {
            platform,
            limits,
            hub: None,
            out: Outbox::new(),
            conns: Vec::new(),
            attachments: Attachments::default(),
            changed: Vec::new(),
            alarm: None,
        }
    }

    /// Makes the hub of what is saved, unless it is there. Every input does this first.
    pub(crate) fn wake(&mut self) -> Result<(), Fault> {
        self.awake().map(|_| ())
    }

    fn awake(&mut self) -> Result<(Timestamp, &mut Hub, &mut Outbox), Fault> {
        let hub = match self.hub.take() {
            Some(hub) => hub,
            None => self.restore()?,
        };
        let hub = self.hub.insert(hub);
        Ok((self.platform.now(), hub, &mut self.out))
    }

    fn restore(&mut self) -> Result<Hub, Fault> {
        let saved = self.platform.load()?;
        let attachments = self.platform.attachments()?;
        let Wake { hub, seats } = wake(&self.limits, saved, &attachments);
        self.conns.clear();
        let mut slots = Vec::with_capacity(seats.len());
        for seat in seats {
            slots.push(match seat {
                Ok(conn) => {
                    self.seat(conn);
                    Some(conn.slot())
                }
                Err(why) => {
                    self.platform.log(&format!(
                        "a connection is closed, its state is unfit: {why}"
                    ));
                    None
                }
            });
        }
        self.platform.seat(&slots);
        self.alarm = None;
        self.schedule(hub.next_timeout());
        Ok(hub)
    }

    /// Opens the connection whose socket the platform has ready.
    pub(crate) fn connect(&mut self, handshake: Handshake) -> Result<Result<(), Refused>, Fault> {
        let (now, hub, out) = self.awake()?;
        let conn = match hub.connect(now, handshake, out) {
            Ok(conn) => conn,
            Err(refused) => return Ok(Err(refused)),
        };
        let opened = self.open(conn);
        self.settle(opened)?;
        self.seat(conn);
        self.deliver();
        Ok(Ok(()))
    }

    fn open(&mut self, conn: ConnId) -> Result<(), Fault> {
        self.platform.save_serial(conn.serial() + 1)?;
        self.attachments.clear();
        self.attach(conn)?;
        self.platform.open(conn.slot(), &self.attachments.bytes)
    }

    /// A message arrived.
    pub(crate) fn receive(&mut self, slot: usize, frame: Frame<'_>) {
        if let Err(fault) = self.try_receive(slot, frame) {
            self.platform
                .log(&format!("a message was not processed: {fault}"));
            self.decline(slot, frame);
        }
    }

    fn try_receive(&mut self, slot: usize, frame: Frame<'_>) -> Result<(), Fault> {
        let Some(conn) = self.conn(slot)? else {
            return Ok(()); // the hub closed it meanwhile: it is heard no more
        };
        let (now, hub, out) = self.awake()?;
        if let Ok(Some(message)) = hub.receive(now, conn, frame, out) {
            let _ = hub.publish(now, &message, out); // the sender is alive: it was heard
        }
        self.finish(Some(conn))
    }

    /// Tells the sender of a message that it was not processed.
    fn decline(&mut self, slot: usize, frame: Frame<'_>) {
        match self.conn(slot) {
            Ok(Some(conn)) => {
                if let Ok((_, hub, out)) = self.awake() {
                    let code = ErrorCode::Unavailable;
                    let _ = hub.decline(conn, frame, code, UNAVAILABLE, out); // it is alive
                    self.deliver();
                }
            }
            Ok(None) => {}
            Err(fault) => {
                self.platform.log(&format!("it cannot wake: {fault}"));
                let reason = "the server could not read its state";
                self.platform.close(slot, CloseCode::INTERNAL, reason);
            }
        }
    }

    /// A connection is gone.
    pub(crate) fn disconnect(
        &mut self,
        slot: usize,
        reason: DisconnectReason,
    ) -> Result<(), Fault> {
        if let Some(conn) = self.conn(slot)? {
            let (now, hub, out) = self.awake()?;
            let _ = hub.disconnect(now, conn, reason, out); // or the hub had closed it
            self.conns[slot] = None;
            self.finish(None)?;
        }
        Ok(())
    }

    /// Closes a connection that takes too little of what it is sent.
    pub(crate) fn too_slow(&mut self, slot: usize) -> Result<(), Fault> {
        if let Some(conn) = self.conn(slot)? {
            let (now, hub, out) = self.awake()?;
            let reason = "too slow: nothing was heard while more than the outbox limit was sent";
            let _ = hub.close(now, conn, CloseCode::TOO_SLOW, reason, out); // it is alive
            self.finish(None)?;
        }
        Ok(())
    }

    /// Does what an API call asks for.
    pub(crate) fn call(&mut self, call: ApiCall) -> Result<Result<Answer, Problem>, Fault> {
        let (now, hub, out) = self.awake()?;
        let mut desk = Desk::new(now, hub, out);
        let answer = call.run(&mut desk);
        let learned = desk.into_learned();
        let saved = self.save_key(now, learned.as_deref());
        let saved = saved.and_then(|()| self.save(None));
        self.settle(saved)?;
        self.deliver();
        Ok(answer)
    }

    fn save_key(&mut self, now: Timestamp, key: Option<&str>) -> Result<(), Fault> {
        let state = self.hub.as_ref().zip(key);
        match state.and_then(|(hub, key)| hub.key_state(now, key)) {
            Some(state) => {
                let keys_max = self.limits.idempotency_keys;
                self.platform.save_key(&state, now, keys_max)
            }
            None => Ok(()),
        }
    }

    /// The time came that was asked for.
    pub(crate) fn timeout(&mut self) -> Result<(), Fault> {
        self.alarm = None;
        self.wake()?;
        for (slot, at) in self.platform.signs_of_life() {
            if let Some(conn) = self.conn(slot)? {
                let (_, hub, _) = self.awake()?;
                if hub.connection(conn).is_some_and(|conn| conn.heard < at) {
                    let _ = hub.heard(at, conn); // it is alive
                }
            }
        }
        let (now, hub, out) = self.awake()?;
        hub.handle_timeout(now, out);
        self.finish(None)
    }

    fn conn(&mut self, slot: usize) -> Result<Option<ConnId>, Fault> {
        self.wake()?;
        Ok(self.conns.get(slot).copied().flatten())
    }

    fn seat(&mut self, conn: ConnId) {
        if self.conns.len() <= conn.slot() {
            self.conns.resize(conn.slot() + 1, None);
        }
        self.conns[conn.slot()] = Some(conn);
    }

    /// Saves and carries out what an input caused. `heard` is whose message it was.
    fn finish(&mut self, heard: Option<ConnId>) -> Result<(), Fault> {
        let saved = self.save(heard);
        self.settle(saved)?;
        self.deliver();
        Ok(())
    }

    /// After a fault nothing has happened: the hub, which knows better, is dropped.
    fn settle(&mut self, saved: Result<(), Fault>) -> Result<(), Fault> {
        if saved.is_err() {
            self.hub = None;
            self.out.clear();
        } else {
            let next = self.hub.as_ref().and_then(Hub::next_timeout);
            self.schedule(next);
        }
        saved
    }

    /// An alarm that comes early is harmless, and each one that is set is a write: so the one that
    /// is set stays, unless it is too late.
    fn schedule(&mut self, next: Option<Timestamp>) {
        if let Some(next) = next
            && self.alarm.is_none_or(|alarm| next < alarm)
        {
            self.platform.wake_at(next);
            self.alarm = Some(next);
        }
    }

    /// Writes the attachments of those whose state has changed.
    fn save(&mut self, heard: Option<ConnId>) -> Result<(), Fault> {
        let limits = &self.limits;
        // These change with every message, and the hub does not say so.
        let rated = limits.inbound_messages.is_some() || limits.inbound_bytes.is_some();
        let mut changed = std::mem::take(&mut self.changed);
        changed.extend(heard.filter(|_| rated || limits.heartbeat.is_some()));
        self.attachments.clear();
        for command in &self.out {
            match command {
                Command::Persist { conn } | Command::Ping { conn } => changed.push(conn),
                // Should the close frame get lost, nobody wakes.
                Command::Close { conn, .. } => self.attachments.push_none(conn.slot()),
                Command::Send { .. } => {}
            }
        }
        changed.sort_unstable();
        changed.dedup();
        let saved = changed.iter().try_for_each(|&conn| self.attach(conn));
        changed.clear();
        self.changed = changed;
        saved?;
        if self.attachments.slots.is_empty() {
            return Ok(());
        }
        self.platform.save(&self.attachments)
    }

    /// Adds the attachment of a connection to those that are to be written.
    fn attach(&mut self, conn: ConnId) -> Result<(), Fault> {
        let Some(Ok(state)) = self.hub.as_ref().map(|hub| hub.conn_state(conn)) else {
            return Ok(()); // closed by the same input
        };
        let write = |bytes: &mut Vec<u8>| attachment::encode(&state, bytes);
        self.attachments
            .push(conn.slot(), write)
            .map_err(|fault| Fault::new("an attachment cannot be encoded", fault))
    }

    /// Sends and closes.
    fn deliver(&mut self) {
        for command in &self.out {
            match command {
                Command::Send { to, frame } => match frame {
                    Frame::Text(text) => self.platform.send(to, text),
                    Frame::Binary(_) => debug_assert!(false, "the hub sends text only"),
                },
                Command::Close { conn, code, reason } => {
                    self.conns[conn.slot()] = None;
                    self.platform.close(conn.slot(), code, reason);
                }
                // The platform has no ping that an object could send; signs of life are read at the
                // next timeout. What is to persist has been saved.
                Command::Ping { .. } | Command::Persist { .. } => {}
            }
        }
        self.out.clear();
    }
}

#[cfg(test)]
mod tests;
