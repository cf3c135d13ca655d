//! Rights of a connection, and their expiry.

use alloc::{boxed::Box, vec::Vec};
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::hub::{error::RequestError, limits::Limits};
use crate::policy::{GrantRule, Grants, Policies, Right, Rights};
use crate::{identity::Identity, time::Timestamp, time::whole_millis};

/// Parts of an identity that the hub keeps beside the user. Most connections have none of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Access {
    /// `None` gives every right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grants: Option<Grants>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    meta: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issued_s: Option<u64>,
    /// Rights that a backend gave in single rooms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    given: Vec<(Box<str>, Rights)>,
    /// The time from which the identity gives no rights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deadline: Option<Timestamp>,
    /// The time of the next check; the key of its only timer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due: Option<Timestamp>,
    /// The time at which the connection got its user, when it had none at first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    named: Option<Timestamp>,
    stage: Stage,
}

/// Stages in the life of an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    /// The client has yet to say who it is.
    Unidentified,
    Valid,
    /// The client was warned that it expires.
    Warned,
    /// Expired; the client may still renew it.
    Over,
}

/// Sources of a right.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source<'a> {
    /// The connection has every right.
    Every,
    /// A grant of the identity.
    Own(&'a GrantRule),
    /// A grant of the configuration.
    Standard(&'a GrantRule),
    /// The answer of a backend that was asked about the room.
    Given,
    /// No grant gives the right.
    Nothing,
    /// The client has yet to say who it is.
    Unidentified,
    /// The identity has expired.
    Over,
}

/// Outcomes of a deadline that has passed.
pub(super) enum Passed {
    /// The client is to be told how much time is left.
    Warned {
        left_ms: u64,
    },
    Over,
    /// The connection is to be closed.
    Closed {
        reason: &'static str,
    },
}

impl Access {
    /// The access of a client that has yet to identify itself, before the time `until`.
    pub(super) const fn unidentified(until: Timestamp) -> Self {
        Self {
            grants: None,
            meta: None,
            issued_s: None,
            given: Vec::new(),
            deadline: None,
            due: Some(until),
            named: None,
            stage: Stage::Unidentified,
        }
    }

    /// The access that an identity gives; `None` for an identity that is unrestricted and has
    /// nothing to keep.
    pub(super) fn new(now: Timestamp, identity: &Identity, limits: &Limits) -> Option<Self> {
        let Identity {
            user: _,
            grants,
            deadline,
            issued_s,
            meta,
            rooms: _,
        } = identity;
        let meta = meta.clone().filter(|meta| meta.len() <= limits.meta_bytes);
        if grants.is_none() && deadline.is_none() && issued_s.is_none() && meta.is_none() {
            return None;
        }
        // For a short identity the warning comes at half its time, so that renewals are not back to
        // back.
        let warning = |deadline: Timestamp| {
            let left = deadline.saturating_since(now);
            now + left.saturating_sub(limits.expiry_notice.min(left / 2))
        };
        Some(Self {
            grants: grants.clone(),
            meta,
            issued_s: *issued_s,
            given: Vec::new(),
            deadline: *deadline,
            due: deadline.map(warning),
            named: None,
            stage: Stage::Valid,
        })
    }

    /// The same, for a connection that got its user at this time.
    pub(super) fn named(mut self, named: Option<Timestamp>) -> Self {
        self.named = named;
        self
    }

    /// The same, issued at this time, in seconds since 1970.
    pub(super) fn issued(mut self, issued_s: Option<u64>) -> Self {
        self.issued_s = issued_s;
        self
    }

    /// The time at which the connection got its user, when it had none at first.
    pub(crate) const fn named_at(&self) -> Option<Timestamp> {
        self.named
    }

    /// Adds rights in one room, and drops those in rooms for which `is_in` is false.
    pub(super) fn give(&mut self, room: &str, rights: Rights, is_in: impl Fn(&str) -> bool) {
        self.given
            .retain(|(given, _)| **given != *room && is_in(given));
        self.given.push((room.into(), rights));
    }

    /// Copies the rights in single rooms from the previous identity.
    pub(super) fn keep_given(&mut self, before: &Self) {
        self.given.clone_from(&before.given);
    }

    /// Drops the rights given in a room.
    #[cold]
    #[inline(never)]
    pub(in crate::hub) fn forget(&mut self, room: &str) {
        self.given.retain(|(given, _)| **given != *room);
    }

    /// True when a backend gave rights in single rooms.
    pub(in crate::hub) fn has_given(&self) -> bool {
        !self.given.is_empty()
    }

    /// True when a backend gave the right in the room.
    fn was_given(&self, right: Right, room: &str) -> bool {
        let mut given = self.given.iter();
        given.any(|(given, rights)| **given == *room && rights.has(right))
    }

    /// True when the client has yet to say who it is.
    pub(crate) fn is_unidentified(&self) -> bool {
        self.stage == Stage::Unidentified
    }

    /// True when the identity has expired.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// The metadata that presence shows by default.
    pub(crate) fn meta(&self) -> Option<&str> {
        self.meta.as_deref()
    }

    /// The time from which the identity gives no rights.
    pub(in crate::hub) const fn deadline(&self) -> Option<Timestamp> {
        self.deadline
    }

    pub(super) const fn issued_s(&self) -> Option<u64> {
        self.issued_s
    }

    /// The time of the next check.
    pub(crate) const fn due(&self) -> Option<Timestamp> {
        self.due
    }

    /// True when the right is granted, regardless of expiry.
    pub(super) fn gives(
        &self,
        policies: &Policies,
        user: Option<&str>,
        right: Right,
        room: &str,
    ) -> bool {
        let own = self.grants.as_ref();
        !self.is_unidentified()
            && own.is_none_or(|grants| {
                grants.allow(right, room)
                    || policies.grants().allow(user, right, room)
                    || self.was_given(right, room)
            })
    }

    /// The source of a right, as of the last deadline that the hub was told of.
    pub(super) fn source<'a>(
        &'a self,
        policies: &'a Policies,
        user: Option<&str>,
        right: Right,
        room: &str,
    ) -> Source<'a> {
        let grants = match (self.stage, &self.grants) {
            (Stage::Unidentified, _) => return Source::Unidentified,
            (Stage::Over, _) => return Source::Over,
            (Stage::Valid | Stage::Warned, None) => return Source::Every,
            (Stage::Valid | Stage::Warned, Some(grants)) => grants,
        };
        let standard = || policies.grants().rule(user, right, room);
        match (grants.rule(right, room), standard()) {
            (Some(rule), _) => Source::Own(rule),
            (None, Some(rule)) => Source::Standard(rule),
            (None, None) if self.was_given(right, room) => Source::Given,
            (None, None) => Source::Nothing,
        }
    }

    /// True when the identity gives a right at this time without the grants of the configuration:
    /// the common case of [`check`](Self::check).
    // Out of line: connections without grants do not pay for it.
    #[inline(never)]
    pub(super) fn gives_itself(&self, now: Timestamp, right: Right, room: &str) -> bool {
        let own = self.grants.as_ref();
        matches!(self.stage, Stage::Valid | Stage::Warned)
            && self.deadline.is_none_or(|deadline| now < deadline)
            && own.is_none_or(|grants| grants.allow(right, room))
    }

    /// Checks a right at a time.
    #[inline(never)]
    pub(super) fn check(
        &self,
        now: Timestamp,
        policies: &Policies,
        user: Option<&str>,
        right: Right,
        room: &str,
    ) -> Result<(), RequestError> {
        if self.is_over(now) {
            Err(RequestError::Expired)
        } else if self.gives(policies, user, right, room) {
            Ok(())
        } else {
            Err(RequestError::Right { right })
        }
    }

    /// The remaining time in milliseconds, if the warning has come due.
    pub(super) fn warned(&self, now: Timestamp) -> Option<u64> {
        let deadline = self.deadline.filter(|_| self.stage == Stage::Warned);
        deadline.map(|deadline| whole_millis(deadline.saturating_since(now)))
    }

    /// Moves to the next stage when the timer comes due.
    pub(super) fn pass(&mut self, now: Timestamp, grace: Duration) -> Passed {
        let deadline = self.deadline.unwrap_or(now);
        match self.stage {
            Stage::Unidentified => Passed::Closed {
                reason: "no token came in time",
            },
            Stage::Valid if !self.is_over(now) => {
                self.stage = Stage::Warned;
                self.due = self.deadline;
                let left = deadline.saturating_since(now);
                Passed::Warned {
                    left_ms: whole_millis(left),
                }
            }
            Stage::Valid | Stage::Warned => {
                self.stage = Stage::Over;
                self.due = Some(deadline + grace);
                Passed::Over
            }
            Stage::Over => Passed::Closed {
                reason: "the token expired",
            },
        }
    }
}
