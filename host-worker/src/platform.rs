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
    /// The names of rooms whose state cannot be read.
    pub(crate) unreadable: Vec<String>,
    /// The number of other rows that cannot be read: idempotency keys, and rooms without a name.
    pub(crate) damaged: usize,
    /// State that the application keeps; empty when it keeps nothing.
    pub(crate) application: String,
    /// Lines of events that backends are still to be told.
    pub(crate) lines: Vec<StoredLine>,
}

/// Changes by an input that belong to no connection.
#[derive(Debug, Default)]
pub(crate) struct Kept<'a> {
    /// The number of histories that have begun, when it has changed.
    pub(crate) histories_opened: Option<u64>,
    /// Messages that are new in histories, in their order.
    pub(crate) messages: Vec<Appended<'a>>,
    /// The state of rooms, including the room of each new message; a room without a state is
    /// deleted with its messages.
    pub(crate) rooms: Vec<(&'a str, Option<RoomState>)>,
    /// Idempotency keys of clients: the client, the key, and its state; a key without a state is
    /// deleted.
    pub(crate) keys: Vec<(&'a str, &'a str, Option<ClientKeyState>)>,
    /// The time before which expired keys of clients are deleted, whenever one is saved.
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

    /// True when at most one statement writes these changes.
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
    /// Their lengths; [`NONE`](Self::NONE) removes the attachment.
    pub(crate) lengths: Vec<u32>,
    /// All attachments, concatenated.
    pub(crate) bytes: Vec<u8>,
}

impl Attachments {
    /// The length that stands for removal.
    pub(crate) const NONE: u32 = u32::MAX;

    pub(crate) fn clear(&mut self) {
        self.slots.clear();
        self.lengths.clear();
        self.bytes.clear();
    }

    /// Removes the attachment of a connection.
    #[allow(clippy::cast_possible_truncation)] // slots have 20 bits
    pub(crate) fn push_none(&mut self, slot: usize) {
        self.slots.push(slot as u32);
        self.lengths.push(Self::NONE);
    }

    /// Adds the attachment that `write` appends.
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
    /// [`Namespace::turn`](crate::namespace::Namespace::turn), soon and outside the current input.
    fn call(&self) -> impl Fn() + 'static;

    /// 64 random bits.
    fn random(&self) -> u64;

    /// The way to other namespaces.
    fn remote(&self) -> Remote;

    /// Logs what an operator should know.
    fn log(&self, text: &str);

    /// Reads the storage. Values never saved are created, and written by the first save.
    fn load(&mut self) -> Result<Saved, PlatformError>;

    /// Saves the serial number that the next connection gets.
    fn save_serial(&mut self, next: u64) -> Result<(), PlatformError>;

    /// Saves that identities of a user from before a time, in seconds since 1970, are refused.
    fn save_withdrawn(&mut self, user: &str, not_before_s: u64) -> Result<(), PlatformError>;

    /// Saves that identities of all users from before a time are refused; users whose own time is
    /// not later are deleted.
    fn save_not_before(&mut self, not_before_s: u64) -> Result<(), PlatformError>;

    /// Saves the state of a key; deletes expired keys, and of more than `keys_max` those that
    /// expire first.
    fn save_key(
        &mut self,
        key: &KeyState,
        now: Timestamp,
        keys_max: usize,
    ) -> Result<(), PlatformError>;

    /// Saves the changes that belong to no connection: all or nothing.
    fn save_kept(&mut self, kept: &Kept<'_>) -> Result<(), PlatformError>;

    /// Reads the messages of a room at these offsets, as far as they exist and can be read; oldest
    /// first.
    fn history(
        &mut self,
        room: &str,
        offsets: RangeInclusive<u64>,
    ) -> Result<Vec<HistoryMessage>, PlatformError>;

    /// The attachments of all open sockets.
    fn attachments(&mut self) -> Result<Vec<Vec<u8>>, PlatformError>;

    /// Gives those sockets, in the same order, their slots. A socket without a slot is closed as
    /// after a fault of the server.
    fn assign(&mut self, slots: &[Option<usize>]);

    /// Accepts the socket that is being opened, with its first attachment.
    fn open(&mut self, slot: usize, attachment: &[u8]) -> Result<(), PlatformError>;

    /// Writes attachments: all or none.
    fn save(&mut self, attachments: &Attachments) -> Result<(), PlatformError>;

    /// The last sign of life of each socket that the namespace has not seen: the platform answers
    /// some messages by itself.
    fn last_heard(&self) -> Vec<(usize, Timestamp)>;

    /// Asks to be called at this time.
    fn wake_at(&mut self, at: Timestamp);

    /// Rolls back a failed input: restores the attachments that it wrote, and drops its sends and
    /// closes.
    fn undo(&mut self);

    /// Registers work for a connection: the object must not sleep before the work ends. Should the
    /// namespace restart first, the work is lost, and the connection is sent the message `lost`.
    fn work_began(&mut self, id: u32, slot: usize, lost: Option<&str>);

    /// Unregisters work that has ended.
    fn work_ended(&mut self, id: u32);

    /// Sets whether messages of a connection wait for its work. If the work is lost, they are lost
    /// too, and the connection is closed.
    fn wait(&mut self, slot: usize, waits: bool);

    /// Sends a message, once the input is done. A socket that cannot take it is about to end.
    fn send(&mut self, to: &[ConnId], frame: Frame<'_>);

    /// Sends a request to a backend, once the input is done. Its outcome is an input:
    /// [`posted`](crate::namespace::Namespace::posted), or of a question
    /// [`asked`](crate::namespace::Namespace::asked).
    fn post(&mut self, post: Post);

    /// Ends the wait of a connecting client for the answer of the backend or the application.
    fn answered(&mut self, client: u64);

    /// Sends a close frame, once the input is done; the slot of the socket becomes free.
    fn close(&mut self, slot: usize, code: CloseCode, reason: &str);
}
