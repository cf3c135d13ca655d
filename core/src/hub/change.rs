//! Changes of connections while the hub acts, recorded for those who want to be told.

use alloc::{boxed::Box, sync::Arc, vec::Vec};

use super::Hub;
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
        departed: Option<Arc<Departed>>,
    },
    Ended(Arc<Departed>),
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
            Self::Ended(departed) => Some(departed.id),
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
            Self::Left { departed, .. } => departed.is_some(),
            Self::Ended(_) => true,
            Self::Absent { ended, .. } => *ended,
        }
    }
}

/// A connection that the hub has forgotten, as it was at its end.
#[derive(Debug, Clone)]
pub(crate) struct Departed {
    pub(crate) id: ConnId,
    pub(crate) user: Option<Box<str>>,
    /// Sorted.
    pub(crate) rooms: Vec<Box<str>>,
    pub(crate) session: Option<Box<str>>,
    pub(crate) reason: DisconnectReason,
}

/// A connection that is out of a room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Departing {
    pub(super) conn: ConnId,
    /// True when it may come back; `None` when it did not leave by ending.
    pub(super) ended: Option<bool>,
}

impl Hub {
    /// Starts or stops the recording of changes.
    pub(crate) fn watch_changes(&mut self, watches: bool) {
        self.changes = watches.then(Vec::new);
    }

    /// True when changes are recorded.
    #[inline]
    pub(crate) const fn watches_changes(&self) -> bool {
        self.changes.is_some()
    }

    /// Takes the changes since this was last called.
    pub(crate) fn take_changes(&mut self) -> impl Iterator<Item = Change> {
        self.changes
            .iter_mut()
            .flat_map(|changes| changes.drain(..))
    }

    /// Forgets the changes that would not have happened without a connection that is gone.
    pub(crate) fn retract_changes(&mut self, conn: ConnId) {
        if let Some(changes) = &mut self.changes {
            let came = changes.iter().filter_map(|change| change.brought_by(conn));
            let came: Vec<_> = came.map(Box::<str>::from).collect();
            changes.retain(|change| !change.is_of(conn, &came));
        }
    }

    /// Records a change, where anybody wants it.
    #[inline]
    pub(super) fn note(&mut self, change: impl FnOnce() -> Change) {
        if let Some(changes) = &mut self.changes {
            changes.push(change());
        }
    }

    /// Out of line: a hub that nobody watches does not pay for it.
    #[inline(never)]
    pub(super) fn note_end(&mut self, id: ConnId, reason: DisconnectReason) {
        let (Some(changes), Some(conn)) = (&mut self.changes, self.conns.get(id)) else {
            return;
        };
        let rooms = conn.rooms.iter();
        let rooms = rooms.map(|&slot| self.rooms.get(slot).name.clone());
        let mut departed = Departed {
            id,
            user: conn.user.clone(),
            rooms: rooms.collect(),
            session: conn.session.clone(),
            reason,
        };
        departed.rooms.sort_unstable();
        changes.push(Change::Ended(Arc::new(departed)));
    }

    /// Notes down for the application that a user is in a room.
    pub(super) fn note_present(&mut self, slot: u32, conn: ConnId, user: Option<Box<str>>) {
        if let (true, Some(changes), Some(user)) =
            (self.config.notify_presence, &mut self.changes, user)
        {
            let room = self.rooms.get(slot).name.clone();
            changes.push(Change::Present { conn, room, user });
        }
    }

    /// Notes down for the application that a user is gone from a room.
    pub(super) fn note_absent(&mut self, slot: u32, who: Who<'_>, departing: Option<Departing>) {
        if let (true, Some(changes), Who::User(user)) =
            (self.config.notify_presence, &mut self.changes, who)
        {
            changes.push(Change::Absent {
                conn: departing.map(|departing| departing.conn),
                room: self.rooms.get(slot).name.clone(),
                user: user.into(),
                ended: departing.is_some_and(|departing| departing.ended.is_some()),
            });
        }
    }
}
