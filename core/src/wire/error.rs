//! Errors on the wire: their codes, their `details`, and the one writer of error frames.

use alloc::{borrow::Cow, string::String, string::ToString};
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    wire::close::CloseCode, wire::head::Address, wire::head::EVENT_BYTES_MAX,
    wire::head::ID_BYTES_MAX, wire::head::KEY_BYTES_MAX, wire::head::PATH_BYTES_MAX,
    wire::head::PREVIOUS_CONNS_MAX, wire::head::write_head, wire::head::write_string,
    wire::payload::Payload, wire::payload::PayloadError, wire::room_name::RoomNameError,
};

/// Error codes, each with its name on the wire, the HTTP status of a problem with it, and the close
/// code of a connection that is refused with it.
macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident = $name:literal, $status:literal, $close:ident;)*) => {
        /// The `code` of an error, in an error frame or in a problem over HTTP.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $code,)*
        }

        impl ErrorCode {
            /// All codes.
            pub const ALL: [Self; [$($status),*].len()] = [$(Self::$code),*];

            /// The code on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$code => $name,)*
                }
            }

            /// The HTTP status of a problem with this code.
            pub const fn status(self) -> u16 {
                match self {
                    $(Self::$code => $status,)*
                }
            }

            /// The close code of an open socket whose connection is refused with this code.
            pub const fn close_code(self) -> CloseCode {
                match self {
                    $(Self::$code => CloseCode::$close,)*
                }
            }
        }
    };
}

codes! {
    /// Not an envelope.
    BadEnvelope = "bad_envelope", 400, FORBIDDEN;
    /// An envelope, but its `data` does not fit.
    BadPayload = "bad_payload", 400, FORBIDDEN;
    /// No room name, or not a valid one.
    BadRoom = "bad_room", 400, FORBIDDEN;
    /// No handler for this event.
    UnknownEvent = "unknown_event", 400, FORBIDDEN;
    /// No such `$verb`.
    UnknownVerb = "unknown_verb", 400, FORBIDDEN;
    /// Credentials missing or bad.
    Unauthorized = "unauthorized", 401, UNAUTHORIZED;
    /// Not allowed.
    Forbidden = "forbidden", 403, FORBIDDEN;
    /// Credentials expired.
    Expired = "expired", 401, UNAUTHORIZED;
    /// The connection is in as many rooms as allowed.
    RoomLimit = "room_limit", 409, FORBIDDEN;
    /// The room is full.
    MemberLimit = "member_limit", 409, FORBIDDEN;
    /// Over a size limit.
    TooLarge = "too_large", 413, FORBIDDEN;
    /// Too fast.
    RateLimited = "rate_limited", 429, RATE_LIMITED;
    /// The server is full.
    Overloaded = "overloaded", 503, OVERLOADED;
    /// Something behind the server is down.
    Unavailable = "unavailable", 503, OVERLOADED;
    /// An error of the server.
    Internal = "internal", 500, INTERNAL;
    /// HTTP only: the path, a parameter, a header or the body is malformed.
    BadRequest = "bad_request", 400, FORBIDDEN;
    /// HTTP only: no such path, namespace, room or connection.
    NotFound = "not_found", 404, FORBIDDEN;
    /// HTTP only: the header `Allow` names the methods of the path.
    MethodNotAllowed = "method_not_allowed", 405, FORBIDDEN;
    /// HTTP only: the body did not arrive in time.
    Timeout = "timeout", 408, FORBIDDEN;
    /// HTTP only: the body is encoded in a way that the API does not read.
    UnsupportedMediaType = "unsupported_media_type", 415, FORBIDDEN;
    /// The idempotency key was used for another message.
    KeyReused = "key_reused", 422, FORBIDDEN;
    /// HTTP only: the head of the request is over a limit.
    HeadTooLarge = "head_too_large", 431, FORBIDDEN;
    /// HTTP only: the path is a WebSocket, but the request is not an upgrade.
    UpgradeRequired = "upgrade_required", 426, FORBIDDEN;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The member `details` of an error, for programs to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Details {
    /// The limit that the text of the error names.
    #[non_exhaustive]
    Limit {
        /// The limit in force.
        limit: usize,
    },
    /// A rate was passed.
    #[non_exhaustive]
    Rate {
        /// The rate in force, per second.
        limit: u32,
        /// Milliseconds after which the same message passes, if nothing else is sent; `None` if it
        /// never does.
        #[serde(skip_serializing_if = "Option::is_none")]
        after_ms: Option<u64>,
    },
}

impl Details {
    /// The limit that the text of the error names.
    pub const fn limit(limit: usize) -> Self {
        Self::Limit { limit }
    }

    /// A rate per second that was passed, and the time to wait.
    pub const fn rate(limit: u32, after_ms: Option<u64>) -> Self {
        Self::Rate { limit, after_ms }
    }
}

/// An error that a client can be told: its text is its [`Display`](fmt::Display).
pub trait Coded: fmt::Display {
    /// The code and the details.
    fn row(&self) -> (ErrorCode, Option<Details>);

    /// The code.
    fn code(&self) -> ErrorCode {
        self.row().0
    }

    /// The details. They hold the limit, if the text of the error names one.
    fn details(&self) -> Option<Details> {
        self.row().1
    }
}

/// The member `error` of an error frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorBody<'a> {
    pub(crate) code: &'a str,
    pub(crate) message: Cow<'a, str>,
    /// JSON.
    pub(crate) details: Option<Cow<'a, str>>,
}

