//! Changes of connections while the hub acts, recorded for those who want to be told.

use alloc::{boxed::Box, sync::Arc, vec::Vec};

use crate::{room::presence::Who, wire::ConnId, wire::DisconnectReason};

/// A change of membership or of a connection's life, however it came about: by a verb, by the
/// application, by a limit, by silence.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Joined {
        conn: ConnId,
        room: Box<str>,
    },
    Left {
        conn: ConnId,
        room: Box<str>,
        /// The connection as it was at its end, when it left by ending.
        ended: Option<Arc<EndedConnection>>,
    },
    Ended(Arc<EndedConnection>),
    /// A connection ended that the application had not decided about.
    Abandoned(ConnId),
    /// A user is in a room, by this first connection.
    Present {
        conn: ConnId,
        room: Box<str>,
        user: Box<str>,
    },
    Absent {
        /// The connection that left; `None` when the user was waited for in vain.
        conn: Option<ConnId>,
        room: Box<str>,
        user: Box<str>,
        /// True when the connection left by ending.
        ended: bool,
    },
}

// One for each hook that is to run: a connection that ends in 128 rooms leads to 129.
const _: () = assert!(size_of::<Change>() <= 56);

impl Change {
    pub(crate) fn conn(&self) -> Option<ConnId> {
        match self {
            Self::Joined { conn, .. } | Self::Left { conn, .. } | Self::Present { conn, .. } => {
                Some(*conn)
            }
            Self::Ended(ended) => Some(ended.id),
            Self::Abandoned(conn) => Some(*conn),
            Self::Absent { conn, .. } => *conn,
        }
    }

    /// The room that this connection brought its user to.
    fn brought_by(&self, by: ConnId) -> Option<&str> {
        let Self::Present { conn, room, .. } = self else {
            return None;
        };
        (*conn == by).then_some(room)
    }

    /// True when the change would not have happened without this connection, which brought its user
    /// to these rooms. A user who was there before the connection, and is gone with it, is gone all
    /// the same.
    fn is_of(&self, conn: ConnId, brought: &[Box<str>]) -> bool {
        let stays = matches!(self, Self::Absent { room, .. } if !brought.contains(room));
        self.conn() == Some(conn) && !stays
    }

    /// True when the change is a part of the end of a connection.
    pub(crate) const fn is_of_the_end(&self) -> bool {
        match self {
            Self::Joined { .. } | Self::Present { .. } => false,
            Self::Left { ended, .. } => ended.is_some(),
            Self::Ended(_) | Self::Abandoned(_) => true,
            Self::Absent { ended, .. } => *ended,
        }
    }
}

/// A connection that the hub has forgotten, as it was at its end.
#[derive(Debug, Clone)]
pub(crate) struct EndedConnection {
    pub(crate) id: ConnId,
    pub(crate) user: Option<Box<str>>,
    /// Sorted.
    pub(crate) rooms: Vec<Box<str>>,
    pub(crate) session: Option<Box<str>>,
    pub(crate) reason: DisconnectReason,
}

/// A connection that is out of a room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaving {
    pub(super) conn: ConnId,
    /// True when it may come back; `None` when it did not leave by ending.
    pub(super) ended: Option<bool>,
}

/// Changes since they were last taken, where anybody wants them.
#[derive(Debug, Clone, Default)]
pub(super) struct Changes {
    /// `None` when nobody wants them.
    recorded: Option<Vec<Change>>,
    /// True when users who come and go are wanted too.
    presence: bool,
}

impl Changes {
    /// Records what happens from now on, or nothing; with `presence` also users who come and go.
    pub(super) fn record(&mut self, records: bool, presence: bool) {
        self.recorded = records.then(Vec::new);
        self.presence = records && presence;
    }

    /// True when changes are recorded.
    #[inline]
    pub(super) const fn are_recorded(&self) -> bool {
        self.recorded.is_some()
    }

    /// Takes the changes since this was last called.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Change> {
        let recorded = self.recorded.iter_mut();
        recorded.flat_map(|changes| changes.drain(..))
    }

    /// Forgets the changes that would not have happened without a connection that is gone.
    pub(super) fn retract(&mut self, conn: ConnId) {
        if let Some(changes) = &mut self.recorded {
            let came = changes.iter().filter_map(|change| change.brought_by(conn));
            let came: Vec<_> = came.map(Box::<str>::from).collect();
            changes.retain(|change| !change.is_of(conn, &came));
        }
    }

    /// Records a change, where anybody wants it.
    #[inline]
    pub(super) fn push(&mut self, change: impl FnOnce() -> Change) {
        if let Some(changes) = &mut self.recorded {
            changes.push(change());
        }
    }

    /// Records that a user is in a room.
    pub(super) fn push_present(&mut self, room: &str, conn: ConnId, user: Option<Box<str>>) {
        if let (true, Some(user)) = (self.presence, user) {
            let room = room.into();
            self.push(|| Change::Present { conn, room, user });
        }
    }

    /// Records that a user is gone from a room.
    pub(super) fn push_absent(&mut self, room: &str, who: Who<'_>, leaving: Option<Leaving>) {
        if let (true, Who::User(user)) = (self.presence, who) {
            self.push(|| Change::Absent {
                conn: leaving.map(|leaving| leaving.conn),
                room: room.into(),
                user: user.into(),
                ended: leaving.is_some_and(|leaving| leaving.ended.is_some()),
            });
        }
    }
}
