#![forbid(unsafe_code)]
#![doc = include_str!("../property-testing.md")]

mod actor;
mod diff;
mod driver;
mod edge;
mod escape;
mod event;
mod known;
mod lockstep;
mod model;
mod op;
mod server;
mod settings;
mod strategy;
mod trace;
mod world;

pub use actor::Actor;
pub use driver::{Core, Driver, DriverError, Hibernating, Overflows, Sleep, Url};
pub use edge::{Build, Edge, Sockets};
pub use escape::{escape, expand};
pub use event::{Answer, Event, Expect};
pub use known::Known;
pub use lockstep::{Lockstep, Mismatch, Seen};
pub use model::{Model, Prediction};
pub use op::{Claim, Op, OpError, To};

pub use roomcast_core::Limits;
pub use server::{Server, server_binary};
pub use settings::{Settings, SettingsError};
pub use strategy::Cast;
pub use trace::{Trace, TraceError};
pub use world::{Asking, Asks, World};

/// The code of the guide to gateways, which is compiled and run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/gateways.md")]
pub struct Gateways;
