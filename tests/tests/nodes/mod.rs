//! Servers that share their rooms through Redis, as processes of their own.

mod redis;
mod rolling;
mod traces;
