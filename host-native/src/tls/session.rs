//! Records under a WebSocket.

use std::{
    cell::{Cell, RefCell},
    io::{self, Read, Write},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{rustls::ServerConnection, server};

/// A connection with TLS, as HTTP has it.
pub(crate) type TlsStream = server::TlsStream<TcpStream>;

/// Bytes that are encrypted before the kernel has taken them: four records of the greatest size. So
/// much more than the limits of its outbox a connection holds.
const UNSENT_BYTES_MAX: usize = 64 * 1024;

/// The state of the records of one connection. It is no stream: what is to be written stays in the
/// connection's outbox, under its limits, until the kernel has room.
#[derive(Debug)]
pub(crate) struct Session {
    tls: RefCell<ServerConnection>,
    /// Bytes of records that the kernel has taken.
    sent: Cell<u64>,
    ended: Cell<bool>,
}

impl Session {
    /// Takes a connection apart whose handshake is done.
    pub(crate) fn split(stream: TlsStream) -> (TcpStream, Option<Box<Self>>) {
        let (stream, mut tls) = stream.into_inner();
        tls.set_buffer_limit(Some(UNSENT_BYTES_MAX));
        let session = Self {
            tls: RefCell::new(tls),
            sent: Cell::new(0),
            ended: Cell::new(false),
        };
        (stream, Some(Box::new(session)))
    }

    /// True when there are records that the kernel has not taken.
    pub(crate) fn has_unsent(&self) -> bool {
        self.tls.borrow().wants_write()
    }

    /// Number of bytes that the kernel has taken, in all.
    pub(crate) const fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// Encrypts frames into as few records as they fit into; gives how many bytes it took. All
    /// records before must have been sent.
    pub(crate) fn encrypt(&self, slices: &[io::IoSlice<'_>]) -> usize {
        // It fails after a fault alone, of which reading tells the task.
        self.tls
            .borrow_mut()
            .writer()
            .write_vectored(slices)
            .unwrap_or(0)
    }

    /// Ends our direction, behind what was encrypted: the peer can tell it from a connection that
    /// was cut. True when it was not ended before.
    pub(crate) fn end(&self) -> bool {
        if self.ended.replace(true) {
            return false;
        }
        self.tls.borrow_mut().send_close_notify();
        true
    }

    /// Writes records.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the kernel takes no more of them.
    pub(crate) fn send(&self, stream: &TcpStream) -> io::Result<()> {
        let mut tls = self.tls.borrow_mut();
        while tls.wants_write() {
            match tls.write_tls(&mut Sink(stream)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.sent.set(self.sent.get() + count as u64),
                Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    /// Reads what the peer has sent, decrypted; nothing at its end. A peer that ends without
    /// `close_notify` is at its end too: frames say where they end, so that nothing that is cut off
    /// passes for a message.
    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        stream: &mut TcpStream,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut tls = self.tls.borrow_mut();
        loop {
            match tls.reader().read(into.initialize_unfilled()) {
                Ok(count) => {
                    into.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(fault) if fault.kind() == io::ErrorKind::UnexpectedEof => {
                    return Poll::Ready(Ok(()));
                }
                Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => {}
                Err(fault) => return Poll::Ready(Err(fault)),
            }
            match tls.read_tls(&mut Source { cx, stream }) {
                Ok(_) => {}
                Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(fault) => return Poll::Ready(Err(fault)),
            }
            if let Err(fault) = tls.process_new_packets() {
                // The alert says why; the peer may be gone.
                let _ = tls.write_tls(&mut Sink(stream));
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, fault)));
            }
        }
    }
}

/// A socket that does not wait, to write to.
struct Sink<'a>(&'a TcpStream);

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket whose task waits for it, to read from.
struct Source<'a, 'b> {
    cx: &'a mut Context<'b>,
    stream: &'a mut TcpStream,
}

impl Read for Source<'_, '_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut into = ReadBuf::new(bytes);
        match Pin::new(&mut *self.stream).poll_read(self.cx, &mut into) {
            Poll::Ready(result) => result.map(|()| into.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}
