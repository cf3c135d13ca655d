//! The HTTP API on a bare hub: this request, exactly this answer.

#![allow(clippy::wildcard_enum_match_arm)] // any other result is unexpected

mod connections;
mod namespace;
mod requests;
mod rooms;
mod sends;
