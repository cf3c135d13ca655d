//! What waits to be written to one connection: bounded, and what is dropped when it is full.

mod limits;
mod tag;
#[cfg(test)]
mod tests;

use alloc::{
    boxed::Box,
    collections::{BTreeSet, VecDeque},
    vec::Vec,
};

pub use self::{
    limits::QueueLimits,
    tag::{Sheddable, Tag},
};
use crate::policy::Overflow;

/// Frames in the order in which they are to be written to one connection, counted in bytes and
/// frames, within [`QueueLimits`].
///
/// A host has one for each connection, and does I/O around it:
///
/// 1. A [`Command::Send`](crate::Command::Send) it [`push`](Self::push)es. When that says that the
///    queue is full, it writes what the connection takes, and then calls [`settle`](Self::settle):
///    a reader that merely was not written to yet loses nothing.
/// 2. When [`Pushed::Dropped`] asks for a notice, it gets one from
///    [`Hub::lost`](crate::Hub::lost) and puts it where the messages were by
///    [`place_gap`](Self::place_gap).
/// 3. After [`Pushed::Overflow`] the queue is shut. The host lets the goodbye in by
///    [`part`](Self::part), and closes the connection with
///    [`CloseCode::TOO_SLOW`](crate::CloseCode::TOO_SLOW) by [`Hub::close`](crate::Hub::close).
/// 4. The close frame goes behind everything by [`push_last`](Self::push_last).
/// 5. It writes [`chunks`](Self::chunks), and says by [`advance`](Self::advance) how far it came.
///
/// `B` is a buffer of one or several whole frames, which queues may share. The first is held inline:
/// the usual queue, with none or one in it, never touches the heap.
///
/// ```
/// use roomcast_core::{Pushed, QueueLimits, SendQueue, Tag};
///
/// let mut queue = SendQueue::new(QueueLimits { bytes_max: 1024, frames_max: 2 });
/// assert!(queue.push("one", 1, Tag::Message));
/// assert!(queue.push("two", 1, Tag::Message));
/// // An eighth is reserved for answers.
/// assert!(queue.push("answer", 1, Tag::Control));
/// assert!(!queue.push("four", 1, Tag::Message));
/// // Each buffer is one frame: what is begun stays as it is.
/// assert_eq!(queue.settle(|_, _| 1), Pushed::Overflow);
/// assert!(queue.is_empty());
/// ```
#[derive(Debug, Clone)]
pub struct SendQueue<B> {
    first: Option<Chunk<B>>,
    rest: VecDeque<Chunk<B>>,
    /// Bytes of the first chunk that are written.
    written: usize,
    bytes: usize,
    /// Fewer than 2^32, each of which takes memory.
    frames: u32,
    /// Whether everything was dropped: only the goodbye may follow, or there would be a gap.
    shut: bool,
    limits: QueueLimits,
    /// Rooms for which a notice of a gap is on its way to this queue.
    gaps_asked: Vec<Box<str>>,
}

/// Some whole frames in one buffer.
#[derive(Debug, Clone)]
struct Chunk<B> {
    bytes: B,
    frames: u32,
    tag: Tag,
}

/// What became of frames that were to be queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// They are queued.
    Queued,
    /// Nothing is queued any more: the connection is over.
    Ended,
    /// The queue passed its limits, and was emptied: the connection is to be closed with
    /// [`CloseCode::TOO_SLOW`](crate::CloseCode::TOO_SLOW).
    Overflow,
    /// The queue passed its limits, and so many of the oldest messages of the room were dropped.
    Dropped {
        /// How many frames.
        count: u32,
        /// The offset of the first of them when the connection is to be told of it with `$gap`;
        /// `None` when it already will be.
        gap: Option<u64>,
    },
    /// The queue passed its limits, and so many messages were dropped for newer ones.
    Replaced {
        /// How many frames.
        count: u32,
    },
}

impl<B: AsRef<[u8]>> SendQueue<B> {
    /// An empty queue; allocates nothing.
    pub const fn new(limits: QueueLimits) -> Self {
        Self {
            first: None,
            rest: VecDeque::new(),
            written: 0,
            bytes: 0,
            frames: 0,
            shut: false,
            limits,
            gaps_asked: Vec::new(),
        }
    }

    /// Queues some whole frames of one tag; `bytes` is not empty. A shut queue ignores them.
    ///
    /// False when the queue is then over its limits: [`settle`](Self::settle) has to follow before
    /// the next push.
    #[must_use]
    pub fn push(&mut self, bytes: B, frames: u32, tag: Tag) -> bool {
        if self.shut {
            return true;
        }
        let limits = self.limits.of(&tag);
        self.append(bytes, frames, tag);
        !self.is_over(limits)
    }

    /// Queues the last frame of all, the close frame: whatever the limits, and behind whatever was
    /// dropped.
    pub fn push_last(&mut self, bytes: B) {
        self.append(bytes, 1, Tag::Control);
    }

