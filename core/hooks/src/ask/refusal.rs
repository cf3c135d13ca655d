//! Verdicts as what they mean for the client that was asked about.

use alloc::string::String;

use roomcast_core::{Identity, policy::Rights};

use super::verdict::Verdict;

/// The reason for which a client does not come in, or does not join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskRefusal {
    /// The verdict, for the client.
    pub verdict: Verdict,
    /// The fault of an answer that could be read and means nothing, for the log.
    pub fault: Option<String>,
}

impl From<Verdict> for AskRefusal {
    fn from(verdict: Verdict) -> Self {
        let fault = None;
        Self { verdict, fault }
    }
}

impl AskRefusal {
    /// The refusal for an answer with such a fault: nobody comes in by it.
    fn of(fault: String) -> Self {
        Self {
            verdict: Verdict::Unavailable,
            fault: Some(fault),
        }
    }
}

impl Verdict {
    /// The identity of a client that connects, who was so far the one `before`. With a token the
    /// backend can but shorten its time.
    ///
    /// # Errors
    ///
    /// When the backend does not let the client in, or its answer is for another user.
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
