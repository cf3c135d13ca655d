//! Tokens that clients show, and their withdrawal.

use proptest::{
    prelude::{BoxedStrategy, Strategy},
    sample,
};

use super::Cast;
use crate::{Claim, Op};

/// Seconds for which tokens are valid: some are shorter than the waits of stories, some longer.
const LEFT_S: &[u32] = &[4, 12, 30, 3_600, 3_600];

impl Cast {
    /// Lets actors show and renew tokens of the cast's users with these grants (JSON), and
    /// withdraws users. For drivers with tokens, which the [`Model`](crate::Model) has not.
    #[must_use]
    pub fn with_tokens<G: Into<Box<str>>>(mut self, grants: impl IntoIterator<Item = G>) -> Self {
        self.grants = grants.into_iter().map(Into::into).collect();
        self
    }

    /// The ops of tokens with their weights; none without users or grants.
    pub(super) fn token_ops(&self) -> Vec<(u32, BoxedStrategy<Op>)> {
        if self.users.is_empty() || self.grants.is_empty() {
            return Vec::new();
        }
        let user = || sample::select(self.users.clone());
        let parts = (
            self.actor(),
            user(),
            sample::select(LEFT_S),
            sample::select(self.grants.clone()),
        );
        let shown = parts.prop_map(|(actor, user, left_s, grants)| Op::Authenticate {
            actor,
            claim: Claim {
                user,
                left_s,
                grants,
            },
        });
        let withdrawn = user().prop_map(|user| Op::Withdraw { user });
        vec![(8, shown.boxed()), (1, withdrawn.boxed())]
    }
}
