//! The state machine of one namespace.

pub(crate) mod audience;
pub(crate) mod change;
pub(crate) mod conn;
mod connect;
mod conns;
pub(crate) mod delivery;
pub(crate) mod error;
mod heartbeat;
mod history;
pub(crate) mod idempotency;
mod lifecycle;
pub(crate) mod limits;
mod membership;
mod presence;
mod publish;
pub(crate) mod query;
pub(crate) mod rate;
pub(crate) mod receive;
mod reload;
mod send;
pub(crate) mod state;

use alloc::vec::Vec;

pub use self::{
    audience::Audience,
    conn::Handshake,
    delivery::Delivery,
    error::{JoinError, Refused, RequestError, RestoreError, SendError, SessionError, UnknownConn},
    limits::{Config, Limits, Rate},
    query::{ConnectionInfo, ConnectionSummary, Counts, RoomInfo, RoomSummary},
    rate::Bucket,
    state::{ConnState, HubState, KeyState, RoomState},
};
use self::{change::Change, conns::Conns, idempotency::Keys};
pub use crate::wire::conn_id::{ConnId, ParseConnIdError};
use crate::{room::rooms::Rooms, time::Timestamp, time::UnixTime};

/// A namespace: its connections, its rooms, and who receives what.
///
/// The hub does no I/O and has no clock. Its methods are of five kinds:
///
/// 1. **What happened**, told by the host: [`connect`](Self::connect),
///    [`receive`](Self::receive), [`heard`](Self::heard), [`disconnect`](Self::disconnect),
///    [`handle_timeout`](Self::handle_timeout).
/// 2. **What the application wants**: [`publish`](Self::publish), [`send`](Self::send),
///    [`send_once`](Self::send_once), [`join`](Self::join), [`join_with`](Self::join_with),
///    [`leave`](Self::leave), [`close`](Self::close), [`close_for`](Self::close_for).
/// 3. **Questions**, which change nothing: [`rooms`](Self::rooms), [`members`](Self::members),
///    [`rooms_of`](Self::rooms_of), [`connection`](Self::connection), [`counts`](Self::counts),
///    [`next_timeout`](Self::next_timeout) and others.
/// 4. **Other policies**: [`set_policies`](Self::set_policies).
/// 5. **Sleep and wake**: [`state`](Self::state), [`conn_state`](Self::conn_state),
///    [`restore`](Self::restore); and [`shrink_to_fit`](Self::shrink_to_fit).
///
/// Methods append commands to the [`Outbox`](crate::Outbox) that they are given. The host carries
/// the commands out in order, clears the outbox, asks for [`next_timeout`](Self::next_timeout), and
/// waits for the next thing to happen.
///
/// The same inputs give the same outputs, byte for byte, on every machine.
///
/// ```
/// use roomcast_core::{Command, Config, Frame, Handshake, Hub, Outbox, Timestamp};
///
/// let mut hub = Hub::new(Config::new("epoch"));
/// let (now, mut out) = (Timestamp::ZERO, Outbox::new());
/// let ann = hub.connect(now, Handshake::new(), &mut out)?;
/// let bob = hub.connect(now, Handshake::new(), &mut out)?;
/// hub.join(now, bob, "lobby", &mut out)?;
/// out.clear();
///
/// let text = r#"{"event":"said","room":"lobby","data":"hi"}"#;
/// if let Some(message) = hub.receive(now, ann, Frame::Text(text), &mut out)? {
///     hub.publish(now, &message, &mut out)?; // or what the application decides
/// }
/// for command in &out {
///     let Command::Send { to, frame: Frame::Text(text), .. } = command else { continue };
///     assert_eq!(to, [bob]);
///     assert_eq!(text, r#"{"event":"said","room":"lobby","from":{"conn":"0"},"data":"hi"}"#);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Hub {
    config: Config,
    conns: Conns,
    rooms: Rooms,
    next_serial: u64,
    keys: Keys,
    /// Reused by sends with exceptions.
    scratch: Vec<ConnId>,
    /// Changes since they were last taken; `None` when nobody wants them.
    changes: Option<Vec<Change>>,
    rate_refusals: u64,
}

impl Hub {
    /// An empty hub.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            conns: Conns::default(),
            rooms: Rooms::default(),
            next_serial: 0,
            keys: Keys::default(),
            scratch: Vec::new(),
            changes: None,
            rate_refusals: 0,
        }
    }

    /// Gives memory back that more connections and rooms needed than there are now. Nothing else
    /// changes.
    ///
    /// Work: all connections and rooms. A host does it now and then, when a crowd has gone.
    pub fn shrink_to_fit(&mut self) {
        self.conns.shrink_to_fit();
        self.rooms.shrink_to_fit();
        self.scratch = Vec::new();
    }

    /// The wall-clock time of a moment, by where the host's times begin.
    pub const fn unix_time(&self, now: Timestamp) -> UnixTime {
        let zero_ms = self.config.unix_zero_ms;
        UnixTime::from_millis(zero_ms.saturating_add(now.as_millis()))
    }

    /// Sets anew where the host's times begin, in milliseconds since 1970: for a host whose times
    /// go on evenly while the wall clock was set. No rule depends on it.
    pub const fn set_unix_zero_ms(&mut self, unix_zero_ms: u64) {
        self.config.unix_zero_ms = unix_zero_ms;
    }

    /// The limits in force.
    pub const fn limits(&self) -> &Limits {
        &self.config.limits
    }
}
