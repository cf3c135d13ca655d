//! The native server as a service among the routes of another program.

mod answers;
pub(crate) mod around;
mod ends;
mod http2;
mod identity;
mod streams;
