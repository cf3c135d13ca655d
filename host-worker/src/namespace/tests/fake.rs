//! A platform in memory, which fails when it is told to.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    rc::Rc,
};

use roomcast_core::{
    CloseCode, ConnId, Frame, Timestamp,
    hub::{ClientKeyState, HubState, KeyState, RoomState},
    room::HistoryMessage,
};
use roomcast_hooks::Change;

use crate::{
    handle::Remote,
    hooks::{LineChanges, Post, StoredLine},
    platform::{Attachments, Kept, Platform, PlatformError, Saved},
};

/// State that outlives an eviction.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) now: u64,
    pub(super) storage: Storage,
    /// By slot: the attachment of each open socket.
    pub(super) sockets: BTreeMap<usize, Vec<u8>>,
    /// Sends and closes that the input wants.
    pub(super) wanted: Vec<Wanted>,
    pub(super) posts: Vec<Post>,
    /// Clients that need not wait any more.
    pub(super) answered: Vec<u64>,
    /// Pending work: its slot, and the frame to send there if the work is lost.
    pub(super) works: BTreeMap<u32, (usize, Option<String>)>,
    /// Slots whose messages wait for work.
    pub(super) waiting: BTreeSet<usize>,
    /// The attachments before the input.
    pub(super) before: Vec<(usize, Vec<u8>)>,
    /// Sends and closes that were done, in order.
    pub(super) seen: Vec<String>,
    pub(super) alarm: Option<Timestamp>,
    /// The number of writes that pass before one fails.
    pub(super) writes_left: Option<usize>,
    pub(super) deaf: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Storage {
    pub(super) serial: u64,
    pub(super) keys: BTreeMap<String, KeyState>,
    pub(super) client_keys: BTreeMap<(String, String), ClientKeyState>,
    pub(super) histories_opened: u64,
    pub(super) rooms: BTreeMap<String, RoomState>,
    pub(super) messages: BTreeMap<(String, u64), HistoryMessage>,
    pub(super) application: String,
    pub(super) withdrawn: BTreeMap<String, u64>,
    pub(super) not_before_s: u64,
    /// By their names.
    pub(super) lines: BTreeMap<String, StoredLine>,
}

impl Storage {
    fn save_line(&mut self, now: Timestamp, line: &LineChanges<'_>) {
        let Some((epoch, progress)) = line.state else {
            self.lines.remove(line.name);
            return;
        };
        let stored = self.lines.entry(line.name.to_owned());
        let stored = stored.or_insert_with(|| StoredLine {
            name: line.name.to_owned(),
            epoch: epoch.to_owned(),
            progress,
            events: Vec::new(),
        });
        assert_eq!(stored.epoch, epoch);
        stored.progress = progress;
        for change in &line.changes {
            match change {
                Change::Keep(event) => stored.events.push((now, event.clone())),
                Change::Forget {
                    first_seq,
                    last_seq,
                } => stored
                    .events
                    .retain(|(_, event)| !(*first_seq..=*last_seq).contains(&event.seq)),
            }
        }
    }
}

#[derive(Debug)]
pub(super) enum Wanted {
    Sent(usize, String),
    Closed(usize, String),
}

#[derive(Debug, Clone, Default)]
pub(super) struct Fake(pub(super) Rc<RefCell<World>>);

