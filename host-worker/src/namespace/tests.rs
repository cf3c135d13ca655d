//! The namespace over a platform that fails when it is told to.

mod applications;
mod asked;
mod bench;
mod fake;
mod histories;
mod hooks;
mod stories;
mod waits;
mod waking;
