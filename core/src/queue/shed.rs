//! What is dropped from a full queue, and where that is told.

use alloc::{boxed::Box, collections::BTreeSet, vec::Vec};

use super::{Chunk, Gap, Pushed, QueueLimits, SendQueue, Sheddable, Tag};
use crate::policy::Overflow;

/// A notice of a gap that is not here yet.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    room: Box<str>,
    /// Of the first message that was dropped there.
    offset: u64,
    /// Whether the host was asked for it: for one of a room at a time.
    asked: bool,
    /// Whether everything before its place is written: it goes before all that is left.
    passed: bool,
}

impl<B: AsRef<[u8]>> SendQueue<B> {
    /// Queues the notice that [`Pushed::Dropped`] asked for, where the first of the messages was: what
    /// the peer got before it, it reads before it, and the same for what comes behind. Without a notice
    /// it is not wanted any more. It is always let in: there are no more of them than of answers.
    ///
    /// Gives the offset for the next notice of the room, when one more has to be asked for: messages
    /// were also dropped behind an answer that comes after this one.
    pub fn place_gap(&mut self, room: &str, notice: Option<B>) -> Option<u64> {
        let expected = |gap: &Expected| gap.asked && *gap.room == *room;
        let expected = self.gaps.iter().position(expected)?;
        let Expected { passed, .. } = self.gaps.remove(expected);
        let notice = notice.filter(|_| !self.shut);
        let len = notice.as_ref().map(|bytes| bytes.as_ref().len());
        let gap = notice.map(|bytes| Chunk {
            bytes: Some(bytes),
            frames: 1,
            tag: Tag::Gap(room.into()),
        });
        if passed {
            if let Some(gap) = gap {
                self.put_first(gap);
            }
        } else if let Some(at) = self.rest.iter().position(|chunk| chunk.is_place_in(room)) {
            match gap {
                Some(gap) => self.rest[at] = gap,
                None => drop(self.rest.remove(at)),
            }
        }
        if let Some(len) = len {
            self.bytes += len;
            self.frames += 1;
        }
        self.ask(room)
    }

    /// Drops the oldest messages of a room, and then of others where they may be dropped, until the
    /// queue is within limits. `count` were dropped before.
    pub(super) fn shed_oldest(&mut self, room: &str, limits: QueueLimits, count: u32) -> Pushed {
        let (mut count, mut gaps) = (count, Vec::new());
        let mut room = Box::<str>::from(room);
        loop {
            count += self.drop_oldest(&room, self.limits.after_drop());
            if let Some(offset) = self.ask(&room) {
                gaps.push(Gap { room, offset });
            }
            match self.oldest_sheddable() {
                Some(next) if self.is_over(limits) => room = next,
                _ => return Pushed::Dropped { count, gaps },
            }
        }
    }

    /// The room of the oldest message that may be dropped.
    pub(super) fn oldest_sheddable(&self) -> Option<Box<str>> {
        let begun = usize::from(self.written > 0);
        let mut chunks = self.first.iter().chain(&self.rest).skip(begun);
        chunks.find_map(|chunk| {
            let shed = chunk.tag.sheddable(Overflow::DropOldest)?;
            Some(shed.room().into())
        })
    }

    /// The offset for the notice that the host is to be asked for next.
    fn ask(&mut self, room: &str) -> Option<u64> {
        let mut gaps = self.gaps.iter_mut().filter(|gap| *gap.room == *room);
        let next = gaps.next().filter(|gap| !gap.asked)?;
        next.asked = true;
        Some(next.offset)
    }

    /// Drops the oldest messages of a room until no more is queued than that, or none of the room
    /// is left. Gives how many were dropped.
    ///
    /// They leave a place for a notice, and another one behind each answer that is between them: it may
    /// be that to a join, for which an earlier notice does not count, or it may give an offset that was
    /// published later.
    pub(super) fn drop_oldest(&mut self, room: &str, limits: QueueLimits) -> u32 {
        let (mut bytes, mut frames, mut count) = (self.bytes, self.frames(), 0);
        let gaps = &mut self.gaps;
        let mut told = gaps.iter().any(|gap| gap.passed && *gap.room == *room);
        let mut keep = |chunk: &mut Chunk<B>| {
            let shed = match &chunk.tag {
                Tag::Sheddable(shed) => shed,
                Tag::Gap(other) => {
                    told |= **other == *room;
                    return true;
                }
                Tag::Control => {
                    told = false;
                    return true;
                }
                Tag::Message => return true,
            };
            let fits = bytes <= limits.bytes_max && frames <= limits.frames_max;
            if fits || shed.overflow() != Overflow::DropOldest || *shed.room() != *room {
                return true;
            }
            bytes -= chunk.bytes().len();
            frames -= chunk.frames as usize;
            count += chunk.frames;
            if told {
                return false;
            }
            told = true;
            gaps.push(Expected {
                room: room.into(),
                offset: shed.offset(),
                asked: false,
                passed: false,
            });
            *chunk = Chunk {
                bytes: None,
                frames: 0,
                tag: Tag::Gap(room.into()),
            };
            true
        };
        if self.written == 0 {
            self.first.take_if(|first| !keep(first));
        }
        self.rest.retain_mut(keep);
        self.bytes = bytes;
        self.frames -= count;
        self.pass_places();
        count
    }

    /// Takes what is not there from the front, and places: there is nothing before them.
    pub(super) fn pass_places(&mut self) {
        loop {
            match &self.first {
                Some(Chunk {
                    bytes: None,
                    tag: Tag::Gap(room),
                    ..
                }) => {
                    let mut gaps = self.gaps.iter_mut();
                    let gap = gaps.find(|gap| !gap.passed && *gap.room == **room);
                    if let Some(gap) = gap {
                        gap.passed = true;
                    }
                }
                Some(_) => return,
                None if self.rest.is_empty() => return,
                None => {}
            }
            self.first = self.rest.pop_front();
        }
    }

    /// Before everything of which nothing is written.
    fn put_first(&mut self, mut chunk: Chunk<B>) {
        if self.written == 0
            && let Some(first) = &mut self.first
        {
            core::mem::swap(first, &mut chunk);
        }
        match self.first {
            None => self.first = Some(chunk),
            Some(_) => self.rest.push_front(chunk),
        }
    }

    /// Everything is dropped: what was asked for may come, and is wanted no more.
    pub(super) fn forget_places(&mut self) {
        self.gaps.retain(|gap| gap.asked);
        for gap in &mut self.gaps {
            gap.passed = true;
        }
    }

    /// Drops the messages that the newest of the queue replaces; when that one is no such message,
    /// all that are replaced by a newer one. Gives how many.
    pub(super) fn keep_latest(&mut self, newest: Option<&Sheddable>) -> u32 {
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

    /// Drops chunks of which nothing is written, asked from the oldest on.
    fn retain_unstarted(&mut self, mut keep: impl FnMut(&Chunk<B>) -> bool) {
        let (mut bytes, mut frames) = (0, 0);
        let mut keep = |chunk: &Chunk<B>| {
            let kept = keep(chunk);
            if !kept {
                bytes += chunk.bytes().len();
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
        self.pass_places();
    }
}

impl<B: AsRef<[u8]>> Chunk<B> {
    /// Whether it is the place of a notice of a gap in this room.
    fn is_place_in(&self, room: &str) -> bool {
        let gap = matches!(&self.tag, Tag::Gap(other) if **other == *room);
        gap && self.bytes.is_none()
    }
}
