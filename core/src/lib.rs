#![doc = include_str!("lib.md")]
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::std_instead_of_core, clippy::alloc_instead_of_core)]

extern crate alloc;

pub mod ask;
pub mod explain;
pub mod gateway;
pub mod hub;
mod identity;
pub mod journal;
pub mod outbox;
pub mod policy;
pub mod queue;
pub mod relay;
pub mod room;
pub mod router;
mod time;
mod verb;
pub mod wire;

pub use self::{
    ask::NamespaceHandle,
    explain::{Explained, Explanation},
    gateway::{
        App, Applied, Context, Failure, Gateway, Input, NamespaceContext, Outcome, Rejection,
        Reply, later, ok,
    },
    hub::{
        Audience, Config, ConnId, Delivery, Handshake, Hub, JoinError, Limits, Rate, SendError,
        UnknownConn,
    },
    identity::Identity,
    outbox::{Command, Outbox},
    policy::{Policies, RoomPolicy},
    room::{Joined, RoomName, RoomNameError},
    router::{Path, Router},
    time::{Timestamp, UnixTime},
    wire::{CloseCode, DisconnectReason, EncodeError, ErrorCode, Event, Frame, Message, Payload},
};
#[cfg(feature = "garde")]
pub use router::Valid;
