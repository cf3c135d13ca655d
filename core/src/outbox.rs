//! Where the hub puts what the host is to do.

use alloc::{string::String, vec::Vec};
use core::{iter::FusedIterator, ops::Range, slice};

use crate::{
    close::CloseCode,
    conn::ConnId,
    envelope::{RequestId, write_head, write_string},
    error::ErrorCode,
    frame::Frame,
};

/// One thing for the host to do; to be carried out in order.
///
/// Exhaustive on purpose: a new variant must break every host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// Send one message to everybody named: one command per fan-out, never one per recipient.
    Send {
        /// The recipients: sorted, each once, all alive when the command was made.
        to: &'a [ConnId],
        /// The message.
        frame: Frame<'a>,
    },
    /// Send what is queued, then a close frame, then end the transport. The hub has forgotten the
    /// connection: nothing follows for it, and nothing is to be reported of it.
    Close {
        /// The connection.
        conn: ConnId,
        /// The code of the close frame.
        code: CloseCode,
        /// The reason in the close frame; at most 123 bytes.
        reason: &'a str,
    },
    /// Send a WebSocket ping, and report what comes back with [`Hub::heard`](crate::Hub::heard).
    Ping {
        /// The connection.
        conn: ConnId,
    },
    /// The ground state of a connection changed, see [`Hub::conn_state`](crate::Hub::conn_state);
    /// for hosts that must survive eviction. Not given for what changes with every message
    /// (liveness, rate buckets).
    Persist {
        /// The connection.
        conn: ConnId,
    },
}

#[derive(Debug, Clone)]
enum Entry {
    Send {
        to: Range<usize>,
        text: Range<usize>,
    },
    SendBinary {
        to: Range<usize>,
        bytes: Range<usize>,
    },
    Close {
        conn: ConnId,
        code: CloseCode,
        reason: Range<usize>,
    },
    Ping(ConnId),
    Persist(ConnId),
}

/// The commands of one or several inputs, in a buffer that the host owns and reuses.
///
/// Texts, bytes and recipients lie in flat buffers; once these are warm, nothing is allocated.
#[derive(Debug, Clone, Default)]
pub struct Outbox {
    entries: Vec<Entry>,
    to: Vec<ConnId>,
    text: String,
    bytes: Vec<u8>,
}

impl Outbox {
    /// An empty outbox; allocates nothing yet.
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
            to: Vec::new(),
            text: String::new(),
            bytes: Vec::new(),
        }
    }

    /// Forgets the commands and keeps the buffers, but for those that one giant turn blew up past
    /// `KEEP_BYTES` each.
    pub fn clear(&mut self) {
        const KEEP_BYTES: usize = 1 << 20;
        self.entries.clear();
        self.to.clear();
        self.text.clear();
        self.bytes.clear();
        self.entries.shrink_to(KEEP_BYTES / size_of::<Entry>());
        self.to.shrink_to(KEEP_BYTES / size_of::<ConnId>());
        self.text.shrink_to(KEEP_BYTES);
        self.bytes.shrink_to(KEEP_BYTES);
    }

    /// Whether there is nothing to do.
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many commands there are.
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// The commands, in the order in which they are to be carried out.
    pub fn iter(&self) -> Commands<'_> {
        Commands {
            entries: self.entries.iter(),
            outbox: self,
        }
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

    /// Ends a frame; without recipients it is dropped. Returns how many it has.
    pub(crate) fn send(&mut self, draft: Draft) -> usize {
        let to = draft.to..self.to.len();
        let count = to.len();
        debug_assert!(self.to[to.clone()].is_sorted_by(|a, b| a < b));
        if to.is_empty() {
            self.text.truncate(draft.text);
        } else {
            let text = draft.text..self.text.len();
            self.entries.push(Entry::Send { to, text });
        }
        count
    }

    /// Ends a frame that is binary, in which no text was written.
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

    /// A frame for one connection.
    pub(crate) fn send_to(&mut self, conn: ConnId, write: impl FnOnce(&mut String)) {
        let (text, draft) = self.frame();
        write(text);
        self.to.push(conn);
        self.send(draft);
    }

    /// An error answer.
    pub(crate) fn error(
        &mut self,
        conn: ConnId,
        event: &str,
        id: Option<&RequestId<'_>>,
        room: Option<&str>,
        code: ErrorCode,
        message: impl core::fmt::Display,
    ) {
        self.send_to(conn, |text| {
            write_head(text, event, id, room);
            text.push_str(r#","error":{"code":""#);
            text.push_str(code.as_str());
            text.push_str(r#"","message":"#);
            write_string(text, &alloc::format!("{message}"));
            text.push_str("}}");
        });
    }

    /// How far the commands go.
    pub(crate) const fn mark(&self) -> Mark {
        Mark(self.entries.len())
    }

    /// Takes back what the commands since a mark would do to one connection.
    pub(crate) fn retract(&mut self, mark: Mark, from: ConnId) {
        let to = &mut self.to;
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
        });
        self.entries.append(&mut kept);
    }

    pub(crate) fn close(&mut self, conn: ConnId, code: CloseCode, reason: &str) {
        let start = self.text.len();
        let mut cut = reason.len().min(CLOSE_REASON_BYTES_MAX);
        while !reason.is_char_boundary(cut) {
            cut -= 1;
        }
        self.text.push_str(&reason[..cut]);
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

/// What a close frame has room for beside the code: RFC 6455, section 5.5.
const CLOSE_REASON_BYTES_MAX: usize = 123;

/// A place between commands; see [`Outbox::mark`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark(usize);

/// Where the frame being made starts.
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

/// Iterates over the commands of an [`Outbox`].
#[derive(Debug, Clone)]
pub struct Commands<'a> {
    entries: slice::Iter<'a, Entry>,
    outbox: &'a Outbox,
}

impl<'a> Iterator for Commands<'a> {
    type Item = Command<'a>;

    fn next(&mut self) -> Option<Command<'a>> {
        let outbox = self.outbox;
        Some(match self.entries.next()? {
            Entry::Send { to, text } => Command::Send {
                to: &outbox.to[to.clone()],
                frame: Frame::Text(&outbox.text[text.clone()]),
            },
            Entry::SendBinary { to, bytes } => Command::Send {
                to: &outbox.to[to.clone()],
                frame: Frame::Binary(&outbox.bytes[bytes.clone()]),
            },
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

    #[test]
    fn a_frame_without_recipients_leaves_nothing() {
        let mut out = Outbox::new();
        let (text, draft) = out.frame();
        text.push_str("nobody hears this");
        assert_eq!(out.send(draft), 0);
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
