//! Explanations of why a connection gets a message or does not, by the rules of the fan-out.

mod at_queue;
mod reason;
mod right;

use alloc::{borrow::ToOwned, boxed::Box, string::String};
use core::fmt;

use serde::{Deserialize, Serialize};

pub use self::reason::Reason;
use crate::hub::{Audience, Hub};
use crate::policy::{Overflow, Right};
use crate::room::membership_log::{Around, ChangeKind};
use crate::room::{Except, history::History, history::Reader};
use crate::{time::Timestamp, wire::ConnId};

/// A send to explain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Explained {
    /// A hypothetical send of the application or the HTTP API to this audience.
    Send(Box<Audience>),
    /// A hypothetical publish of a client.
    Publish {
        /// The client that publishes.
        from: ConnId,
        /// The room that it publishes to.
        room: String,
        /// The `echo` of its message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        echo: Option<bool>,
    },
    /// A hypothetical action of a client in a room: whether its identity, its grants and the room's
    /// policy allow it. Limits of the connection itself are not checked.
    Right {
        /// The right that it needs.
        right: Right,
        /// The room.
        room: String,
    },
    /// A message that is in the history of a room.
    Past {
        /// The room.
        room: String,
        /// The offset of the message.
        offset: u64,
    },
}

impl Explained {
    /// The message at an offset of a room's history.
    pub fn past(room: impl Into<String>, offset: u64) -> Self {
        let room = room.into();
        Self::Past { room, offset }
    }
}

impl From<Audience> for Explained {
    fn from(audience: Audience) -> Self {
        Self::Send(Box::new(audience))
    }
}

/// The reason why a connection gets a message or does not, and the rule that decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The reason.
    #[serde(flatten)]
    pub reason: Reason,
    /// The pattern of the room policy or of the grant that decides; `None` when none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Box<str>>,
}

/// The sentence of the reason, with the rule.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)?;
        match &self.rule {
            Some(rule) => write!(f, ", by the rule `{rule}`"),
            None => Ok(()),
        }
    }
}

impl From<Reason> for Explanation {
    fn from(reason: Reason) -> Self {
        Self { reason, rule: None }
    }
}

impl Hub {
    /// Explains why a connection would get a new message, or got one of a history, or not. The
    /// connection need not be alive. Nothing changes.
    ///
    /// The hub claims only what it knows: the members of all rooms, the messages of histories with
    /// their exceptions, the last 4,096 changes of members of rooms with a history, and the last
    /// 4,096 pages that clients read. If that is not enough, the reason names the missing record,
    /// and [`Reason::received`] is `None`. Messages that are [away](Self::is_away) must be loaded
    /// first. For messages that a queue dropped, the host [asks the queue](Explanation::at_queue).
    ///
    /// Work: look-ups; for a past message, a walk over these changes and pages.
    ///
    /// ```
    /// use roomcast_core::{Audience, Config, Handshake, Hub, Outbox, Timestamp};
    ///
    /// let mut hub = Hub::new(Config::new("epoch"));
    /// let (now, mut out) = (Timestamp::ZERO, Outbox::new());
    /// let ann = hub.connect(now, Handshake::new().with_user("ann"), &mut out)?;
    /// hub.join(now, ann, "lobby", &mut out)?;
    /// let audience = Audience::room("lobby").except_user("ann");
    /// let explanation = hub.explain(&audience.into(), ann);
    /// assert_eq!(explanation.reason.received(), Some(false));
    /// assert_eq!(
    ///     explanation.reason.to_string(),
    ///     "`except_users` names the user \"ann\" of the connection"
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn explain(&self, send: &Explained, conn: ConnId) -> Explanation {
        match send {
            Explained::Send(audience) => self.explain_send(audience, conn).into(),
            Explained::Publish { from, room, echo } => {
                self.explain_publish(*from, room, *echo, conn)
            }
            Explained::Right { right, room } => self.explain_right(*right, room, conn),
            Explained::Past { room, offset } => self.explain_past(room, *offset, conn),
        }
    }

