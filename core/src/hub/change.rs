//! What happened to connections while the hub acted, for those who want to be told.

use alloc::{boxed::Box, sync::Arc, vec::Vec};

use crate::{hub::conn::ConnId, wire::close::DisconnectReason};

/// One change of membership or life, however it came about: by a verb, by the application, by a
/// limit, by silence.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Joined {
        conn: ConnId,
        room: Box<str>,
    },
    Left {
        conn: ConnId,
        room: Box<str>,
        /// What the connection was, when it left by ending.
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
        /// Whose leaving it was; `None` when the user was waited for in vain.
        conn: Option<ConnId>,
        room: Box<str>,
        user: Box<str>,
        /// Whether the connection left by ending.
        ended: bool,
    },
}

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
    pub(crate) fn brought_by(&self, by: ConnId) -> Option<&str> {
        match self {
            Self::Present { conn, room, .. } if *conn == by => Some(room),
            Self::Present { .. }
            | Self::Joined { .. }
            | Self::Left { .. }
            | Self::Ended(_)
            | Self::Absent { .. } => None,
        }
    }

    /// Whether it would not have been without this connection, which brought its user to these rooms.
    /// A user who was there before it, and is gone with it, is gone all the same.
    pub(crate) fn is_of(&self, conn: ConnId, brought: &[Box<str>]) -> bool {
        let gone = match self {
            Self::Absent { room, .. } => brought.contains(room),
            Self::Joined { .. } | Self::Left { .. } | Self::Ended(_) | Self::Present { .. } => true,
        };
        self.conn() == Some(conn) && gone
    }

    /// Whether it is a part of the end of a connection.
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
