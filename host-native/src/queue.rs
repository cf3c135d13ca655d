//! What waits to be written to one connection.

use std::{
    collections::{BTreeSet, VecDeque},
    io::IoSlice,
    sync::Arc,
};

use bytes::Bytes;
use roomcast_core::{Class, Overflow};

/// What is queued, as far as it matters when the queue is full.
#[derive(Debug, Clone, Default)]
pub(crate) enum Tag {
    /// It must arrive while the connection lives.
    Control,
    /// Messages that are not dropped one by one.
    #[default]
    Message,
    /// Messages that may be dropped.
    Sheddable(Arc<Sheddable>),
    /// A notice of messages of this room that were dropped.
    Gap(Arc<str>),
}

/// Messages of one room that may be dropped.
#[derive(Debug)]
pub(crate) struct Sheddable {
    room: Box<str>,
    event: Box<str>,
    /// Of the first of them.
    offset: u64,
    overflow: Overflow,
}

impl Sheddable {
    pub(crate) fn room(&self) -> &str {
        &self.room
    }

    pub(crate) const fn overflow(&self) -> Overflow {
        self.overflow
    }
}

impl From<Class<'_>> for Tag {
    fn from(class: Class<'_>) -> Self {
        match class {
            Class::Control => Self::Control,
            Class::Message => Self::Message,
            Class::Sheddable(shed) => Self::Sheddable(Arc::new(Sheddable {
                room: shed.room().into(),
                event: shed.event().into(),
                offset: shed.offset(),
                overflow: shed.overflow(),
            })),
        }
    }
}

impl Tag {
    /// Whether a frame of this class may lie in one buffer with those before it.
    pub(crate) fn takes(&self, class: Class<'_>) -> bool {
        match (self, class) {
            (Self::Control, Class::Control) | (Self::Message, Class::Message) => true,
            // Of the others only those of one room are dropped from the oldest on; where the latest
            // counts, each must be dropped alone.
            (Self::Sheddable(ours), Class::Sheddable(shed)) => {
                ours.overflow == Overflow::DropOldest
                    && shed.overflow() == ours.overflow
                    && *shed.room() == *ours.room
            }
            _ => false,
        }
    }

    /// The room whose messages may be dropped.
    pub(crate) fn room(&self) -> Option<&str> {
        match self {
            Self::Sheddable(shed) => Some(&shed.room),
            Self::Control | Self::Message | Self::Gap(_) => None,
        }
    }

    fn sheddable(&self, policy: Overflow) -> Option<&Arc<Sheddable>> {
        match self {
            Self::Sheddable(shed) if shed.overflow == policy => Some(shed),
            Self::Control | Self::Message | Self::Sheddable(_) | Self::Gap(_) => None,
        }
    }

    fn is_of(&self, room: &str) -> bool {
        self.room() == Some(room)
    }
}

/// Frames in the order in which they are to be written, counted in bytes and frames.
///
/// The first chunk is inline: the usual queue, none or one, never touches the heap.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    first: Option<Chunk>,
    rest: VecDeque<Chunk>,
    /// Bytes of the first chunk that are written.
    written: usize,
    bytes: usize,
    frames: usize,
    /// Rooms for which a notice of a gap is on its way to this queue.
    gaps_asked: Vec<Box<str>>,
}

/// Some whole frames in one shared buffer.
#[derive(Debug)]
struct Chunk {
    bytes: Bytes,
    frames: u32,
    tag: Tag,
}

/// Chunks in one vectored write.
const SLICES_MAX: usize = 64;

impl Queue {
    pub(crate) const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Bytes that are queued and not written; a shared buffer counts for each holder.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Frames that are queued and not wholly written.
    pub(crate) const fn frames(&self) -> usize {
        self.frames
    }

