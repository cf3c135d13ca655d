//! Rejections of connections by the application.

use alloc::{borrow::Cow, boxed::Box, string::String};
use core::error::Error;

use serde::{Deserialize, Serialize};

use super::failure::{Failure, chain};
use crate::hub::{Refusal, error::INTERNAL};
use crate::wire::{CloseCode, ErrorBody, ErrorCode};

/// The reason that a connection is refused, in both forms: the HTTP status of a request that was
/// not upgraded, and the close of a socket that was.
///
/// ```
/// use roomcast_core::{CloseCode, Rejection};
///
/// let rejection = Rejection::forbidden("members only");
/// assert_eq!((rejection.status(), rejection.close_code()), (403, CloseCode::FORBIDDEN));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    status: u16,
    code: ErrorCode,
    close: CloseCode,
    reason: Cow<'static, str>,
    cause: Option<Box<str>>,
}

/// Any error becomes [`Rejection::internal`] by `?`; its text is for the host alone.
impl<E: Error> From<E> for Rejection {
    fn from(error: E) -> Self {
        Self {
            cause: Some(chain(&error).into()),
            ..Self::internal()
        }
    }
}

/// A failure keeps its code if that is a code of the protocol; any other becomes `forbidden`.
impl From<Failure> for Rejection {
    fn from(failure: Failure) -> Self {
        if let Some(cause) = failure.cause() {
            let cause = Some(cause.into());
            return Self {
                cause,
                ..Self::internal()
            };
        }
        let mut codes = ErrorCode::ALL.into_iter();
        let code = codes.find(|code| code.as_str() == failure.code());
        let code = code.unwrap_or(ErrorCode::Forbidden);
        Self::new(code, String::from(failure.message()))
    }
}

/// A rejection in a journal.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireRejection<'a> {
    status: u16,
    code: Cow<'a, str>,
    close: CloseCode,
    reason: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cause: Option<Cow<'a, str>>,
}

impl<'a> From<&'a Rejection> for WireRejection<'a> {
    fn from(rejection: &'a Rejection) -> Self {
        Self {
            status: rejection.status,
            code: rejection.code.as_str().into(),
            close: rejection.close,
            reason: (&*rejection.reason).into(),
            cause: rejection.cause.as_deref().map(Cow::Borrowed),
        }
    }
}

impl From<WireRejection<'_>> for Rejection {
    fn from(wire: WireRejection<'_>) -> Self {
        let mut codes = ErrorCode::ALL.into_iter();
        let code = codes.find(|code| *code.as_str() == *wire.code);
        let mut rejection = Self::new(
            code.unwrap_or(ErrorCode::Forbidden),
            wire.reason.into_owned(),
        )
        .with_status(wire.status)
        .with_close_code(wire.close);
        rejection.cause = wire.cause.map(|cause| cause.into());
        rejection
    }
}

impl Rejection {
    /// 401, or 4401: missing or invalid credentials.
    pub fn unauthorized(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Unauthorized, reason)
    }

    /// 403, or 4403: not allowed; the client should not reconnect.
    pub fn forbidden(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Forbidden, reason)
    }

    /// 503, or 1013: no capacity; the client should reconnect later.
    pub fn overloaded(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Overloaded, reason)
    }

    /// 503, or 1013: the application took longer to decide than
    /// [`Limits::admission_timeout`](crate::Limits::admission_timeout).
    pub fn undecided() -> Self {
        let reason = "the application did not decide in time: try again later";
        Self::new(ErrorCode::Unavailable, reason)
    }

    /// 500, or 1011: an error of the server; the client is told no details.
    pub fn internal() -> Self {
        Self::new(ErrorCode::Internal, INTERNAL)
    }

    fn new(code: ErrorCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: code.status(),
            code,
            close: code.close_code(),
            reason: reason.into(),
            cause: None,
        }
    }

    /// Sets another HTTP status, from 400 to 599; any other number becomes 403.
    #[must_use]
    pub const fn with_status(mut self, status: u16) -> Self {
        self.status = if 400 <= status && status <= 599 {
            status
        } else {
            403
        };
        self
    }

    /// Sets another close code.
    #[must_use]
    pub const fn with_close_code(mut self, code: CloseCode) -> Self {
        self.close = code;
        self
    }

    /// The code in the frame and in the body of the HTTP response.
    pub const fn code(&self) -> ErrorCode {
        self.code
    }

    /// The HTTP status, from 400 to 599.
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The code of the close frame.
    pub const fn close_code(&self) -> CloseCode {
        self.close
    }

    /// The reason, which the client may read.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The full text of the error behind an internal rejection, for the host to log. The text of a
    /// [`connect`](crate::Gateway::connect) is also in
    /// [`App::take_errors`](crate::App::take_errors).
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// The text frame that gives the reason on an open socket, before the close.
    pub fn frame(&self) -> String {
        ErrorBody::new(self.code.as_str(), &*self.reason).frame()
    }
}

/// The error of a connection that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The hub is full, or refuses the identity.
    #[error(transparent)]
    Hub(#[from] Refusal),
    /// The application refused it.
    #[error("the application refused the connection: {}", .0.reason())]
    Rejected(Rejection),
}
