#![doc = include_str!("lib.md")]
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::std_instead_of_core, clippy::alloc_instead_of_core)]

extern crate alloc;

mod gateway;
mod hub;
mod journal;
mod outbox;
mod policy;
mod queue;
mod room;
mod router;
mod time;
mod verb;
mod wire;

pub use gateway::{
    Admission, App, AppState, CompleteError, ConnectError, Context, Desk, Failure, Fault, Gateway,
    HistoryRead, IntoOutcome, Outcome, Rejection, Reply, RoomAction, Scope, To, Token,
    UpgradeRequest, Work, ok,
};
pub use hub::Hub;
pub use hub::audience::Audience;
pub use hub::conn::{ConnId, Handshake, ParseConnIdError};
pub use hub::delivery::Delivery;
pub use hub::limits::{Config, Limits, Rate};
pub use hub::query::{ConnectionInfo, ConnectionSummary, Counts, RoomInfo, RoomSummary};
pub use hub::rate::Bucket;
pub use hub::state::{ConnState, HubState, KeyState, RoomState};
pub use journal::input::Input;
pub use journal::{Entry, JournalError, Opening, Record, Replay, Start};
pub use outbox::{Class, Command, Commands, Outbox, Shed};
pub use policy::{
    HistoryPolicy, Overflow, Pattern, PatternError, Policies, PolicyError, PresencePolicy,
    RoomPolicy,
};
pub use queue::{Pushed, QueueLimits, SendQueue, Sheddable, Tag};
pub use room::history::{Except, Excepted, HistoryMessage};
pub use room::page::{HistoryPage, PageError, PastMessage, PresencePage, Present, Publisher};
pub use room::recovery::gap_notice;
pub use room::{Joined, Position, RoomName, RoomNameError};
#[cfg(feature = "garde")]
pub use router::Valid;
pub use router::{Extract, Handler, Path, Raw, Request, Router};
pub use time::{Timestamp, UnixTime};
pub use wire::close::{CloseCode, DisconnectReason};
pub use wire::counted::Counted;
pub use wire::envelope::{Message, RequestId};
pub use wire::error::{
    EncodeError, ErrorCode, JoinError, Refused, RestoreError, SendError, SessionError, UnknownConn,
};
pub use wire::event::Event;
pub use wire::frame::Frame;
pub use wire::payload::{Payload, PayloadError};
