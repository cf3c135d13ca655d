//! What happened to connections while the hub acted, for those who want to be told.

use alloc::{boxed::Box, sync::Arc, vec::Vec};

use crate::{close::DisconnectReason, conn::ConnId};

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
}

impl Change {
    pub(crate) fn conn(&self) -> ConnId {
        match self {
            Self::Joined { conn, .. } | Self::Left { conn, .. } => *conn,
            Self::Ended(departed) => departed.id,
        }
    }

    /// Whether it is a part of the end of a connection.
    pub(crate) const fn is_of_the_end(&self) -> bool {
        match self {
            Self::Joined { .. } => false,
            Self::Left { departed, .. } => departed.is_some(),
            Self::Ended(_) => true,
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
