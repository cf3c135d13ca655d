//! The queue of frames to be written to one connection: bounded, with rules for what is dropped
//! when it is full.

mod drops;
mod fate;
mod limits;
mod losses;
mod shed;
mod tag;
#[cfg(test)]
mod tests;

use alloc::{collections::VecDeque, string::String};

use self::losses::Losses;
pub use self::{
    fate::{AtQueue, QueueFate},
    limits::QueueLimits,
    tag::{Loss, Sheddable, Tag},
};
use crate::{policy::Overflow, wire::write_head, wire::write_number};

/// Frames in the order in which they are to be written to one connection, counted in bytes and
/// frames, within [`QueueLimits`].
///
/// A host has one for each connection, and does I/O around it:
///
/// 1. A [`Command::Send`](crate::Command::Send) it [`push`](Self::push)es. When that says that the
///    queue is full, it writes what the connection takes, and then calls
///    [`enforce_limits`](Self::enforce_limits): a reader that merely was not written to yet loses
///    nothing. Where messages are dropped, a [`gap_notice`] takes their place at once: what is read
///    before it was complete.
/// 2. After [`Pushed::Overflow`] the queue is shut. The host lets `$bye` in by
///    [`admit_bye`](Self::admit_bye), and closes the connection with
///    [`CloseCode::TOO_SLOW`](crate::CloseCode::TOO_SLOW) by [`Hub::close`](crate::Hub::close).
/// 3. The close frame goes behind everything by [`push_last`](Self::push_last).
/// 4. It writes [`chunks`](Self::chunks), and says by [`advance`](Self::advance) how far it came.
///
/// `B` is a buffer of one or several whole frames, which queues may share. The first is held
/// inline, so that the usual queue, with at most one buffer, never touches the heap.
///
/// ```
/// use roomcast_core::{queue::{Pushed, QueueLimits, SendQueue, Tag}};
///
/// let mut queue = SendQueue::new(QueueLimits { bytes_max: 1024, frames_max: 2 });
/// assert!(queue.push("one", 1, Tag::Message));
/// assert!(queue.push("two", 1, Tag::Message));
/// // An eighth is reserved for answers.
/// assert!(queue.push("answer", 1, Tag::Control));
/// assert!(!queue.push("four", 1, Tag::Message));
/// // Each buffer is one frame: what is begun stays as it is.
/// assert_eq!(queue.enforce_limits(|_, _| 1, |_, _| "$gap"), Pushed::Overflow);
/// assert!(queue.is_empty());
/// ```
#[derive(Debug, Clone)]
pub struct SendQueue<B> {
    first: Option<Chunk<B>>,
    rest: VecDeque<Chunk<B>>,
    /// Bytes of the first chunk that are written.
    written: usize,
    bytes: usize,
    /// Fewer than 2^32, as each frame takes memory.
    frames: u32,
    /// True when everything was dropped: only `$bye` may follow, or there would be a gap.
    shut: bool,
    limits: QueueLimits,
    losses: Losses,
}

/// Some whole frames in one buffer.
#[derive(Debug, Clone)]
struct Chunk<B> {
    bytes: B,
    frames: u32,
    tag: Tag,
}

// There is one per queued buffer, and space for one in each connection's empty queue.
const _: () = assert!(size_of::<Chunk<&[u8]>>() <= 48 && size_of::<SendQueue<&[u8]>>() <= 128);

