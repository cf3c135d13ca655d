//! Users whose earlier identities are refused, on all nodes.

/// The withdrawn users of a namespace: their identities from before a time are refused. Times are
/// in seconds since 1970; of several for a user, the latest counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Withdrawn {
    /// Users, each with its time.
    pub users: Vec<(Box<str>, u64)>,
    /// The time that holds for all users; 0 for none.
    pub everyone_s: u64,
}

impl Withdrawn {
    /// A single user.
    pub fn one(user: impl Into<Box<str>>, not_before_s: u64) -> Self {
        Self {
            users: vec![(user.into(), not_before_s)],
            everyone_s: 0,
        }
    }

    /// True when nobody is withdrawn.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.everyone_s == 0
    }
}