    /// Brings a queue back below its limits when the frames that were pushed last are still over
    /// them; how is up to their tag.
    ///
    /// `cut` is for a buffer of which so many bytes are written, should everything be dropped: see
    /// [`discard`](Self::discard).
    ///
    /// Work: what is queued.
    pub fn settle(&mut self, cut: impl FnOnce(&mut B, usize) -> u32) -> Pushed {
        if self.shut {
            return Pushed::Ended;
        }
        let newest = self.rest.back().or(self.first.as_ref());
        let Some(Chunk { tag, .. }) = newest else {
            return Pushed::Queued;
        };
        if !self.is_over(self.limits.of(tag)) {
            return Pushed::Queued;
        }
        if let Tag::Sheddable(shed) = tag {
            let shed = shed.clone();
            if shed.overflow() == Overflow::DropOldest {
                let left = self.limits.after_drop();
                // At least the newest itself is of the room. What is left was there before, within
                // the limits.
                let dropped = self.drop_oldest(shed.room(), left);
                let (offset, count) = dropped.unwrap_or_default();
                let told = self.expects_gap(shed.room()) || self.carry_gap(shed.room());
                if !told {
                    self.gaps_asked.push(shed.room().into());
                }
                let gap = (!told).then_some(offset);
                return Pushed::Dropped { count, gap };
            }
            let mut count = self.keep_latest(Some(&shed));
            if self.is_over(self.limits) {
                count += self.keep_latest(None);
            }
            if !self.is_over(self.limits) {
                return Pushed::Replaced { count };
            }
        }
        self.discard(cut);
        Pushed::Overflow
    }

    /// Drops what is queued, for a peer that does not take it, and shuts the queue until
    /// [`part`](Self::part).
    ///
    /// What is begun stays, for half a frame would break the stream: `cut` shortens its buffer to
    /// the end of the frame that so many written bytes reach into, and gives how many frames that
    /// leaves.
    pub fn discard(&mut self, cut: impl FnOnce(&mut B, usize) -> u32) {
        self.shut = true;
        self.rest = VecDeque::new();
        let Some(mut first) = self.first.take() else {
            return;
        };
        (self.bytes, self.frames) = (0, 0);
        if self.written == 0 {
            return;
        }
        first.frames = cut(&mut first.bytes, self.written);
        self.bytes = first.bytes.as_ref().len() - self.written;
        if self.bytes == 0 {
            self.written = 0;
        } else {
            self.frames = first.frames;
            self.first = Some(first);
        }
    }

    /// Lets the goodbye follow what was dropped.
    pub const fn part(&mut self) {
        self.shut = false;
    }

    /// Queues the notice that [`Pushed::Dropped`] asked for, where the messages were: before those
    /// of the room that are left. Without a notice it is not wanted any more. It is always let in:
    /// at most one is queued for each room.
    pub fn place_gap(&mut self, room: &str, notice: Option<B>) {
        self.gaps_asked.retain(|other| **other != *room);
        let Some(bytes) = notice.filter(|_| !self.shut) else {
            return;
        };
        self.bytes += bytes.as_ref().len();
        self.frames += 1;
        let gap = Chunk {
            bytes,
            frames: 1,
            tag: Tag::Gap(room.into()),
        };
        self.insert_gap(room, gap);
    }

    /// Forgets what was written, which is no more than there is.
    pub fn advance(&mut self, mut count: usize) {
        self.bytes -= count;
        while let Some(first) = &self.first {
            let left = first.bytes.as_ref().len() - self.written;
            if count < left {
                self.written += count;
                return;
            }
            count -= left;
            self.written = 0;
            self.frames -= first.frames;
            self.first = self.rest.pop_front();
        }
        debug_assert_eq!((count, self.bytes, self.frames), (0, 0, 0));
        // A queue that once was long gives its memory back.
        self.rest = VecDeque::new();
    }

    /// Whether nothing waits.
    pub const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Whether nothing more is queued, until [`part`](Self::part).
    pub const fn is_shut(&self) -> bool {
        self.shut
    }

    /// Bytes that are queued and not written; a shared buffer counts for each holder.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Frames that are queued and not wholly written.
    pub const fn frames(&self) -> usize {
        self.frames as usize
    }

    /// The unwritten bytes of the only buffer; `None` when there is none or several.
    pub fn only(&self) -> Option<&[u8]> {
        let first = self.first.as_ref()?;
        self.rest
            .is_empty()
            .then(|| &first.bytes.as_ref()[self.written..])
    }

