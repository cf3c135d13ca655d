//! TLS of the listener, by the server as a process and clients of rustls.

mod bench;
pub(crate) mod client;
mod ends;
mod foreign;
mod handshakes;
pub(crate) mod pair;
mod reload;
mod sessions;
mod start;
