//! Peers that mean harm, or try everything.

mod autobahn;
mod users;
