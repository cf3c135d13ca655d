//! Errors over HTTP: each has its text, code, `details`, header fields and reason here.

mod reason;
mod told;

use alloc::{string::String, vec, vec::Vec};

use roomcast_core::{
    ErrorCode, JoinError, Rejection, RoomNameError,
    ask::AskError,
    gateway::ConnectError,
    hub::{KEY_BYTES_MAX, Refusal, RequestError},
    outbox::CLOSE_REASON_BYTES_MAX,
    room::PageError,
    wire::{Coded, Counted, Details},
};
use roomcast_hooks::Verdict;

pub use self::reason::Reason;
use crate::{
    access::{KeyScope, TokenRefusal},
    request::{NAMESPACE_BYTES_MAX, NAMESPACE_FORM},
    trusted_proxy::NamedUserError,
};

/// The number of entries in one page of a list, at most.
pub(crate) const PAGE_MAX: usize = 1000;

/// The reason that a request is refused. Its [`Display`](core::fmt::Display) is the text that the
/// client reads.
///
/// Errors of a hub keep their code, their text and their details.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// There is nothing at the path.
    #[error(
        "there are {}/client.js, /ws, /ws/{{namespace}}, {}/healthz, /readyz{}",
        match *.page {
            true if cfg!(feature = "inspector") => "/, /inspect, /server, ",
            true => "/, /server, ",
            false => "",
        },
        if *.api { "/api/v1/{namespace}/, " } else { "" },
        if *.metrics { ", /metrics" } else { "" }
    )]
    NoPath {
        /// True when the page is there.
        page: bool,
        /// True when metrics are there.
        metrics: bool,
        /// True when the API is there.
        api: bool,
    },
    /// The API has no such version.
    #[error("the API is at /api/v1/{{namespace}}/")]
    NoVersion,
    /// The API has no such path.
    #[error(
        "the API has send, rooms, rooms/{{room}}, rooms/{{room}}/members, \
         rooms/{{room}}/members/{{conn}}, rooms/{{room}}/history, connections, \
         connections/{{conn}}, users/{{user}}/connections, explain, and room with ?room= in place of \
         rooms/{{room}}"
    )]
    NoCall,
    /// The host has no metrics at all.
    #[error("a Worker has no metrics of its own: the platform's dashboard has them")]
    NoMetrics,
    /// There is no such namespace.
    #[error(
        "no such namespace: a name is {NAMESPACE_FORM}, and listed in ROOMCAST_NAMESPACES \
         (--namespaces) where that is set"
    )]
    NoNamespace,
    /// The name of the namespace is too long.
    #[error("no such namespace: a name has at most {NAMESPACE_BYTES_MAX} characters")]
    NamespaceLong,
    /// There is no such room.
    #[error("there is no such room: nobody is in it, and it keeps no history")]
    NoRoom,
    /// There is no such connection. The path names it, so the text does not repeat it.
    #[error("no live connection has this id")]
    NoConnection,
    /// The path takes only these methods.
    #[error("this path takes {0}")]
    Method(&'static str),

    /// The header `Host` is missing, or there are several.
    #[error("a request must have one Host header")]
    OneHost,
    /// The path is not valid percent-encoded UTF-8.
    #[error(
        "the path must be percent-encoded UTF-8: two hexadecimal digits behind each %, which is \
         itself written %25"
    )]
    PathEncoding,
    /// The query is not percent-encoded.
    #[error(
        "the query must be percent-encoded: two hexadecimal digits behind each %, which is itself \
         written %25"
    )]
    QueryEncoding,
    /// The query is not UTF-8.
    #[error("the query must be percent-encoded UTF-8")]
    QueryText,
    /// The query has this parameter several times.
    #[error("{0} is given more than once")]
    Repeated(String),
    /// The query has an unknown parameter: this one. The call takes the second ones.
    #[error("unknown parameter {0}: this call takes {1}")]
    Unknown(String, String),
    /// The parameter `room` is missing.
    #[error("name the room: ?room=NAME, percent-encoded")]
    RoomMissing,
    /// The parameter `user` is missing.
    #[error("name the user: ?user=NAME, or DELETE connections/{{conn}}")]
    UserMissing,
    /// The parameter of this name is not an offset.
    #[error("{0} must be an offset: 0 to {max}, digits only", max = u64::MAX)]
    Offset(&'static str),
    /// The parameter `not_before` is not a time.
    #[error(
        "not_before must be seconds since 1970, digits only (milliseconds are larger): identities \
         from before are refused"
    )]
    NotBefore,
    /// The parameter `offset` is missing, or not the offset of a message.
    #[error("name the message: ?offset=N, the `offset` of its frame, 1 or more, digits only")]
    MessageOffset,
    /// The parameter `right` is not a right, or is combined with `from` or `offset`.
    #[error("right must be join, publish, presence or history, and stand in place of offset")]
    Right,
    /// The parameter `from` is not a connection, or is combined with `offset`.
    #[error("from must be the connection that publishes, and stand in place of offset")]
    From,
    /// The parameter `conn` is missing, or not a connection.
    #[error("name the connection: ?conn=ID, a decimal number below 2^53; it may have ended")]
    Conn,
    /// The parameter `limit` is not a number, or out of its range.
    #[error("limit must be 1 to {PAGE_MAX}, digits only")]
    PageLimit,
    /// The parameter `after` is not a connection.
    #[error("after must be a connection id")]
    After,
    /// The parameter `code` is not a close code that the API sends.
    #[error("code must be 1000, 1001, 1008, 1011, 1013 or 3000 to 4999")]
    CloseCode,
    /// The parameter `reason` does not fit in a close frame.
    #[error("reason must have at most {CLOSE_REASON_BYTES_MAX} bytes")]
    CloseReason,
    /// The header `Idempotency-Key` is not a valid key, or there are several.
    #[error("send one Idempotency-Key of 1 to {KEY_BYTES_MAX} visible characters, without commas")]
    Key,
    /// The head of the request is larger than the host accepts: this number of bytes.
    #[error(
        "the head of a request has at most {}: send shorter headers, or raise \
         ROOMCAST_HEADER_BYTES_MAX (--header-bytes-max)",
        Counted(*.0, "byte")
    )]
    HeadTooLarge(usize),
    /// The request has more headers than the host accepts: this number.
    #[error(
        "a request has at most {}: send fewer, or raise ROOMCAST_HEADERS_MAX (--headers-max)",
        Counted(*.0, "header")
    )]
    TooManyHeaders(usize),
    /// The body is compressed.
    #[error("the body must be sent as it is: leave Content-Encoding out")]
    ContentEncoding,
    /// The body or a part of it does not have this form, from this line and column on.
    #[error("{0}: look at line {1}, column {2} of it")]
    Form(&'static str, usize, usize),
    /// The body is a list, or its audience is.
    #[error("the body and its audience must be objects")]
    Objects,
    /// The body is larger than the host accepts: this number of bytes.
    #[error(
        "the body must have at most {}: send less, or raise ROOMCAST_API_BODY_BYTES_MAX \
         (--api-body-bytes-max)",
        Counted(*.0, "byte")
    )]
    BodyTooLarge(usize),
    /// The body is larger than a middleware in front of the server lets through.
    #[error("the body is over a limit of the program around this server")]
    BodyLimited,
    /// The body ended early.
    #[error("the body did not arrive whole")]
    BodyCut,
    /// The body took too long: more than this number of milliseconds.
    #[error("the body did not arrive in time: within {0} ms")]
    BodyLate(usize),

    /// The API needs a key, and the request has no valid one.
    #[error(
        "send Authorization: Bearer KEY, with a key that ROOMCAST_API_KEY (--api-key) gives the \
         server"
    )]
    Unauthorized,
    /// The API needs a key, and the request has the hash of one.
    #[error("this is the hash of a key, for the server's settings: send the key itself")]
    KeyHash,
    /// The key does not have the scope that the call needs: this one.
    #[error(
        "this call needs a key with the scope `{}`{}, and this key has another: give the server \
         one in ROOMCAST_API_KEY (--api-key)",
        .0.as_str(),
        if *.0 == KeyScope::Admin { "" } else { " or `admin`" }
    )]
    Scope(KeyScope),
    /// The API has no key, and the settings do not allow its use without one.
    #[error("the API needs a key: set ROOMCAST_API_KEY (--api-key)")]
    KeylessOff,
    /// The API has no key, and the settings let other machines in.
    #[error(
        "the API needs a key where ROOMCAST_ALLOW_ORIGIN (--allow-origin) or ROOMCAST_ALLOW_HOST \
         (--allow-host) names more than this machine: set ROOMCAST_API_KEY (--api-key)"
    )]
    KeylessOpen,
    /// The API has no key, and a proxy lets other machines in.
    #[error(
        "the API needs a key, for a proxy stands before this server, whose visitors look like \
         programs on this machine: set ROOMCAST_API_KEY (--api-key)"
    )]
    KeylessProxied,
    /// The API has no key, and the request comes from another user of the machine.
    #[error(
        "the API needs a key, for who calls runs as another user than this server, as a proxy does: \
         set ROOMCAST_API_KEY (--api-key)"
    )]
    KeylessUser,
    /// The API has no key, and the request comes from elsewhere.
    #[error(
        "without a key the API answers programs on loopback only: set ROOMCAST_API_KEY \
         (--api-key)"
    )]
    KeylessForeign,

    /// The path is that of a WebSocket, and the request is not an upgrade.
    #[error("this is a WebSocket: send Connection: Upgrade and Upgrade: websocket")]
    NoUpgrade,
    /// The form of an upgrade is wrong.
    #[error("an upgrade says Connection: Upgrade, Upgrade: websocket, HTTP/1.1, no body")]
    BadUpgrade,
    /// The upgrade is to another version of the protocol.
    #[error("the WebSocket version must be 13")]
    SocketVersion,
    /// The header `Sec-WebSocket-Key` is not a key.
    #[error("Sec-WebSocket-Key must be 16 bytes in base64")]
    SocketKey,
    /// The page's origin is not allowed.
    #[error(
        "this page's origin may not connect: list it in ROOMCAST_ALLOW_ORIGIN (--allow-origin), \
         scheme, host and port"
    )]
    Origin,
    /// The page's origin is not allowed, and the `Host` looks as if a proxy had rewritten it.
    #[error(
        "this page's origin may not connect: list it in ROOMCAST_ALLOW_ORIGIN (--allow-origin), \
         scheme, host and port; or, if it is this server's own address and a proxy has rewritten \
         the Host header, have the proxy pass it on as it came (nginx: proxy_set_header Host \
         $http_host)"
    )]
    OriginBehindProxy,
    /// The `Host` is a name under which a server on loopback does not answer.
    #[error(
        "this server listens on loopback and is taken under loopback names only, such as \
         localhost: name this host in ROOMCAST_ALLOW_HOST (--allow-host), or have the proxy \
         before the server send X-Forwarded-For"
    )]
    Host,
    /// A header field names a user, and is refused.
    #[error(transparent)]
    NamedUser(#[from] NamedUserError),
    /// The server has as many connections as it may have: this number.
    #[error(
        "too many connections: raise --connections-max or the limit of open files, or try later"
    )]
    Connections(usize),
    /// The address has as many connections as it may have: this number.
    #[error(
        "too many connections from this address: raise --connections-per-address-max, or close \
         others first"
    )]
    ConnectionsPerAddress(usize),
    /// The user has as many connections as it may have: this number.
    #[error(
        "{}, or raise --connections-per-user-max", // the core does not know the setting
        RequestError::UserConnections { limit: *.0 }
    )]
    ConnectionsPerUser(usize),
    /// The namespace has as many connections as it may have: so many.
    #[error("too many connections in this namespace: raise ROOMCAST_CONNECTIONS_MAX, or try later")]
    ConnectionsPerNamespace(usize),
    /// The server has no id for a connection.
    #[error("no connection ids are left: with --relay Redis gives more, else restart the server")]
    Exhausted,
    /// The server has as many namespaces as it may have: this number.
    #[error("too many namespaces: raise --namespaces-max, or try later")]
    Namespaces(usize),
    /// The client's token is refused, or the client has none.
    #[error("{}", .0.client_text())]
    Token(TokenRefusal),
    /// The backend of `[ask]` does not let the client in, or cannot be asked.
    #[error("{0}")]
    Backend(Verdict),
    /// The application refuses the connection.
    #[error("{}", .0.reason())]
    Rejected(Rejection),

    /// The server is shutting down, and the API with it.
    #[error("the server is shutting down: ask another, or try again")]
    Draining,
    /// The server is shutting down, and accepts no connections.
    #[error("the server is shutting down: connect to another, or try again")]
    DrainingSocket,
    /// The namespace could not save its state or be reached, and did nothing.
    #[error("the namespace could not save its state or be reached, and did nothing: try again")]
    Unsaved,
    /// The answer cannot be serialized as JSON.
    #[error("the answer could not be encoded")]
    Answer,
    /// The host failed because of a setting, which the text names.
    #[error("{0}")]
    Setting(String),
    /// The host failed.
    #[error("{}", RequestError::Internal)]
    Internal,

    /// The name of a room is not valid.
    #[error(transparent)]
    Room(#[from] RoomNameError),
    /// There is no such page.
    #[error(transparent)]
    Page(#[from] PageError),
    /// The namespace did not carry out the call.
    #[error(
        "{}{}", .0, // the core does not know the setting
        if matches!(.0, AskError::TooManyNamespaces { .. }) { ", or raise --namespaces-max" } else { "" }
    )]
    Ask(AskError),
}

