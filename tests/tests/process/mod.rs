//! The server as a process: its signals, its log, its port, its journal.

mod admin;
pub(crate) mod child;
mod closes;
mod config;
mod facts;
mod logs;
mod metrics;
mod port;
mod records;
mod signals;
pub(crate) mod terminal;
