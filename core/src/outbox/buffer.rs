//! The buffers of an outbox, and the functions that write into them.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::{ops::Range, time::Duration};

use crate::time::whole_millis;
use crate::wire::{
    Address, CloseCode, ConnId, ErrorBody, Frame, write_bool, write_head, write_number,
};
use crate::{
    policy::EventKind, policy::Overflow, relay::RelayCommand, room::Except, time::Timestamp,
};

/// The [`Class`](super::Class) in the buffers of an outbox.
// A number rather than an enum, which would make each entry larger: the compiler would use its free
// values to tell entries apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind(pub(super) u32);

impl Kind {
    pub(crate) const CONTROL: Self = Self(0);
    pub(crate) const MESSAGE: Self = Self(1);
    pub(super) const SHEDDABLE: u32 = 2;
    pub(super) const POSITION: u32 = 1 << 31;

    /// By the index of a [`Shedding`].
    fn sheddable(at: usize) -> Self {
        // A turn with so many messages would not fit into memory.
        let last = Self::POSITION - 1;
        Self(u32::try_from(at).map_or(last, |at| at.saturating_add(Self::SHEDDABLE).min(last)))
    }
}

/// A command that occurs only in hubs with policies, subscriptions or a relay. It is stored
/// separately, so that the others stay small and are cleared cheaply.
#[derive(Debug, Clone)]
pub(super) enum DurableCommand {
    Append(Append),
    PersistRoom(Range<usize>),
    LoadHistory(Range<usize>),
    /// A client, and its key.
    PersistKey(Range<usize>, Range<usize>),
    Tell(Tell),
    /// `None` when the host has taken it.
    Relay(Option<Box<RelayCommand>>),
}

#[derive(Debug, Clone, Default)]
pub(super) struct DurableCommands {
    pub(super) commands: Vec<DurableCommand>,
    pub(super) sheddings: Vec<Shedding>,
}

#[derive(Debug, Clone)]
pub(super) struct Append {
    pub(super) room: Range<usize>,
    pub(super) text: Range<usize>,
    pub(super) offset: u64,
    pub(super) at: Timestamp,
    pub(super) except: Except,
}

#[derive(Debug, Clone)]
pub(super) struct Tell {
    pub(super) kind: EventKind,
    pub(super) room: Option<Range<usize>>,
    pub(super) event: Range<usize>,
    /// The connection that the event is of.
    conn: Option<ConnId>,
}

#[derive(Debug, Clone)]
pub(super) struct Shedding {
    pub(super) room: Range<usize>,
    pub(super) event: Range<usize>,
    pub(super) history: u64,
    pub(super) offset: u64,
    pub(super) overflow: Overflow,
}

#[derive(Debug, Clone)]
pub(super) enum Entry {
    Send {
        to: Range<usize>,
        text: Range<usize>,
        kind: Kind,
    },
    SendBinary {
        to: Range<usize>,
        bytes: Range<usize>,
    },
    /// The index of a [`DurableCommand`].
    DurableCommand(usize),
    Close {
        conn: ConnId,
        code: CloseCode,
        reason: Range<usize>,
    },
    Ping(ConnId),
    Persist(ConnId),
}

// One for each command of a turn, written by the hub and read by the host.
const _: () = assert!(size_of::<Entry>() <= 40);

/// The commands of one or several inputs, in a buffer that the host owns and reuses.
///
/// Texts, bytes and recipients lie in flat buffers; once these are warm, nothing is allocated.
#[derive(Debug, Clone, Default)]
pub struct Outbox {
    pub(super) entries: Vec<Entry>,
    pub(super) to: Vec<ConnId>,
    pub(super) text: String,
    pub(super) bytes: Vec<u8>,
    /// `None` when no such command was ever needed.
    pub(super) durable: Option<Box<DurableCommands>>,
}

