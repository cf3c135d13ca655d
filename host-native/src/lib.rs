//! Roomcast as a native server: rooms over WebSockets, and an HTTP API to push into them.
//!
//! This crate is the host around [`roomcast_core`]: bytes in, commands out, time, identity. It
//! decides nothing about rooms. The binary `roomcast` is a thin command line around [`run`]:
//!
//! ```no_run
//! # async fn example() -> Result<(), roomcast::RunError> {
//! let mut settings = roomcast::Settings::default();
//! settings.listen = ([127, 0, 0, 1], 3000).into();
//! let listeners = roomcast::listen(&settings)?;
//! roomcast::run(listeners, settings, std::future::pending()).await
//! # }
//! ```
//!
//! [`Settings`] has every limit with its unit, its default and the reason for it.

mod accept;
mod clock;
mod connection;
mod denial;
mod gateways;
mod host;
mod http;
mod metrics;
mod namespace;
mod places;
mod queue;
mod recorder;
mod run;
mod server;
mod settings;
mod shard;
mod shared;
mod socket;
mod ws;

pub use host::Host;
#[cfg(feature = "garde")]
pub use roomcast_core::Valid;
pub use roomcast_core::{
    Admission, Audience, CloseCode, CompleteError, ConnId, ConnectionInfo, ConnectionSummary,
    Context, Counts, Delivery, Desk, DisconnectReason, EncodeError, ErrorCode, Extract, Failure,
    Frame, Gateway, Handler, IntoOutcome, JoinError, Limits, Message, Outcome, Path, Rate, Raw,
    Rejection, Reply, Request, RoomAction, RoomInfo, RoomSummary, Router, Scope, SessionError,
    Timestamp, To, Token, UnknownConn, UpgradeRequest,
    http::{Access, ApiKey, ApiKeyError, OriginRule, OriginRuleError},
};
pub use run::{RunError, listen, run};
pub use server::{Server, ServerError};
pub use settings::{Settings, SettingsError};
