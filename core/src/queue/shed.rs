//! Drops of messages from a full queue, and their notices.

use alloc::{boxed::Box, collections::BTreeSet, vec::Vec};

use super::{Chunk, Loss, Pushed, QueueLimits, SendQueue, Sheddable, Tag};
use crate::policy::Overflow;

impl<B: AsRef<[u8]>> SendQueue<B> {
    /// Drops the oldest messages of a room, then of other rooms that allow it, until the queue is
    /// within its limits. `count` messages were dropped before.
    pub(super) fn shed_oldest(
        &mut self,
        room: &str,
        limits: QueueLimits,
        count: u32,
        notice: &mut impl FnMut(&str, u64) -> B,
    ) -> Pushed {
        let mut count = count;
        let mut room = Box::<str>::from(room);
        loop {
            count += self.drop_oldest(&room, self.limits.after_drop(), notice);
            match self.oldest_sheddable() {
                Some(next) if self.is_over(limits) => room = next,
                _ => return Pushed::Dropped { count },
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

    /// Drops the oldest messages of a room until the queue is within `limits`, or has none of the
    /// room left. Returns the number of dropped messages.
    ///
    /// A notice takes the place of the first dropped message. Between the dropped messages there
    /// may be answers that give the position in the room: another notice takes the place of the
    /// first dropped message behind each of them, since an earlier notice does not count for a
    /// reader that joins again. Behind any other answer the earlier notice counts, for its reader
    /// stands where it says. So does a notice that was written, behind which nothing of the room
    /// was written: then the new one says the same, since the reader may have asked elsewhere
    /// meanwhile. Notices are always let in: there are no more of them than of such answers.
    pub(super) fn drop_oldest(
        &mut self,
        room: &str,
        limits: QueueLimits,
        notice: &mut impl FnMut(&str, u64) -> B,
    ) -> u32 {
        let (mut bytes, mut frames, mut count) = (self.bytes, self.frames(), 0);
        let (mut notice_bytes, mut notices) = (0, 0);
        let mut told = false;
        let mut after = self.losses.after(room);
        if let Some(begun) = self.first.as_ref().filter(|_| self.written > 0) {
            // The partly written buffer is read before all dropped messages.
            told = begun.tag.is_notice_of(room);
            after = begun.tag.told_of(room).unwrap_or(after);
        }
        let losses = &mut self.losses;
        let mut keep = |chunk: &mut Chunk<B>| {
            let shed = match &chunk.tag {
                Tag::Sheddable(shed) => shed,
                Tag::Gap(loss) => {
                    if *loss.room == *room {
                        (told, after) = (true, Some(loss.after));
                    }
                    return true;
                }
                Tag::Position(of) => {
                    if **of == *room {
                        (told, after) = (false, None);
                    }
                    return true;
                }
                Tag::Control | Tag::Message => return true,
            };
            let fits = bytes <= limits.bytes_max && frames <= limits.frames_max;
            if fits || shed.overflow() != Overflow::DropOldest || *shed.room() != *room {
                return true;
            }
            bytes -= chunk.bytes().len();
            frames -= chunk.frames as usize;
            count += chunk.frames;
            losses.dropped(shed, chunk.frames);
            if told {
                return false;
            }
            told = true;
            // 0 where there is no history.
            let after = *after.get_or_insert(shed.offset().saturating_sub(1));
            let notice = notice(room, after);
            notice_bytes += notice.as_ref().len();
            notices += 1;
            *chunk = Chunk {
                bytes: notice,
                frames: 1,
                tag: Tag::Gap(Loss::new(room, after)),
            };
            true
        };
        if self.written == 0 {
            self.first.take_if(|first| !keep(first));
        }
        self.rest.retain_mut(keep);
        self.bytes = bytes + notice_bytes;
        self.frames -= count;
        self.frames += notices;
        self.fill_first();
        count
    }

    /// The first is held inline.
    fn fill_first(&mut self) {
        if self.first.is_none() {
            self.first = self.rest.pop_front();
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
            // The oldest first.
            let mut replaced = replaced.into_iter().rev();
            if self.written > 0 {
                replaced.next();
            }
            self.retain_unstarted(|_| !replaced.next().unwrap_or(false));
        }
        before - self.frames
    }

    /// Drops unwritten chunks, for which `keep` is asked from the oldest on.
    fn retain_unstarted(&mut self, mut keep: impl FnMut(&Chunk<B>) -> bool) {
        let (mut bytes, mut frames) = (0, 0);
        let losses = &mut self.losses;
        let mut keep = |chunk: &Chunk<B>| {
            let kept = keep(chunk);
            if !kept {
                if let Tag::Sheddable(shed) = &chunk.tag {
                    losses.dropped(shed, chunk.frames);
                }
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
        self.fill_first();
    }
}
