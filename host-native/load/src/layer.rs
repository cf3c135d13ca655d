//! A layer between the clients of a crowd and their sockets, such as TLS.

use std::{
    fmt::Debug,
    io::{self, Read, Write},
};

/// A socket that never waits: it answers [`WouldBlock`](io::ErrorKind::WouldBlock).
pub trait Socket: Read + Write {}

impl<T: Read + Write> Socket for T {}

/// The layer of one connection. It never waits either.
pub trait Layer: Debug {
    /// Reads what the peer said, as [`Read::read`]; sends what the layer itself has to answer.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is nothing yet; a fault of the socket or of the peer.
    fn read(&mut self, socket: &mut dyn Socket, bytes: &mut [u8]) -> io::Result<usize>;

    /// Takes what is to be said, as [`Write::write`], and sends what the socket takes.
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
    /// When there can be none.
    fn layer(&self) -> io::Result<Box<dyn Layer>>;
}
