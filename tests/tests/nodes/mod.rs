//! Servers that share their rooms through Redis, as processes of their own.

pub(crate) mod redis;
mod reload;
mod rolling;
mod traces;
