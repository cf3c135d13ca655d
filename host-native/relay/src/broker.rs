//! The relay over Redis or Valkey.

mod calls;
mod connect;
mod id;
mod keys;
mod lease;
mod presence;
mod receive;
mod run;
mod script;
mod server;
mod session;
mod settings;
mod shared;
mod start;
mod topics;
mod withdrawn;

pub(crate) use self::{calls::next, keys::Keys, presence::read_nodes, server::info::info_field};
pub use self::{
    server::{
        check::StartError,
        lineage::Lineage,
        url::{RelayUrl, UrlError},
    },
    settings::{Limits, Settings, Timing},
    start::RedisRelay,
};
