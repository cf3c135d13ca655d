use alloc::{vec, vec::Vec};

use super::*;

/// Frames of these lengths, each told apart by its own byte.
fn frames(lens: &[usize]) -> Vec<u8> {
    let frames = (1..).zip(lens);
    frames.flat_map(|(byte, &len)| vec![byte; len]).collect()
}

/// Cuts such a buffer behind the frame that was begun.
fn cut(bytes: &mut Vec<u8>, written: usize) -> u32 {
    let last = bytes[written - 1];
    bytes.retain(|&byte| byte <= last);
    last.into()
}

/// The same notice for every room: the offset, three times.
fn notice(_: &str, after: u64) -> Vec<u8> {
    vec![u8::try_from(after).expect("small"); 3]
}

fn unlimited() -> SendQueue<Vec<u8>> {
    bounded(usize::MAX / 2, usize::MAX / 2)
}

fn bounded(bytes_max: usize, frames_max: usize) -> SendQueue<Vec<u8>> {
    SendQueue::new(QueueLimits {
        bytes_max,
        frames_max,
    })
}

#[test]
fn counts_follow_what_is_written() {
    let mut queue = unlimited();
    assert!(queue.push(frames(&[10]), 1, Tag::Message));
    assert!(queue.push(frames(&[5, 5]), 2, Tag::Message));
    assert_eq!((queue.bytes(), queue.frames()), (20, 3));
    assert!(queue.only().is_none());
    assert_eq!(
        queue.chunks().map(<[u8]>::len).collect::<Vec<_>>(),
        [10, 10]
    );
    queue.advance(12);
    assert_eq!((queue.bytes(), queue.frames()), (8, 2));
    assert_eq!(queue.only().map(<[u8]>::len), Some(8));
    assert_eq!(queue.chunks().map(<[u8]>::len).collect::<Vec<_>>(), [8]);
    queue.advance(8);
    assert!(queue.is_empty());
}

#[test]
fn a_begun_frame_survives_the_discard_and_nothing_else() {
    let mut queue = unlimited();
    assert!(queue.push(frames(&[10, 304, 7]), 3, Tag::Message));
    assert!(queue.push(frames(&[11]), 1, Tag::Message));
    queue.advance(12); // the first frame and two bytes of the second
    queue.discard(cut);
    assert_eq!((queue.bytes(), queue.frames()), (302, 2));
    // Nothing follows what was dropped, until `$bye`.
    assert!(queue.push(frames(&[1]), 1, Tag::Message));
    assert_eq!(queue.enforce_limits(cut, notice), Pushed::Ended);
    assert_eq!(queue.frames(), 2);
    queue.advance(302);
    assert!(queue.is_empty());
    queue.admit_bye();

    assert!(queue.push(frames(&[10, 10]), 2, Tag::Message));
    queue.discard(cut);
    assert!(queue.is_empty() && queue.bytes() == 0 && queue.frames() == 0);
    queue.admit_bye();

    assert!(queue.push(frames(&[10, 10]), 2, Tag::Message));
    queue.advance(10); // exactly one frame
    queue.discard(cut);
    assert!(queue.is_empty() && queue.bytes() == 0 && queue.frames() == 0);
    queue.push_last(frames(&[4]));
    assert_eq!((queue.bytes(), queue.frames()), (4, 1));
}

fn shed(room: &str, event: &str, offset: u64, overflow: Overflow) -> Tag {
    Tag::Sheddable(Sheddable::new(room, event, offset, overflow).into())
}

/// Returns a number for each chunk, from the oldest on: of a message its offset, of a gap 0.
fn order(queue: &SendQueue<Vec<u8>>) -> Vec<u64> {
    let chunks = queue.first.iter().chain(&queue.rest);
    let offset = |chunk: &Chunk<Vec<u8>>| match &chunk.tag {
        Tag::Sheddable(shed) => shed.offset(),
        Tag::Control | Tag::Position(_) | Tag::Message | Tag::Gap(_) => 0,
    };
    chunks.map(offset).collect()
}

#[test]
fn the_oldest_of_the_room_go_and_the_gap_takes_their_place() {
    let mut queue = unlimited();
    for (room, offset) in [("a", 1), ("b", 11), ("a", 2), ("a", 3), ("b", 12), ("a", 4)] {
        let tag = shed(room, "e", offset, Overflow::DropOldest);
        assert!(queue.push(frames(&[10]), 1, tag));
    }
    queue.advance(3); // the first is begun, and stays
    let left = QueueLimits {
        bytes_max: 37,
        frames_max: 99,
    };
    assert_eq!(queue.drop_oldest("a", left, &mut notice), 2);
    assert_eq!((queue.bytes(), queue.frames()), (40, 5));
    assert_eq!(order(&queue), [1, 11, 0, 12, 4]);
    let none = QueueLimits {
        bytes_max: 0,
        frames_max: 0,
    };
    assert_eq!(queue.drop_oldest("b", none, &mut notice), 2);
    assert_eq!(queue.drop_oldest("c", none, &mut notice), 0);
    let lens: Vec<_> = queue.chunks().map(<[u8]>::len).collect();
    assert_eq!(lens, [7, 3, 3, 10], "what is begun, notices, and the last");
    queue.advance(23);
    assert!(queue.is_empty() && queue.frames() == 0);
}