impl Coded for Problem {
    fn row(&self) -> (ErrorCode, Option<Details>) {
        use ErrorCode as Code;
        let limited = |code, limit| (code, Some(Details::limit(limit)));
        let code = match *self {
            Self::NoPath { .. } | Self::NoVersion | Self::NoCall | Self::NoRoom => Code::NotFound,
            Self::NoMetrics | Self::NoNamespace | Self::NoConnection => Code::NotFound,
            Self::NamespaceLong => return limited(Code::NotFound, NAMESPACE_BYTES_MAX),
            Self::Method(_) => Code::MethodNotAllowed,
            Self::OneHost | Self::PathEncoding | Self::QueryEncoding => Code::BadRequest,
            Self::QueryText | Self::Repeated(_) | Self::Unknown(..) => Code::BadRequest,
            Self::RoomMissing | Self::UserMissing | Self::MessageOffset => Code::BadRequest,
            Self::Conn | Self::NotBefore | Self::Right | Self::From => Code::BadRequest,
            Self::Offset(_) | Self::After | Self::CloseCode => Code::BadRequest,
            Self::Form(..) | Self::Objects | Self::BodyCut => Code::BadRequest,
            Self::BadUpgrade | Self::SocketKey => Code::BadRequest,
            Self::PageLimit => return limited(Code::BadRequest, PAGE_MAX),
            Self::CloseReason => return limited(Code::BadRequest, CLOSE_REASON_BYTES_MAX),
            Self::Key => return limited(Code::BadRequest, KEY_BYTES_MAX),
            Self::ContentEncoding => Code::UnsupportedMediaType,
            Self::BodyLimited => Code::TooLarge,
            Self::BodyTooLarge(bytes_max) => return limited(Code::TooLarge, bytes_max),
            Self::HeadTooLarge(limit) | Self::TooManyHeaders(limit) => {
                return limited(Code::HeadTooLarge, limit);
            }
            Self::BodyLate(limit_ms) => return limited(Code::Timeout, limit_ms),
            Self::Unauthorized | Self::KeyHash => Code::Unauthorized,
            Self::Scope(_) => Code::Forbidden,
            Self::KeylessOff
            | Self::KeylessOpen
            | Self::KeylessProxied
            | Self::KeylessUser
            | Self::KeylessForeign => Code::Forbidden,
            Self::NoUpgrade | Self::SocketVersion => Code::UpgradeRequired,
            Self::Origin | Self::OriginBehindProxy | Self::Host => Code::Forbidden,
            Self::NamedUser(error) => return error.row(),
            Self::Connections(limit)
            | Self::ConnectionsPerAddress(limit)
            | Self::ConnectionsPerUser(limit)
            | Self::ConnectionsPerNamespace(limit)
            | Self::Namespaces(limit) => return limited(Code::Overloaded, limit),
            Self::Exhausted => Code::Overloaded,
            Self::Token(ref refusal) => return refusal.row(),
            Self::Backend(ref verdict) => return verdict.row(),
            Self::Rejected(ref rejection) => rejection.code(),
            Self::Draining | Self::DrainingSocket | Self::Unsaved => Code::Unavailable,
            Self::Answer | Self::Setting(_) | Self::Internal => Code::Internal,
            Self::Room(error) => return error.row(),
            Self::Page(error) => return error.row(),
            Self::Ask(ref error) => return error.row(),
        };
        (code, None)
    }
}

