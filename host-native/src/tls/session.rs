//! TLS sessions under WebSockets.

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

/// A TLS connection in the form for HTTP.
pub(crate) type TlsStream = server::TlsStream<TcpStream>;

/// The maximum number of encrypted bytes that the kernel has not accepted: four records of maximum
/// size. A connection may hold this much beyond the limits of its outbox.
const UNSENT_BYTES_MAX: usize = 64 * 1024;

/// The TLS state of one connection. Not a stream: output stays in the connection's outbox, under
/// its limits, until the kernel has space.
#[derive(Debug)]
pub(crate) struct Session {
    tls: RefCell<ServerConnection>,
    /// The number of record bytes that the kernel has accepted.
    sent: Cell<u64>,
    ended: Cell<bool>,
}

impl Session {
    /// Splits a connection after its handshake.
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

    /// True when there are records that the kernel has not accepted.
    pub(crate) fn has_unsent(&self) -> bool {
        self.tls.borrow().wants_write()
    }

    /// The total number of bytes that the kernel has accepted.
    pub(crate) const fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// Encrypts frames into as few records as possible; returns the number of bytes taken. All
    /// earlier records must have been sent.
    pub(crate) fn encrypt(&self, slices: &[io::IoSlice<'_>]) -> usize {
        // This fails only after an error, which the reading side reports to the task.
        self.tls
            .borrow_mut()
            .writer()
            .write_vectored(slices)
            .unwrap_or(0)
    }

    /// Ends this side's direction with `close_notify`, after the encrypted data: the peer can
    /// distinguish that from a lost connection. Returns true the first time.
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
    /// `WouldBlock` when the kernel accepts no more.
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

    /// Reads decrypted data from the peer; reads nothing at the end of the stream. An end without
    /// `close_notify` counts as one too: frames have lengths, so truncated data is not taken for a
    /// message.
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
                // The alert tells the reason; the peer may be gone.
                let _ = tls.write_tls(&mut Sink(stream));
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, fault)));
            }
        }
    }
}

/// A writer to a socket, without waiting.
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

/// A reader from a socket, which registers the task for a wake-up.
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
