//! The server of a relay: its address, its checks, and the lineage of its data.

pub(crate) mod check;
pub(crate) mod cluster;
mod hosts;
pub(crate) mod info;
pub(crate) mod lineage;
pub(crate) mod url;
