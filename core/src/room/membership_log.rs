//! The newest changes of members of rooms with a history, for questions about the past.

use alloc::{boxed::Box, collections::VecDeque};

use crate::{time::Timestamp, wire::ConnId};

/// Joins, leaves and recoveries in rooms with a history: the newest changes of all such rooms of a
/// hub. Together with the current members they tell who was in a room when a message was sent.
///
/// Only explanations depend on it, so it is not part of the saved state. A hub that wakes knows no
/// earlier changes.
#[derive(Debug, Clone, Default)]
pub(crate) struct MembershipLog {
    changes: VecDeque<MembershipChange>,
    /// The time up to which changes may be missing; `None` when none is.
    missing_until: Option<Timestamp>,
}

/// A change of one member of one room.
#[derive(Debug, Clone)]
struct MembershipChange {
    /// The number of the room's history among the hub's.
    history: u64,
    /// The offset of the last message before the change.
    offset: u64,
    at: Timestamp,
    conn: ConnId,
    kind: ChangeKind,
}

/// The kind of a change in the log.
#[derive(Debug, Clone)]
pub(crate) enum ChangeKind {
    /// The connection joined the room.
    Joined,
    /// The connection left the room, and stayed open.
    Left,
    /// The connection ended.
    Ended,
    /// The connection was sent what it had missed.
    Recovered(Box<Recovery>),
}

/// A recovery: messages of a room behind an offset were sent again.
#[derive(Debug, Clone)]
pub(crate) struct Recovery {
    /// The offset of the last message that the client had.
    pub(crate) after: u64,
    /// The previous connections of the client, as it said.
    pub(crate) was: Box<[ConnId]>,
}

/// Changes of one connection in one room around a message.
#[derive(Debug, Clone, Default)]
pub(crate) struct Around<'a> {
    /// The last change before the message, with its offset.
    pub(crate) before: Option<(u64, &'a ChangeKind)>,
    /// The first change behind the message, with its offset.
    pub(crate) after: Option<(u64, &'a ChangeKind)>,
    /// The newest recovery that the message was in.
    pub(crate) recovery: Option<&'a Recovery>,
}

impl Around<'_> {
    /// True when the connection was a member when the message was sent, or recovered it.
    pub(crate) const fn reaches(&self) -> bool {
        matches!(self.before, Some((_, ChangeKind::Joined))) || self.recovery.is_some()
    }
}

impl MembershipLog {
    /// Changes that are kept: those of the last minutes in a busy hub, in at most 200 KiB beside
    /// the previous connections of recoveries.
    pub(crate) const CHANGES_MAX: usize = 4_096;

    /// Adds the newest change, and drops the oldest when there are too many.
    pub(super) fn push(
        &mut self,
        now: Timestamp,
        (history, offset): (u64, u64),
        conn: ConnId,
        kind: ChangeKind,
    ) {
        if self.changes.len() == Self::CHANGES_MAX
            && let Some(oldest) = self.changes.pop_front()
        {
            self.set_missing_until(oldest.at);
        }
        self.changes.push_back(MembershipChange {
            history,
            offset,
            at: now,
            conn,
            kind,
        });
    }

    /// Marks changes up to this time as missing.
    pub(super) fn set_missing_until(&mut self, until: Timestamp) {
        self.missing_until = self.missing_until.max(Some(until));
    }

    /// Drops all changes: their rooms have ended.
    pub(super) fn clear(&mut self) {
        self.changes = VecDeque::new();
    }

    /// True when the log has every change since this time.
    pub(crate) fn is_complete_since(&self, at: Timestamp) -> bool {
        self.missing_until.is_none_or(|until| until < at)
    }

    /// The changes of a connection around the message at an offset of a history. Work: the log.
    pub(super) fn around(&self, history: u64, offset: u64, conn: ConnId) -> Around<'_> {
        let changes = self.changes.iter();
        let of_conn = changes.filter(|change| change.history == history && change.conn == conn);
        let mut around = Around::default();
        for change in of_conn {
            let found = Some((change.offset, &change.kind));
            match &change.kind {
                ChangeKind::Recovered(recovery) => {
                    if recovery.after < offset && offset <= change.offset {
                        around.recovery = Some(recovery);
                    }
                }
                ChangeKind::Joined | ChangeKind::Left | ChangeKind::Ended => {
                    if change.offset < offset {
                        around.before = found;
                    } else {
                        around.after = around.after.or(found);
                    }
                }
            }
        }
        around
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_bounded_and_knows_what_it_lacks() {
        let at = Timestamp::from_millis;
        let (a, b) = (ConnId::new(1, 0), ConnId::new(2, 1));
        let mut log = MembershipLog::default();
        log.push(at(5), (1, 0), a, ChangeKind::Joined);
        log.push(at(6), (1, 3), a, ChangeKind::Ended);
        assert!(log.is_complete_since(Timestamp::ZERO));
        let around = log.around(1, 2, a);
        assert!(matches!(around.before, Some((0, ChangeKind::Joined))));
        assert!(matches!(around.after, Some((3, ChangeKind::Ended))));
        for (history, conn) in [(1, b), (2, a)] {
            let around = log.around(history, 2, conn);
            assert!(around.before.is_none() && around.after.is_none());
        }
        for offset in 0..MembershipLog::CHANGES_MAX as u64 - 1 {
            log.push(at(7), (2, offset), b, ChangeKind::Left);
        }
        assert_eq!(log.changes.len(), MembershipLog::CHANGES_MAX);
        assert!(log.is_complete_since(at(6)) && !log.is_complete_since(at(5)));
        assert!(log.around(1, 2, a).before.is_none());
    }
}
