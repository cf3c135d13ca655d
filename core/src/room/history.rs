//! The history of one room: its last messages, as sent.

use alloc::{borrow::Cow, boxed::Box, collections::VecDeque, format, vec::Vec};
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::page::Position;
use crate::{policy::HistoryPolicy, time::Timestamp, wire::ConnId};

/// A message of a room's history, as a durable host loads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HistoryMessage {
    /// The offset of the message.
    pub offset: u64,
    /// The time of its publication.
    pub at: Timestamp,
    /// The frame that was sent.
    pub frame: Box<str>,
    /// Recipients that never get the message.
    #[serde(default, skip_serializing_if = "Except::is_nobody")]
    pub except: Except,
}

impl HistoryMessage {
    /// A message as [`Command::Append`](crate::Command::Append) gave it.
    pub fn new(offset: u64, at: Timestamp, frame: impl Into<Box<str>>, except: Except) -> Self {
        Self {
            offset,
            at,
            frame: frame.into(),
            except,
        }
    }
}

/// Recipients that never get a message, neither when it is sent nor when it is replayed. A host
/// keeps the value unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Except {
    /// No recipient is left out.
    #[default]
    Nobody,
    /// The publisher of the message, who did not ask for an echo.
    Conn(ConnId),
    /// The connections and users that the application left out.
    These(Box<Excepted>),
}

/// The limit of valid numbers: no hub counts this far, so larger numbers are damaged.
pub(super) const NUMBER_MAX: u64 = 1 << 53;

/// Bytes that a list of recipients left out counts.
const EXCEPTED_BYTES: usize = 48;
/// Bytes that each connection in it counts.
const CONN_BYTES: usize = 8;
/// Bytes that each user in it counts beside the name.
const USER_BYTES: usize = 16;

/// Connections and users that the application left out of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excepted {
    /// The members that were left out; sorted.
    pub(crate) conns: Vec<ConnId>,
    pub(crate) users: Vec<Box<str>>,
}

impl Except {
    /// True when everybody may get the message.
    pub const fn is_nobody(&self) -> bool {
        matches!(self, Self::Nobody)
    }

    /// The bytes that a policy counts for the list: about its size in memory beyond its own field,
    /// and the same on every machine.
    fn bytes(&self) -> usize {
        match self {
            Self::Nobody | Self::Conn(_) => 0,
            Self::These(these) => {
                let users: usize = these.users.iter().map(|user| USER_BYTES + user.len()).sum();
                EXCEPTED_BYTES + these.conns.len() * CONN_BYTES + users
            }
        }
    }

    /// True when a reader never gets the message.
    #[inline]
    pub(crate) fn covers(&self, reader: &Reader<'_>) -> bool {
        match self {
            Self::Nobody => false,
            Self::Conn(conn) => reader.is(*conn),
            Self::These(these) => {
                let mut conns = reader.was.iter().chain([&reader.conn]);
                conns.any(|conn| these.conns.binary_search(conn).is_ok())
                    || reader
                        .user
                        .is_some_and(|user| these.users.iter().any(|other| **other == *user))
            }
        }
    }
}

/// A reader of a history.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) conn: ConnId,
    /// The previous connections of the reader, as it says.
    pub(crate) was: &'a [ConnId],
    pub(crate) user: Option<&'a str>,
}

impl Reader<'_> {
    pub(crate) fn is(&self, conn: ConnId) -> bool {
        self.conn == conn || self.was.contains(&conn)
    }
}

#[derive(Debug, Clone)]
struct Retained {
    at: Timestamp,
    frame: Box<str>,
    except: Except,
}

// One for each message that is kept, and counted in `Limits::history_bytes`.
const _: () = assert!(size_of::<Retained>() <= 40);

impl Retained {
    /// Bytes that a policy counts: of the frame, and of the list of those who were left out.
    fn bytes(&self) -> usize {
        self.frame.len() + self.except.bytes()
    }
}

/// The last messages of a room, without a gap up to the newest.
///
/// After a sleep the oldest may be only with the host. They are counted in `away` until
/// [`history_loaded`](Self::history_loaded) puts them before the others.
#[derive(Debug, Clone)]
pub(crate) struct History {
    /// The number of the history among the hub's; a part of the epoch.
    pub(super) number: u64,
    epoch: Box<str>,
    /// The offset of the last message; 0 before the first.
    pub(super) top: u64,
    messages: VecDeque<Retained>,
    bytes: usize,
    away: u64,
    /// The size of the messages that are only with the host, as when they were last loaded.
    away_bytes: usize,
    /// The time of the last message, or of the beginning of the room.
    touched: Timestamp,
    /// The time since which the room has no members; `None` also when it lost them asleep.
    emptied: Option<Timestamp>,
    /// The place of the room among all rooms, by their last messages.
    pub(super) seq: u64,
}

