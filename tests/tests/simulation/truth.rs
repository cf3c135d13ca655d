//! The truth to compare with: the members of each room, the messages sent there, the users shown.
//! It is derived from the ops alone, in plain sets and lists.

use std::{
    collections::{BTreeMap, BTreeSet},
    slice,
};

use roomcast_core::{
    RoomPolicy,
    policy::PresencePolicy,
    room::{Excepted, HistoryMessage},
};
use roomcast_tests::Settings;
use serde_json::Value;

/// The users and connections of a room that its lists show; above it there are counts.
pub(crate) const LIST_MAX: usize = 3;

pub(crate) struct Truth {
    /// In milliseconds.
    pub(crate) now: u64,
    pub(crate) rooms: BTreeMap<&'static str, Room>,
    /// Every epoch that there ever was.
    epochs: BTreeSet<String>,
}

pub(crate) struct Room {
    pub(crate) policy: Option<RoomPolicy>,
    /// `None` where there is no such room.
    pub(crate) epoch: Option<String>,
    pub(crate) top: u64,
    /// All messages of this epoch, kept or not.
    pub(crate) log: Vec<Entry>,
    /// Older messages were dropped since all histories took too much.
    pub(crate) dropped: u64,
    touched: u64,
    emptied: u64,
    /// By connection id, the name that presence has for it.
    pub(crate) members: BTreeMap<u64, String>,
    users: BTreeMap<String, User>,
}

#[derive(Default)]
struct User {
    conns: usize,
    /// For one without a connection, until when it is waited for.
    until: u64,
}

/// A message of a history.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) said: u64,
    pub(crate) offset: u64,
    pub(crate) at: u64,
    /// The frame that is sent, and replayed.
    pub(crate) frame: String,
    pub(crate) except_conns: BTreeSet<u64>,
    pub(crate) except_users: BTreeSet<String>,
    /// True when the exceptions of the message are a list, which counts as a part of it.
    pub(crate) listed: bool,
}

/// The reader of a history: its connection, its previous connections, its user.
pub(crate) struct Reader<'a> {
    pub(crate) conn: u64,
    pub(crate) was: BTreeSet<u64>,
    pub(crate) user: Option<&'a str>,
}

impl<'a> Reader<'a> {
    /// `was` is one connection, or a list of them, as the client names them.
    pub(crate) fn new(conn: u64, was: &Value, user: Option<&'a str>) -> Self {
        let ids = was.as_array().map_or(slice::from_ref(was), |ids| &**ids);
        let ids = ids.iter().filter_map(Value::as_str);
        let was = ids.map(|id| id.parse().expect("a connection id")).collect();
        Self { conn, was, user }
    }
}

impl Entry {
    /// Returns the bytes that the message counts for in its history.
    fn bytes(&self) -> usize {
        let users = self.except_users.iter();
        let users: usize = users.map(|user| size_of::<Box<str>>() + user.len()).sum();
        let conns = size_of::<u64>() * self.except_conns.len();
        self.frame.len() + usize::from(self.listed) * (size_of::<Excepted>() + conns + users)
    }

    /// More than it takes in memory.
    pub(crate) fn memory(&self) -> usize {
        self.bytes() + size_of::<HistoryMessage>()
    }

    fn is_for(&self, reader: &Reader<'_>) -> bool {
        let mut conns = reader.was.iter().chain([&reader.conn]);
        !conns.any(|conn| self.except_conns.contains(conn))
            && !reader
                .user
                .is_some_and(|user| self.except_users.contains(user))
    }
}

impl Truth {
    pub(crate) fn new(settings: &Settings, rooms: &[&'static str]) -> Self {
        let policies = settings.policies();
        let room = |&name| (name, Room::new(policies.of(name).cloned()));
        Self {
            now: 0,
            rooms: rooms.iter().map(room).collect(),
            epochs: BTreeSet::new(),
        }
    }

    pub(crate) fn room(&mut self, name: &str) -> &mut Room {
        self.rooms.get_mut(name).expect("a room of the story")
    }

    /// Lets time pass: users whose grace time of presence is over are gone, and so are empty rooms
    /// with no history left.
    pub(crate) fn tick(&mut self, millis: u64) {
        self.now += millis;
        let now = self.now;
        for room in self.rooms.values_mut() {
            room.users
                .retain(|_, user| user.conns > 0 || user.until > now);
            if room.is_over(now) {
                room.forget();
            }
        }
    }

    /// Checks the position of a room: the known one, or that of a restarted room.
    pub(crate) fn i28_i32_position(&mut self, name: &str, epoch: &str, offset: u64) {
        let now = self.now;
        let room = self.rooms.get_mut(name).expect("a room of the story");
        if room.age().is_none() {
            return;
        }
        match &room.epoch {
            Some(known) => assert_eq!(
                (&**known, room.top),
                (epoch, offset),
                "I28, I32: where {name} stands"
            ),
            None => {
                let new = self.epochs.insert(epoch.into());
                assert!(new, "I32: {name} began again under the epoch {epoch}");
                assert_eq!(offset, room.top, "I28: {name} begins at 1");
                room.epoch = Some(epoch.into());
                room.touched = room.touched.max(now);
            }
        }
    }

    /// The server died.
    pub(crate) fn crash(&mut self, kept: bool) {
        let now = self.now;
        for room in self.rooms.values_mut() {
            if !room.members.is_empty() {
                room.emptied = now;
            }
            room.members.clear();
            // Who was waited for is still.
            room.users.retain(|_, user| kept && user.conns == 0);
            if !kept || room.is_over(now) {
                room.forget();
            }
        }
    }
}

impl Room {
    fn new(policy: Option<RoomPolicy>) -> Self {
        Self {
            policy,
            epoch: None,
            top: 0,
            log: Vec::new(),
            dropped: 0,
            touched: 0,
            emptied: 0,
            members: BTreeMap::new(),
            users: BTreeMap::new(),
        }
    }

