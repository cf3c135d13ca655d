//! Commands that call the HTTP API of a running server once.

pub(super) mod explain;
pub(super) mod send;
