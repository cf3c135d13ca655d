//! The load generator of `roomcast bench` and of the benchmark against other servers.
//!
//! A [`Crowd`] is many WebSocket clients on one thread. It speaks any [`Dialect`]; [`Roomcast`] is
//! the dialect of this project's servers. [`InFlight`] tracks the messages in flight in a room,
//! [`Schedule`] the times of sends, and [`Latencies`] the times of deliveries. The crowd does
//! nothing else for a message, so that it does not slow down the measured server.
//!
//! ```no_run
//! use std::{net::TcpStream, time::Duration};
//!
//! use roomcast_load::{Crowd, Roomcast, Wait, What};
//!
//! # fn main() -> std::io::Result<()> {
//! let mut crowd = Crowd::new(Box::new(Roomcast::new("/ws", "room-")), "127.0.0.1:3000")?;
//! let member = crowd.add(TcpStream::connect("127.0.0.1:3000")?)?;
//! let mut events = Vec::new();
//! loop {
//!     crowd.turn(Wait::Event(Duration::from_secs(1)), &mut events);
//!     for event in events.drain(..) {
//!         match event.what {
//!             What::Ready(_) => crowd.join(member, 7),
//!             What::Joined => return Ok(()),
//!             other => println!("{other:?}"),
//!         }
//!     }
//! }
//! # }
//! ```

mod crowd;
mod dialect;
pub mod frame;
mod in_flight;
mod latency;
mod layer;
mod roomcast;
mod schedule;
mod stamp;
#[cfg(feature = "tls")]
mod tls;
mod upgrade;

#[cfg(feature = "tls")]
pub use self::tls::Tls;
pub use self::{
    crowd::{Crowd, Event, Id, Wait},
    dialect::{Dialect, Limits, Refusal, What},
    in_flight::{Arrival, InFlight, Sum, Verdict},
    latency::Latencies,
    layer::{Layer, Layers, Socket},
    roomcast::Roomcast,
    schedule::{Due, Schedule, due},
    stamp::Stamp,
    upgrade::ConnectError,
};
