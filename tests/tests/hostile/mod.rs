//! Peers that mean harm, or try everything.

mod autobahn;
mod faults;
mod floods;
mod returns;
mod stranger;
mod users;
mod versions;
