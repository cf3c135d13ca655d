//! The newest pages of histories that clients were given, for questions about the past.

use alloc::{boxed::Box, collections::VecDeque};

use crate::{time::Timestamp, wire::ConnId};

/// Answers to `$history` that had messages in them: the newest of all rooms of a hub.
#[derive(Debug, Clone, Default)]
pub(crate) struct PageLog {
    pages: VecDeque<PageRead>,
    /// The time up to which pages are missing; `None` when none is.
    missing_until: Option<Timestamp>,
}

/// A page that a connection was given.
#[derive(Debug, Clone)]
pub(crate) struct PageRead {
    /// The number of the room's history among the hub's.
    pub(crate) history: u64,
    pub(crate) conn: ConnId,
    /// The offsets of its first and last message. Between them it lacks only messages that are not
    /// for its reader.
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// The previous connections of the client, as it said.
    pub(crate) was: Box<[ConnId]>,
    pub(crate) at: Timestamp,
}

impl PageLog {
    /// Pages that are kept, in at most 256 KiB beside the previous connections: as many as changes
    /// of members are.
    const PAGES_MAX: usize = 4_096;

    /// Adds the newest page, and drops the oldest when there are too many.
    pub(super) fn push(&mut self, page: PageRead) {
        // Consecutive pages of one client are merged into one entry.
        if let Some(newest) = self.pages.back_mut()
            && (newest.history, newest.conn) == (page.history, page.conn)
            && newest.was == page.was
            && page.first <= newest.last + 1
            && newest.first <= page.last + 1
        {
            newest.first = newest.first.min(page.first);
            newest.last = newest.last.max(page.last);
            newest.at = page.at;
            return;
        }
        if self.pages.len() == Self::PAGES_MAX
            && let Some(oldest) = self.pages.pop_front()
        {
            self.missing_until = Some(oldest.at);
        }
        self.pages.push_back(page);
    }

    /// Drops all pages: their rooms have ended.
    pub(super) fn clear(&mut self) {
        self.pages = VecDeque::new();
    }

    /// True when the log has every page since this time.
    pub(super) fn is_complete_since(&self, at: Timestamp) -> bool {
        self.missing_until.is_none_or(|until| until < at)
    }

    /// The pages of a connection that reach over an offset of a history. Work: the log.
    pub(super) fn over(
        &self,
        history: u64,
        offset: u64,
        conn: ConnId,
    ) -> impl Iterator<Item = &PageRead> {
        self.pages.iter().filter(move |page| {
            (page.history, page.conn) == (history, conn)
                && (page.first..=page.last).contains(&offset)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(history: u64, conn: ConnId, (first, last): (u64, u64), at: u64) -> PageRead {
        let at = Timestamp::from_millis(at);
        let was = Box::default();
        PageRead {
            history,
            conn,
            first,
            last,
            was,
            at,
        }
    }

    #[test]
    fn the_log_is_bounded_and_knows_what_it_lacks() {
        let at = Timestamp::from_millis;
        let (a, b) = (ConnId::new(1, 0), ConnId::new(2, 1));
        let mut log = PageLog::default();
        log.push(page(1, a, (5, 9), 3));
        log.push(page(1, a, (2, 4), 4));
        assert_eq!(log.pages.len(), 1);
        for (offset, count) in [(1, 0), (2, 1), (9, 1), (10, 0)] {
            assert_eq!(log.over(1, offset, a).count(), count, "{offset}");
        }
        assert_eq!(log.over(1, 5, b).count() + log.over(2, 5, a).count(), 0);
        assert!(log.is_complete_since(Timestamp::ZERO));
        for number in 0..PageLog::PAGES_MAX as u64 {
            log.push(page(number + 2, b, (1, 1), 6));
        }
        assert_eq!(log.pages.len(), PageLog::PAGES_MAX);
        assert_eq!(log.over(1, 5, a).count(), 0);
        assert!(log.is_complete_since(at(5)) && !log.is_complete_since(at(4)));
    }
}