impl<B: AsRef<[u8]>> Chunk<B> {
    fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

/// The outcome of queueing frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// The frames are queued.
    Queued,
    /// The connection has ended: nothing is queued any more.
    Ended,
    /// The queue passed its limits, and was emptied: the connection is to be closed with
    /// [`CloseCode::TOO_SLOW`](crate::CloseCode::TOO_SLOW).
    Overflow,
    /// The queue passed its limits, and the oldest messages of some rooms were dropped. The
    /// connection is told with `$gap`, at their position.
    Dropped {
        /// The number of frames.
        count: u32,
    },
    /// The queue passed its limits, and messages were dropped for newer ones.
    Replaced {
        /// The number of frames.
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
            losses: Losses::new(),
        }
    }

    /// Queues some whole frames of one tag; `bytes` is not empty. A shut queue ignores them.
    ///
    /// Returns false when the queue is then over its limits:
    /// [`enforce_limits`](Self::enforce_limits) must be called before the next push.
    #[must_use]
    pub fn push(&mut self, bytes: B, frames: u32, tag: Tag) -> bool {
        if self.shut {
            return true;
        }
        debug_assert!(!bytes.as_ref().is_empty());
        let limits = self.limits.of(&tag);
        self.bytes += bytes.as_ref().len();
        self.frames += frames;
        let chunk = Chunk { bytes, frames, tag };
        if self.first.is_none() {
            self.first = Some(chunk);
        } else {
            self.rest.push_back(chunk);
        }
        !self.is_over(limits)
    }

    /// Queues the last frame, the close frame: regardless of limits, and even if everything was
    /// dropped.
    pub fn push_last(&mut self, bytes: B) {
        let shut = core::mem::take(&mut self.shut);
        let _ = self.push(bytes, 1, Tag::Control);
        self.shut = shut;
    }

    /// Brings a queue back within its limits if the frames that were pushed last exceed them. Their
    /// tag decides how.
    ///
    /// `cut` shortens a partly written buffer, in case everything is dropped: see
    /// [`discard`](Self::discard). `notice` makes the frame that reports dropped messages of a room
    /// behind an offset; see [`gap_notice`].
    ///
    /// Work: the queued frames.
    pub fn enforce_limits(
        &mut self,
        cut: impl FnOnce(&mut B, usize) -> u32,
        mut notice: impl FnMut(&str, u64) -> B,
    ) -> Pushed {
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
        let limits = self.limits.of(tag);
        let newest = match tag {
            Tag::Sheddable(shed) => Some(shed.clone()),
            Tag::Control | Tag::Position(_) | Tag::Message | Tag::Gap(_) => None,
        };
        let mut replaced = 0;
        if let Some(newest) = &newest {
            if newest.overflow() == Overflow::DropOldest {
                return self.shed_oldest(newest.room(), limits, 0, &mut notice);
            }
            replaced = self.keep_latest(Some(newest));
        }
        if self.is_over(limits) {
            replaced += self.keep_latest(None);
        }
        if !self.is_over(limits) {
            return Pushed::Replaced { count: replaced };
        }
        // Droppable messages are dropped before the connection is closed.
        if let Some(room) = self.oldest_sheddable() {
            let shed = self.shed_oldest(&room, limits, replaced, &mut notice);
            if !self.is_over(limits) {
                return shed;
            }
        }
        self.discard(cut);
        Pushed::Overflow
    }

    /// Drops the queued frames, for a peer that does not read them, and shuts the queue until
    /// [`admit_bye`](Self::admit_bye).
    ///
    /// A frame that is partly written stays, since half a frame would break the stream: `cut`
    /// shortens its buffer to the end of the frame that the given number of written bytes reaches
    /// into, and returns the number of frames left.
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
        self.bytes = first.bytes().len() - self.written;
        if self.bytes == 0 {
            self.written = 0;
        } else {
            self.frames = first.frames;
            self.first = Some(first);
        }
    }

    /// Lets `$bye` into a queue that dropped everything. The [last frame](Self::push_last) does not
    /// need this.
    pub const fn admit_bye(&mut self) {
        self.shut = false;
    }

    /// Removes written bytes; `count` must not exceed the queued bytes.
    pub fn advance(&mut self, mut count: usize) {
        self.bytes -= count;
        while let Some(first) = &self.first {
            let left = first.bytes().len() - self.written;
            if count < left {
                self.written += count;
                return;
            }
            count -= left;
            self.written = 0;
            self.frames -= first.frames;
            self.losses.written(&first.tag);
            self.first = self.rest.pop_front();
        }
        debug_assert_eq!((count, self.bytes, self.frames), (0, 0, 0));
        // An empty queue frees the memory of its former length.
        self.rest = VecDeque::new();
    }

    /// True when nothing is queued.
    pub const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// True when nothing more can be queued, until [`admit_bye`](Self::admit_bye).
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

    /// The fate of a pushed message. The queue remembers the newest 64 ranges of dropped offsets.
    pub fn fate(&self, message: &AtQueue) -> QueueFate {
        match self.losses.is_dropped(message) {
            Some(true) => QueueFate::Dropped(self.limits),
            Some(false) => QueueFate::Kept,
            None => QueueFate::Forgotten,
        }
    }

    /// The unwritten bytes of the only buffer; `None` when there is none or several.
    pub fn only(&self) -> Option<&[u8]> {
        let first = self.first.as_ref()?;
        self.rest.is_empty().then(|| &first.bytes()[self.written..])
    }

    /// The unwritten bytes of each buffer, in order.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        let first = self.first.iter();
        let first = first.map(|chunk| &chunk.bytes()[self.written..]);
        first.chain(self.rest.iter().map(Chunk::bytes))
    }

    fn is_over(&self, limits: QueueLimits) -> bool {
        // A single message may be of any size: with nothing before it, its reader is not slow.
        let bytes = self.bytes > limits.bytes_max && self.only().is_none();
        bytes || self.frames() > limits.frames_max
    }
}

/// The text of a `$gap`: messages of a room behind this offset were dropped, because the recipient
/// reads too slowly; see [`Shed`](crate::outbox::Shed). The offset is 0 in rooms without history.
///
/// The notice is at the position of the first dropped message, where the recipient was a member, so
/// that the hub need not be asked.
pub fn gap_notice(room: &str, after: u64) -> String {
    let mut text = String::new();
    write_head(&mut text, "$gap", None, Some(room));
    write_number(&mut text, r#","data":{"after":"#, after);
    text.push_str("}}");
    text
}
