//! Explanations of rights: why a client may or may not act in a room.

use super::{Explanation, Reason};
use crate::hub::{Hub, identity::access::Source};
use crate::{policy::Right, wire::ConnId};

impl Hub {
    /// The reason why a client may or may not act in a room, in the order in which its request is
    /// checked: its identity, its grants, the room's policy.
    pub(super) fn explain_right(&self, right: Right, room: &str, conn: ConnId) -> Explanation {
        let (reason, rule) = match self.source_of(conn, right, room) {
            None => (self.explain_absent(conn), None),
            Some(Source::Every) => (Reason::EveryRight, None),
            Some(Source::Own(rule)) => (Reason::Granted { right }, Some(rule)),
            Some(Source::Standard(rule)) => (Reason::GrantedToUsers { right }, Some(rule)),
            Some(Source::Given) => (Reason::GrantedByBackend { right }, None),
            Some(Source::Nothing) => (Reason::NotGranted { right }, None),
            Some(Source::Unidentified) => (Reason::Unidentified, None),
            Some(Source::Over) => (Reason::Expired, None),
        };
        if reason.received() == Some(true)
            && let Some(refused) = self.explain_policy(right, room, conn)
        {
            return refused;
        }
        let rule = rule.map(|rule| rule.rooms.as_str().into());
        Explanation { reason, rule }
    }

    /// The reason why a room forbids an action to everybody, or to this connection.
    fn explain_policy(&self, right: Right, name: &str, conn: ConnId) -> Option<Explanation> {
        let policy = self.policy(name);
        let room = self.table().find(name).map(|(_, room)| room);
        let is_member = room.is_some_and(|room| room.has(conn));
        let reason = match right {
            Right::Join => {
                let limit = policy.and_then(|policy| policy.members)?;
                let members = room.map_or(0, |room| room.members.len());
                (!is_member && members >= limit).then_some(Reason::RoomFull { limit })
            }
            Right::Publish => {
                let forbidden = policy.is_some_and(|policy| !policy.publish);
                forbidden.then_some(Reason::PublishForbidden)
            }
            Right::Presence | Right::History if !is_member => {
                return Some(Reason::ForMembers.into());
            }
            Right::Presence => self
                .presence(name, None, 1)
                .is_err()
                .then_some(Reason::NoPresence),
            Right::History => {
                let kept = room.is_some_and(|room| room.history().is_some());
                (!kept).then_some(Reason::KeepsNoHistory)
            }
        };
        let rule = policy.map(|policy| policy.pattern.as_str().into());
        reason.map(|reason| Explanation {
            rule,
            ..reason.into()
        })
    }
}