impl Outbox {
    /// An empty outbox; allocates nothing yet.
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
            to: Vec::new(),
            text: String::new(),
            bytes: Vec::new(),
            durable: None,
        }
    }

    /// Removes the commands and keeps the buffers, except those that a giant turn has grown past
    /// `KEEP_BYTES` each.
    pub fn clear(&mut self) {
        const KEEP_BYTES: usize = 1 << 20;
        self.entries.clear();
        self.to.clear();
        self.text.clear();
        self.bytes.clear();
        if self.durable.is_some() {
            self.clear_durable();
        }
        self.entries.shrink_to(KEEP_BYTES / size_of::<Entry>());
        self.to.shrink_to(KEEP_BYTES / size_of::<ConnId>());
        self.text.shrink_to(KEEP_BYTES);
        self.bytes.shrink_to(KEEP_BYTES);
    }

    #[cold]
    #[inline(never)]
    fn clear_durable(&mut self) {
        if let Some(durable) = &mut self.durable {
            durable.commands.clear();
            durable.sheddings.clear();
        }
    }

    /// True when there are no commands.
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of commands.
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Starts a frame; [`Outbox::send`] ends it.
    pub(crate) const fn frame(&mut self) -> (&mut String, Draft) {
        let draft = Draft {
            text: self.text.len(),
            to: self.to.len(),
        };
        (&mut self.text, draft)
    }

    /// The recipients of the frame being made: those pushed since its start.
    pub(crate) const fn recipients(&mut self) -> &mut Vec<ConnId> {
        &mut self.to
    }

    /// Ends a frame; without recipients it is dropped. Returns the number of its recipients.
    pub(crate) fn send(&mut self, draft: Draft, kind: Kind) -> usize {
        let to = draft.to..self.to.len();
        let count = to.len();
        debug_assert!(self.to[to.clone()].is_sorted_by(|a, b| a < b));
        if to.is_empty() {
            self.text.truncate(draft.text);
        } else {
            let text = draft.text..self.text.len();
            self.entries.push(Entry::Send { to, text, kind });
        }
        count
    }

    /// The text of the frame being made.
    pub(crate) fn drafted(&self, draft: Draft) -> &str {
        &self.text[draft.text..]
    }

    /// Ends a frame that a host has to store, with or without recipients. The text of the room
    /// comes before that of the frame.
    pub(crate) fn send_and_append(
        &mut self,
        draft: Draft,
        kind: Kind,
        room: Range<usize>,
        (offset, at, except): (u64, Timestamp, Except),
    ) -> usize {
        let text = draft.text..self.text.len();
        self.push_durable(DurableCommand::Append(Append {
            room,
            text: text.clone(),
            offset,
            at,
            except,
        }));
        let to = draft.to..self.to.len();
        let count = to.len();
        if count > 0 {
            self.entries.push(Entry::Send { to, text, kind });
        }
        count
    }

    /// Stores a text that a later command refers to. Not to be called while a frame is being made.
    pub(crate) fn note(&mut self, text: &str) -> Range<usize> {
        let start = self.text.len();
        self.text.push_str(text);
        start..self.text.len()
    }

    /// The kind of the frame to come, by how it may be dropped. `history` is the number of the
    /// history that the message is in, or 0. Not while a frame is being made.
    pub(crate) fn shedding(
        &mut self,
        room: &str,
        event: &str,
        (history, offset): (u64, u64),
        overflow: Overflow,
    ) -> Kind {
        if overflow == Overflow::Close {
            return Kind::MESSAGE;
        }
        let shedding = Shedding {
            room: self.note(room),
            event: self.note(event),
            history,
            offset,
            overflow,
        };
        let sheddings = &mut self.durable.get_or_insert_default().sheddings;
        sheddings.push(shedding);
        Kind::sheddable(sheddings.len() - 1)
    }

    /// The kind of an answer that gives the position in a room. Not while a frame is being made.
    pub(crate) fn position(&mut self, room: &str, offset: u64) -> Kind {
        let Kind(at) = self.shedding(room, "", (0, offset), Overflow::DropOldest);
        Kind(at | Kind::POSITION)
    }

    pub(crate) fn persist_room(&mut self, room: &str) {
        let room = self.note(room);
        self.push_durable(DurableCommand::PersistRoom(room));
    }

    pub(crate) fn load_history(&mut self, room: &str) {
        let room = self.note(room);
        self.push_durable(DurableCommand::LoadHistory(room));
    }

    pub(crate) fn persist_key(&mut self, client: &str, key: &str) {
        let (client, key) = (self.note(client), self.note(key));
        self.push_durable(DurableCommand::PersistKey(client, key));
    }

    pub(crate) fn relay(&mut self, command: RelayCommand) {
        self.push_durable(DurableCommand::Relay(Some(Box::new(command))));
    }

    /// Takes the commands for the relay, in order, so that a host that passes them on need not copy
    /// them.
    pub fn take_relay_commands(&mut self, mut take: impl FnMut(RelayCommand)) {
        let durable = self.durable.as_mut();
        let Some(durable) = durable.filter(|durable| !durable.commands.is_empty()) else {
            return;
        };
        self.entries.retain(|entry| {
            if let Entry::DurableCommand(at) = entry
                && let Some(DurableCommand::Relay(command)) = durable.commands.get_mut(*at)
            {
                if let Some(command) = command.take() {
                    take(*command);
                }
                return false;
            }
            true
        });
    }

    pub(crate) fn tell(
        &mut self,
        kind: EventKind,
        room: Option<&str>,
        conn: Option<ConnId>,
        write: impl FnOnce(&mut String),
    ) {
        let room = room.map(|room| self.note(room));
        let start = self.text.len();
        write(&mut self.text);
        let event = start..self.text.len();
        self.push_durable(DurableCommand::Tell(Tell {
            kind,
            room,
            event,
            conn,
        }));
    }

    fn push_durable(&mut self, command: DurableCommand) {
        let commands = &mut self.durable.get_or_insert_default().commands;
        commands.push(command);
        self.entries.push(Entry::DurableCommand(commands.len() - 1));
    }

    /// Ends a binary frame, in which no text was written.
    pub(crate) fn send_binary(&mut self, draft: Draft, binary: &[u8]) -> usize {
        let to = draft.to..self.to.len();
        let count = to.len();
        if count > 0 {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(binary);
            let bytes = start..self.bytes.len();
            self.entries.push(Entry::SendBinary { to, bytes });
        }
        count
    }

    /// A frame for one connection: an answer, an error, a notice.
    pub(crate) fn send_to(&mut self, conn: ConnId, write: impl FnOnce(&mut String)) {
        self.send_to_as(conn, Kind::CONTROL, write);
    }

    /// The same, of another kind.
    pub(crate) fn send_to_as(&mut self, conn: ConnId, kind: Kind, write: impl FnOnce(&mut String)) {
        let (text, draft) = self.frame();
        write(text);
        self.to.push(conn);
        self.send(draft, kind);
    }

    /// A message for one connection that missed it.
    pub(crate) fn replay(&mut self, conn: ConnId, frame: &str) {
        let (text, draft) = self.frame();
        text.push_str(frame);
        self.to.push(conn);
        self.send(draft, Kind::MESSAGE);
    }

    /// An error answer.
    pub(crate) fn error<'e>(
        &mut self,
        conn: ConnId,
        to: Address<'_>,
        error: impl Into<ErrorBody<'e>>,
    ) {
        let error = error.into();
        self.send_to(conn, |text| error.write(text, to));
    }

    /// The position after the commands so far.
    pub(crate) const fn mark(&self) -> Mark {
        Mark(self.entries.len())
    }

    /// The frames that the commands since a mark send to one connection; each with true if it is a
    /// message.
    pub(crate) fn sent_to(
        &self,
        mark: Mark,
        to: ConnId,
    ) -> impl Iterator<Item = (Frame<'_>, bool)> {
        let entries = self.entries.get(mark.0..).unwrap_or_default().iter();
        entries.filter_map(move |entry| {
            let reaches = |range: &Range<usize>| self.to[range.clone()].binary_search(&to).is_ok();
            match entry {
                Entry::Send { to, text, kind } if reaches(to) => Some((
                    Frame::Text(&self.text[text.clone()]),
                    *kind != Kind::CONTROL,
                )),
                Entry::SendBinary { to, bytes } if reaches(to) => {
                    Some((Frame::Binary(&self.bytes[bytes.clone()]), true))
                }
                Entry::Send { .. }
                | Entry::SendBinary { .. }
                | Entry::DurableCommand(_)
                | Entry::Close { .. }
                | Entry::Ping(_)
                | Entry::Persist(_) => None,
            }
        })
    }

    /// Inserts the commands that `give` appends before those since a mark.
    pub(crate) fn put_before(&mut self, mark: Mark, give: impl FnOnce(&mut Self)) {
        let end = self.entries.len();
        give(self);
        let more = self.entries.len() - end;
        self.entries[mark.0.min(end)..].rotate_right(more);
    }

    /// Removes one connection's part of the commands since a mark.
    pub(crate) fn retract(&mut self, mark: Mark, from: ConnId) {
        let (to, durable) = (&mut self.to, &self.durable);
        let is_of = |at: usize| {
            let command = durable
                .as_ref()
                .and_then(|durable| durable.commands.get(at));
            matches!(command, Some(DurableCommand::Tell(tell)) if tell.conn == Some(from))
        };
        let mut kept = self.entries.split_off(mark.0.min(self.entries.len()));
        kept.retain_mut(|entry| match entry {
            Entry::Send { to: range, .. } | Entry::SendBinary { to: range, .. } => {
                let recipients = &mut to[range.clone()];
                if let Ok(at) = recipients.binary_search(&from) {
                    recipients[at..].rotate_left(1);
                    range.end -= 1;
                }
                range.start < range.end
            }
            Entry::Close { conn, .. } | Entry::Ping(conn) | Entry::Persist(conn) => *conn != from,
            Entry::DurableCommand(at) => !is_of(*at),
        });
        self.entries.append(&mut kept);
    }

    /// Sends `$bye`, which comes before a close.
    pub(crate) fn bye(&mut self, conn: ConnId, code: CloseCode, away: Duration) {
        self.send_to(conn, |text| {
            write_head(text, "$bye", None, None);
            write_number(text, r#","data":{"code":"#, code.as_u16());
            write_bool(text, r#","reconnect":"#, code.reconnect());
            write_number(text, r#","after_ms":"#, whole_millis(away));
            text.push_str("}}");
        });
    }

    pub(crate) fn close(&mut self, conn: ConnId, code: CloseCode, reason: &str) {
        let start = self.text.len();
        let reason = &reason[..reason.floor_char_boundary(CLOSE_REASON_BYTES_MAX)];
        self.text.push_str(reason);
        let reason = start..self.text.len();
        self.entries.push(Entry::Close { conn, code, reason });
    }

    pub(crate) fn ping(&mut self, conn: ConnId) {
        self.entries.push(Entry::Ping(conn));
    }

    pub(crate) fn persist(&mut self, conn: ConnId) {
        self.entries.push(Entry::Persist(conn));
    }
}

/// The maximum length of a close frame's reason in bytes: RFC 6455, section 5.5.
pub const CLOSE_REASON_BYTES_MAX: usize = 123;

/// A place between commands; see [`Outbox::mark`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark(usize);

/// The start of the frame being made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draft {
    text: usize,
    to: usize,
}

impl Draft {
    /// The index of the first recipient in [`Outbox::recipients`].
    pub(crate) const fn first_recipient(self) -> usize {
        self.to
    }
}
