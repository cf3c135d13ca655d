//! Verdicts on questions, and the answers behind them.

use alloc::{boxed::Box, format, string::String, string::ToString, sync::Arc, vec::Vec};
use core::time::Duration;

use roomcast_core::{
    ErrorCode, Identity, Timestamp,
    policy::{GrantRules, Rights},
    wire::{Coded, Details},
};
use roomcast_token::limits::USER_BYTES_MAX;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::limits::{ASK_ANSWER_BYTES_MAX, ASK_EXPIRY_S_MAX, ASK_MESSAGE_BYTES_MAX, ASK_TTL_MAX};

/// The verdict on a question. Its text is for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Verdict {
    /// The backend answered with an identity.
    #[error("the backend lets it in")]
    Allowed(Arc<Answer>),
    /// The backend does not know the client.
    #[error("{0}")]
    Unauthorized(Box<str>),
    /// The backend refuses the client.
    #[error("{0}")]
    Forbidden(Box<str>),
    /// The backend gave no usable answer, or fails and is not asked for a while.
    #[error("the backend that decides about this cannot be asked: try again")]
    Unavailable,
    /// Too many questions wait, or are in flight: more than this.
    #[error("too many questions wait for the backend that decides about this: try later")]
    Overloaded(usize),
}

impl Coded for Verdict {
    fn row(&self) -> (ErrorCode, Option<Details>) {
        let code = match self {
            // `Allowed` is not an error. Where it is reported as one, nothing was allowed.
            Self::Allowed(_) | Self::Forbidden(_) => ErrorCode::Forbidden,
            Self::Unauthorized(_) => ErrorCode::Unauthorized,
            Self::Unavailable => ErrorCode::Unavailable,
            Self::Overloaded(limit) => {
                return (ErrorCode::Overloaded, Some(Details::limit(*limit)));
            }
        };
        (code, None)
    }
}

/// An identity that a backend gives.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// The user; `None` stands for the user of the question.
    pub user: Option<Box<str>>,
    /// The rights.
    pub grants: GrantRules,
    /// The time at which it expires.
    pub deadline: Option<Timestamp>,
    /// The time at which it came, in seconds since 1970.
    pub issued_s: u64,
    /// Metadata in JSON that presence shows by default.
    pub meta: Option<Box<str>>,
    /// Rooms to join at once. Never a right.
    pub rooms: Vec<Box<str>>,
}

impl Answer {
    /// The identity of the connection that was asked about.
    ///
    /// # Errors
    ///
    /// When the question named another user, or a rule cannot be for the user; the text is for the
    /// log.
    pub fn identity(&self, asked: Option<&str>) -> Result<Identity, String> {
        if let (Some(asked), Some(user)) = (asked, &self.user)
            && **user != *asked
        {
            return Err("the answer is for another user than the question".into());
        }
        let user = self.user.as_deref().or(asked);
        let grants = match user {
            Some(user) => self
                .grants
                .all_for_user(user)
                .map_err(|it| it.to_string())?,
            None => self.grants.for_user(None),
        };
        let identity = user.map_or_else(Identity::new, Identity::user);
        let mut identity = identity.with_grants(grants);
        identity.deadline = self.deadline;
        identity.issued_s = Some(self.issued_s);
        identity.meta.clone_from(&self.meta);
        identity.rooms.clone_from(&self.rooms);
        Ok(identity)
    }

    /// The rights in a room of the user who was asked about.
    ///
    /// # Errors
    ///
    /// As for [`identity`](Self::identity).
    pub fn rights(&self, asked: Option<&str>, room: &str) -> Result<Rights, String> {
        let grants = self.identity(asked)?.grants;
        Ok(grants.map(|grants| grants.rights(room)).unwrap_or_default())
    }
}

/// The JSON of an answer.
#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"user\":\"ann\",\"grants\":[{\"rooms\":\"chat:*\",\"can\":[\"join\"]}]}"
)]
struct Written {
    #[serde(default)]
    user: Option<Box<str>>,
    #[serde(default)]
    grants: GrantRules,
    #[serde(default)]
    expires_in_s: Option<u64>,
    #[serde(default)]
    ttl_s: u64,
    #[serde(default)]
    meta: Option<Box<RawValue>>,
    #[serde(default)]
    rooms: Vec<Box<str>>,
}

