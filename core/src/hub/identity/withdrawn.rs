//! Users whose earlier identities are refused.

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::identity::Identity;
use crate::wire::{Coded, Details, ErrorCode};

/// Users, each with a time in seconds since 1970: identities that were issued earlier, or at no
/// known time, are refused.
#[derive(Debug, Clone, Default)]
pub(crate) struct Withdrawn(BTreeMap<Box<str>, u64>);

/// A withdrawal that was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[error(
    "limit of {} withdrawn users reached: change the key of the tokens to withdraw all at once",
    Withdrawn::MAX
)]
pub struct WithdrawError;

impl Coded for WithdrawError {
    fn row(&self) -> (ErrorCode, Option<Details>) {
        let limit = Details::limit(Withdrawn::MAX);
        (ErrorCode::Overloaded, Some(limit))
    }
}

impl Withdrawn {
    /// Users, at most: some megabytes.
    pub(crate) const MAX: usize = 10_000;

    /// Refuses identities of a user from before this time. A withdrawal is never taken back.
    pub(super) fn insert(&mut self, user: &str, not_before_s: u64) -> Result<(), WithdrawError> {
        if let Some(known) = self.0.get_mut(user) {
            *known = not_before_s.max(*known);
        } else if self.0.len() >= Self::MAX {
            return Err(WithdrawError);
        } else {
            self.0.insert(user.into(), not_before_s);
        }
        Ok(())
    }

    /// True when the identity was issued too early for its user.
    pub(super) fn refuses(&self, identity: &Identity) -> bool {
        let not_before_s = identity.user.as_ref().and_then(|user| self.0.get(user));
        not_before_s.is_some_and(|not_before_s| identity.issued_s.unwrap_or(0) < *not_before_s)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(user, time)| (&**user, *time))
    }

    pub(crate) fn from_vec(users: Vec<(Box<str>, u64)>) -> Self {
        Self(users.into_iter().collect())
    }
}