impl Fake {
    fn write(&self) -> Result<(), PlatformError> {
        let left = &mut self.0.borrow_mut().writes_left;
        match left {
            Some(0) => {
                *left = None;
                Err(PlatformError::new("a write failed", "told to"))
            }
            Some(more) => {
                *more -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Platform for Fake {
    fn call(&self) -> impl Fn() + 'static {
        || {}
    }

    fn random(&self) -> u64 {
        7
    }

    fn remote(&self) -> Remote {
        Box::new(|_, _| Box::pin(async { Err("there is no other namespace".to_owned()) }))
    }

    fn work_began(&mut self, id: u32, at: usize, lost: Option<&str>) {
        let work = (at, lost.map(str::to_owned));
        let taken = self.0.borrow_mut().works.insert(id, work);
        assert_eq!(taken, None, "a number is given twice");
    }

    fn work_ended(&mut self, id: u32) {
        self.0.borrow_mut().works.remove(&id);
    }

    fn wait(&mut self, at: usize, waits: bool) {
        let waiting = &mut self.0.borrow_mut().waiting;
        if waits {
            waiting.insert(at);
        } else {
            waiting.remove(&at);
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.borrow().now)
    }

    fn log(&self, _: &str) {}

    fn load(&mut self) -> Result<Saved, PlatformError> {
        let world = self.0.borrow();
        if world.deaf {
            return Err(PlatformError::new("a read failed", "told to"));
        }
        let Storage {
            serial,
            keys,
            client_keys,
            histories_opened,
            rooms,
            application,
            withdrawn,
            lines,
            not_before_s,
            ..
        } = world.storage.clone();
        let state = HubState::from_serial(serial).with_keys(keys.into_values());
        let state = state.with_client_keys(client_keys.into_values());
        Ok(Saved {
            epoch: "e".to_owned(),
            state: state
                .with_histories_opened(histories_opened)
                .with_withdrawn(
                    withdrawn
                        .into_iter()
                        .map(|(user, time)| (user.into(), time)),
                )
                .with_not_before_s(not_before_s),
            rooms: rooms.into_values().collect(),
            application,
            lines: lines.into_values().collect(),
            ..Saved::default()
        })
    }

    fn save_serial(&mut self, next: u64) -> Result<(), PlatformError> {
        self.write()?;
        self.0.borrow_mut().storage.serial = next;
        Ok(())
    }

    fn save_withdrawn(&mut self, user: &str, not_before_s: u64) -> Result<(), PlatformError> {
        self.write()?;
        let withdrawn = &mut self.0.borrow_mut().storage.withdrawn;
        withdrawn.insert(user.into(), not_before_s);
        Ok(())
    }

    fn save_not_before(&mut self, not_before_s: u64) -> Result<(), PlatformError> {
        self.write()?;
        let storage = &mut self.0.borrow_mut().storage;
        storage.not_before_s = not_before_s;
        storage.withdrawn.retain(|_, time| *time > not_before_s);
        Ok(())
    }

    fn save_key(
        &mut self,
        key: &KeyState,
        now: Timestamp,
        keys_max: usize,
    ) -> Result<(), PlatformError> {
        self.write()?;
        let keys = &mut self.0.borrow_mut().storage.keys;
        keys.retain(|_, known| known.expires() > now);
        keys.insert(key.key().to_owned(), key.clone());
        assert!(keys.len() <= keys_max);
        Ok(())
    }

    fn save_kept(&mut self, kept: &Kept<'_>) -> Result<(), PlatformError> {
        self.write()?;
        let storage = &mut self.0.borrow_mut().storage;
        storage.histories_opened = kept.histories_opened.unwrap_or(storage.histories_opened);
        for message in &kept.messages {
            let key = (message.room.to_owned(), message.offset);
            let (frame, except) = (message.frame, message.except.clone());
            let message = HistoryMessage::new(message.offset, message.at, frame, except);
            storage.messages.insert(key, message);
        }
        for (room, state) in &kept.rooms {
            let kept = |offset: &u64| {
                let state = state.as_ref();
                state.is_some_and(|state| (state.first()..=state.offset()).contains(offset))
            };
            storage
                .messages
                .retain(|(other, offset), _| other != room || kept(offset));
            match state {
                Some(state) => storage.rooms.insert((*room).to_owned(), state.clone()),
                None => storage.rooms.remove(*room),
            };
        }
        for (client, key, state) in &kept.keys {
            storage
                .client_keys
                .retain(|_, key| key.expires() > kept.now);
            let name = ((*client).to_owned(), (*key).to_owned());
            match state {
                Some(state) => storage.client_keys.insert(name, state.clone()),
                None => storage.client_keys.remove(&name),
            };
        }
        for line in &kept.lines {
            storage.save_line(kept.now, line);
        }
        if let Some(state) = kept.application {
            state.clone_into(&mut storage.application);
        }
        Ok(())
    }

    fn history(
        &mut self,
        room: &str,
        offsets: RangeInclusive<u64>,
    ) -> Result<Vec<HistoryMessage>, PlatformError> {
        let world = self.0.borrow();
        if world.deaf {
            return Err(PlatformError::new("a read failed", "told to"));
        }
        let first = (room.to_owned(), *offsets.start());
        let last = (room.to_owned(), *offsets.end());
        let messages = world.storage.messages.range(first..=last);
        Ok(messages.map(|(_, message)| message.clone()).collect())
    }

    fn attachments(&mut self) -> Result<Vec<Vec<u8>>, PlatformError> {
        Ok(self.0.borrow().sockets.values().cloned().collect())
    }

    fn assign(&mut self, slots: &[Option<usize>]) {
        let world = &mut *self.0.borrow_mut();
        let unassigned = std::mem::take(&mut world.sockets).into_values();
        for (slot, attachment) in slots.iter().zip(unassigned) {
            match slot {
                Some(slot) => {
                    world.sockets.insert(*slot, attachment);
                }
                None => world.seen.push("a slot was refused".to_owned()),
            }
        }
        world.lose();
    }

    fn open(&mut self, slot: usize, attachment: &[u8]) -> Result<(), PlatformError> {
        self.write()?;
        let taken = self.0.borrow_mut().sockets.insert(slot, attachment.into());
        assert_eq!(taken, None, "a slot is given twice");
        Ok(())
    }

    fn save(&mut self, attachments: &Attachments) -> Result<(), PlatformError> {
        self.write()?;
        let World {
            sockets, before, ..
        } = &mut *self.0.borrow_mut();
        let mut rest = &attachments.bytes[..];
        for (&slot, &length) in attachments.slots.iter().zip(&attachments.lengths) {
            let length = if length == Attachments::NONE {
                0
            } else {
                length as usize
            };
            let (bytes, behind) = rest.split_at(length);
            let old = sockets.insert(slot as usize, bytes.to_vec());
            before.push((slot as usize, old.expect("open")));
            rest = behind;
        }
        assert!(rest.is_empty());
        Ok(())
    }

    fn last_heard(&self) -> Vec<(usize, Timestamp)> {
        Vec::new()
    }

    fn wake_at(&mut self, at: Timestamp) {
        assert!(at > Timestamp::ZERO, "the platform refuses it");
        self.0.borrow_mut().alarm = Some(at);
    }

    fn undo(&mut self) {
        self.0.borrow_mut().rollback();
    }

    fn send(&mut self, to: &[ConnId], frame: Frame<'_>) {
        let told = match frame {
            Frame::Text(text) => text.to_owned(),
            Frame::Binary(bytes) => format!("{bytes:?}"),
        };
        let wanted = to
            .iter()
            .map(|conn| Wanted::Sent(conn.slot(), told.clone()));
        self.0.borrow_mut().wanted.extend(wanted);
    }

    fn post(&mut self, post: Post) {
        self.0.borrow_mut().posts.push(post);
    }

    fn answered(&mut self, client: u64) {
        self.0.borrow_mut().answered.push(client);
    }

    fn close(&mut self, slot: usize, code: CloseCode, reason: &str) {
        let wanted = Wanted::Closed(slot, format!("{code} {reason}"));
        self.0.borrow_mut().wanted.push(wanted);
    }
}

impl World {
    /// Notifies clients whose work is lost, since the namespace restarts.
    fn lose(&mut self) {
        for (slot, lost) in std::mem::take(&mut self.works).into_values() {
            // A client that waits for admission is closed.
            if let Some(lost) = lost {
                self.seen.push(format!("{slot} < {lost}"));
            }
        }
        for slot in std::mem::take(&mut self.waiting) {
            self.seen.push(format!("{slot} lost messages"));
        }
    }

    /// Does as the shim does when an input is done.
    pub(super) fn commit(&mut self) {
        self.before.clear();
        for wanted in std::mem::take(&mut self.wanted) {
            self.seen.push(match wanted {
                Wanted::Sent(slot, told) => {
                    assert!(self.sockets.contains_key(&slot), "sent to nobody");
                    format!("{slot} < {told}")
                }
                Wanted::Closed(slot, told) => {
                    assert!(self.sockets.remove(&slot).is_some(), "closed twice");
                    self.waiting.remove(&slot);
                    format!("{slot} closed {told}")
                }
            });
        }
    }

    /// Does as the shim does when an input failed.
    pub(super) fn rollback(&mut self) {
        self.wanted.clear();
        self.posts.clear();
        for (slot, attachment) in self.before.drain(..).rev() {
            self.sockets.insert(slot, attachment);
        }
    }
}
