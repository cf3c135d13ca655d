//! The relay within a process, for tests.

mod broker;
mod keys;
mod node;
mod relay;
mod room;
mod world;

pub use self::{
    broker::{MemoryBroker, Replica},
    node::Trouble,
    relay::MemoryRelay,
};