    pub(crate) fn push(&mut self, bytes: Bytes, frames: u32, tag: Tag) {
        debug_assert!(!bytes.is_empty());
        self.bytes += bytes.len();
        self.frames += frames as usize;
        let chunk = Chunk { bytes, frames, tag };
        if self.first.is_none() {
            self.first = Some(chunk);
        } else {
            self.rest.push_back(chunk);
        }
    }

    /// The only chunk's unwritten bytes; `None` when there are none or several.
    pub(crate) fn only(&self) -> Option<&[u8]> {
        let first = self.first.as_ref()?;
        self.rest.is_empty().then(|| &first.bytes[self.written..])
    }

    /// The unwritten bytes, as much of them as one vectored write takes.
    pub(crate) fn slices(&self) -> ([IoSlice<'_>; SLICES_MAX], usize) {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut used = 0;
        for (slice, chunk) in slices.iter_mut().zip(self.first.iter().chain(&self.rest)) {
            let written = if used == 0 { self.written } else { 0 };
            *slice = IoSlice::new(&chunk.bytes[written..]);
            used += 1;
        }
        (slices, used)
    }

    /// Forgets what was written.
    pub(crate) fn advance(&mut self, mut count: usize) {
        self.bytes -= count;
        while let Some(first) = &self.first {
            let left = first.bytes.len() - self.written;
            if count < left {
                self.written += count;
                return;
            }
            count -= left;
            self.written = 0;
            self.frames -= first.frames as usize;
            self.first = self.rest.pop_front();
        }
        debug_assert_eq!((count, self.bytes, self.frames), (0, 0, 0));
        // A queue that once was long gives its memory back.
        self.rest = VecDeque::new();
    }

    /// Drops everything of which nothing is written yet. What is begun stays: half a frame would
    /// break the stream, so its chunk is cut after the frame that was begun.
    pub(crate) fn discard_unstarted(&mut self) {
        self.rest = VecDeque::new();
        let Some(mut first) = self.first.take() else {
            return;
        };
        if self.written == 0 {
            (self.bytes, self.frames) = (0, 0);
            return;
        }
        let (mut end, mut frames) = (0, 0);
        while end < self.written {
            end += frame_len(&first.bytes[end..]);
            frames += 1;
        }
        first.bytes.truncate(end);
        first.frames = frames;
        self.bytes = end - self.written;
        self.frames = frames as usize;
        if self.bytes == 0 {
            (self.written, self.frames) = (0, 0);
        } else {
            self.first = Some(first);
        }
    }

    /// Drops the oldest messages of a room until no more are queued than that, or none of the room
    /// is left. Gives the offset of the oldest that was dropped, and how many were.
    pub(crate) fn drop_oldest(
        &mut self,
        room: &str,
        bytes_max: usize,
        frames_max: usize,
    ) -> Option<(u64, u32)> {
        let (mut bytes, mut frames) = (self.bytes, self.frames);
        let (mut first, mut count) = (None, 0);
        self.retain_unstarted(|chunk| {
            let fits = bytes <= bytes_max && frames <= frames_max;
            let Some(shed) = chunk.tag.sheddable(Overflow::DropOldest) else {
                return true;
            };
            if fits || *shed.room != *room {
                return true;
            }
            (bytes, frames) = (bytes - chunk.bytes.len(), frames - chunk.frames as usize);
            first = first.or(Some(shed.offset));
            count += chunk.frames;
            false
        });
        first.map(|first| (first, count))
    }

    /// Drops the messages that the newest of the queue replaces; when that one is no such message,
    /// all that are replaced by a newer one. Gives how many.
    pub(crate) fn keep_latest(&mut self, newest: Option<&Sheddable>) -> u32 {
        let mut count = 0;
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
                        *shed.room != *newest.room || *shed.event != *newest.event
                    })
            });
        } else {
            let mut seen = BTreeSet::new();
            let chunks = self.first.iter().chain(&self.rest);
            let replaced: Vec<bool> = chunks
                .rev()
                .map(|chunk| {
                    let shed = chunk.tag.sheddable(Overflow::Latest);
                    shed.is_some_and(|shed| !seen.insert((&*shed.room, &*shed.event)))
                })
                .collect();
            // From the oldest on.
            let mut replaced = replaced.into_iter().rev();
            if self.written > 0 {
                replaced.next();
            }
            self.retain_unstarted(|_| !replaced.next().unwrap_or(false));
        }
        count += u32::try_from(before - self.frames).unwrap_or(u32::MAX);
        count
    }

    /// Whether a notice of a gap in this room is queued, or asked for.
    pub(crate) fn expects_gap(&self, room: &str) -> bool {
        let mut chunks = self.first.iter().chain(&self.rest);
        self.gaps_asked.iter().any(|other| **other == *room)
            || chunks.any(|chunk| matches!(&chunk.tag, Tag::Gap(other) if **other == *room))
    }

    /// A notice of a gap in this room is asked for.
    pub(crate) fn ask_gap(&mut self, room: &str) {
        self.gaps_asked.push(room.into());
    }

    /// Queues the notice that was asked for where the messages were: before those of the room that
    /// are left. Without a notice it is not wanted any more.
    pub(crate) fn place_gap(&mut self, room: &str, notice: Option<Bytes>) {
        self.gaps_asked.retain(|other| **other != *room);
        let Some(bytes) = notice else {
            return;
        };
        self.bytes += bytes.len();
        self.frames += 1;
        let tag = Tag::Gap(room.into());
        let gap = Chunk {
            bytes,
            frames: 1,
            tag,
        };
        match &mut self.first {
            None => self.first = Some(gap),
            Some(first) if self.written == 0 && first.tag.is_of(room) => {
                let first = std::mem::replace(first, gap);
                self.rest.push_front(first);
            }
            Some(_) => {
                let at = self.rest.iter().position(|chunk| chunk.tag.is_of(room));
                self.rest.insert(at.unwrap_or(self.rest.len()), gap);
            }
        }
    }

    /// Drops chunks of which nothing is written, asked from the oldest on.
    fn retain_unstarted(&mut self, mut keep: impl FnMut(&Chunk) -> bool) {
        let (mut bytes, mut frames) = (0, 0);
        let mut keep = |chunk: &Chunk| {
            let kept = keep(chunk);
            if !kept {
                bytes += chunk.bytes.len();
                frames += chunk.frames as usize;
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

/// The length of the server frame at the start of the bytes, head included.
fn frame_len(bytes: &[u8]) -> usize {
    let field = |range: std::ops::Range<usize>| {
        bytes[range]
            .iter()
            .fold(0, |len, &byte| len << 8 | usize::from(byte))
    };
    match bytes[1] {
        126 => 4 + field(2..4),
        127 => 10 + field(2..10),
        len => 2 + usize::from(len),
    }
}

#[cfg(test)]
mod tests {
    use roomcast_core::Frame;

    use super::*;

    fn frames(lens: &[usize]) -> Bytes {
        let mut bytes = Vec::new();
        for &len in lens {
            let text = "x".repeat(len);
            bytes.extend_from_slice(&crate::ws::message(Frame::Text(&text)));
        }
        bytes.into()
    }

    #[test]
    fn counts_follow_what_is_written() {
        let mut queue = Queue::default();
        queue.push(frames(&[8]), 1, Tag::Message);
        queue.push(frames(&[3, 3]), 2, Tag::Message);
        assert_eq!((queue.bytes(), queue.frames()), (20, 3));
        assert!(queue.only().is_none());
        queue.advance(12);
        assert_eq!((queue.bytes(), queue.frames()), (8, 2));
        assert_eq!(queue.only().map(<[u8]>::len), Some(8));
        let (slices, used) = queue.slices();
        assert_eq!((used, slices[0].len()), (1, 8));
        queue.advance(8);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_begun_frame_survives_the_discard_and_nothing_else() {
        let mut queue = Queue::default();
        queue.push(frames(&[8, 300, 5]), 3, Tag::Message);
        queue.push(frames(&[9]), 1, Tag::Message);
        queue.advance(12); // the first frame and two bytes of the second
        queue.discard_unstarted();
        assert_eq!((queue.bytes(), queue.frames()), (302, 2));
        queue.advance(302);
        assert!(queue.is_empty());

        queue.push(frames(&[8, 8]), 2, Tag::Message);
        queue.discard_unstarted();
        assert!(queue.is_empty() && queue.bytes() == 0);

        queue.push(frames(&[8, 8]), 2, Tag::Message);
        queue.advance(10); // exactly one frame
        queue.discard_unstarted();
        assert!(queue.is_empty() && queue.bytes() == 0 && queue.frames() == 0);
    }

    fn shed(room: &'static str, event: &'static str, offset: u64, overflow: Overflow) -> Tag {
        Tag::Sheddable(Arc::new(Sheddable {
            room: room.into(),
            event: event.into(),
            offset,
            overflow,
        }))
    }

    /// What each chunk is, from the oldest on: of a message its offset, of a gap 0.
    fn order(queue: &Queue) -> Vec<u64> {
        let chunks = queue.first.iter().chain(&queue.rest);
        let offset = |chunk: &Chunk| match &chunk.tag {
            Tag::Sheddable(shed) => shed.offset,
            Tag::Control | Tag::Message | Tag::Gap(_) => 0,
        };
        chunks.map(offset).collect()
    }

    #[test]
    fn the_oldest_of_the_room_go_and_the_gap_takes_their_place() {
        let mut queue = Queue::default();
        for (room, offset) in [("a", 1), ("b", 11), ("a", 2), ("a", 3), ("b", 12), ("a", 4)] {
            let tag = shed(room, "e", offset, Overflow::DropOldest);
            queue.push(frames(&[8]), 1, tag);
        }
        queue.advance(3); // the first is begun, and stays
        assert_eq!(queue.drop_oldest("a", 37, 99), Some((2, 2)));
        assert_eq!((queue.bytes(), queue.frames()), (37, 4));
        assert!(!queue.expects_gap("a"));
        queue.ask_gap("a");
        assert!(queue.expects_gap("a") && !queue.expects_gap("b"));
        queue.place_gap("a", Some(frames(&[6])));
        assert_eq!(order(&queue), [1, 11, 12, 0, 4]);
        assert!(queue.expects_gap("a"));
        assert_eq!((queue.bytes(), queue.frames()), (45, 5));
        assert_eq!(queue.drop_oldest("b", 0, 0), Some((11, 2)));
        assert_eq!(queue.drop_oldest("c", 0, 0), None);
        queue.advance(25);
        assert!(queue.is_empty() && queue.frames() == 0);
    }

    #[test]
    fn a_gap_that_is_not_wanted_is_forgotten() {
        let mut queue = Queue::default();
        queue.ask_gap("a");
        queue.place_gap("a", None);
        assert!(queue.is_empty() && !queue.expects_gap("a"));
        queue.place_gap("a", Some(frames(&[1])));
        assert_eq!(queue.frames(), 1);
    }

    #[test]
    fn of_an_event_the_latest_stays() {
        let mut queue = Queue::default();
        let tags = [("x", 1), ("y", 2), ("x", 3), ("y", 4), ("x", 5)];
        for (event, offset) in tags {
            let tag = shed("r", event, offset, Overflow::Latest);
            queue.push(frames(&[8]), 1, tag);
        }
        let newest = queue.rest.back().map(|chunk| chunk.tag.clone());
        let Some(Tag::Sheddable(newest)) = newest else {
            panic!("it was pushed");
        };
        assert_eq!(queue.keep_latest(Some(&newest)), 2);
        assert_eq!(order(&queue), [2, 4, 5]);
        assert_eq!(queue.keep_latest(None), 1);
        assert_eq!(order(&queue), [4, 5]);
        assert_eq!((queue.bytes(), queue.frames()), (20, 2));
    }
}
