//! Parts that the commands which talk to a server have in common.

pub(super) mod api;
pub(super) mod endpoint;
pub(super) mod failure;
pub(super) mod wire;
