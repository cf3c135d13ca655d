//! Grants that the configuration gives to everybody, or to everybody with a name.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::grant::{GrantRule, GrantsError, Right, Rights};
use super::pattern::Pattern;

/// The people whom a [`StandardGrant`] is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Users {
    /// Everybody, also without a name.
    Anyone,
    /// Everybody with a name.
    Users,
}

/// A rule that the configuration gives, `[[grants]]` in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "each of `grants` to be keys and values, such as `for = \"users\"`"
)]
pub struct StandardGrant {
    /// The people whom it is for, `for` in a file.
    #[serde(rename = "for")]
    pub users: Users,
    /// The rooms; `{user}` stands for the name of the user.
    pub rooms: Pattern,
    /// The rights in them.
    pub can: Rights,
}

/// The rules of the configuration. They add to those of an [`Identity`](crate::Identity), and do
/// not affect connections without grants, which may do everything.
///
/// ```
/// use roomcast_core::policy::{Right, StandardGrants};
///
/// let json = r#"[{"for":"users","rooms":"chat:*","can":["join","publish"]}]"#;
/// let grants: StandardGrants = serde_json::from_str(json)?;
/// assert!(grants.allow(Some("ann"), Right::Join, "chat:lobby"));
/// assert!(!grants.allow(None, Right::Join, "chat:lobby"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<StandardGrant>", into = "Vec<StandardGrant>")]
pub struct StandardGrants(Vec<(Users, GrantRule)>);

impl StandardGrants {
    /// The maximum number of rules: each action is checked against all of them.
    pub const MAX: usize = 128;

    /// True when there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True when one of them gives the user the right in the room.
    ///
    /// Work: the lengths of all patterns, and the name's for each.
    pub fn allow(&self, user: Option<&str>, right: Right, room: &str) -> bool {
        self.rule(user, right, room).is_some()
    }

    /// The first rule that gives the user the right in the room, as it is written.
    pub fn rule(&self, user: Option<&str>, right: Right, room: &str) -> Option<&GrantRule> {
        let rules = self.0.iter().filter(|(users, rule)| {
            let is_for = *users == Users::Anyone || user.is_some();
            is_for && rule.gives_user(user, right, room)
        });
        rules.map(|(_, rule)| rule).next()
    }

    /// The rules that are also for somebody without a name, in their order.
    pub fn for_anyone(&self) -> impl Iterator<Item = &GrantRule> {
        let rules = self.0.iter().filter(|(users, _)| *users == Users::Anyone);
        rules.map(|(_, rule)| rule)
    }

    /// The rules, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &GrantRule> {
        self.0.iter().map(|(_, rule)| rule)
    }
}

impl TryFrom<Vec<StandardGrant>> for StandardGrants {
    type Error = GrantsError;

    fn try_from(grants: Vec<StandardGrant>) -> Result<Self, GrantsError> {
        let count = grants.len();
        if count > Self::MAX {
            return Err(GrantsError::Many {
                count,
                limit: Self::MAX,
            });
        }
        let rules = grants.into_iter().map(|grant| {
            let StandardGrant { users, rooms, can } = grant;
            (users, GrantRule { rooms, can })
        });
        Ok(Self(rules.collect()))
    }
}

impl From<StandardGrants> for Vec<StandardGrant> {
    fn from(grants: StandardGrants) -> Self {
        let rules = grants.0.into_iter().map(|(users, rule)| StandardGrant {
            users,
            rooms: rule.rooms,
            can: rule.can,
        });
        rules.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> StandardGrants {
        serde_json::from_str(json).expect(json)
    }

    #[test]
    fn a_rule_is_for_those_it_names() {
        let grants = read(
            r#"[{"for":"anyone","rooms":"news","can":["join"]},
                {"for":"users","rooms":"home:{user}:*","can":["join","publish"]}]"#,
        );
        for (user, right, room, given) in [
            (None, Right::Join, "news", true),
            (Some("ann"), Right::Join, "news", true),
            (Some("ann"), Right::Publish, "news", false),
            (Some("ann"), Right::Publish, "home:ann:1", true),
            (Some("ann"), Right::Publish, "home:bob:1", false),
            (Some("*"), Right::Publish, "home:ann:1", false),
            (Some("a:b"), Right::Publish, "home:a:b:1", false),
            (None, Right::Join, "home::1", false),
            (None, Right::Join, "home:{user}:1", false),
        ] {
            assert_eq!(
                grants.allow(user, right, room),
                given,
                "{user:?} {right:?} {room}"
            );
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let json = r#"[{"for":"users","rooms":"a:{user}","can":["join","history"]}]"#;
        let written = serde_json::to_string(&read(json));
        assert_eq!(written.ok().as_deref(), Some(json));
    }
}