/// Pushes a message of a room whose oldest are dropped; what became of the queue when it was full.
fn say(queue: &mut SendQueue<Vec<u8>>, room: &str, offset: u64) -> Option<Pushed> {
    let tag = shed(room, "e", offset, Overflow::DropOldest);
    let fits = queue.push(frames(&[6]), 1, tag);
    (!fits).then(|| queue.enforce_limits(cut, notice))
}

fn dropped(count: u32) -> Option<Pushed> {
    Some(Pushed::Dropped { count })
}

/// The first byte of each chunk, and its length.
fn chunks(queue: &SendQueue<Vec<u8>>) -> Vec<(u8, usize)> {
    queue
        .chunks()
        .map(|chunk| (chunk[0], chunk.len()))
        .collect()
}

#[test]
fn a_gap_is_where_the_first_message_was() {
    let mut queue = bounded(usize::MAX / 2, 8);
    assert_eq!(say(&mut queue, "q", 50), None);
    assert!(queue.push(frames(&[2]), 1, Tag::Control)); // the answer to a join
    for offset in 1..=3 {
        assert_eq!(say(&mut queue, "r", offset), None);
    }
    assert!(queue.push(frames(&[7]), 1, Tag::Position("r".into()))); // a join at the offset 4
    for offset in 5..=6 {
        assert_eq!(say(&mut queue, "r", offset), None);
    }
    assert_eq!(say(&mut queue, "r", 7), dropped(2));
    assert!(queue.push(frames(&[9]), 1, Tag::Control));
    let lens = |queue: &SendQueue<Vec<u8>>| -> Vec<_> { queue.chunks().map(<[u8]>::len).collect() };
    assert_eq!(lens(&queue), [6, 2, 3, 6, 7, 6, 6, 6, 9]);
    assert_eq!(queue.frames(), 9);
    // What is lost up to the answer is told by the same notice, what comes after it by another.
    assert_eq!(say(&mut queue, "r", 8), dropped(3));
    assert_eq!(lens(&queue), [6, 2, 3, 7, 3, 6, 9, 6]);
    assert_eq!((chunks(&queue)[2], chunks(&queue)[4]), ((0, 3), (4, 3)));
    assert_eq!(say(&mut queue, "r", 9), dropped(2));
    assert_eq!(
        lens(&queue),
        [6, 2, 3, 7, 3, 9, 6],
        "nothing is told behind another answer"
    );
}

/// A reader stands where the first notice says; only the position in the room moves the reader.
#[test]
fn other_answers_do_not_tell_a_gap_again() {
    let mut queue = bounded(usize::MAX / 2, 8);
    let answers = [Tag::Control, Tag::Position("q".into()), Tag::Message];
    for (offset, answer) in (1..).zip(answers) {
        assert_eq!(say(&mut queue, "r", offset), None);
        assert!(queue.push(frames(&[2]), 1, answer));
    }
    let long = frames(&[6; 6]);
    let tag = shed("r", "e", 4, Overflow::DropOldest);
    assert!(!queue.push(long, 6, tag));
    assert_eq!(Some(queue.enforce_limits(cut, notice)), dropped(9));
    let answer = (1, 2);
    assert_eq!(chunks(&queue), [(0, 3), answer, answer, answer]);
}

/// A loss on both sides of an answer.
#[test]
fn a_gap_is_told_again_behind_each_position() {
    let mut queue = bounded(usize::MAX / 2, 8);
    for offset in 1..=6 {
        if offset % 2 == 0 {
            assert!(queue.push(frames(&[2]), 1, Tag::Position("r".into())));
        }
        if offset < 6 {
            assert_eq!(say(&mut queue, "r", offset), None);
        }
    }
    let long = frames(&[6; 6]);
    let tag = shed("r", "e", 6, Overflow::DropOldest);
    assert!(!queue.push(long, 6, tag));
    assert_eq!(Some(queue.enforce_limits(cut, notice)), dropped(11));
    let answer = (1, 2);
    let expected = [(0, 3), answer, (1, 3), answer, (3, 3), answer, (5, 3)];
    assert_eq!(chunks(&queue), expected);
    assert_eq!((queue.bytes(), queue.frames()), (18, 7));
}

