//! The server as a process: its signals, its log, its port, its journal.

mod child;
#[path = "../crowd/mod.rs"]
mod crowd;
mod logs;
mod port;
mod records;
mod signals;
