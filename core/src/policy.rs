//! Policies of rooms: history, presence and publishing.

mod field;
mod grant;
mod pattern;
mod standard;
mod subscription;

use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::{
    grant::{GrantError, GrantRule, GrantRules, Grants, GrantsError, Right, RightError, Rights},
    pattern::{Pattern, PatternError},
    standard::{StandardGrant, StandardGrants, Users},
    subscription::{EventKind, Subscription, Subscriptions},
};
use crate::wire::named::by_name;

/// The policy of a room. A room without a policy has no history, no presence and no member limit,
/// and anybody may publish to it.
///
/// In a file or in JSON every member but `match` may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    deny_unknown_fields,
    remote = "Self",
    expecting = "each of `rooms` to be keys and values, such as `match = \"chat:*\"`"
)]
#[non_exhaustive]
pub struct RoomPolicy {
    /// The rooms it is about, `match` in a file.
    #[serde(rename = "match", deserialize_with = "field::pattern")]
    pub pattern: Pattern,
    /// The history that the room keeps; default `None`, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryPolicy>,
    /// Presence in the room: who is seen; default nobody.
    #[serde(default, deserialize_with = "field::presence")]
    pub presence: PresencePolicy,
    /// The time for which a user who lost the connection still counts as present,
    /// `presence_grace_s` in a file; default 5 s: a page that loads again is back within it. At
    /// most an hour.
    #[serde(
        rename = "presence_grace_s",
        default = "RoomPolicy::presence_grace",
        deserialize_with = "field::grace",
        serialize_with = "field::in_seconds"
    )]
    pub presence_grace: Duration,
    /// True when clients may publish to the room; default true. The application and the HTTP API
    /// always may. Otherwise: `forbidden`.
    #[serde(default = "RoomPolicy::publish", deserialize_with = "field::publish")]
    pub publish: bool,
    /// True when a publisher that is a member gets its own message, unless the message says
    /// otherwise; default false.
    #[serde(default, deserialize_with = "field::echo")]
    pub echo: bool,
    /// Connections in the room, at most; default `None`, as many as come. Passed: `member_limit`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "field::members"
    )]
    pub members: Option<usize>,
    /// The action on a member that reads too slowly; by default it is closed.
    #[serde(default, deserialize_with = "field::overflow")]
    pub overflow: Overflow,
}

/// The history of a room: messages kept for replay to members that return.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    remote = "Self",
    expecting = "`history` to be keys of it, such as `history.messages = 300`"
)]
#[non_exhaustive]
pub struct HistoryPolicy {
    /// Messages that are kept; default 300, some minutes of a lively room. 1 to 100,000.
    #[serde(deserialize_with = "field::history_messages")]
    pub messages: usize,
    /// Bytes of these messages, as they are sent, and of the names of those who were left out of
    /// them; default 1 MiB. 1 to 1 GiB.
    #[serde(deserialize_with = "field::history_bytes")]
    pub bytes: usize,
    /// The age of a message, at most, and the time for which a room without members is remembered,
    /// `age_s` in a file; default 5 minutes, longer than a tunnel or a deploy. 1 s to 30 days. A
    /// room where nothing was ever said is remembered for a minute at most.
    #[serde(
        rename = "age_s",
        deserialize_with = "field::history_age",
        serialize_with = "field::in_seconds"
    )]
    pub age: Duration,
}

/// Presence in a room: who is seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PresencePolicy {
    /// No users: `$members` is `forbidden`.
    #[default]
    Off,
    /// The number of users: `$members` answers with counts.
    Counts,
    /// The users: `$members` lists them, `$joined` and `$left` announce changes.
    Members,
}

/// Actions on a member whose queue is full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    /// The member is closed with 4409, comes back and recovers.
    #[default]
    Close,
    /// The oldest messages of the room are dropped, and the member is told with `$gap`.
    DropOldest,
    /// The newest message of each event is kept, and no other. For values that replace each other,
    /// such as positions on a map.
    Latest,
}

impl Overflow {
    /// Its name in policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::DropOldest => "drop-oldest",
            Self::Latest => "latest",
        }
    }
}

/// The policies of a namespace, in order: the first whose pattern matches a room's name is the
/// room's.
///
/// ```
/// use roomcast_core::{Policies, policy::PresencePolicy};
///
/// let json = r#"{"rooms":[{"match":"chat:*","history":{"messages":50},"presence":"counts"}]}"#;
/// let policies: Policies = serde_json::from_str(json)?;
/// let chat = policies.of("chat:lobby").expect("matched");
/// assert_eq!(chat.presence, PresencePolicy::Counts);
/// assert!(policies.of("lobby").is_none());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire")]
pub struct Policies {
    rooms: Vec<RoomPolicy>,
    #[serde(skip_serializing_if = "StandardGrants::is_empty")]
    grants: StandardGrants,
}

