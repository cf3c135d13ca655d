//! The server of a relay: where it is, whether it can be used, whose data it has.

pub(crate) mod check;
pub(crate) mod cluster;
mod hosts;
pub(crate) mod info;
pub(crate) mod lineage;
pub(crate) mod url;
