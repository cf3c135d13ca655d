//! The native server as a service among the routes of another program.

mod answers;
pub(crate) mod around;
mod ends;
mod identity;
mod streams;
