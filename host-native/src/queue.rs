//! What waits to be written to one connection.

use std::{collections::VecDeque, io::IoSlice};

use bytes::Bytes;

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
}

/// Some whole frames in one shared buffer.
#[derive(Debug)]
struct Chunk {
    bytes: Bytes,
    frames: u32,
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

    pub(crate) fn push(&mut self, bytes: Bytes, frames: u32) {
        debug_assert!(!bytes.is_empty());
        self.bytes += bytes.len();
        self.frames += frames as usize;
        let chunk = Chunk { bytes, frames };
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
        queue.push(frames(&[8]), 1);
        queue.push(frames(&[3, 3]), 2);
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
        queue.push(frames(&[8, 300, 5]), 3);
        queue.push(frames(&[9]), 1);
        queue.advance(12); // the first frame and two bytes of the second
        queue.discard_unstarted();
        assert_eq!((queue.bytes(), queue.frames()), (302, 2));
        queue.advance(302);
        assert!(queue.is_empty());

        queue.push(frames(&[8, 8]), 2);
        queue.discard_unstarted();
        assert!(queue.is_empty() && queue.bytes() == 0);

        queue.push(frames(&[8, 8]), 2);
        queue.advance(10); // exactly one frame
        queue.discard_unstarted();
        assert!(queue.is_empty() && queue.bytes() == 0 && queue.frames() == 0);
    }
}