/// The JSON of a refusal. Bodies of another form count as having no message.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Refusal {
    message: Option<String>,
    ttl_s: u64,
}

/// An answer that was read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) verdict: Verdict,
    /// The time for which it may be kept.
    pub(super) ttl: Duration,
}

/// The fault of an answer, for the log. It does not repeat values of the answer.
#[derive(Debug)]
pub(super) enum AnswerError {
    /// The backend was reached, and its answer cannot be used.
    Unusable(String),
    /// A gateway answered: the backend cannot be reached, or is too slow.
    Absent(String),
}

/// Reads an answer.
///
/// # Errors
///
/// When the answer cannot be used.
pub(super) fn read(
    now: Timestamp,
    unix_s: u64,
    status: u16,
    body: &[u8],
) -> Result<Read, AnswerError> {
    let unusable = match status {
        200 | 401 | 403 if body.len() > ASK_ANSWER_BYTES_MAX => {
            format!("the answer has over {ASK_ANSWER_BYTES_MAX} bytes")
        }
        200 => return allowed(now, unix_s, body).map_err(AnswerError::Unusable),
        401 | 403 => return Ok(refused(status, body)),
        300..=399 => format!("status {status}: redirects are not followed"),
        // Cloudflare uses the statuses from 521 on; 520 is an answer that it could not read.
        502..=504 | 521..=530 => {
            return Err(AnswerError::Absent(format!(
                "status {status}: the backend is not there or too slow"
            )));
        }
        _ => format!("status {status}: 200, 401 and 403 are answers"),
    };
    Err(AnswerError::Unusable(unusable))
}

fn allowed(now: Timestamp, unix_s: u64, body: &[u8]) -> Result<Read, String> {
    // A derived struct would accept a list of its members.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err("the answer is no object in JSON".into());
    }
    let Written {
        user,
        grants,
        expires_in_s,
        ttl_s,
        meta,
        rooms,
    } = serde_json::from_slice(body).map_err(|fault| {
        let (line, column) = (fault.line(), fault.column());
        // The parser's own text may repeat values.
        let kind = match fault.classify() {
            serde_json::error::Category::Data => "a member is unknown or of another form",
            serde_json::error::Category::Eof
            | serde_json::error::Category::Io
            | serde_json::error::Category::Syntax => "no JSON",
        };
        format!("the answer cannot be read, {kind}: look at line {line}, column {column} of it")
    })?;
    let fits =
        |user: &str| (1..=USER_BYTES_MAX).contains(&user.len()) && !user.contains(char::is_control);
    if user.as_deref().is_some_and(|user| !fits(user)) {
        return Err(format!(
            "`user` has 1 to {USER_BYTES_MAX} bytes without control characters"
        ));
    }
    let lifetime = expires_in_s.map(|seconds| Duration::from_secs(seconds.min(ASK_EXPIRY_S_MAX)));
    let ttl = ttl(ttl_s).min(lifetime.unwrap_or(Duration::MAX));
    let answer = Answer {
        user,
        grants,
        deadline: lifetime.map(|lifetime| now + lifetime),
        issued_s: unix_s,
        meta: meta.map(|meta| meta.get().into()),
        rooms,
    };
    Ok(Read {
        verdict: Verdict::Allowed(Arc::new(answer)),
        ttl,
    })
}

fn refused(status: u16, body: &[u8]) -> Read {
    let Refusal { message, ttl_s } = serde_json::from_slice(body).unwrap_or_default();
    let message = message.filter(|message| !message.contains(char::is_control));
    let message = message.map(|message| {
        let end = message.floor_char_boundary(ASK_MESSAGE_BYTES_MAX);
        Box::from(&message[..end])
    });
    let verdict = if status == 401 {
        let unknown = || "the backend does not know this client".into();
        Verdict::Unauthorized(message.unwrap_or_else(unknown))
    } else {
        let denied = || "the backend does not allow it".into();
        Verdict::Forbidden(message.unwrap_or_else(denied))
    };
    Read {
        verdict,
        ttl: ttl(ttl_s),
    }
}

fn ttl(seconds: u64) -> Duration {
    Duration::from_secs(seconds).min(ASK_TTL_MAX)
}