    /// The time for which the history keeps a message, in milliseconds; `None` when there is no
    /// history.
    pub(crate) fn age(&self) -> Option<u64> {
        let history = self.policy.as_ref()?.history?;
        u64::try_from(history.age.as_millis()).ok()
    }

    fn expiry(&self, age: u64) -> u64 {
        self.touched.max(self.emptied) + age
    }

    /// True when the room has no members, no users in the grace time of presence, and no history to
    /// go on with.
    fn is_over(&self, now: u64) -> bool {
        self.users.is_empty() && self.age().is_none_or(|age| self.expiry(age) <= now)
    }

    fn forget(&mut self) {
        *self = Self::new(self.policy.take());
    }

    pub(crate) fn presence(&self) -> PresencePolicy {
        let policy = self.policy.as_ref();
        policy.map_or(PresencePolicy::Off, |policy| policy.presence)
    }

    /// A connection comes in; says whether it was in.
    pub(crate) fn enter(&mut self, conn: u64, name: &str) -> bool {
        if self.members.insert(conn, name.into()).is_some() {
            return true;
        }
        self.users.entry(name.into()).or_default().conns += 1;
        false
    }

    /// A connection is out of it. `waits` says that it may come back.
    pub(crate) fn leave(&mut self, now: u64, conn: u64, waits: bool) -> bool {
        let Some(name) = self.members.remove(&conn) else {
            return false;
        };
        let before = self.users.len();
        let grace = self
            .policy
            .as_ref()
            .map_or(0, |policy| policy.presence_grace.as_millis());
        let user = self.users.get_mut(&name).expect("it is seen");
        user.conns -= 1;
        let guest = name.starts_with(' ');
        let waits = waits && !guest && grace > 0 && before <= LIST_MAX;
        if user.conns == 0 {
            if waits && self.presence() == PresencePolicy::Members {
                let user = self.users.get_mut(&name).expect("it is seen");
                user.until = now + u64::try_from(grace).expect("a short time");
            } else {
                self.users.remove(&name);
            }
        }
        if self.members.is_empty() {
            self.emptied = now;
            if self.is_over(now) {
                self.forget();
            }
        }
        true
    }

    pub(crate) fn users(&self) -> BTreeSet<String> {
        self.users.keys().cloned().collect()
    }

    pub(crate) fn append(&mut self, entry: Entry) {
        self.top = entry.offset;
        self.touched = entry.at;
        self.log.push(entry);
    }

    /// The messages that are kept: the longest tail within size, bytes and age.
    pub(crate) fn kept(&self, now: u64) -> &[Entry] {
        let Some(history) = self.policy.as_ref().and_then(|policy| policy.history) else {
            return &[];
        };
        let age = self.age().unwrap_or_default();
        let mut bytes = 0;
        let newest = self.log.iter().rev();
        let kept = newest.take(history.messages).take_while(|entry| {
            bytes += entry.bytes();
            bytes <= history.bytes && entry.at + age > now && entry.offset >= self.dropped
        });
        &self.log[self.log.len() - kept.count()..]
    }

    /// The offset of the oldest message that is kept, or of the next.
    pub(crate) fn first(&self, now: u64) -> u64 {
        self.top + 1 - self.kept(now).len() as u64
    }

    /// The messages between two offsets that a reader may have: the first of them when it says
    /// behind which, else the last.
    pub(crate) fn page(
        &self,
        now: u64,
        (after, before): (Option<u64>, Option<u64>),
        limit: Option<usize>,
        reader: &Reader<'_>,
    ) -> Vec<&str> {
        let mut page: Vec<_> = self.kept(now).iter().collect();
        page.retain(|entry| {
            after.is_none_or(|after| entry.offset > after)
                && before.is_none_or(|before| entry.offset < before)
                && entry.is_for(reader)
        });
        let limit = limit.map_or(page.len(), |limit| limit.min(page.len()));
        let page = match after {
            Some(_) => &page[..limit],
            None => &page[page.len() - limit..],
        };
        page.iter().map(|entry| &*entry.frame).collect()
    }

    /// Returns the messages that a reader missed since a position; `None` when it cannot have them.
    pub(crate) fn i30_i31_missed(
        &self,
        now: u64,
        epoch: &str,
        offset: u64,
        reader: &Reader<'_>,
    ) -> Option<Vec<Entry>> {
        let kept = self.kept(now);
        let first = self.first(now);
        if self.epoch.as_deref() != Some(epoch) || offset > self.top || offset + 1 < first {
            return None;
        }
        let missed = kept.iter().filter(|entry| entry.offset > offset);
        Some(
            missed
                .filter(|entry| entry.is_for(reader))
                .cloned()
                .collect(),
        )
    }
}
