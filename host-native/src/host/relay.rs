//! The relay between servers: its thread, and the exchange between it and the shards.

#[cfg(feature = "relay")]
mod about;
#[cfg(not(feature = "relay"))]
mod absent;
#[cfg(feature = "relay")]
mod call;
#[cfg(feature = "relay")]
mod connect;
#[cfg(feature = "relay")]
mod counts;
#[cfg(feature = "relay")]
mod exchange;
#[cfg(feature = "relay")]
mod order;
#[cfg(feature = "relay")]
mod presence;
#[cfg(feature = "relay")]
mod publishes;
#[cfg(feature = "relay")]
mod queue;
#[cfg(feature = "relay")]
mod settings;
#[cfg(feature = "relay")]
mod thread;

#[cfg(not(feature = "relay"))]
pub(super) use self::absent::start;
#[cfg(feature = "relay")]
pub(super) use self::thread::start;
