//! All tests of this package's public API in one program, which is linked once.

mod allocation;
mod commands;
mod gateway;
mod refused;
