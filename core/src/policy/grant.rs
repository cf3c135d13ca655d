//! Grants: what a user may do in which rooms.

mod error;

use alloc::{format, string::String, vec::Vec};
use core::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub use self::error::GrantError;
use super::pattern::Pattern;

/// A right: something that a user may do in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// Joining the room, and so receiving its messages.
    Join,
    /// Publishing to the room.
    Publish,
    /// Seeing who is in the room.
    Presence,
    /// Reading the room's history.
    History,
}

/// A text that names no right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be join, publish, presence or history")]
pub struct RightError;

impl FromStr for Right {
    type Err = RightError;

    fn from_str(text: &str) -> Result<Self, RightError> {
        match text {
            "join" => Ok(Self::Join),
            "publish" => Ok(Self::Publish),
            "presence" => Ok(Self::Presence),
            "history" => Ok(Self::History),
            _ => Err(RightError),
        }
    }
}

impl Right {
    /// All rights.
    const ALL: [Self; 4] = [Self::Join, Self::Publish, Self::Presence, Self::History];

    /// The name in grants.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Join => "join",
            Self::Publish => "publish",
            Self::Presence => "presence",
            Self::History => "history",
        }
    }
}

/// The words behind "the right to".
impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Join => "join",
            Self::Publish => "publish",
            Self::Presence => "see who is",
            Self::History => "read the history",
        })
    }
}

/// A set of rights; a list of their names in JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Right>", into = "Vec<Right>")]
pub struct Rights(u8);

/// A rule as it is written: rooms, and what can be done in them.
///
/// `{user}` in the pattern stands for the user that the rule is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantRule {
    /// The rooms.
    pub rooms: Pattern,
    /// The rights in them.
    pub can: Rights,
}

/// Rules as written in a token, a settings file or a backend's answer. Their union applies, in any
/// order, and no rule removes a right.
///
/// ```
/// use roomcast_core::policy::{GrantRules, Right};
///
/// let rules = GrantRules::from_json(r#"[{"rooms":"user:{user}:*","can":["join","publish"]}]"#)?;
/// let grants = rules.for_user(Some("alice"));
/// assert!(grants.allow(Right::Join, "user:alice:inbox"));
/// assert!(!grants.allow(Right::Join, "user:bob:inbox"));
/// assert!(!grants.allow(Right::History, "user:alice:inbox"));
/// # Ok::<(), roomcast_core::policy::GrantsError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<GrantRule>", into = "Vec<GrantRule>")]
pub struct GrantRules(Vec<GrantRule>);

/// Grants of one user: rules with the user's name inserted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Grants(Vec<GrantRule>);

/// The reason why rules are rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrantsError {
    /// The rules are not valid JSON of the required form.
    #[error(
        "not a list of rules like {{\"rooms\":\"chat:*\",\"can\":[\"join\",\"publish\",\
         \"presence\",\"history\"]}}, with patterns of 1 to {} bytes",
        Pattern::BYTES_MAX
    )]
    Form,
    /// A rule is invalid.
    #[error("grants[{index}]{fault}")]
    Rule {
        /// The place of the rule, from 0.
        index: usize,
        /// The fault.
        fault: GrantError,
    },
    /// There are too many.
    #[error("{count} rules, over {limit}: use patterns that match more")]
    Many {
        /// The number of rules.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// The rules are longer than [`GrantRules::BYTES_MAX`].
    #[error(
        "{bytes} bytes of JSON, over {}: use patterns that match more",
        GrantRules::BYTES_MAX
    )]
    Long {
        /// The bytes of their JSON.
        bytes: usize,
    },
    /// A rule has `{user}`, and the user's name has a character with a meaning in patterns.
    #[error(
        "the rule for \"{rooms}\" cannot be for a user with `*` or `:` in the name, who would get \
         the rooms of others"
    )]
    User {
        /// The pattern of the rule.
        rooms: Pattern,
    },
    /// A rule is too long with the user's name inserted.
    #[error(
        "the rule for \"{rooms}\" has over {} bytes with the user in it",
        Pattern::BYTES_MAX
    )]
    LongWithUser {
        /// The pattern of the rule.
        rooms: Pattern,
    },
}

impl Rights {
    /// True when the right is one of them.
    pub const fn has(self, right: Right) -> bool {
        self.0 & Self::bit(right) != 0
    }

    const fn bit(right: Right) -> u8 {
        1 << right as u8
    }
}

impl From<Vec<Right>> for Rights {
    fn from(rights: Vec<Right>) -> Self {
        rights.into_iter().collect()
    }
}

impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Self {
        Self(rights.into_iter().fold(0, |all, one| all | Self::bit(one)))
    }
}

impl From<Rights> for Vec<Right> {
    fn from(rights: Rights) -> Self {
        Right::ALL
            .into_iter()
            .filter(|one| rights.has(*one))
            .collect()
    }
}

impl GrantRule {
    const USER: &str = "{user}";

