//! Changes of connections and memberships, recorded for the hooks of the application.

use alloc::{boxed::Box, sync::Arc, vec::Vec};

use crate::{room::presence::Who, wire::ConnId, wire::DisconnectReason};

/// A change of membership, or the end of a connection, whatever the cause: a verb, the application,
/// a limit or a missing heartbeat.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Joined {
        conn: ConnId,
        room: Box<str>,
    },
    Left {
        conn: ConnId,
        room: Box<str>,
        /// The final state of the connection, when it left because it ended.
        ended: Option<Arc<EndedConnection>>,
    },
    Ended(Arc<EndedConnection>),
    /// A connection ended before the application had accepted or refused it.
    Abandoned(ConnId),
    /// A user entered a room, with this connection as the first.
    Present {
        conn: ConnId,
        room: Box<str>,
        user: Box<str>,
    },
    Absent {
        /// The connection that left; `None` when the user did not return in time.
        conn: Option<ConnId>,
        room: Box<str>,
        user: Box<str>,
        /// True when the connection left because it ended.
        ended: bool,
    },
}

// There is one per hook call: a connection that ends in 128 rooms causes 129.
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

    /// True when the change would not have happened without this connection. `brought` are the
    /// rooms that its user entered with it. In other rooms the user was present before the
    /// connection came, so that the user's absence is not undone.
    fn is_of(&self, conn: ConnId, brought: &[Box<str>]) -> bool {
        let stays = matches!(self, Self::Absent { room, .. } if !brought.contains(room));
        self.conn() == Some(conn) && !stays
    }

    /// True when the change is part of a connection's end.
    pub(crate) const fn is_of_the_end(&self) -> bool {
        match self {
            Self::Joined { .. } | Self::Present { .. } => false,
            Self::Left { ended, .. } => ended.is_some(),
            Self::Ended(_) | Self::Abandoned(_) => true,
            Self::Absent { ended, .. } => *ended,
        }
    }
}

/// The final state of a connection that has ended.
#[derive(Debug, Clone)]
pub(crate) struct EndedConnection {
    pub(crate) id: ConnId,
    pub(crate) user: Option<Box<str>>,
    /// Sorted.
    pub(crate) rooms: Vec<Box<str>>,
    pub(crate) session: Option<Box<str>>,
    pub(crate) reason: DisconnectReason,
}

/// A connection that left a room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaving {
    pub(super) conn: ConnId,
    /// True when it ended and may come back; `None` when it left without ending.
    pub(super) ended: Option<bool>,
}

/// The changes since they were last taken, if they are recorded.
#[derive(Debug, Clone, Default)]
pub(super) struct Changes {
    /// `None` when changes are not recorded.
    recorded: Option<Vec<Change>>,
    /// True when users who come and go are recorded too.
    presence: bool,
}

impl Changes {
    /// Starts or stops recording; with `presence`, users who come and go are recorded too.
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

    /// Drops the changes that would not have happened without this connection.
    pub(super) fn retract(&mut self, conn: ConnId) {
        if let Some(changes) = &mut self.recorded {
            let came = changes.iter().filter_map(|change| change.brought_by(conn));
            let came: Vec<_> = came.map(Box::<str>::from).collect();
            changes.retain(|change| !change.is_of(conn, &came));
        }
    }

    /// Records a change, if changes are recorded.
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
