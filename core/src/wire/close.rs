//! Close codes, and the reasons for which connections end.

use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};

/// The code of a WebSocket close frame (RFC 6455, section 7.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CloseCode(u16);

impl CloseCode {
    /// Normal closure; the client does not reconnect.
    pub const NORMAL: Self = Self(1000);
    /// The server is shutting down; the client reconnects after the `$bye` delay.
    pub const AWAY: Self = Self(1001);
    /// Broken framing.
    pub const PROTOCOL: Self = Self(1002);
    /// A binary message where only text is spoken.
    pub const UNSUPPORTED: Self = Self(1003);
    /// Text that is not UTF-8.
    pub const INVALID_TEXT: Self = Self(1007);
    /// Too many fragments, or a message that took too long.
    pub const POLICY: Self = Self(1008);
    /// A message over the size limit.
    pub const TOO_BIG: Self = Self(1009);
    /// A fault of the server.
    pub const INTERNAL: Self = Self(1011);
    /// The server is full; the client reconnects with backoff.
    pub const OVERLOADED: Self = Self(1013);
    /// Token missing, bad or expired.
    pub const UNAUTHORIZED: Self = Self(4401);
    /// Not allowed; the client does not reconnect.
    pub const FORBIDDEN: Self = Self(4403);
    /// No heartbeat.
    pub const NO_HEARTBEAT: Self = Self(4408);
    /// The client read too slowly; it reconnects and recovers.
    pub const TOO_SLOW: Self = Self(4409);
    /// Removed by the application.
    pub const REMOVED: Self = Self(4410);
    /// Rate limit passed repeatedly; the client reconnects with backoff.
    pub const RATE_LIMITED: Self = Self(4429);

    /// The reason sent with [`TOO_SLOW`](Self::TOO_SLOW), to a client that read too little of what
    /// was sent.
    pub const TOO_SLOW_REASON: &str = "too slow: the outbox passed its limit";

    /// The reason sent with [`TOO_BIG`](Self::TOO_BIG), with the limit in bytes.
    pub fn too_big_reason(bytes_max: usize) -> String {
        alloc::format!("message of more than {bytes_max} bytes")
    }

    /// A code that an application may close with: 1000, 1001, 1008, 1011, 1013, or 3000 to 4999.
    /// `None` for all others, which belong to the protocol or must not be sent at all.
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            1000 | 1001 | 1008 | 1011 | 1013 | 3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }

    /// The number on the wire.
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    /// True for 3000 to 4999, which applications choose, on either side.
    pub const fn is_private(self) -> bool {
        self.0 >= 3000
    }

    /// True when a client should reconnect.
    pub const fn reconnect(self) -> bool {
        matches!(self.0, 1001 | 1011 | 1013 | 4401 | 4408 | 4409 | 4429)
    }

    /// True when the peer broke the framing; it then gets only the close frame, without `$bye`.
    pub const fn framing_fault(self) -> bool {
        matches!(self.0, 1002 | 1003 | 1007 | 1008 | 1009)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The reason why a connection ended.
///
/// A host reports the first three. For a close that the server decided, [`Closed`](Self::Closed),
/// the connection has left the hub already, and the host reports nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The client sent a close frame; its code, when it gave one.
    Client(Option<CloseCode>),
    /// The transport ended without a close frame.
    Lost,
    /// The client broke the rules of the transport; the code it was closed with.
    #[serde(rename = "fault")]
    Violation(CloseCode),
    /// The server closed it, for a limit, for silence or because the application wanted it; the
    /// code it was closed with.
    Closed(CloseCode),
}

impl DisconnectReason {
    /// True when the client may return soon: it lost the connection, or is reloading its page.
    pub(crate) const fn may_return(self) -> bool {
        match self {
            Self::Client(_) | Self::Lost => true,
            Self::Violation(code) | Self::Closed(code) => code.reconnect(),
        }
    }
}