    /// The unwritten bytes of each buffer, in order.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        let first = self.first.iter();
        let first = first.map(|chunk| &chunk.bytes.as_ref()[self.written..]);
        first.chain(self.rest.iter().map(|chunk| chunk.bytes.as_ref()))
    }

    fn append(&mut self, bytes: B, frames: u32, tag: Tag) {
        debug_assert!(!bytes.as_ref().is_empty());
        self.bytes += bytes.as_ref().len();
        self.frames += frames;
        let chunk = Chunk { bytes, frames, tag };
        if self.first.is_none() {
            self.first = Some(chunk);
        } else {
            self.rest.push_back(chunk);
        }
    }

    fn is_over(&self, limits: QueueLimits) -> bool {
        // One message may be as large as it likes: with nothing before it, it is not slow.
        let bytes = self.bytes > limits.bytes_max && self.only().is_none();
        bytes || self.frames() > limits.frames_max
    }

    /// Drops the oldest messages of a room until no more is queued than that, or none of the room
    /// is left. Gives the offset of the oldest that was dropped, and how many were.
    fn drop_oldest(&mut self, room: &str, limits: QueueLimits) -> Option<(u64, u32)> {
        let (mut bytes, mut frames) = (self.bytes, self.frames());
        let (mut first, mut count) = (None, 0);
        self.retain_unstarted(|chunk| {
            let fits = bytes <= limits.bytes_max && frames <= limits.frames_max;
            let Some(shed) = chunk.tag.sheddable(Overflow::DropOldest) else {
                return true;
            };
            if fits || *shed.room() != *room {
                return true;
            }
            bytes -= chunk.bytes.as_ref().len();
            frames -= chunk.frames as usize;
            first = first.or(Some(shed.offset()));
            count += chunk.frames;
            false
        });
        first.map(|first| (first, count))
    }

    /// Drops the messages that the newest of the queue replaces; when that one is no such message,
    /// all that are replaced by a newer one. Gives how many.
    fn keep_latest(&mut self, newest: Option<&Sheddable>) -> u32 {
        let before = self.frames;
        if let Some(newest) = newest {
            let last = self.rest.len();
            let mut at = usize::from(self.written > 0);
            self.retain_unstarted(|chunk| {
                // The newest itself is the last of all.
                let is_newest = at == last;
                at += 1;
                is_newest
                    || chunk.tag.sheddable(Overflow::Latest).is_none_or(|shed| {
                        *shed.room() != *newest.room() || *shed.event() != *newest.event()
                    })
            });
        } else {
            let mut seen = BTreeSet::new();
            let chunks = self.first.iter().chain(&self.rest);
            let replaced: Vec<bool> = chunks
                .rev()
                .map(|chunk| {
                    let shed = chunk.tag.sheddable(Overflow::Latest);
                    shed.is_some_and(|shed| !seen.insert((shed.room(), shed.event())))
                })
                .collect();
            // From the oldest on.
            let mut replaced = replaced.into_iter().rev();
            if self.written > 0 {
                replaced.next();
            }
            self.retain_unstarted(|_| !replaced.next().unwrap_or(false));
        }
        before - self.frames
    }

    /// Whether a notice of a gap in this room is asked for.
    fn expects_gap(&self, room: &str) -> bool {
        self.gaps_asked.iter().any(|other| **other == *room)
    }

    /// Brings the notice of a gap in this room that is queued behind all that was dropped: it must
    /// not stand before the answer to a join whose messages it is about. False when there is none, or
    /// the peer has a part of it.
    fn carry_gap(&mut self, room: &str) -> bool {
        let is_it = |chunk: &Chunk<B>| matches!(&chunk.tag, Tag::Gap(other) if **other == *room);
        let gap = if self.written == 0 && self.first.as_ref().is_some_and(is_it) {
            let next = self.rest.pop_front();
            core::mem::replace(&mut self.first, next)
        } else {
            let at = self.rest.iter().position(is_it);
            at.and_then(|at| self.rest.remove(at))
        };
        let Some(gap) = gap else {
            return false;
        };
        self.insert_gap(room, gap);
        true
    }

    /// Puts a notice of a gap, counted already, before what is left of the room's messages.
    fn insert_gap(&mut self, room: &str, gap: Chunk<B>) {
        match &mut self.first {
            None => self.first = Some(gap),
            Some(first) if self.written == 0 && first.tag.is_of(room) => {
                let first = core::mem::replace(first, gap);
                self.rest.push_front(first);
            }
            Some(_) => {
                let at = self.rest.iter().position(|chunk| chunk.tag.is_of(room));
                self.rest.insert(at.unwrap_or(self.rest.len()), gap);
            }
        }
    }

    /// Drops chunks of which nothing is written, asked from the oldest on.
    fn retain_unstarted(&mut self, mut keep: impl FnMut(&Chunk<B>) -> bool) {
        let (mut bytes, mut frames) = (0, 0);
        let mut keep = |chunk: &Chunk<B>| {
            let kept = keep(chunk);
            if !kept {
                bytes += chunk.bytes.as_ref().len();
                frames += chunk.frames;
            }
            kept
        };
        if self.written == 0 {
            self.first.take_if(|first| !keep(first));
        }
        self.rest.retain(keep);
        self.bytes -= bytes;
        self.frames -= frames;
        if self.first.is_none() {
            self.first = self.rest.pop_front();
        }
    }
}
