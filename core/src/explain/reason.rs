//! Reasons why a connection gets a message or does not.

use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::{hub::JoinError, policy::Overflow, policy::Right, wire::ConnId};

/// A reason why a connection gets a message or does not. Its [`Display`](fmt::Display) is a
/// sentence that names the rule; in JSON it is an object whose member `reason` is its code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The audience is everybody.
    All,
    /// The connection is a member of a room of the audience.
    Member {
        /// The first such room.
        room: String,
    },
    /// The audience names the user of the connection.
    NamedUser {
        /// The user.
        user: String,
    },
    /// The audience names the connection.
    NamedConn,
    /// The connection was a member of the room when the message was sent.
    Sent,
    /// The connection recovered the message: it joined with `since`.
    Recovered {
        /// The offset that it had seen.
        after: u64,
    },
    /// The connection read the message in a page of `$history`.
    Paged,

    /// The connection has no grants, and therefore every right.
    EveryRight,
    /// A grant of the connection's identity gives the right.
    Granted {
        /// The right.
        right: Right,
    },
    /// A grant of the configuration gives the right.
    GrantedToUsers {
        /// The right.
        right: Right,
    },
    /// A backend that was asked for the room gave the right.
    GrantedByBackend {
        /// The right.
        right: Right,
    },
    /// No grant gives the connection the right.
    NotGranted {
        /// The right.
        right: Right,
    },
    /// The client has yet to identify itself.
    Unidentified,
    /// The identity of the connection has expired, and was not renewed.
    Expired,
    /// Only members of the room may ask for this, and the connection is not one.
    ForMembers,
    /// The room has as many members as its policy allows.
    RoomFull {
        /// The limit.
        limit: usize,
    },
    /// The room's policy has no presence.
    NoPresence,
    /// The room's policy has no history.
    KeepsNoHistory,

    /// The connection is not a member of the room, or was not when the message was sent.
    NotAMember,
    /// The audience does not name the connection in any way.
    NotInAudience,
    /// The connection published the message itself, and asked for no echo.
    OwnWithoutEcho,
    /// The connection is a member of a room that is left out.
    ExceptRoom {
        /// The first such room.
        room: String,
    },
    /// The user of the connection is left out.
    ExceptUser {
        /// The user.
        user: String,
    },
    /// The connection is left out.
    ExceptConn,
    /// The connection was left out, by itself or as a member of a room.
    Excepted,
    /// A previous connection of the client was left out, and the client named it when it recovered.
    ExceptedBefore,
    /// The connection joined the room after the message.
    JoinedAfter {
        /// The offset of the room when it joined.
        joined: u64,
    },
    /// The connection left the room before the message.
    LeftBefore {
        /// The offset of the room when it left.
        left: u64,
    },
    /// The connection ended before the message.
    EndedBefore {
        /// The offset of the room when it ended.
        left: u64,
    },
    /// The connection opened after the message.
    ConnectedAfter,
    /// The connection is not alive.
    NotConnected,
    /// No connection has had the id so far.
    NeverConnected,
    /// The publisher is not alive: its message is dropped.
    NoPublisher {
        /// The publisher.
        from: ConnId,
    },
    /// The room's policy lets no client publish.
    PublishForbidden,
    /// No message has the offset yet, or ever.
    NotSent {
        /// The offset of the newest message; 0 before the first.
        newest: u64,
    },

    /// The message was dropped from the queue of the connection, which was full.
    Dropped {
        /// The rule for full queues.
        overflow: Overflow,
        /// The limit on queued bytes.
        bytes_max: usize,
        /// The limit on queued frames.
        frames_max: usize,
    },

    /// The message was sent to the connection, and the room's policy may have dropped it from its
    /// queue.
    SentUnlessDropped {
        /// The rule for full queues.
        overflow: Overflow,
        /// The number of the room's history among the hub's.
        #[serde(skip)]
        history: u64,
        /// True unless the connection may have read the message otherwise.
        #[serde(skip)]
        is_final: bool,
    },
    /// The message was sent to the connection, which has ended since.
    EndedSince,
    /// The user of the connection was left out, and the connection got its user after the message.
    NamedSince {
        /// The user.
        user: String,
    },
    /// The room keeps no history, or there is no such room.
    NoHistory,
    /// The history does not reach back to the message.
    HistoryTrimmed {
        /// The offset of the oldest message that it has.
        first: u64,
    },
    /// The message is with the host.
    HistoryAway,
    /// The changes of members since the message are not all known.
    MembershipUnknown,
    /// The pages that were read since the message are not all known.
    PagesUnknown,
}

