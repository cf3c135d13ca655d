//! Failures that handlers return when they cannot carry out a request.

use alloc::{borrow::Cow, boxed::Box, string::String, string::ToString};
use core::{error::Error, fmt};

use serde::Serialize;

use crate::wire::{Coded, ConnId, ErrorBody, ErrorCode};
use crate::{hub::JoinError, hub::error::INTERNAL};

/// An error answer: a code, a message for people, and details if there are any.
///
/// With `?` any [`Error`] becomes an internal failure: the client learns only that something went
/// wrong, and the host gets the whole text, see [`App::take_errors`](crate::App::take_errors). A
/// [`JoinError`] that the client can correct keeps its code.
///
/// A message never repeats refused data: a reader of a log or a proxy must not find in it what the
/// client sent.
///
/// ```
/// use roomcast_core::{ErrorCode, Failure};
///
/// fn find(list: &str) -> Result<u32, Failure> {
///     let first = list.split(',').next().filter(|first| !first.is_empty());
///     let first = first.ok_or(Failure::new("not_found", "the list is empty"))?;
///     Ok(first.parse()?)
/// }
/// assert_eq!(find("").map_err(|failure| failure.code().to_owned()), Err("not_found".into()));
/// assert_eq!(find("x").map_err(|failure| failure.code().to_owned()), Err("internal".into()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(pub(super) Box<Kind>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Told {
        code: Cow<'static, str>,
        message: Cow<'static, str>,
        /// JSON.
        details: Option<Box<str>>,
    },
    Internal(String),
}

impl Failure {
    /// A failure that the client is told. The code is one of the protocol's ([`ErrorCode`]) or the
    /// application's own.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Kind::Told {
            code: code.into(),
            message: message.into(),
            details: None,
        }))
    }

    /// `bad_payload`: the data does not fit.
    pub fn bad_payload(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::BadPayload, message)
    }

    /// `unauthorized`: credentials are missing or bad.
    pub fn unauthorized(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Unauthorized, message)
    }

    /// `forbidden`: not allowed.
    pub fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Forbidden, message)
    }

    /// `internal`: the client is told no details, the host gets the text.
    pub fn internal(text: impl fmt::Display) -> Self {
        Self(Box::new(Kind::Internal(text.to_string())))
    }

    /// The failure that reports an error to the client, with its code and its details.
    pub fn of(error: &impl Coded) -> Self {
        let failure = Self::new(error.code(), error.to_string());
        match error.details() {
            Some(details) => failure.with_details(&details),
            None => failure,
        }
    }

    /// Adds details, as the member `details` of the error. A value that cannot be serialized as
    /// JSON makes the failure internal.
    #[must_use]
    pub fn with_details<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        if let Kind::Told { details, .. } = &mut *self.0 {
            match serde_json::to_string(value) {
                Ok(json) => *details = Some(json.into()),
                Err(fault) => return Self::internal(format_args!("details: {fault}")),
            }
        }
        self
    }

    /// The code that the client is told.
    pub fn code(&self) -> &str {
        match &*self.0 {
            Kind::Told { code, .. } => code,
            Kind::Internal(_) => ErrorCode::Internal.as_str(),
        }
    }

    /// The full text of an internal failure, for the host to log. If the failure is an answer, the
    /// text is also in [`App::take_errors`](crate::App::take_errors).
    pub fn cause(&self) -> Option<&str> {
        match &*self.0 {
            Kind::Told { .. } => None,
            Kind::Internal(text) => Some(text),
        }
    }

    /// The message that the client is told.
    pub fn message(&self) -> &str {
        match &*self.0 {
            Kind::Told { message, .. } => message,
            Kind::Internal(_) => INTERNAL,
        }
    }
}

/// Wraps the success of a handler as `Ok::<_, Failure>(value)`: for closures in which `?` alone
/// leaves the error type ambiguous.
///
/// ```
/// use roomcast_core::{Context, Router, ok};
///
/// let router = Router::default().on("double", |_: &mut Context, number: String| {
///     let number: u32 = number.parse()?;
///     ok(number * 2)
/// });
/// # let _: Router = router;
/// ```
///
/// # Errors
///
/// Never.
pub const fn ok<T>(value: T) -> Result<T, Failure> {
    Ok(value)
}

impl From<ErrorCode> for Cow<'static, str> {
    fn from(code: ErrorCode) -> Self {
        Cow::Borrowed(code.as_str())
    }
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let any: &(dyn Error + 'static) = &error;
        match any.downcast_ref() {
            // The client cannot do anything about these.
            None | Some(JoinError::UnknownConn(_) | JoinError::Encode(_)) => {}
            Some(error) => return Self::of(error),
        }
        Self::internal(chain(&error))
    }
}

impl<'a> From<&'a Failure> for ErrorBody<'a> {
    fn from(failure: &'a Failure) -> Self {
        let details = match &*failure.0 {
            Kind::Told { details, .. } => details.as_deref(),
            Kind::Internal(_) => None,
        };
        ErrorBody {
            details: details.map(Cow::Borrowed),
            ..ErrorBody::new(failure.code(), failure.message())
        }
    }
}

/// An error and its causes in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// An error in application code, for the host to log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandlerError {
    /// The connection it was about, if any.
    pub conn: Option<ConnId>,
    /// The name of the event or hook that failed.
    pub place: Box<str>,
    /// The error in full, with its causes.
    pub error: String,
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.place)?;
        if let Some(conn) = self.conn {
            write!(f, " of connection {conn}")?;
        }
        write!(f, ": {}", self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RoomNameError;

    #[test]
    fn causes_are_told_to_the_host_only() {
        #[derive(Debug, thiserror::Error)]
        #[error("no answer from the database")]
        struct Outer(#[source] core::num::ParseIntError);

        let cause = "x".parse::<u8>().expect_err("no number");
        let failure = Failure::from(Outer(cause));
        assert_eq!(failure.code(), "internal");
        assert!(!failure.message().contains("database"));
        let Kind::Internal(text) = *failure.0 else {
            panic!("internal")
        };
        assert_eq!(
            text,
            "no answer from the database: invalid digit found in string"
        );
    }

    #[test]
    fn a_join_that_the_client_can_mend_is_told() {
        let limit = Failure::from(JoinError::RoomLimit { limit: 2 });
        assert_eq!(limit.code(), "room_limit");
        let body = ErrorBody::from(&limit);
        assert_eq!(body.details.as_deref(), Some(r#"{"limit":2}"#));
        let name = Failure::from(JoinError::Room(RoomNameError { bytes_max: 200 }));
        assert_eq!(name.code(), "bad_room");
    }
}