/// The ground state of a history, without its messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedHistory {
    #[serde(rename = "life")]
    pub(crate) number: u64,
    pub(crate) first: u64,
    pub(crate) top: u64,
    pub(crate) touched: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) emptied: Option<Timestamp>,
    pub(crate) seq: u64,
    /// Bytes of the messages.
    #[serde(default, skip_serializing_if = "crate::time::is_zero")]
    pub(crate) bytes: u64,
}

impl SavedHistory {
    /// True when its number is one that a hub gave out; false when it is damaged.
    pub(crate) const fn is_numbered(&self) -> bool {
        self.number < NUMBER_MAX
    }
}

/// The result of looking for the messages behind a position.
#[derive(Debug)]
pub(crate) enum Since {
    /// The messages behind it were missed.
    Missed,
    /// The hub cannot say what was missed.
    Lost,
    /// The host has to load the messages first.
    Away,
}

impl History {
    /// Bytes that a message costs beside its frame.
    pub(crate) const OVERHEAD_BYTES: usize = size_of::<Retained>();

    pub(crate) fn new(epoch: &str, number: u64, now: Timestamp) -> Self {
        Self {
            number,
            epoch: format!("{epoch}.{number}").into(),
            top: 0,
            messages: VecDeque::new(),
            bytes: 0,
            away: 0,
            away_bytes: 0,
            touched: now,
            emptied: Some(now),
            seq: 0,
        }
    }

    /// A history whose messages are all with the host.
    pub(crate) fn asleep(epoch: &str, saved: &SavedHistory) -> Self {
        Self {
            top: saved.top,
            away_bytes: usize::try_from(saved.bytes).unwrap_or(usize::MAX),
            away: (saved.top + 1).saturating_sub(saved.first.max(1)),
            emptied: saved.emptied,
            seq: saved.seq,
            ..Self::new(epoch, saved.number, saved.touched)
        }
    }

    /// The ground state of the history.
    pub(crate) fn saved(&self) -> SavedHistory {
        SavedHistory {
            number: self.number,
            first: self.first(),
            top: self.top,
            touched: self.touched,
            emptied: self.emptied,
            seq: self.seq,
            bytes: self.kept_bytes() as u64,
        }
    }

    /// Appends a message.
    pub(crate) fn push(&mut self, now: Timestamp, frame: &str, except: Except) {
        self.top += 1;
        self.touched = now;
        let retained = Retained {
            at: now,
            frame: frame.into(),
            except,
        };
        self.bytes += retained.bytes();
        self.messages.push_back(retained);
    }

    /// Drops the messages that the policy does not keep. Work: the dropped messages.
    pub(crate) fn trim(&mut self, now: Timestamp, policy: &HistoryPolicy) {
        while let Some(first) = self.messages.front()
            && (self.messages.len() > policy.messages
                || self.bytes > policy.bytes
                || first.at + policy.age <= now)
        {
            self.bytes -= first.bytes();
            self.messages.pop_front();
            self.away = 0;
        }
        let room = policy.messages.saturating_sub(self.messages.len());
        self.away = self.away.min(room as u64);
        if self.touched + policy.age <= now {
            self.away = 0;
        }
        if self.away == 0 {
            self.away_bytes = 0;
        }
        if self.messages.is_empty() {
            self.messages = VecDeque::new();
        }
    }

    /// Drops the oldest messages until `bytes` bytes are freed, or none are left.
    pub(crate) fn shed(&mut self, bytes: usize) {
        let left = self.cost().saturating_sub(bytes);
        while self.cost() > left
            && let Some(first) = self.messages.pop_front()
        {
            self.bytes -= first.bytes();
            (self.away, self.away_bytes) = (0, 0);
        }
        if self.messages.is_empty() {
            self.messages = VecDeque::new();
        }
    }

    /// The size of all messages as the policy counts them, including those with the host.
    pub(crate) const fn kept_bytes(&self) -> usize {
        self.bytes.saturating_add(self.away_bytes)
    }