    /// The reason for a send, by the steps that resolve an audience, for one connection.
    fn explain_send(&self, audience: &Audience, conn: ConnId) -> Reason {
        let Some(info) = self.connection(conn) else {
            return self.explain_absent(conn);
        };
        let member = |room: &str| self.members(room).binary_search(&conn).is_ok();
        let member_of = |rooms: &[Box<str>]| {
            let found = rooms.iter().find(|room| member(room));
            found.map(|room| (**room).to_owned())
        };
        let user_of = |users: &[Box<str>]| {
            let user = info.user?;
            users
                .iter()
                .any(|other| **other == *user)
                .then(|| user.to_owned())
        };
        let named = if audience.all {
            Reason::All
        } else if let Some(room) = member_of(&audience.rooms) {
            Reason::Member { room }
        } else if let Some(user) = user_of(&audience.users) {
            Reason::NamedUser { user }
        } else if audience.conns.contains(&conn) {
            Reason::NamedConn
        } else {
            return match audience.as_room() {
                Some(_) => Reason::NotAMember,
                None => Reason::NotInAudience,
            };
        };
        if let Some(room) = member_of(&audience.except_rooms) {
            Reason::ExceptRoom { room }
        } else if let Some(user) = user_of(&audience.except_users) {
            Reason::ExceptUser { user }
        } else if audience.except_conns.contains(&conn) {
            Reason::ExceptConn
        } else {
            named
        }
    }

    /// The reason for a publish of a client.
    fn explain_publish(
        &self,
        from: ConnId,
        room: &str,
        echo: Option<bool>,
        conn: ConnId,
    ) -> Explanation {
        if self.connection(from).is_none() {
            return Reason::NoPublisher { from }.into();
        }
        let allowed = self.explain_right(Right::Publish, room, from);
        if allowed.reason.received() != Some(true) {
            return allowed;
        }
        let policy = self.policy(room);
        let rule = policy.map(|policy| policy.pattern.as_str().into());
        let echoes = policy.is_some_and(|policy| policy.echo);
        let reason = self.explain_send(&Audience::room(room), conn);
        if matches!(reason, Reason::Member { .. }) && conn == from && !echo.unwrap_or(echoes) {
            let reason = Reason::OwnWithoutEcho;
            return Explanation { reason, rule };
        }
        reason.into()
    }

    /// The reason why a connection that is not alive gets nothing.
    fn explain_absent(&self, conn: ConnId) -> Reason {
        if self.has_given_out(conn) == Some(false) {
            Reason::NeverConnected
        } else {
            Reason::NotConnected
        }
    }

    /// The reason for a message of a history.
    fn explain_past(&self, name: &str, offset: u64, conn: ConnId) -> Explanation {
        if self.has_given_out(conn) == Some(false) {
            return Reason::NeverConnected.into();
        }
        let room = self.table().find(name).map(|(_, room)| room);
        let Some((room, history)) = room.and_then(|room| Some((room, room.history()?))) else {
            return Reason::NoHistory.into();
        };
        let newest = history.position().offset;
        if !(1..=newest).contains(&offset) {
            return Reason::NotSent { newest }.into();
        }
        let Some((at, except)) = history.message(offset) else {
            let first = history.first();
            return if history.is_away() && offset >= first {
                Reason::HistoryAway.into()
            } else {
                Reason::HistoryTrimmed { first }.into()
            };
        };
        let around = self.table().changes_around(history, (offset, at), conn);
        if let Some(reason) = self.explain_except(except, conn) {
            let had_page = self.table().pages_over(history, offset, conn).next();
            let may_have_had = had_page.is_some() || around.as_ref().is_none_or(Around::reaches);
            let is_user = matches!(reason, Reason::ExceptUser { .. });
            let is_unknown = is_user && may_have_had && self.was_named_since(conn, at);
            return match self.connection(conn).and_then(|info| info.user) {
                Some(user) if is_unknown => {
                    let user = user.to_owned();
                    Reason::NamedSince { user }.into()
                }
                Some(_) | None => reason.into(),
            };
        }
        let page = self.explain_page(history, offset, except, conn);
        let Some(around) = around else {
            return page.unwrap_or(Reason::MembershipUnknown).into();
        };
        let was_member = match around.after {
            Some((_, kind)) => !matches!(kind, ChangeKind::Joined),
            None => room.has(conn),
        };
        let is_final = self.table().knows_pages_since(at);
        if was_member {
            let sent = self.explain_sent(name, conn, (history.number(), is_final));
            return match (sent.reason, page) {
                // Whether it was dropped or not.
                (Reason::SentUnlessDropped { .. }, Some(page)) => page.into(),
                (reason, _) => Explanation { reason, ..sent },
            };
        }
        if let Some(reason) = page.or_else(|| self.explain_recovery(except, &around, conn)) {
            return reason.into();
        }
        if !is_final {
            return Reason::PagesUnknown.into();
        }
        self.explain_outsider(&around, at, conn).into()
    }

