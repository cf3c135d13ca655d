//! TLS of the clients of a load.

use std::{
    io::{self, ErrorKind, Read, Write},
    sync::Arc,
};

use roomcast_load::{Layer, Layers, Socket};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, client::Resumption, pki_types::ServerName,
};

use super::super::client::wire;

/// The way in which all clients of a load speak TLS.
#[derive(Debug)]
pub(super) struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Tls {
    /// TLS with a host whose certificate an authority that this machine trusts must have signed.
    ///
    /// # Errors
    ///
    /// When the machine trusts nobody, or the host has no name for a certificate.
    pub(super) fn new(host: &str) -> io::Result<Self> {
        let mut config = wire::trust()?;
        // Each connection stands for another client.
        config.resumption = Resumption::disabled();
        Ok(Self {
            config: Arc::new(config),
            name: wire::server_name(host)?,
        })
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
                // The end of the socket alone ends a WebSocket too.
                Err(fault) if fault.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            let is_over = self.0.read_tls(&mut &mut *socket)? == 0;
            let understood = self.0.process_new_packets();
            // The next step of the handshake, or an alert that says what is wrong.
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
        // A broken socket is found by the next read.
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
