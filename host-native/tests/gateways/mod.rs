//! Applications on the native host: real sockets, the server in the test's own process.

mod client;
mod coming_and_going;
mod connect;
mod drain;
mod handle;
mod journal;
mod kept;
mod namespaces;
mod panics;
mod raw;
mod running;
mod schedule;
mod upgrade;
mod waits;
mod work;
