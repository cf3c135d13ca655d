//! The identity of a connection: its user and its rights.

use alloc::{boxed::Box, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::{policy::Grants, time::Timestamp, time::UnixTime};

/// The identity of a connection: its user, its rights and its deadline.
///
/// A host makes it from verified data: a token, a proxy's statement, or the application's own. It
/// never contains a token. The default is an anonymous connection that may do everything, as in a
/// host without identities.
///
/// ```
/// use roomcast_core::{Identity, policy::GrantRules};
///
/// let rules = GrantRules::from_json(r#"[{"rooms":"chat:*","can":["join","publish"]}]"#)?;
/// let ann = Identity::user("ann").with_grants(rules.for_user(Some("ann")));
/// assert_eq!(ann.user.as_deref(), Some("ann"));
/// # Ok::<(), roomcast_core::policy::GrantsError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Identity {
    /// The user: 1 to 200 bytes without control characters; `None` is anonymous.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Box<str>>,
    /// Rights in rooms, beside those of [`Policies`](crate::Policies); `None` is every right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<Grants>,
    /// The time at which the identity expires; `None` for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// The time at which it was issued, in seconds since 1970: see
    /// [`Hub::withdraw`](crate::Hub::withdraw). If an application names the user and nothing was
    /// issued, the time of the naming.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_s: Option<u64>,
    /// Metadata in JSON that presence shows of the user when a join brings none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Box<str>>,
    /// Rooms that an [`App`](crate::App) has the connection join at once. Never a right.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rooms: Vec<Box<str>>,
}

impl Identity {
    /// An anonymous identity with every right.
    pub fn new() -> Self {
        Self::default()
    }

    /// A user with every right.
    pub fn user(user: impl Into<Box<str>>) -> Self {
        Self {
            user: Some(user.into()),
            ..Self::default()
        }
    }

    /// Restricts the identity to these rights.
    #[must_use]
    pub fn with_grants(mut self, grants: Grants) -> Self {
        self.grants = Some(grants);
        self
    }

    /// The same with a user whom the application names at a time. If the identity is of another
    /// user, only its deadline is kept: not that user's rights, metadata or rooms.
    pub(crate) fn with_named_user(self, user: Box<str>, at: UnixTime) -> Self {
        let is_other = self.user.as_ref().is_some_and(|had| *had != user);
        let mut named = if is_other {
            Self {
                grants: self.grants.map(|_| Grants::default()),
                deadline: self.deadline,
                ..Self::default()
            }
        } else {
            self
        };
        named.user = Some(user);
        named.issued_s.get_or_insert(at.as_secs());
        named
    }

    /// True when it has nothing except a user: its connection may do everything, forever.
    #[inline]
    pub(crate) const fn gives_all(&self) -> bool {
        self.grants.is_none()
            && self.deadline.is_none()
            && self.issued_s.is_none()
            && self.meta.is_none()
    }

    /// Sets the time at which it expires.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Timestamp) -> Self {
        self.deadline = Some(deadline);
        self
    }
}