impl Reason {
    /// True when the connection gets the message, or has the right; false when not; `None` when the
    /// server does not know. A message counts as received when it is queued for the connection.
    pub const fn received(&self) -> Option<bool> {
        match self {
            Self::All
            | Self::Member { .. }
            | Self::NamedUser { .. }
            | Self::NamedConn
            | Self::Sent
            | Self::Recovered { .. }
            | Self::Paged
            | Self::EveryRight
            | Self::Granted { .. }
            | Self::GrantedToUsers { .. }
            | Self::GrantedByBackend { .. } => Some(true),
            Self::NotAMember
            | Self::NotInAudience
            | Self::OwnWithoutEcho
            | Self::ExceptRoom { .. }
            | Self::ExceptUser { .. }
            | Self::ExceptConn
            | Self::Excepted
            | Self::ExceptedBefore
            | Self::JoinedAfter { .. }
            | Self::LeftBefore { .. }
            | Self::EndedBefore { .. }
            | Self::ConnectedAfter
            | Self::NotConnected
            | Self::NeverConnected
            | Self::NoPublisher { .. }
            | Self::NotGranted { .. }
            | Self::Unidentified
            | Self::Expired
            | Self::ForMembers
            | Self::RoomFull { .. }
            | Self::NoPresence
            | Self::KeepsNoHistory
            | Self::PublishForbidden
            | Self::NotSent { .. }
            | Self::Dropped { .. } => Some(false),
            Self::SentUnlessDropped { .. }
            | Self::EndedSince
            | Self::NamedSince { .. }
            | Self::NoHistory
            | Self::HistoryTrimmed { .. }
            | Self::HistoryAway
            | Self::MembershipUnknown
            | Self::PagesUnknown => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[allow(clippy::wildcard_enum_match_arm)] // the others are told elsewhere
        match self {
            Self::All => f.write_str("the audience is all connections of the namespace"),
            Self::Member { room } => {
                write!(
                    f,
                    "the connection is a member of the room {room:?} of the audience"
                )
            }
            Self::NamedUser { user } => {
                write!(f, "the audience names the user {user:?} of the connection")
            }
            Self::NamedConn => f.write_str("the audience names the connection"),
            Self::Sent => {
                f.write_str("the connection was a member of the room when the message was sent")
            }
            Self::Recovered { after } => write!(
                f,
                "the connection was no member when the message was sent, and recovered it: it \
                 joined with `since` at offset {after}"
            ),
            Self::Paged => f.write_str("the connection read the message by `$history`"),
            Self::EveryRight => f.write_str(
                "the connection has no grants, and so every right: see the policy of the room",
            ),
            Self::Granted { right } => {
                write!(
                    f,
                    "a grant of the connection's token gives the right to {right}"
                )
            }
            Self::GrantedToUsers { right } => {
                write!(
                    f,
                    "one of the server's `[[grants]]` gives the right to {right}"
                )
            }
            Self::GrantedByBackend { right } => {
                write!(f, "the backend of `[ask]` gave the right to {right}")
            }
            other => other.fmt_missed(f),
        }
    }
}

impl Reason {
    /// The sentence of a reason by which the connection does not get the message.
    #[allow(clippy::wildcard_enum_match_arm)] // the others are told elsewhere
    fn fmt_missed(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAMember => {
                f.write_str("the connection is not a member of the room at the time of the message")
            }
            Self::NotInAudience => f.write_str(
                "the audience names neither the connection, nor its user, nor a room that it is in",
            ),
            Self::OwnWithoutEcho => f.write_str(
                "the connection published the message itself and gets no echo: see `echo` of the \
                 message, and else of the room's policy",
            ),
            Self::ExceptRoom { room } => write!(
                f,
                "`except_rooms` names the room {room:?}, of which the connection is a member"
            ),
            Self::ExceptUser { user } => {
                write!(
                    f,
                    "`except_users` names the user {user:?} of the connection"
                )
            }
            Self::ExceptConn => f.write_str("`except_conns` names the connection"),
            Self::Excepted => f.write_str(
                "the sender left the connection out, by `except_conns`, `except_rooms` or \
                 `except_users`: the server keeps no record of which",
            ),
            Self::ExceptedBefore => f.write_str(
                "the connection recovered what it had missed, but not this message: a connection \
                 that it was before published it without `echo`, or was left out",
            ),
            Self::JoinedAfter { joined } => write!(
                f,
                "the connection joined the room after the message, at offset {joined}, without \
                 recovering it"
            ),
            Self::LeftBefore { left } => write!(
                f,
                "the connection left the room before the message, at offset {left}"
            ),
            Self::EndedBefore { left } => {
                write!(
                    f,
                    "the connection ended before the message, at offset {left}"
                )
            }
            Self::ConnectedAfter => {
                f.write_str("the connection opened after the message, and did not recover it")
            }
            Self::NotConnected => f.write_str(
                "the connection is not alive: it has ended, if there was one of this id",
            ),
            Self::NeverConnected => f.write_str("no connection has had this id so far"),
            Self::NoPublisher { from } => {
                write!(
                    f,
                    "the publisher {from} is not connected: its message is dropped"
                )
            }
            Self::NotSent { newest } => write!(
                f,
                "the room has no message at this offset: its newest has offset {newest}"
            ),
            refused => refused.fmt_refused(f),
        }
    }

