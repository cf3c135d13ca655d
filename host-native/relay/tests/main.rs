//! The relay against real servers, which the tests start on free ports.

// Helpers panic on failure, and match single events of many kinds.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod bus;
mod failover;
mod faults;
mod keys;
mod lease;
mod memory;
mod node;
mod outage;
mod presence;
mod proxy;
mod publish;
mod rooms;
mod same;
mod server;
mod sharded;
mod start;
#[cfg(feature = "tls")]
mod tls;
mod withdrawn;
