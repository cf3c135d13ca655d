//! Interface of a namespace to the platform that it runs on.

use std::ops::RangeInclusive;

use roomcast_core::{
    CloseCode, ConnId, Frame, Timestamp,
    hub::{ClientKeyState, HubState, KeyState, RoomState},
    room::{Except, HistoryMessage},
};

use crate::{
    handle::Remote,
    hooks::{LineChanges, Post, StoredLine},
};

/// The platform failed to load or save something. Nothing of it was saved.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub(crate) struct PlatformError {
    what: &'static str,
    why: String,
}

impl PlatformError {
    pub(crate) fn new(what: &'static str, why: impl std::fmt::Display) -> Self {
        let why = why.to_string();
        Self { what, why }
    }
}

/// State of a namespace that the storage holds.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    pub(crate) epoch: String,
    pub(crate) state: HubState,
    /// Rooms that are remembered.
    pub(crate) rooms: Vec<RoomState>,
    /// The names of those whose state cannot be read.
    pub(crate) unreadable: Vec<String>,
    /// The number of rows beside them that cannot be read: idempotency keys, and rooms without a
    /// name.
    pub(crate) damaged: usize,
    /// State that the application keeps; empty when it keeps nothing.
    pub(crate) application: String,
    /// Lines of events that backends are still to be told.
    pub(crate) lines: Vec<StoredLine>,
}

/// Changes by an input that belong to no connection.
#[derive(Debug, Default)]
pub(crate) struct Kept<'a> {
    /// The number of histories that have begun, when one has.
    pub(crate) histories_opened: Option<u64>,
    /// Messages that are new in histories, in their order.
    pub(crate) messages: Vec<Appended<'a>>,
    /// The state of rooms, with that of each message's; one without a state is forgotten, with its
    /// messages.
    pub(crate) rooms: Vec<(&'a str, Option<RoomState>)>,
    /// Idempotency keys of clients: the client, the key, and its state; one without a state is
    /// forgotten.
    pub(crate) keys: Vec<(&'a str, &'a str, Option<ClientKeyState>)>,
    /// Keys of clients that expired before are forgotten, when one is saved.
    pub(crate) now: Timestamp,
    /// State that the application keeps, in place of the one before; empty when it keeps nothing.
    pub(crate) application: Option<&'a str>,
    /// Changes of what backends are to be told.
    pub(crate) lines: Vec<LineChanges<'a>>,
}

impl Kept<'_> {
    pub(crate) const fn is_empty(&self) -> bool {
        self.application.is_none() && self.is_one_statement()
    }

    /// True when it is written by one statement at most.
    pub(crate) const fn is_one_statement(&self) -> bool {
        self.rooms.is_empty() && self.keys.is_empty() && self.lines.is_empty()
    }
}

/// A message of a room's history.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Appended<'a> {
    pub(crate) room: &'a str,
    pub(crate) offset: u64,
    pub(crate) at: Timestamp,
    pub(crate) frame: &'a str,
    pub(crate) except: &'a Except,
}

/// Attachments to be written together.
#[derive(Debug, Default)]
pub(crate) struct Attachments {
    /// Slots of the connections that they belong to.
    pub(crate) slots: Vec<u32>,
    /// Their lengths; [`NONE`](Self::NONE) takes the attachment away.
    pub(crate) lengths: Vec<u32>,
    /// All of them, one behind the other.
    pub(crate) bytes: Vec<u8>,
}

impl Attachments {
    /// The length of what is taken away.
    pub(crate) const NONE: u32 = u32::MAX;

    pub(crate) fn clear(&mut self) {
        self.slots.clear();
        self.lengths.clear();
        self.bytes.clear();
    }

    /// Takes one away.
    #[allow(clippy::cast_possible_truncation)] // slots have 20 bits
    pub(crate) fn push_none(&mut self, slot: usize) {
        self.slots.push(slot as u32);
        self.lengths.push(Self::NONE);
    }

    /// Adds the one that `write` appends.
    pub(crate) fn push<E>(
        &mut self,
        slot: usize,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.bytes.len();
        write(&mut self.bytes)?;
        #[allow(clippy::cast_possible_truncation)] // slots have 20 bits, attachments 14
        {
            self.slots.push(slot as u32);
            self.lengths.push((self.bytes.len() - start) as u32);
        }
        Ok(())
    }
}