/// The members of [`Policies`], not yet validated as a whole.
#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    remote = "Self",
    expecting = "policies to be an object with `rooms`, a list, and `grants`, another"
)]
struct Wire {
    #[serde(default, deserialize_with = "field::rooms")]
    rooms: Vec<RoomPolicy>,
    #[serde(default)]
    grants: StandardGrants,
}

by_name!(RoomPolicy);
by_name!(
    HistoryPolicy,
    "`history` is empty: give it `history.messages`, `history.bytes` or `history.age_s`, or leave all \
     of `history` out for rooms that keep none"
);
by_name!(read Wire, None);

/// The reason why policies are rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// An earlier policy matches all rooms of a later one.
    #[error(
        "`match = \"{late}\"` is never reached, since \"{early}\" stands before it and takes all \
         of its rooms: put it first"
    )]
    Unreachable {
        /// The earlier pattern.
        early: Pattern,
        /// The later pattern.
        late: Pattern,
        /// The index of the later policy, from 0.
        index: usize,
    },
    /// More policies than [`Policies::MAX`].
    #[error(
        "there are more than {} of `rooms`: use patterns that match more",
        Policies::MAX
    )]
    Many {
        /// The index of the first policy that is too many, from 0.
        index: usize,
    },
}

impl PolicyError {
    /// The policy at fault, from 0.
    pub const fn index(&self) -> usize {
        match self {
            Self::Unreachable { index, .. } | Self::Many { index } => *index,
        }
    }
}

impl RoomPolicy {
    /// A policy for these rooms, with everything by default.
    pub const fn new(pattern: Pattern) -> Self {
        Self {
            pattern,
            history: None,
            presence: PresencePolicy::Off,
            presence_grace: Self::presence_grace(),
            publish: true,
            echo: false,
            members: None,
            overflow: Overflow::Close,
        }
    }

    const fn presence_grace() -> Duration {
        Duration::from_secs(5)
    }

    const fn publish() -> bool {
        true
    }
}

impl Default for HistoryPolicy {
    fn default() -> Self {
        Self {
            messages: 300,
            bytes: 1 << 20,
            age: Duration::from_secs(300),
        }
    }
}

impl Policies {
    /// The maximum number of policies: each new room is matched against all of them.
    pub const MAX: usize = 1_000;

    /// Takes these policies, in this order.
    ///
    /// # Errors
    ///
    /// When one of them cannot be reached, or they are too many.
    pub fn new(rooms: impl IntoIterator<Item = RoomPolicy>) -> Result<Self, PolicyError> {
        let rooms: Vec<_> = rooms.into_iter().collect();
        if rooms.len() > Self::MAX {
            return Err(PolicyError::Many { index: Self::MAX });
        }
        for (index, late) in rooms.iter().enumerate() {
            // A `*` in the later pattern is matched only by a `*` in the earlier one, which then
            // matches any text in its position.
            let early = rooms[..index]
                .iter()
                .find(|early| early.pattern.matches(late.pattern.as_str()));
            if let Some(early) = early {
                return Err(PolicyError::Unreachable {
                    early: early.pattern.clone(),
                    late: late.pattern.clone(),
                    index,
                });
            }
        }
        let grants = StandardGrants::default();
        Ok(Self { rooms, grants })
    }

    /// Adds rules for everybody. They apply to connections with grants, even with an empty list of
    /// them: all other connections may do everything.
    #[must_use]
    pub fn with_grants(mut self, grants: StandardGrants) -> Self {
        self.grants = grants;
        self
    }

    /// The rules for everybody.
    pub const fn grants(&self) -> &StandardGrants {
        &self.grants
    }

    /// True when there is nothing in it.
    pub(crate) const fn is_default(&self) -> bool {
        self.rooms.is_empty() && self.grants.is_empty()
    }

    /// True when there is no policy of rooms.
    pub const fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// The policies, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &RoomPolicy> {
        self.rooms.iter()
    }

    /// The policy of a room. Work: the lengths of all patterns, and the name's for each.
    pub fn of(&self, room: &str) -> Option<&RoomPolicy> {
        self.index_of(room).map(|index| self.get(index))
    }

    /// The index of a room's policy.
    pub(crate) fn index_of(&self, room: &str) -> Option<usize> {
        self.rooms
            .iter()
            .position(|policy| policy.pattern.matches(room))
    }

    pub(crate) fn get(&self, index: usize) -> &RoomPolicy {
        &self.rooms[index]
    }
}

impl TryFrom<Wire> for Policies {
    type Error = PolicyError;