    /// The sentence of a reason by which an action is refused.
    #[allow(clippy::wildcard_enum_match_arm)] // the others are told elsewhere
    fn fmt_refused(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGranted { right } => write!(
                f,
                "no grant gives the right to {right}: neither those of the token nor the server's"
            ),
            Self::Unidentified => f.write_str("the client has not said yet who it is, by `$auth`"),
            Self::PublishForbidden => {
                f.write_str("the room's policy has `publish = false`: no client may publish to it")
            }
            Self::Expired => f.write_str(
                "the token is over: until the client renews it, by `$auth`, it may do nothing",
            ),
            Self::ForMembers => f.write_str(
                "this is for members of the room, and the connection is none: it has to join first",
            ),
            Self::RoomFull { limit } => {
                fmt::Display::fmt(&JoinError::MemberLimit { limit: *limit }, f)
            }
            Self::NoPresence => f.write_str("the room shows nobody: its policy has no `presence`"),
            Self::KeepsNoHistory => {
                f.write_str("the room keeps no history: its policy has no `history`")
            }
            other => other.fmt_dropped(f),
        }
    }

    /// The sentence of a drop.
    fn fmt_dropped(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Dropped {
            overflow,
            bytes_max,
            frames_max,
        } = self
        else {
            return self.fmt_unknown(f);
        };
        write!(
            f,
            "the message was dropped by `overflow = \"{}\"` from the connection's queue, which was \
             full: it reads too slowly, and at most {bytes_max} bytes and {frames_max} frames wait",
            overflow.as_str()
        )
    }

    /// The sentence of a reason by which it is unknown whether the connection got the message.
    #[allow(clippy::wildcard_enum_match_arm)] // the others are told
    fn fmt_unknown(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SentUnlessDropped { overflow, .. } => write!(
                f,
                "the message was queued for the connection, a member of the room; whether \
                 `overflow = \"{}\"` dropped it from a full queue the server keeps no record of",
                overflow.as_str()
            ),
            Self::EndedSince => f.write_str(
                "the message was queued for the connection, which has ended since: the server \
                 keeps no record of what was written to it before",
            ),
            Self::NamedSince { user } => write!(
                f,
                "the sender left out the user {user:?}, and the connection said after the message \
                 that it is this user: the server keeps no record of what it got before"
            ),
            Self::NoHistory => f.write_str(
                "the server keeps no record of this: the room has no history (`history` in its \
                 policy), or there is no such room; ask for the next message of a publisher, by \
                 `from`",
            ),
            Self::HistoryTrimmed { first } => write!(
                f,
                "the server keeps no record of this any more: the history of the room begins at \
                 offset {first}"
            ),
            Self::HistoryAway => f.write_str("the message is in storage and was not loaded"),
            Self::MembershipUnknown => f.write_str(
                "the server keeps no record of who was in the room then: it has forgotten changes \
                 of members or of the policies since, or slept or started again",
            ),
            Self::PagesUnknown => f.write_str(
                "the connection was not sent the message live; whether it read it by `$history` the \
                 server keeps no record of any more",
            ),
            _ => Ok(()),
        }
    }
}