    /// The number of the history among the hub's.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// The position behind the last message.
    pub(crate) fn position(&self) -> Position<'_> {
        Position {
            epoch: Cow::Borrowed(&self.epoch),
            offset: self.top,
        }
    }

    /// Sets the time since which the room has no members.
    pub(crate) fn set_emptied(&mut self, emptied: Option<Timestamp>) {
        self.emptied = emptied;
    }

    /// True when the time since which the room has no members is known.
    pub(crate) const fn is_emptied(&self) -> bool {
        self.emptied.is_some()
    }

    /// The time of the last message, or of the beginning of the room.
    pub(super) const fn touched(&self) -> Timestamp {
        self.touched
    }

    /// The time at which the last message is as old as that.
    pub(crate) fn ages(&self, age: Duration) -> Timestamp {
        self.touched + age
    }

    /// The time at which the room ends, if it is kept for `age` without members. A room without any
    /// message is kept for a minute at most, whatever the policy: it is of little use, and anybody
    /// can create many.
    pub(crate) fn expiry(&self, age: Duration) -> Timestamp {
        let age_max = match self.top {
            0 => Duration::from_secs(60),
            _ => Duration::MAX,
        };
        self.emptied.unwrap_or_default().max(self.touched) + age.min(age_max)
    }

    /// Bytes that the history takes in memory.
    pub(crate) fn cost(&self) -> usize {
        self.bytes + self.messages.len() * Self::OVERHEAD_BYTES
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) const fn is_away(&self) -> bool {
        self.away > 0
    }

    /// The offset of the oldest message; one past the last when there is none.
    pub(crate) fn first(&self) -> u64 {
        self.first_here() - self.away
    }

    /// The offset of the oldest message here that is younger than `age`.
    pub(crate) fn first_since(&self, now: Timestamp, age: Duration) -> u64 {
        let old = self
            .messages
            .partition_point(|retained| retained.at + age <= now);
        self.first_here() + old as u64
    }

    fn first_here(&self) -> u64 {
        self.top + 1 - self.messages.len() as u64
    }

    /// Takes the messages that the host stored. Messages before a gap count as lost.
    pub(crate) fn history_loaded(&mut self, messages: impl IntoIterator<Item = HistoryMessage>) {
        let (first, mut next) = (self.first(), self.first_here());
        let mut messages: Vec<_> = messages.into_iter().collect();
        // The host may also return newer messages, which are here already.
        while messages.last().is_some_and(|last| last.offset >= next) {
            messages.pop();
        }
        while next > first
            && let Some(message) = messages.pop()
            && message.offset == next - 1
        {
            next -= 1;
            let retained = Retained {
                at: message.at,
                frame: message.frame,
                except: message.except,
            };
            self.bytes += retained.bytes();
            self.messages.push_front(retained);
        }
        (self.away, self.away_bytes) = (0, 0);
    }

    /// The time and the exceptions of the message at an offset; `None` when it is not here.
    pub(crate) fn message(&self, offset: u64) -> Option<(Timestamp, &Except)> {
        let index = offset.checked_sub(self.first_here())?;
        let retained = self.messages.get(usize::try_from(index).ok()?)?;
        Some((retained.at, &retained.except))
    }

    /// Finds the messages that a client at this position missed.
    pub(crate) fn since(&self, epoch: &str, offset: u64) -> Since {
        if *epoch != *self.epoch || offset > self.top || offset + 1 < self.first() {
            Since::Lost
        } else if offset + 1 < self.first_here() {
            Since::Away
        } else {
            Since::Missed
        }
    }

    /// The frames between two offsets that a reader may have, or all of them.
    pub(crate) fn read_between<'a>(
        &'a self,
        after: Option<u64>,
        before: Option<u64>,
        reader: Option<Reader<'a>>,
    ) -> impl DoubleEndedIterator<Item = &'a str> {
        let numbered = self.read_numbered(after, before, reader);
        numbered.map(|(_, frame)| frame)
    }

    /// The same, with their offsets.
    pub(crate) fn read_numbered<'a>(
        &'a self,
        after: Option<u64>,
        before: Option<u64>,
        reader: Option<Reader<'a>>,
    ) -> impl DoubleEndedIterator<Item = (u64, &'a str)> {
        let first = self.first_here();
        let index = |offset: u64| {
            let index = usize::try_from(offset.saturating_sub(first)).unwrap_or(usize::MAX);
            index.min(self.messages.len())
        };
        let from = after.map_or(0, |after| index(after.saturating_add(1)));
        let to = before.map_or(self.messages.len(), index).max(from);
        let messages = self.messages.range(from..to).enumerate();
        messages
            .filter(move |(_, retained)| {
                reader.is_none_or(|reader| !retained.except.covers(&reader))
            })
            .map(move |(at, retained)| (first + (from + at) as u64, &*retained.frame))
    }
}