    fn try_from(wire: Wire) -> Result<Self, PolicyError> {
        Ok(Self::new(wire.rooms)?.with_grants(wire.grants))
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn read(json: &str) -> Result<Policies, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let policies =
            read(r#"{"rooms":[{"match":"a"},{"match":"b","history":{"messages":300}}]}"#);
        let policies = policies.expect("valid");
        let a = RoomPolicy::new("a".parse().expect("a pattern"));
        assert_eq!(policies.of("a"), Some(&a));
        let history = policies.of("b").and_then(|policy| policy.history);
        assert_eq!(history, Some(HistoryPolicy::default())); // 300 is the default
        let json = serde_json::to_string(&policies).expect("data");
        assert_eq!(read(&json).expect("read back"), policies);
    }

    #[test]
    fn the_first_match_wins() {
        let json = r#"{"rooms":[{"match":"chat:vip","members":2},{"match":"chat:*","members":9}]}"#;
        let policies = read(json).expect("valid");
        assert_eq!(policies.of("chat:vip").and_then(|p| p.members), Some(2));
        assert_eq!(policies.of("chat:x").and_then(|p| p.members), Some(9));
        assert_eq!(policies.index_of("chat"), None);
    }

    #[test]
    fn a_fault_is_named_with_its_fix() {
        for (json, fault) in [
            (r#"{"rooms":[{}]}"#, "missing field `match`"),
            (r#"{"rooms":[{"match":""}]}"#, "1 to 256 bytes"),
            (r#"{"room":[]}"#, "unknown field `room`, expected `rooms`"),
            (
                r#"{"rooms":[{"match":"a","mtach":1}]}"#,
                "unknown field `mtach`",
            ),
            (
                r#"{"rooms":[{"match":"a","history":{"messages":0}}]}"#,
                "`history.messages` must be 1 to 100000: leave all of `history` out",
            ),
            (
                r#"{"rooms":[{"match":"a","history":{"age_s":-1}}]}"#,
                "`history.age_s` must be 1 to 2592000",
            ),
            (
                r#"{"rooms":[{"match":"a","presence":"all"}]}"#,
                "`presence` must be \"off\", \"counts\" or \"members\"",
            ),
            (
                r#"{"rooms":[{"match":"a","overflow":"drop"}]}"#,
                "`overflow` must be \"close\", \"drop-oldest\" or \"latest\"",
            ),
            (
                r#"{"rooms":[{"match":"a","history":[5,1000,60,1]}]}"#,
                "invalid type: sequence, expected `history` to be keys of it",
            ),
            (
                r#"{"rooms":[{"match":"a","history":{}}]}"#,
                "`history` is empty: give it `history.messages`, `history.bytes` or `history.age_s`",
            ),
            (
                r#"{"rooms":[["a*"]]}"#,
                "invalid type: sequence, expected each of `rooms` to be keys and values",
            ),
            (r#"[[{"match":"a"}]]"#, "expected policies to be an object"),
            (
                r#"{"rooms":{"match":"a"}}"#,
                "expected `rooms` to be a list",
            ),
            (
                r#"{"rooms":[{"match":"a","presence":{"members":null}}]}"#,
                "expected `presence` to be \"off\", \"counts\" or \"members\"",
            ),
            (
                r#"{"rooms":[{"match":"a","overflow":1}]}"#,
                "expected `overflow` to be \"close\", \"drop-oldest\" or \"latest\"",
            ),
            (
                r#"{"rooms":[{"match":"a","echo":1}]}"#,
                "expected `echo` to be true or false",
            ),
            (
                r#"{"rooms":[{"match":"a","publish":"yes"}]}"#,
                "expected `publish` to be true or false",
            ),
            (
                r#"{"rooms":[{"match":"a","members":"9"}]}"#,
                "expected `members` to be a whole number from 1 to 1048576",
            ),
            (
                r#"{"rooms":[{"match":"a","presence_grace_s":[5]}]}"#,
                "expected `presence_grace_s` to be a whole number from 0 to 3600",
            ),
            (
                r#"{"rooms":[{"match":7}]}"#,
                "expected `match` to be a text",
            ),
            (
                r#"{"rooms":[{"match":"a*"},{"match":"ab*c"}]}"#,
                "`match = \"ab*c\"` is never reached",
            ),
        ] {
            let said = read(json).expect_err(json).to_string();
            assert!(said.contains(fault), "{json}: {said}");
        }
    }

    #[test]
    fn a_policy_that_takes_only_a_part_may_come_first() {
        assert!(read(r#"{"rooms":[{"match":"a*c"},{"match":"a*"},{"match":"*"}]}"#).is_ok());
        assert!(read(r#"{"rooms":[{"match":"*"},{"match":"a"}]}"#).is_err());
        assert!(read(r#"{"rooms":[{"match":"a"},{"match":"a"}]}"#).is_err());
    }
}
