//! Operations on the queued frames of one connection, in the format of RFC 6455.

use std::io::IoSlice;

use bytes::Bytes;
use roomcast_core::{
    Frame,
    queue::{SendQueue, gap_notice},
};

use super::encode::message;

/// The maximum number of chunks in one vectored write.
const SLICES_MAX: usize = 64;

/// The unwritten bytes for one vectored write, and the number of slices.
pub(crate) fn slices(queue: &SendQueue<Bytes>) -> ([IoSlice<'_>; SLICES_MAX], usize) {
    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
    let mut used = 0;
    for (slice, chunk) in slices.iter_mut().zip(queue.chunks()) {
        *slice = IoSlice::new(chunk);
        used += 1;
    }
    (slices, used)
}

/// Truncates a buffer after the frame that the written bytes reach into; returns the number of
/// frames left. The response to the upgrade, which precedes all frames, stays whole.
pub(crate) fn cut(bytes: &mut Bytes, written: usize) -> u32 {
    if bytes.starts_with(b"HTTP/") {
        return 0; // no frame begins so: these bits are reserved
    }
    let (mut end, mut frames) = (0, 0);
    while end < written {
        end += frame_len(&bytes[end..]);
        frames += 1;
    }
    bytes.truncate(end);
    frames
}

/// The frame of a notice that messages of a room after this offset were dropped.
pub(crate) fn notice(room: &str, after: u64) -> Bytes {
    message(Frame::Text(&gap_notice(room, after)))
}

/// The length of the server frame at the start of the bytes, including its head.
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
    use roomcast_core::{
        Frame,
        queue::{QueueLimits, Tag},
    };

    use super::*;

    fn frames(lens: &[usize]) -> Bytes {
        let mut bytes = Vec::new();
        for &len in lens {
            let text = "x".repeat(len);
            bytes.extend_from_slice(&message(Frame::Text(&text)));
        }
        bytes.into()
    }

    #[test]
    fn a_cut_ends_with_the_frame_that_was_begun() {
        for (written, left, count) in [
            (1, 10, 1),
            (10, 10, 1),
            (11, 314, 2),
            (314, 314, 2),
            (315, 70_324, 3),
            (70_325, 70_331, 4),
        ] {
            let mut bytes = frames(&[8, 300, 70_000, 5]);
            assert_eq!(cut(&mut bytes, written), count, "{written}");
            assert_eq!(bytes.len(), left, "{written}");
        }
    }

    #[test]
    fn the_answer_to_the_upgrade_stays_whole() {
        let answer = Bytes::from_static(b"HTTP/1.1 101 Switching Protocols\r\n\r\n");
        for written in [1, 9, answer.len() - 1] {
            let mut bytes = answer.clone();
            assert_eq!((cut(&mut bytes, written), bytes), (0, answer.clone()));
        }
    }

    #[test]
    fn a_vectored_write_takes_what_is_unwritten() {
        let mut queue = SendQueue::new(QueueLimits {
            bytes_max: 1024,
            frames_max: 1024,
        });
        for _ in 0..SLICES_MAX + 1 {
            assert!(queue.push(frames(&[8]), 1, Tag::Message));
        }
        queue.advance(2);
        let (slices, used) = slices(&queue);
        assert_eq!(
            (used, slices[0].len(), slices[1].len()),
            (SLICES_MAX, 8, 10)
        );
        queue.advance(640);
        let (slices, used) = super::slices(&queue);
        assert_eq!((used, slices[0].len()), (1, 8));
    }
}
