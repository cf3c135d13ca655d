//! A layer between the clients of a crowd and their sockets, such as TLS.

use std::{
    fmt::Debug,
    io::{self, Read, Write},
};

/// A non-blocking socket, which returns [`WouldBlock`](io::ErrorKind::WouldBlock).
pub trait Socket: Read + Write {}

impl<T: Read + Write> Socket for T {}

/// The layer of one connection. It does not block either.
pub trait Layer: Debug {
    /// Reads bytes of the peer, as [`Read::read`], and sends the answers of the layer itself.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is nothing yet; a fault of the socket or of the peer.
    fn read(&mut self, socket: &mut dyn Socket, bytes: &mut [u8]) -> io::Result<usize>;

    /// Takes bytes for the peer, as [`Write::write`], and sends what the socket takes.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the layer holds as much as it may.
    fn write(&mut self, socket: &mut dyn Socket, bytes: &[u8]) -> io::Result<usize>;

    /// Sends what the layer holds, as far as the socket takes it.
    ///
    /// # Errors
    ///
    /// A fault of the socket.
    fn flush(&mut self, socket: &mut dyn Socket) -> io::Result<()>;
}

/// A source of layers, one for each connection.
pub trait Layers: Debug {
    /// A new layer.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    fn layer(&self) -> io::Result<Box<dyn Layer>>;
}
