#![doc = include_str!("lib.md")]
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::std_instead_of_core, clippy::alloc_instead_of_core)]

extern crate alloc;

mod arena;
mod attendance;
mod audience;
mod change;
mod close;
mod conn;
mod counted;
mod delivery;
mod depart;
mod envelope;
mod error;
mod event;
mod frame;
mod gateway;
mod heartbeat;
mod history;
#[cfg(feature = "http")]
pub mod http;
mod hub;
mod idempotency;
mod input;
mod journal;
mod keep;
mod limits;
mod named;
mod outbox;
mod page;
mod payload;
mod policy;
mod presence;
mod publish;
mod query;
mod queue;
mod rate;
mod receive;
mod recover;
mod reload;
mod room;
mod send;
mod session;
mod settings;
mod shelf;
mod state;
mod time;
mod verb;

pub use audience::Audience;
pub use close::{CloseCode, DisconnectReason};
pub use conn::{ConnId, Handshake, ParseConnIdError};
pub use counted::Counted;
pub use delivery::Delivery;
pub use envelope::{Message, RequestId};
pub use error::{
    EncodeError, ErrorCode, JoinError, Refused, RestoreError, SendError, SessionError, UnknownConn,
};
pub use event::Event;
pub use frame::Frame;
#[cfg(feature = "garde")]
pub use gateway::Valid;
pub use gateway::{
    Admission, App, AppState, CompleteError, ConnectError, Context, Desk, Extract, Failure, Fault,
    Gateway, Handler, HistoryRead, IntoOutcome, Outcome, Path, Raw, Rejection, Reply, Request,
    RoomAction, Router, Scope, To, Token, UpgradeRequest, Work, ok,
};
pub use history::{Except, Excepted, HistoryMessage};
pub use hub::Hub;
pub use input::Input;
pub use journal::{Entry, JournalError, Opening, Record, Replay, Start};
pub use limits::{Config, Limits, Rate};
pub use outbox::{Class, Command, Commands, Outbox, Shed};
pub use page::{HistoryPage, PageError, PastMessage, PresencePage, Present, Publisher};
pub use payload::{Payload, PayloadError};
#[cfg(all(feature = "toml", feature = "http"))]
pub use policy::ConfigFile;
#[cfg(feature = "toml")]
pub use policy::PolicyFileError;
pub use policy::{
    HistoryPolicy, Overflow, Pattern, PatternError, Policies, PolicyError, PresencePolicy,
    RoomPolicy,
};
pub use query::{ConnectionInfo, ConnectionSummary, Counts, RoomInfo, RoomSummary};
pub use queue::{Pushed, QueueLimits, SendQueue, Sheddable, Tag};
pub use rate::Bucket;
pub use recover::gap_notice;
pub use room::{Joined, Position, RoomName, RoomNameError};
pub use settings::{
    OnOff, OnOffError, OrOff, OrOffError, Range, SettingError, Vars, Whole, WholeError, whole,
};
pub use state::{ConnState, HubState, KeyState, RoomState};
pub use time::{Timestamp, UnixTime};