    /// True when the rule gives the right in the room; `{user}` stands for itself.
    #[inline]
    pub(super) fn gives(&self, right: Right, room: &str) -> bool {
        self.can.has(right) && self.rooms.matches(room)
    }

    /// The same, with the user's name in the pattern.
    pub(super) fn gives_user(&self, user: Option<&str>, right: Right, room: &str) -> bool {
        if !self.rooms.as_str().contains(Self::USER) {
            return self.gives(right, room);
        }
        let rule = self.for_user(user);
        rule.is_ok_and(|rule| rule.gives(right, room))
    }

    /// The rule with the user's name in it.
    fn for_user(&self, user: Option<&str>) -> Result<Self, GrantsError> {
        if !self.rooms.as_str().contains(Self::USER) {
            return Ok(self.clone());
        }
        let rooms = || self.rooms.clone();
        // Without these characters a name matches only itself, and ends where the pattern
        // continues.
        let user = user.filter(|user| !user.is_empty() && !user.contains(['*', ':']));
        let user = user.ok_or_else(|| GrantsError::User { rooms: rooms() })?;
        let text = self.rooms.as_str().replace(Self::USER, user);
        let inserted = text.parse();
        Ok(Self {
            rooms: inserted.map_err(|_| GrantsError::LongWithUser { rooms: rooms() })?,
            can: self.can,
        })
    }

    /// A warning, if the last `*` may also match the rest of a name: `org:acme*` matches
    /// `org:acme-evil`.
    pub fn warning(&self) -> Option<String> {
        let stem = self.rooms.as_str().strip_suffix('*')?;
        let open = stem.ends_with(|c: char| c.is_alphanumeric() || c == '}');
        open.then(|| {
            format!(
                "the rule for \"{stem}*\" is also for \"{stem}-evil\": write \"{stem}:*\" if names go on \
                 with a colon"
            )
        })
    }
}

impl GrantRules {
    /// The largest number of rules.
    pub const MAX: usize = 32;

    /// The largest size of all rules, as JSON without white space, in bytes.
    pub const BYTES_MAX: usize = 2 << 10;

    /// Reads them from JSON, as they stand in a token.
    ///
    /// # Errors
    ///
    /// When they are of another form, too many or too long.
    pub fn from_json(json: &str) -> Result<Self, GrantsError> {
        let rules: Vec<GrantRule> = serde_json::from_str(json).map_err(|_| {
            let found = GrantError::find(json, Right::ALL.map(Right::as_str));
            found.map_or(GrantsError::Form, |(index, fault)| GrantsError::Rule {
                index,
                fault,
            })
        })?;
        rules.try_into()
    }

    /// The grants of a user, or of an anonymous client. A rule with `{user}` gives nothing to an
    /// anonymous client, nor to a user with `*` or `:` in the name.
    pub fn for_user(&self, user: Option<&str>) -> Grants {
        let rules = self.0.iter();
        Grants(rules.filter_map(|rule| rule.for_user(user).ok()).collect())
    }

    /// The grants of a user to whom every rule must apply.
    ///
    /// # Errors
    ///
    /// When a rule cannot be for this user, or the rules are too long with the user in them.
    pub fn all_for_user(&self, user: &str) -> Result<Grants, GrantsError> {
        let rules = self.0.iter().map(|rule| rule.for_user(Some(user)));
        let rules = Self::try_from(rules.collect::<Result<Vec<_>, _>>()?)?;
        Ok(Grants(rules.0))
    }

    /// The rules, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &GrantRule> {
        self.0.iter()
    }
}

impl TryFrom<Vec<GrantRule>> for GrantRules {
    type Error = GrantsError;

    fn try_from(rules: Vec<GrantRule>) -> Result<Self, GrantsError> {
        let count = rules.len();
        if count > Self::MAX {
            return Err(GrantsError::Many {
                count,
                limit: Self::MAX,
            });
        }
        let json = serde_json::to_string(&rules).map_err(|_| GrantsError::Form)?;
        match json.len() {
            bytes if bytes > Self::BYTES_MAX => Err(GrantsError::Long { bytes }),
            _ => Ok(Self(rules)),
        }
    }
}

impl From<GrantRules> for Vec<GrantRule> {
    fn from(rules: GrantRules) -> Self {
        rules.0
    }
}

impl Grants {
    /// True when any of them gives the right in the room. Work: the lengths of all patterns, and
    /// the name's for each.
    #[inline(always)] // into the check of each message
    pub fn allow(&self, right: Right, room: &str) -> bool {
        for rule in &self.0 {
            if rule.gives(right, room) {
                return true;
            }
        }
        false
    }

    /// All rights in the room. Work: as for [`allow`](Self::allow).
    pub fn rights(&self, room: &str) -> Rights {
        let rules = self.0.iter().filter(|rule| rule.rooms.matches(room));
        Rights(rules.fold(0, |all, rule| all | rule.can.0))
    }

    /// The first rule that gives the right in the room.
    pub fn rule(&self, right: Right, room: &str) -> Option<&GrantRule> {
        let mut rules = self.0.iter();
        rules.find(|rule| rule.gives(right, room))
    }