    /// The reason for a message that was in a page of `$history`.
    fn explain_page(
        &self,
        history: &History,
        offset: u64,
        except: &Except,
        conn: ConnId,
    ) -> Option<Reason> {
        let info = self.connection(conn);
        let user = info.and_then(|info| info.user);
        let mut pages = self.table().pages_over(history, offset, conn);
        let had_it = pages.any(|page| {
            let was = &page.was;
            !except.covers(&Reader { conn, was, user })
        });
        let reason = info.map_or(Reason::EndedSince, |_| Reason::Paged);
        had_it.then_some(reason)
    }

    /// The reason given by the exceptions of a past message, if they name the connection.
    fn explain_except(&self, except: &Except, conn: ConnId) -> Option<Reason> {
        let user = self.connection(conn).and_then(|info| info.user);
        match except {
            Except::Conn(publisher) => (*publisher == conn).then_some(Reason::OwnWithoutEcho),
            Except::These(these) => {
                let mut users = these.users.iter();
                if let Some(user) = user.filter(|user| users.any(|other| **other == **user)) {
                    let user = user.to_owned();
                    return Some(Reason::ExceptUser { user });
                }
                let left_out = these.conns.binary_search(&conn).is_ok();
                left_out.then_some(Reason::Excepted)
            }
            Except::Nobody => None,
        }
    }

    /// The reason for a message that the hub sent to a connection as a member.
    fn explain_sent(
        &self,
        room: &str,
        conn: ConnId,
        (history, is_final): (u64, bool),
    ) -> Explanation {
        if self.connection(conn).is_none() {
            return Reason::EndedSince.into();
        }
        let policy = self.policy(room);
        match policy.filter(|policy| policy.overflow != Overflow::Close) {
            Some(policy) => {
                let reason = Reason::SentUnlessDropped {
                    overflow: policy.overflow,
                    history,
                    is_final,
                };
                let rule = Some(policy.pattern.as_str().into());
                Explanation { reason, rule }
            }
            None => Reason::Sent.into(),
        }
    }

    /// The reason for a message that was in a recovery.
    fn explain_recovery(
        &self,
        except: &Except,
        around: &Around<'_>,
        conn: ConnId,
    ) -> Option<Reason> {
        let recovery = around.recovery?;
        let info = self.connection(conn);
        let user = info.and_then(|info| info.user);
        let was = &recovery.was;
        Some(if except.covers(&Reader { conn, was, user }) {
            Reason::ExceptedBefore
        } else if info.is_some() {
            let after = recovery.after;
            Reason::Recovered { after }
        } else {
            Reason::EndedSince
        })
    }

    /// The reason why a connection was not in the room when a message was sent.
    fn explain_outsider(&self, around: &Around<'_>, at: Timestamp, conn: ConnId) -> Reason {
        if let Some((joined, _)) = around.after {
            return Reason::JoinedAfter { joined };
        }
        match (around.before, self.connection(conn)) {
            (Some((left, ChangeKind::Ended)), _) => Reason::EndedBefore { left },
            (Some((left, _)), _) => Reason::LeftBefore { left },
            (None, Some(info)) if info.since > at => Reason::ConnectedAfter,
            (None, _) => Reason::NotAMember,
        }
    }
}
