//! All tests of this package's public functions in one program: it is linked once.

mod allocation;
mod commands;
mod gateway;
mod refused;