    /// The rules, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &GrantRule> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn rules(json: &str) -> GrantRules {
        GrantRules::from_json(json).expect(json)
    }

    #[test]
    fn rights_are_the_union_of_the_rules() {
        let grants = rules(
            r#"[{"rooms":"a:*","can":["join"]},{"rooms":"a:1","can":["publish","publish"]},
                {"rooms":"b","can":[]}]"#,
        );
        let grants = grants.for_user(None);
        assert!(grants.allow(Right::Join, "a:1") && grants.allow(Right::Publish, "a:1"));
        assert!(!grants.allow(Right::Publish, "a:2") && !grants.allow(Right::Join, "b"));
        assert!(!Grants::default().allow(Right::Join, "a:1"));
    }

    #[test]
    fn a_user_is_inserted_as_a_literal() {
        let rules =
            rules(r#"[{"rooms":"u:{user}:*","can":["join"]},{"rooms":"x","can":["join"]}]"#);
        let alice = rules.for_user(Some("alice"));
        assert!(alice.allow(Right::Join, "u:alice:1") && !alice.allow(Right::Join, "u:bob:1"));
        for user in [Some("*"), Some("a:b"), Some("alice*"), Some(""), None] {
            let grants = rules.for_user(user);
            for room in ["u:alice:1", "u:a:b", "u:{user}:1", "u::1", "u:*:1"] {
                assert!(!grants.allow(Right::Join, room), "{user:?} in {room}");
            }
            assert!(grants.allow(Right::Join, "x"), "other rules hold");
        }
        let refused = rules.all_for_user("*");
        assert!(matches!(refused, Err(GrantsError::User { .. })));
        // A user whose name is the placeholder is no second insertion.
        let braces = rules.for_user(Some("{user}"));
        assert!(braces.allow(Right::Join, "u:{user}:1") && !braces.allow(Right::Join, "u:alice:1"));
    }

    #[test]
    fn limits_hold() {
        let rule = r#"{"rooms":"r","can":["join"]}"#;
        let many = |count: usize| format!("[{}]", alloc::vec![rule; count].join(","));
        assert!(GrantRules::from_json(&many(32)).is_ok());
        let refused = GrantRules::from_json(&many(33));
        let (count, limit) = (33, 32);
        assert_eq!(refused, Err(GrantsError::Many { count, limit }));
        let long = format!(r#"[{{"rooms":"{}","can":[]}}]"#, "x".repeat(257));
        let (index, fault) = (0, GrantError::Rooms);
        let refused = GrantRules::from_json(&long);
        assert_eq!(refused, Err(GrantsError::Rule { index, fault }));
        let wide = format!(r#"{{"rooms":"{}","can":["join"]}}"#, "x".repeat(250));
        let wide = format!("[{}]", alloc::vec![&*wide; 8].join(","));
        assert!(matches!(
            GrantRules::from_json(&wide),
            Err(GrantsError::Long { .. })
        ));
        let insert = format!(
            r#"[{{"rooms":"{{user}}{}","can":["join"]}}]"#,
            "x".repeat(250)
        );
        let refused = rules(&insert).all_for_user("a-long-name");
        assert!(matches!(refused, Err(GrantsError::LongWithUser { .. })));
    }

    #[test]
    fn misspelt_rules_are_refused() {
        for json in [
            r#"[{"rooms":"a"}]"#,
            r#"[{"rooms":"","can":[]}]"#,
            r#"[{"rooms":"a\n","can":[]}]"#,
            r#"[{"rooms":["a"],"can":[]}]"#,
            r#"[{"rooms":"a","can":["Join"]}]"#,
            r#"[{"rooms":"a","can":"join"}]"#,
            r#"[{"rooms":"a","can":["join"],"except":"b"}]"#,
        ] {
            let refused = GrantRules::from_json(json);
            let is_rule = matches!(refused, Err(GrantsError::Rule { index: 0, .. }));
            assert!(is_rule, "{json}: {refused:?}");
        }
        for json in ["{}", "null", "[", r#"[{"rooms":"a","rooms":"b","can":[]}]"#] {
            let refused = GrantRules::from_json(json);
            assert_eq!(refused, Err(GrantsError::Form), "{json}");
        }
        let said = GrantsError::Form.to_string();
        assert!(said.contains(r#"{"rooms":"chat:*""#), "{said}");
    }

    #[test]
    fn an_open_end_is_warned_of() {
        for (rooms, warned) in [
            ("org:acme*", true),
            ("{user}*", true),
            ("org:acme:*", false),
            ("*", false),
            ("org:*:acme", false),
        ] {
            let rule = GrantRule {
                rooms: rooms.parse().expect(rooms),
                can: Rights::default(),
            };
            assert_eq!(rule.warning().is_some(), warned, "{rooms}");
        }
    }

    #[test]
    fn json_is_read_back() {
        let json = r#"[{"rooms":"a:*","can":["join","history"]}]"#;
        let written = serde_json::to_string(&rules(json));
        assert_eq!(written.ok().as_deref(), Some(json));
    }
}
