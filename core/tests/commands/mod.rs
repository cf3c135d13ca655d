//! The hub's public methods: each input leads to exactly these commands.

mod application;
mod bounds;
mod client;
mod explain;
mod harness;
mod identity;
mod kept;
mod keys;
#[cfg(feature = "cluster")]
mod outage;
#[cfg(feature = "cluster")]
mod present;
mod questions;
#[cfg(feature = "cluster")]
mod relayed;
#[cfg(feature = "cluster")]
mod reloaded;
mod texts;
mod time;
