//! Shared parts of the commands that talk to a server.

pub(super) mod api;
pub(super) mod endpoint;
pub(super) mod failure;
pub(super) mod wire;
