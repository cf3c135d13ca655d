//! TLS of the listener: the certificate, handshakes, and the records under a WebSocket.
//!
//! A server without TLS runs none of this: its sockets have no [`Session`], and write directly.

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(feature = "tls")]
mod certificate;
mod error;
#[cfg(feature = "tls")]
mod gate;
#[cfg(feature = "tls")]
mod session;
mod transport;
#[cfg(feature = "tls")]
mod validity;

#[cfg(not(feature = "tls"))]
pub(crate) use self::absent::{Session, TlsGate};
pub use self::error::TlsError;
pub(crate) use self::transport::Transport;
#[cfg(feature = "tls")]
pub(crate) use self::{gate::TlsGate, session::Session};
