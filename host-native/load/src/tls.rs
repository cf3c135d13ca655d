//! TLS for the clients of a load.

use std::{
    io::{self, ErrorKind, Read, Write},
    sync::Arc,
};

use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};

use super::layer::{Layer, Layers, Socket};

/// The TLS layers of all clients of a load.
#[derive(Debug)]
pub struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Tls {
    /// TLS with this configuration, and a host with this name in its certificate.
    pub fn new(config: ClientConfig, name: ServerName<'static>) -> Self {
        let config = Arc::new(config);
        Self { config, name }
    }
}

impl Layers for Tls {
    fn layer(&self) -> io::Result<Box<dyn Layer>> {
        let session = ClientConnection::new(self.config.clone(), self.name.clone());
        Ok(Box::new(Session(session.map_err(io::Error::other)?)))
    }
}

/// TLS of one connection.
#[derive(Debug)]
struct Session(ClientConnection);

impl Layer for Session {
    fn read(&mut self, socket: &mut dyn Socket, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.reader().read(bytes) {
                Err(fault) if fault.kind() == ErrorKind::WouldBlock => {}
                // The end of the socket without a TLS close is a normal end here.
                Err(fault) if fault.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            let is_over = self.0.read_tls(&mut &mut *socket)? == 0;
            let understood = self.0.process_new_packets();
            // Sends the next step of the handshake, or an alert with the error.
            let flushed = self.flush(socket);
            understood.map_err(io::Error::other)?;
            flushed?;
            if is_over && self.0.is_handshaking() {
                return Err(io::Error::other(
                    "the server ended it during the handshake of TLS",
                ));
            }
        }
    }

    fn write(&mut self, socket: &mut dyn Socket, bytes: &[u8]) -> io::Result<usize> {
        // The next read finds a broken socket.
        let _ = self.flush(socket);
        let taken = self.0.writer().write(bytes)?;
        let _ = self.flush(socket);
        if taken == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(taken)
    }

    fn flush(&mut self, socket: &mut dyn Socket) -> io::Result<()> {
        while self.0.wants_write() {
            match self.0.write_tls(&mut &mut *socket) {
                Ok(_) => {}
                Err(fault) if fault.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }
}
