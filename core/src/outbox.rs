//! Commands for the host, in the buffers of an outbox.

mod buffer;
mod command;

use core::{iter::FusedIterator, slice};

pub(crate) use self::buffer::{Draft, Kind, Mark};
use self::buffer::{DurableCommand, Entry};
pub use self::{
    buffer::{CLOSE_REASON_BYTES_MAX, Outbox},
    command::{Class, Command, Shed},
};
use crate::wire::Frame;

// One for each command of a turn, read by the host.
const _: () = assert!(size_of::<Command<'_>>() <= 64);

impl Kind {
    const fn shed(at: u32, outbox: &Outbox) -> Shed<'_> {
        let at = ((at & !Self::POSITION) - Self::SHEDDABLE) as usize;
        Shed { outbox, at }
    }

    const fn class(self, outbox: &Outbox) -> Class<'_> {
        match self {
            Self::CONTROL => Class::Control,
            Self::MESSAGE => Class::Message,
            Self(at) if at & Self::POSITION == 0 => Class::Sheddable(Self::shed(at, outbox)),
            Self(at) => Class::Position(Self::shed(at, outbox)),
        }
    }
}

impl Outbox {
    /// The commands, in the order in which they are to be carried out.
    pub fn iter(&self) -> Commands<'_> {
        Commands {
            entries: self.entries.iter(),
            outbox: self,
        }
    }

    #[cold]
    #[inline(never)]
    fn durable_command(&self, at: usize) -> Option<Command<'_>> {
        Some(match self.durable.as_ref()?.commands.get(at)? {
            DurableCommand::Append(append) => Command::Append {
                room: &self.text[append.room.clone()],
                offset: append.offset,
                at: append.at,
                frame: &self.text[append.text.clone()],
                except: &append.except,
            },
            DurableCommand::PersistRoom(room) => Command::PersistRoom {
                room: &self.text[room.clone()],
            },
            DurableCommand::LoadHistory(room) => Command::LoadHistory {
                room: &self.text[room.clone()],
            },
            DurableCommand::Tell(tell) => Command::Tell {
                kind: tell.kind,
                room: tell.room.clone().map(|room| &self.text[room]),
                event: &self.text[tell.event.clone()],
            },
            DurableCommand::Relay(command) => Command::Relay(command.as_deref()?),
            DurableCommand::PersistKey(client, key) => Command::PersistKey {
                client: &self.text[client.clone()],
                key: &self.text[key.clone()],
            },
        })
    }
}

/// Iterates over the commands of an [`Outbox`].
#[derive(Debug, Clone)]
pub struct Commands<'a> {
    entries: slice::Iter<'a, Entry>,
    outbox: &'a Outbox,
}

impl<'a> Iterator for Commands<'a> {
    type Item = Command<'a>;

    #[inline]
    fn next(&mut self) -> Option<Command<'a>> {
        let outbox = self.outbox;
        Some(match self.entries.next()? {
            Entry::Send { to, text, kind } => Command::Send {
                to: &outbox.to[to.clone()],
                frame: Frame::Text(&outbox.text[text.clone()]),
                class: kind.class(outbox),
            },
            Entry::SendBinary { to, bytes } => Command::Send {
                to: &outbox.to[to.clone()],
                frame: Frame::Binary(&outbox.bytes[bytes.clone()]),
                class: Class::Message,
            },
            Entry::DurableCommand(at) => return outbox.durable_command(*at),
            Entry::Close { conn, code, reason } => Command::Close {
                conn: *conn,
                code: *code,
                reason: &outbox.text[reason.clone()],
            },
            Entry::Ping(conn) => Command::Ping { conn: *conn },
            Entry::Persist(conn) => Command::Persist { conn: *conn },
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.entries.size_hint()
    }
}

impl ExactSizeIterator for Commands<'_> {}
impl FusedIterator for Commands<'_> {}

impl<'a> IntoIterator for &'a Outbox {
    type Item = Command<'a>;
    type IntoIter = Commands<'a>;

    fn into_iter(self) -> Commands<'a> {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{CloseCode, ConnId};

    #[test]
    fn a_frame_without_recipients_leaves_nothing() {
        let mut out = Outbox::new();
        let (text, draft) = out.frame();
        text.push_str("nobody hears this");
        assert_eq!(out.send(draft, Kind::MESSAGE), 0);
        assert!(out.is_empty() && out.text.is_empty());
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let mut out = Outbox::new();
        out.close(ConnId::new(1, 0), CloseCode::REMOVED, &"é".repeat(100));
        let Some(Command::Close { reason, .. }) = out.iter().next() else {
            panic!("no close");
        };
        assert_eq!(reason, "é".repeat(61));
    }
}
