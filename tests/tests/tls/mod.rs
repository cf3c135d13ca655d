//! TLS of the listener, by the server as a process and clients of rustls.

mod client;
mod cost;
mod ends;
mod foreign;
mod handshakes;
mod pair;
mod reload;
mod sessions;
mod start;