impl<E: Coded> From<&E> for ErrorBody<'_> {
    fn from(error: &E) -> Self {
        let (code, details) = error.row();
        let body = Self::new(code.as_str(), error.to_string());
        match details {
            Some(details) => body.with_details(details),
            None => body,
        }
    }
}

impl<'a> ErrorBody<'a> {
    /// An error with this code, without details.
    pub fn new(code: &'a str, message: impl Into<Cow<'a, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            details: None,
        }
    }

    /// Adds details.
    #[must_use]
    pub fn with_details(mut self, details: Details) -> Self {
        // Numbers can always be written as JSON.
        self.details = serde_json::to_string(&details).ok().map(Cow::Owned);
        self
    }

    /// The text of a frame that answers no request in particular.
    pub fn frame(&self) -> String {
        let mut text = String::new();
        let to = Address {
            event: "$error",
            id: None,
            room: None,
        };
        self.write(&mut text, to);
        text
    }

    /// Appends the error frame that answers a request. Every error frame is written here.
    pub(crate) fn write(&self, text: &mut String, to: Address<'_>) {
        write_head(text, to.event, to.id, to.room);
        text.push_str(r#","error":{"code":"#);
        write_string(text, self.code);
        text.push_str(r#","message":"#);
        write_string(text, &self.message);
        if let Some(details) = &self.details {
            text.push_str(r#","details":"#);
            text.push_str(details);
        }
        text.push_str("}}");
    }
}

/// A text message that is not an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// Not one JSON object, or a member is repeated.
    #[error(
        "a message must be one JSON object without a repeated member, like \
         {{\"event\":\"hello\",\"room\":\"lobby\",\"data\":1}}"
    )]
    Object,
    /// The `event` is missing, of the wrong type, empty or over 128 bytes.
    #[error("`event` must be a string of 1 to {EVENT_BYTES_MAX} bytes")]
    Event,
    /// The `id` is of the wrong type, over 64 bytes or too large.
    #[error("`id` must be a string of at most {ID_BYTES_MAX} bytes or an integer below 2^53")]
    Id,
    /// The `room` is of the wrong type.
    #[error("`room` must be a string")]
    Room,
    /// The `echo` is of the wrong type.
    #[error("`echo` must be true or false")]
    Echo,
    /// The `key` is of the wrong type, empty or over 64 bytes.
    #[error("`key` must be a string of 1 to {KEY_BYTES_MAX} bytes")]
    Key,
    /// The `conn` with a `key` is not a connection id, nor an array of a few.
    #[error(
        "`conn` must be the id of an earlier connection, or an array of at most {} of them",
        PREVIOUS_CONNS_MAX
    )]
    Conn,
    /// The `data` may not be relayed.
    #[error(transparent)]
    Payload(#[from] PayloadError),
}

/// The reason why a message cannot be put into an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EncodeError {
    /// The event name is empty, over 128 bytes, or starts with `$`.
    #[error("`event` must have 1 to {EVENT_BYTES_MAX} bytes and must not start with `$`")]
    Event,
    /// The label is empty or over 200 bytes.
    #[error("`path` must have 1 to {PATH_BYTES_MAX} bytes")]
    Path,
    /// The payload is not JSON that may be relayed.
    #[error(transparent)]
    #[serde(with = "PayloadError")]
    Payload(#[from] PayloadError),
    /// The value has no form in JSON.
    #[error(
        "the value cannot be written as JSON: its `Serialize` failed, or a map has keys that are not strings"
    )]
    Value,
    /// A room in the audience has no valid name.
    #[error(transparent)]
    #[serde(with = "RoomNameError")]
    Room(#[from] RoomNameError),
    /// The relay between the nodes of the server cannot be reached.
    #[error("the server cannot reach its other nodes: nothing was sent")]
    Unavailable,
}

impl Coded for PayloadError {
    fn row(&self) -> (ErrorCode, Option<Details>) {
        let details = match self {
            Self::Syntax | Self::Surrogate => None,
            Self::Depth => Some(Details::limit(Payload::DEPTH_MAX)),
        };
        (ErrorCode::BadPayload, details)
    }
}

impl Coded for RoomNameError {
    fn row(&self) -> (ErrorCode, Option<Details>) {
        (ErrorCode::BadRoom, Some(Details::limit(self.bytes_max)))
    }
}

impl Coded for EnvelopeError {
    fn row(&self) -> (ErrorCode, Option<Details>) {
        let limit = match self {
            Self::Object | Self::Room | Self::Echo => None,
            Self::Event => Some(EVENT_BYTES_MAX),
            Self::Id => Some(ID_BYTES_MAX),
            Self::Key => Some(KEY_BYTES_MAX),
            Self::Conn => Some(PREVIOUS_CONNS_MAX),
            Self::Payload(error) => return error.row(),
        };
        (ErrorCode::BadEnvelope, limit.map(Details::limit))
    }
}

/// Errors of messages from the application or a backend.
impl Coded for EncodeError {
    fn row(&self) -> (ErrorCode, Option<Details>) {
        let limit = |limit| (ErrorCode::BadRequest, Some(Details::limit(limit)));
        match self {
            Self::Event => limit(EVENT_BYTES_MAX),
            Self::Path => limit(PATH_BYTES_MAX),
            Self::Payload(error) => error.row(),
            Self::Value => (ErrorCode::BadPayload, None),
            Self::Room(error) => error.row(),
            Self::Unavailable => (ErrorCode::Unavailable, None),
        }
    }
}
