//! Upgrade requests, and the application's decision on them before a connection opens.

use alloc::boxed::Box;
use core::net::IpAddr;

use serde::Serialize;

use super::{outcome::to_json, rejection::Rejection};
use crate::hub::{Handshake, SessionError, SetUserError};
use crate::{policy::GrantRules, time::UnixTime, wire::EncodeError};

/// The request for a WebSocket, as an application sees it: plain values that any host can fill in.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct UpgradeRequest<'a> {
    /// The path, percent-encoded as it came.
    pub path: &'a str,
    /// The query string as it came, without the question mark.
    pub query: &'a str,
    /// Names and values of the header fields, in order; names in any case.
    pub headers: &'a [(&'a str, &'a str)],
    /// The peer's address, if the host knows it; behind a trusted proxy, the client's address.
    pub peer: Option<IpAddr>,
}

impl<'a> UpgradeRequest<'a> {
    /// A request for this path, with this query string.
    pub const fn new(path: &'a str, query: &'a str) -> Self {
        Self {
            path,
            query,
            headers: &[],
            peer: None,
        }
    }

    /// Sets the header fields.
    #[must_use]
    pub const fn with_headers(mut self, headers: &'a [(&'a str, &'a str)]) -> Self {
        self.headers = headers;
        self
    }

    /// Sets the peer. An IPv4-mapped IPv6 address (`::ffff:192.0.2.1`) becomes an IPv4 address.
    #[must_use]
    pub const fn with_peer(mut self, peer: IpAddr) -> Self {
        self.peer = Some(peer.to_canonical());
        self
    }

    /// The first value of a header field, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.values(name).next()
    }

    /// The value of the first cookie of this name, not decoded, without surrounding quotes.
    pub fn cookie(&self, name: &str) -> Option<&'a str> {
        let pairs = self.values("cookie").flat_map(|value| value.split(';'));
        let mut pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
        let (_, value) = pairs.find(|(found, _)| *found == name)?;
        let bare = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
        Some(bare.unwrap_or(value))
    }

    /// The first parameter of this name in the query, decoded.
    pub fn param(&self, name: &str) -> Option<alloc::borrow::Cow<'a, str>> {
        let mut pairs = form_urlencoded::parse(self.query.as_bytes());
        pairs
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value)
    }

    /// The subprotocols that the client offers, in its order.
    pub fn subprotocols(&self) -> impl Iterator<Item = &'a str> {
        let lists = self.values("sec-websocket-protocol");
        let items = lists.flat_map(|list| list.split(',')).map(str::trim);
        items.filter(|item| !item.is_empty())
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let fields = self.headers.iter();
        let named = fields.filter(move |(found, _)| found.eq_ignore_ascii_case(name));
        named.map(|&(_, value)| value)
    }
}

/// Admission of a connection by an application, with its user, session and subprotocol. By default
/// it has none of them: the host decides who the user is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Admission {
    /// The user of the connection; `None` leaves it to the host.
    pub user: Option<Box<str>>,
    /// The rights of the connection, with the user inserted; `None` leaves them to the host.
    pub grants: Option<GrantRules>,
    /// The session of the connection, as JSON.
    pub session: Option<Box<str>>,
    /// The subprotocol to select; ignored unless the client offered it.
    pub subprotocol: Option<Box<str>>,
}

/// The bytes of a user's name, at most; as many as in the name of a room. The name is in every
/// message that the user publishes.
const USER_BYTES_MAX: usize = 200;

pub(super) fn check_user(user: &str) -> Result<(), SetUserError> {
    let fits = (1..=USER_BYTES_MAX).contains(&user.len()) && !user.contains(char::is_control);
    if fits {
        Ok(())
    } else {
        Err(SetUserError::Invalid)
    }
}

impl Admission {
    /// Admits a connection, and leaves all else to the host.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the user: 1 to 200 bytes without control characters. Any other name makes the upgrade
    /// fail as an internal error, on every host.
    ///
    /// If the client's token, or another source, names a different user, the connection has none of
    /// that user's rights, metadata and rooms: give it rights by
    /// [`with_grants`](Self::with_grants). It still ends when the token expires.
    #[must_use]
    pub fn with_user(mut self, user: impl Into<Box<str>>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Sets the rights of the connection: these, and those of the
    /// [`Policies`](crate::Policies).
    #[must_use]
    pub fn with_grants(mut self, grants: GrantRules) -> Self {
        self.grants = Some(grants);
        self
    }

    /// Sets the session; see [`Context::session`](crate::Context::session). A session over
    /// `Limits::session_bytes` makes the upgrade fail as an internal error.
    ///
    /// # Errors
    ///
    /// When the value has no form in JSON.
    pub fn with_session<T: Serialize + ?Sized>(mut self, value: &T) -> Result<Self, EncodeError> {
        self.session = Some(to_json(value)?);
        Ok(self)
    }

    /// Sets the subprotocol.
    #[must_use]
    pub fn with_subprotocol(mut self, subprotocol: impl Into<Box<str>>) -> Self {
        self.subprotocol = Some(subprotocol.into());
        self
    }

    /// Checks the user and the session, as [`App::upgrade`](crate::App::upgrade) does: for a host
    /// whose admission is not from there. A session may have `session_bytes_max` bytes.
    ///
    /// # Errors
    ///
    /// When one of them is over its limit.
    pub fn check(&self, session_bytes_max: usize) -> Result<(), Rejection> {
        if let Some(user) = &self.user {
            check_user(user)?;
        }
        let bytes_max = session_bytes_max;
        let session = self.session.as_ref();
        if session.is_some_and(|json| json.len() > bytes_max) {
            return Err(SessionError::TooLarge { bytes_max }.into());
        }
        Ok(())
    }

    /// Checks the admission, and drops a subprotocol that was not offered.
    pub(super) fn fit<'o>(
        mut self,
        session_bytes_max: usize,
        mut offered: impl Iterator<Item = &'o str>,
    ) -> Result<Self, Rejection> {
        self.check(session_bytes_max)?;
        let chosen = self.subprotocol.take();
        self.subprotocol = chosen.filter(|chosen| offered.any(|item| *item == **chosen));
        Ok(self)
    }

    /// The handshake for [`Input::Connect`](crate::Input::Connect): the host's own, with the
    /// application's decision, for which it was asked at the time `asked`. A user whom the
    /// application names need not authenticate. Its identity counts as issued at that time, unless
    /// another source gives a time: a withdrawal while the application decides still applies.
    pub fn handshake(self, mut host: Handshake, asked: UnixTime) -> Handshake {
        if let Some(user) = self.user {
            host.unidentified = false;
            host.identity = host.identity.with_named_user(user, asked);
        }
        if let Some(grants) = self.grants {
            let user = host.identity.user.as_deref();
            host.identity.grants = Some(grants.for_user(user));
        }
        host.session = self.session.or(host.session);
        host
    }
}
