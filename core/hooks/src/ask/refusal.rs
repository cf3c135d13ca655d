//! Verdicts as identities and rights, or as refusals of the client.

use alloc::string::String;

use roomcast_core::{Identity, policy::Rights};

use super::verdict::Verdict;

/// The reason for which a client may not connect, or may not join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskRefusal {
    /// The verdict, for the client.
    pub verdict: Verdict,
    /// The fault of an answer that could be read but is not usable, for the log.
    pub fault: Option<String>,
}

impl From<Verdict> for AskRefusal {
    fn from(verdict: Verdict) -> Self {
        let fault = None;
        Self { verdict, fault }
    }
}

impl AskRefusal {
    /// The refusal for an answer with this fault.
    fn of(fault: String) -> Self {
        Self {
            verdict: Verdict::Unavailable,
            fault: Some(fault),
        }
    }
}

impl Verdict {
    /// The identity of a client that connects, whose previous identity is `before`. The backend
    /// cannot extend the lifetime of a token, only shorten it.
    ///
    /// # Errors
    ///
    /// When the backend refuses the client, or its answer is for another user.
    pub fn identity(self, before: &Identity) -> Result<Identity, AskRefusal> {
        let Self::Allowed(answer) = self else {
            return Err(self.into());
        };
        let identity = answer.identity(before.user.as_deref());
        let mut identity = identity.map_err(AskRefusal::of)?;
        let deadlines = [identity.deadline, before.deadline];
        identity.deadline = deadlines.into_iter().flatten().min();
        identity.issued_s = match (before.issued_s, identity.issued_s) {
            (Some(before), Some(after)) => Some(before.min(after)),
            (before, after) => before.or(after),
        };
        Ok(identity)
    }

    /// The rights of a user in a room that it joins.
    ///
    /// # Errors
    ///
    /// As for [`identity`](Self::identity).
    pub fn rights(self, user: Option<&str>, room: &str) -> Result<Rights, AskRefusal> {
        let Self::Allowed(answer) = self else {
            return Err(self.into());
        };
        answer.rights(user, room).map_err(AskRefusal::of)
    }
}