/// However far the reader has come meanwhile: no message behind the loss overtakes the notice.
#[test]
fn a_notice_stands_for_what_is_dropped_behind_it_until_it_is_written() {
    let mut queue = bounded(usize::MAX / 2, 8);
    assert_eq!(say(&mut queue, "q", 50), None);
    for offset in 1..=7 {
        assert_eq!(say(&mut queue, "r", offset), None);
    }
    assert_eq!(say(&mut queue, "r", 8), dropped(2));
    queue.advance(6); // the message of the other room
    assert_eq!(order(&queue), [0, 3, 4, 5, 6, 7, 8]);
    queue.advance(1); // and the notice is begun
    assert_eq!(say(&mut queue, "r", 9), None);
    assert_eq!(say(&mut queue, "r", 10), dropped(2));
    assert_eq!(order(&queue), [0, 5, 6, 7, 8, 9, 10]);
    // The next loss has a notice of its own, which says the same: nothing of the room came between.
    queue.advance(2);
    for offset in 11..=12 {
        assert_eq!(say(&mut queue, "r", offset), None);
    }
    assert_eq!(say(&mut queue, "r", 13), dropped(2));
    assert_eq!(order(&queue), [0, 7, 8, 9, 10, 11, 12, 13]);
    assert_eq!(chunks(&queue)[0], (0, 3));
    // Behind a message of the room it says where that was.
    queue.advance(3 + 6);
    for offset in 14..=15 {
        assert_eq!(say(&mut queue, "r", offset), None);
    }
    assert_eq!(say(&mut queue, "r", 16), dropped(2));
    assert_eq!(order(&queue), [0, 10, 11, 12, 13, 14, 15, 16]);
    assert_eq!(chunks(&queue)[0], (7, 3));
}

#[test]
fn of_an_event_the_latest_stays() {
    let mut queue = unlimited();
    for (event, offset) in [("x", 1), ("y", 2), ("x", 3), ("y", 4), ("x", 5)] {
        let tag = shed("r", event, offset, Overflow::Latest);
        assert!(queue.push(frames(&[10]), 1, tag));
    }
    let newest = Sheddable::new("r", "x", 5, Overflow::Latest);
    assert_eq!(queue.keep_latest(Some(&newest)), 2);
    assert_eq!(order(&queue), [2, 4, 5]);
    assert_eq!(queue.keep_latest(None), 1);
    assert_eq!(order(&queue), [4, 5]);
    assert_eq!((queue.bytes(), queue.frames()), (20, 2));
}

#[test]
fn an_overflow_has_one_outcome() {
    // Of 8 frames 7 are left, and there is one notice until it is written.
    let mut queue = bounded(usize::MAX / 2, 8);
    for offset in 1..=8 {
        assert_eq!(say(&mut queue, "r", offset), None);
    }
    assert_eq!(say(&mut queue, "r", 9), dropped(2));
    assert_eq!(order(&queue), [0, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(say(&mut queue, "r", 10), dropped(2));
    assert_eq!(order(&queue), [0, 5, 6, 7, 8, 9, 10]);

    // What the host wrote meanwhile is not held against it.
    assert_eq!(say(&mut queue, "r", 11), None);
    assert!(!queue.push(frames(&[1]), 1, Tag::Message));
    queue.advance(3);
    assert_eq!(queue.enforce_limits(cut, notice), Pushed::Queued);

    // Answers have a frame more than messages, and no further one.
    assert!(queue.push(frames(&[1]), 1, Tag::Control));
    assert!(!queue.push(frames(&[1]), 1, Tag::Control));
    assert_eq!(Some(queue.enforce_limits(cut, notice)), dropped(3));
    // What has nothing to give is over.
    let mut queue = bounded(usize::MAX / 2, 8);
    for _ in 0..8 {
        assert!(queue.push(frames(&[1]), 1, Tag::Message));
    }
    assert!(!queue.push(frames(&[1]), 1, Tag::Message));
    assert_eq!(queue.enforce_limits(cut, notice), Pushed::Overflow);
    assert!(queue.is_empty() && queue.is_shut());
}

/// Also when something else comes: what is replaceable gives way before anybody is closed.
#[test]
fn an_answer_is_let_in_where_the_latest_counts() {
    let mut queue = bounded(usize::MAX / 2, 8);
    for offset in 1..=8 {
        let tag = shed("r", "e", offset, Overflow::Latest);
        assert!(queue.push(frames(&[1]), 1, tag));
    }
    assert!(!queue.push(frames(&[1]), 1, Tag::Message));
    assert_eq!(
        queue.enforce_limits(cut, notice),
        Pushed::Replaced { count: 7 }
    );
    assert_eq!(order(&queue), [8, 0]);
}

#[test]
fn a_message_is_let_in_where_the_oldest_may_be_dropped() {
    let mut queue = bounded(usize::MAX / 2, 8);
    for offset in 1..=8 {
        assert_eq!(say(&mut queue, "r", offset), None);
    }
    assert!(!queue.push(frames(&[1]), 1, Tag::Message));
    assert_eq!(Some(queue.enforce_limits(cut, notice)), dropped(2));
    assert_eq!(queue.frames(), 8, "with the notice");
    // Also when the newest has nothing to give.
    for _ in 0..3 {
        let tag = shed("q", "e", 1, Overflow::Latest);
        let fits = queue.push(frames(&[1]), 1, tag);
        assert!(fits || queue.enforce_limits(cut, notice) != Pushed::Overflow);
    }
    assert!(queue.frames() <= 8 && !queue.is_shut());
}

#[test]
fn a_message_alone_may_be_large() {
    let mut queue = bounded(8, 8);
    assert!(queue.push(frames(&[100]), 1, Tag::Message));
    assert!(!queue.push(frames(&[1]), 1, Tag::Message));
    assert_eq!(queue.enforce_limits(cut, notice), Pushed::Overflow);
}
