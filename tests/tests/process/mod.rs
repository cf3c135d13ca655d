//! The server as a process: its signals, its log, its port, its journal.

pub(crate) mod child;
mod closes;
mod config;
mod logs;
mod port;
mod records;
mod signals;
