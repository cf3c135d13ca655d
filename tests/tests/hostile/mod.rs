//! Peers that mean harm, or try everything.

mod autobahn;
mod faults;
mod floods;
mod stranger;
mod users;
