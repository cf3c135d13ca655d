//! Users whose earlier identities are refused.

use alloc::{boxed::Box, collections::BTreeMap};

use crate::identity::Identity;

/// Users, each with a time in seconds since 1970: identities that were issued earlier, or at an
/// unknown time, are refused.
///
/// A withdrawal is never undone, and never refused for lack of space. Past the limit the earliest
/// times become one time for all users: more is refused, never less.
#[derive(Debug, Clone, Default)]
pub(crate) struct Withdrawn {
    /// Each time is later than `everyone_s`.
    users: BTreeMap<Box<str>, u64>,
    everyone_s: u64,
}

impl Withdrawn {
    /// Restores saved withdrawals, under a limit that may have changed.
    pub(crate) fn new(
        users: impl IntoIterator<Item = (Box<str>, u64)>,
        everyone_s: u64,
        users_max: usize,
    ) -> Self {
        let later = |(_, time): &(_, u64)| *time > everyone_s;
        let mut withdrawn = Self {
            users: users.into_iter().filter(later).collect(),
            everyone_s,
        };
        withdrawn.fold(users_max);
        withdrawn
    }

    /// Refuses identities of a user from before this time. Work: a look-up, past the limit all
    /// users.
    pub(super) fn insert(&mut self, user: &str, not_before_s: u64, users_max: usize) {
        // No user has an empty name: stores use it for the time that applies to all users.
        if !user.is_empty() && not_before_s > self.not_before_s(user) {
            self.users.insert(user.into(), not_before_s);
            self.fold(users_max);
        }
    }

    /// Refuses identities of all users from before this time. Work: all users.
    pub(super) fn refuse_everyone(&mut self, not_before_s: u64) {
        if not_before_s > self.everyone_s {
            self.everyone_s = not_before_s;
            self.users.retain(|_, time| *time > not_before_s);
        }
    }

    fn fold(&mut self, users_max: usize) {
        while self.users.len() > users_max {
            // Tokens from before the earliest time are the most likely to have expired.
            let earliest_s = self.users.values().copied().min().unwrap_or_default();
            self.everyone_s = earliest_s;
            self.users.retain(|_, time| *time > earliest_s);
        }
    }

    fn not_before_s(&self, user: &str) -> u64 {
        self.users.get(user).copied().unwrap_or(self.everyone_s)
    }

    /// True when the identity was issued too early for its user.
    pub(super) fn refuses(&self, identity: &Identity) -> bool {
        let user = identity.user.as_ref();
        user.is_some_and(|user| identity.issued_s.unwrap_or(0) < self.not_before_s(user))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.users.iter().map(|(user, time)| (&**user, *time))
    }

    /// The time that applies to all users; 0 when there is none.
    pub(crate) const fn everyone_s(&self) -> u64 {
        self.everyone_s
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.users.is_empty() && self.everyone_s == 0
    }
}
