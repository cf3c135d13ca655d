//! Servers that share their rooms through Redis, as processes of their own.

pub(crate) mod redis;
mod rolling;
mod traces;