impl Problem {
    /// The reason under which a host counts it; `None` if it is not a refusal but a mistake in the
    /// request, or a fault.
    #[allow(clippy::wildcard_enum_match_arm)] // the others are counted by their code
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::NoNamespace | Self::NamespaceLong => Some(Reason::Namespace),
            Self::Origin | Self::OriginBehindProxy => Some(Reason::Origin),
            Self::Host => Some(Reason::Host),
            Self::Scope(_) => Some(Reason::Scope),
            Self::NamedUser(_) => Some(Reason::UserHeader),
            Self::KeylessOff
            | Self::KeylessOpen
            | Self::KeylessProxied
            | Self::KeylessUser
            | Self::KeylessForeign => Some(Reason::KeylessApi),
            Self::Connections(_) | Self::ConnectionsPerNamespace(_) | Self::Exhausted => {
                Some(Reason::Connections)
            }
            Self::ConnectionsPerAddress(_) => Some(Reason::ConnectionsPerAddress),
            Self::ConnectionsPerUser(_) => Some(Reason::ConnectionsPerUser),
            Self::Token(refusal) => Some(refusal.reason()),
            Self::Backend(Verdict::Unavailable) => Some(Reason::BackendUnavailable),
            Self::Backend(Verdict::Overloaded(_)) => Some(Reason::BackendOverloaded),
            Self::Backend(_) => Some(Reason::Backend),
            Self::Rejected(rejection) => {
                (rejection.code() != ErrorCode::Internal).then_some(Reason::Application)
            }
            other => match other.code() {
                ErrorCode::Unauthorized => Some(Reason::Key),
                ErrorCode::Forbidden => Some(Reason::Policy),
                ErrorCode::Overloaded => Some(Reason::Namespaces),
                ErrorCode::Unavailable => Some(Reason::Draining),
                _ => None,
            },
        }
    }

    /// The header fields of the answer, besides its content type.
    #[allow(clippy::wildcard_enum_match_arm)] // the others have none
    fn headers(&self) -> Vec<(&'static str, &'static str)> {
        match self {
            Self::Method(allow) => vec![("allow", *allow)],
            Self::ContentEncoding => vec![("accept-encoding", "identity")],
            Self::Token(TokenRefusal::Unavailable)
            | Self::Backend(Verdict::Unavailable | Verdict::Overloaded(_)) => {
                vec![("retry-after", "5")]
            }
            Self::Unauthorized | Self::KeyHash | Self::Token(_) => {
                vec![("www-authenticate", "Bearer")]
            }
            Self::NoUpgrade => vec![("upgrade", "websocket"), ("connection", "Upgrade")],
            Self::SocketVersion => {
                vec![("sec-websocket-version", "13"), ("connection", "Upgrade")]
            }
            Self::Connections(_)
            | Self::ConnectionsPerAddress(_)
            | Self::ConnectionsPerUser(_)
            | Self::ConnectionsPerNamespace(_)
            | Self::Namespaces(_)
            | Self::Exhausted
            | Self::DrainingSocket
            | Self::Unsaved => vec![("retry-after", "5")],
            Self::Rejected(rejection) if rejection.status() == 503 => vec![("retry-after", "5")],
            _ => Vec::new(),
        }
    }
}

impl From<AskError> for Problem {
    #[allow(clippy::wildcard_enum_match_arm)] // the others are told as they are
    fn from(error: AskError) -> Self {
        match error {
            AskError::UnknownConn(_) | AskError::Join(JoinError::UnknownConn(_)) => {
                Self::NoConnection
            }
            error => Self::Ask(error),
        }
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

/// A connection that a namespace refused.
impl From<ConnectError> for Problem {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Rejected(rejection) => Self::Rejected(rejection),
            ConnectError::Hub(Refusal::Full { limit }) => Self::ConnectionsPerNamespace(limit),
            ConnectError::Hub(Refusal::Unidentified) => Self::Token(TokenRefusal::Missing),
            ConnectError::Hub(Refusal::Expired) => Self::Token(TokenRefusal::Expired),
            ConnectError::Hub(Refusal::Withdrawn) => Self::Token(TokenRefusal::Withdrawn),
            ConnectError::Hub(_) | _ => Self::Exhausted,
        }
    }
}

#[cfg(test)]
mod tests;