/// The storage, the sockets and the clock of a namespace. Sockets are addressed by the slots of
/// their connections.
pub(crate) trait Platform {
    fn now(&self) -> Timestamp;

    /// Returns a callback that makes the platform call
    /// [`Namespace::turn`](crate::namespace::Namespace::turn), soon and outside of what is being
    /// done.
    fn call(&self) -> impl Fn() + 'static;

    /// 64 random bits.
    fn random(&self) -> u64;

    /// The way to other namespaces.
    fn remote(&self) -> Remote;

    /// Logs what an operator should know.
    fn log(&self, text: &str);

    /// Reads the storage; what was never saved is made up, and saved with the first that is.
    fn load(&mut self) -> Result<Saved, PlatformError>;

    /// Saves the serial number that the next connection gets.
    fn save_serial(&mut self, next: u64) -> Result<(), PlatformError>;

    /// Saves that identities of a user from before a time, in seconds since 1970, are refused.
    fn save_withdrawn(&mut self, user: &str, not_before_s: u64) -> Result<(), PlatformError>;

    /// Saves that those of all users are; users with an earlier time of their own are forgotten.
    fn save_not_before(&mut self, not_before_s: u64) -> Result<(), PlatformError>;

    /// Saves what is remembered of a key; forgets those that have expired, and of more than
    /// `keys_max` those that expire first.
    fn save_key(
        &mut self,
        key: &KeyState,
        now: Timestamp,
        keys_max: usize,
    ) -> Result<(), PlatformError>;

    /// Saves what belongs to no connection: all or nothing.
    fn save_kept(&mut self, kept: &Kept<'_>) -> Result<(), PlatformError>;

    /// Reads the messages of a room that have these offsets, as far as they are there and can be
    /// read; oldest first.
    fn history(
        &mut self,
        room: &str,
        offsets: RangeInclusive<u64>,
    ) -> Result<Vec<HistoryMessage>, PlatformError>;

    /// The attachments of all open sockets.
    fn attachments(&mut self) -> Result<Vec<Vec<u8>>, PlatformError>;

    /// Gives those sockets, in the same order, their slots. A socket without a slot is told that
    /// there was a fault, and closed.
    fn assign(&mut self, slots: &[Option<usize>]);

    /// Takes the socket that is being opened, with its first attachment.
    fn open(&mut self, slot: usize, attachment: &[u8]) -> Result<(), PlatformError>;

    /// Writes attachments: all or none.
    fn save(&mut self, attachments: &Attachments) -> Result<(), PlatformError>;

    /// The time at which each socket was last heard of without the namespace being told: the
    /// platform answers some messages by itself.
    fn last_heard(&self) -> Vec<(usize, Timestamp)>;

    /// Asks to be called at this time.
    fn wake_at(&mut self, at: Timestamp);

    /// Takes back what the input wrote to attachments and wants sent and closed: it failed.
    fn undo(&mut self);

    /// Work for a connection began, and the object must not sleep before its end. Should the
    /// namespace be made anew first, the work is lost, and the connection is sent what is `lost`.
    fn work_began(&mut self, id: u32, slot: usize, lost: Option<&str>);

    /// Work ended.
    fn work_ended(&mut self, id: u32);

    /// Sets whether messages of a connection wait for its work. They would be lost with it, and the
    /// connection closed.
    fn wait(&mut self, slot: usize, waits: bool);

    /// Sends a message, once the input is done. A socket that cannot take it is about to end.
    fn send(&mut self, to: &[ConnId], frame: Frame<'_>);

    /// Sends a request to a backend, once the input is done. Its outcome is an input:
    /// [`posted`](crate::namespace::Namespace::posted), or of a question
    /// [`asked`](crate::namespace::Namespace::asked).
    fn post(&mut self, post: Post);

    /// A client that wants to connect waits no more: for the backend's answer who it is, or the
    /// application's.
    fn answered(&mut self, client: u64);

    /// Sends a close frame, once the input is done; the socket leaves its slot.
    fn close(&mut self, slot: usize, code: CloseCode, reason: &str);
}
