//! Many WebSocket clients on one thread.

use std::{
    io::{self, ErrorKind, Read, Write},
    mem,
    net::SocketAddr,
    thread::sleep,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};
use slab::Slab;

use super::{
    dialect::{Dialect, Limits, What},
    frame::{self, Frame},
    layer::{Layer, Layers},
    stamp::Stamp,
    upgrade::{self, ConnectError},
};

const EVENTS_MAX: usize = 2048;
const READ_BYTES: usize = 262_144;
/// The capacity of a send buffer that is kept after everything is sent.
const UNSENT_KEPT_BYTES: usize = 65_536;
/// The sleep between polls in a measured window.
const NAP: Duration = Duration::from_micros(50);

/// The number of a connection, counted from 0; it is reused after [`Crowd::forget`].
pub type Id = usize;

/// An event of a connection.
#[derive(Debug)]
pub struct Event {
    /// The connection.
    pub id: Id,
    /// The kind of event.
    pub what: What,
    /// The time at which it was read, as in [`Crowd::now_ns`].
    pub at_ns: u64,
}

/// Kinds of waiting in [`Crowd::turn`].
#[derive(Debug, Clone, Copy)]
pub enum Wait {
    /// Waits for an event, at most this long.
    Event(Duration),
    /// Sleeps briefly instead of blocking in the poll. Otherwise a server on this machine would pay
    /// for waking the generator, and the more so the slower it sends.
    Nap,
}

/// Clients of one server.
#[derive(Debug)]
pub struct Crowd {
    dialect: Box<dyn Dialect>,
    layers: Option<Box<dyn Layers>>,
    request: String,
    poll: Poll,
    ready: Events,
    clients: Slab<Client>,
    bytes: Box<[u8]>,
    text: Vec<u8>,
    begun: Instant,
}

#[derive(Debug)]
struct Client {
    stream: TcpStream,
    layer: Option<Box<dyn Layer>>,
    upgraded: bool,
    /// The received part of an incomplete frame or answer.
    input: Vec<u8>,
    /// The frames so far of a fragmented message.
    message: Vec<u8>,
    /// Bytes that are not yet written to the socket, or that it had no room for.
    unsent: Vec<u8>,
}

impl Crowd {
    /// Clients of a server; `host` is the value of `Host` in their requests.
    ///
    /// # Errors
    ///
    /// When the system offers no poll.
    pub fn new(dialect: Box<dyn Dialect>, host: &str) -> io::Result<Self> {
        Ok(Self {
            request: upgrade::request(dialect.path(), host, dialect.protocol()),
            dialect,
            layers: None,
            poll: Poll::new()?,
            ready: Events::with_capacity(EVENTS_MAX),
            clients: Slab::new(),
            bytes: vec![0; READ_BYTES].into(),
            text: Vec::new(),
            begun: Instant::now(),
        })
    }

    /// Puts a new layer between each later connection and its socket.
    #[must_use]
    pub fn with_layers(mut self, layers: Box<dyn Layers>) -> Self {
        self.layers = Some(layers);
        self
    }

    /// Starts to connect, without waiting; [`What::Ready`] follows, or [`What::Ended`].
    ///
    /// # Errors
    ///
    /// When the machine has no free socket, or no route to the address.
    pub fn connect(&mut self, address: SocketAddr) -> io::Result<Id> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        self.watch(stream)
    }

    /// Takes a connected stream; [`What::Ready`] follows.
    ///
    /// # Errors
    ///
    /// When the socket cannot be watched.
    pub fn add(&mut self, stream: std::net::TcpStream) -> io::Result<Id> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let id = self.watch(TcpStream::from_std(stream))?;
        self.flush(id);
        Ok(id)
    }

    fn watch(&mut self, stream: TcpStream) -> io::Result<Id> {
        let layer = self.layers.as_ref().map(|layers| layers.layer());
        let layer = layer.transpose()?;
        let id = self.clients.insert(Client {
            stream,
            layer,
            upgraded: false,
            input: Vec::new(),
            message: Vec::new(),
            unsent: self.request.clone().into_bytes(),
        });
        self.read_again(id)?;
        Ok(id)
    }

    /// Asks to enter a room.
    pub fn join(&mut self, id: Id, room: u32) {
        self.send(id, &self.dialect.join(room));
    }

    /// Asks to leave a room.
    pub fn leave(&mut self, id: Id, room: u32) {
        self.send(id, &self.dialect.leave(room));
    }

    /// Makes the frames of a question, repeated `times` times, for [`Self::send_frames`].
    pub fn questions(&self, bytes: usize, times: usize) -> Vec<u8> {
        let mut frames = Vec::new();
        frame::from_client(frame::TEXT, self.dialect.ask(bytes).as_bytes(), &mut frames);
        frames.repeat(times)
    }

    /// Sends ready-made frames.
    pub fn send_frames(&mut self, id: Id, frames: &[u8]) {
        if let Some(client) = self.clients.get_mut(id) {
            client.unsent.extend_from_slice(frames);
            client.flush();
        }
    }

    /// Queues a message with a payload of `bytes` bytes; [`Self::flush`] sends it.
    pub fn publish(&mut self, id: Id, stamp: Stamp, bytes: usize) {
        if let Some(client) = self.clients.get_mut(id) {
            self.text.clear();
            self.dialect.publish(stamp, bytes, &mut self.text);
            frame::from_client(frame::TEXT, &self.text, &mut client.unsent);
        }
    }

    /// Sends queued bytes until the socket takes no more; later turns send the rest.
    pub fn flush(&mut self, id: Id) {
        if let Some(client) = self.clients.get_mut(id) {
            client.flush();
        }
    }

    /// Bytes that the socket has not taken.
    pub fn unsent(&self, id: Id) -> usize {
        self.clients.get(id).map_or(0, |client| client.unsent.len())
    }

    /// Sends a close frame; [`What::Bye`] and [`What::Ended`] follow.
    pub fn close(&mut self, id: Id) {
        if let Some(client) = self.clients.get_mut(id) {
            client.send(frame::CLOSE, &frame::NORMAL);
        }
    }

    /// Forgets a connection, and returns its stream, which closes it when dropped.
    pub fn forget(&mut self, id: Id) -> Option<TcpStream> {
        self.clients.try_remove(id).map(|client| client.stream)
    }

    /// Stops reading from a connection.
    pub fn stop_reading(&mut self, id: Id) {
        if let Some(client) = self.clients.get_mut(id) {
            let _ = self.poll.registry().deregister(&mut client.stream);
        }
    }

    /// Resumes reading from a connection.
    ///
    /// # Errors
    ///
    /// When the socket cannot be watched.
    pub fn read_again(&mut self, id: Id) -> io::Result<()> {
        let Some(client) = self.clients.get_mut(id) else {
            return Ok(());
        };
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        registry.register(&mut client.stream, Token(id), interest)
    }

    /// True when there is no connection.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Nanoseconds since the crowd was made.
    pub fn now_ns(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Reads from every connection that is ready, and appends the events.
    pub fn turn(&mut self, wait: Wait, events: &mut Vec<Event>) {
        match wait {
            Wait::Event(time) => self.poll(time),
            Wait::Nap => {
                self.poll(Duration::ZERO);
                if self.ready.is_empty() {
                    sleep(NAP);
                    self.poll(Duration::ZERO);
                }
            }
        }
        let ready = mem::replace(&mut self.ready, Events::with_capacity(0));
        for event in &ready {
            let Token(id) = event.token();
            if event.is_readable() {
                self.receive(id, event.is_read_closed(), events);
            }
            // Written after the read: a failed write would hide the reason of a failure.
            if event.is_writable() {
                self.flush(id);
            }
        }
        self.ready = ready;
    }

    /// Polls the sockets; an interrupted poll counts as one without events.
    fn poll(&mut self, time: Duration) {
        if self.poll.poll(&mut self.ready, Some(time)).is_err() {
            self.ready.clear();
        }
    }

    /// Reads what is available; reads to the end if the end `is_near`.
    fn receive(&mut self, id: Id, is_near: bool, events: &mut Vec<Event>) {
        while let Some(client) = self.clients.get_mut(id) {
            let read = match client.read_bytes(&mut self.bytes) {
                Ok(read) => read,
                Err(fault) if fault.kind() == ErrorKind::WouldBlock => return,
                Err(fault) if fault.kind() == ErrorKind::Interrupted => continue,
                Err(fault) => return self.end(id, Some(fault), events),
            };
            if read == 0 {
                return self.end(id, None, events);
            }
            let layered = client.layer.is_some();
            let at_ns = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let event = |what| events.push(Event { id, what, at_ns });
            if let Err(fault) = client.receive(&self.bytes[..read], &*self.dialect, event) {
                let what = What::Ended(fault);
                events.push(Event { id, what, at_ns });
                return self.stop_reading(id);
            }
            // A read that fills only a part of the buffer has emptied the socket.
            if read < self.bytes.len() && !is_near && !layered {
                return;
            }
        }
    }

    fn end(&mut self, id: Id, fault: Option<io::Error>, events: &mut Vec<Event>) {
        let Some(client) = self.clients.get(id) else {
            return;
        };
        let what = What::Ended(client.fault(fault, self.dialect.protocol()));
        self.stop_reading(id);
        let at_ns = self.now_ns();
        events.push(Event { id, what, at_ns });
    }

    fn send(&mut self, id: Id, text: &str) {
        if let Some(client) = self.clients.get_mut(id) {
            client.send(frame::TEXT, text.as_bytes());
        }
    }
}

impl Client {
    fn send(&mut self, opcode: u8, payload: &[u8]) {
        frame::from_client(opcode, payload, &mut self.unsent);
        self.flush();
    }

    fn read_bytes(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match &mut self.layer {
            None => self.stream.read(bytes),
            Some(layer) => layer.read(&mut self.stream, bytes),
        }
    }

    fn flush(&mut self) {
        let mut sent = 0;
        while sent < self.unsent.len() {
            let unsent = &self.unsent[sent..];
            let written = match &mut self.layer {
                None => self.stream.write(unsent),
                Some(layer) => layer.write(&mut self.stream, unsent),
            };
            match written {
                Ok(bytes) => sent += bytes,
                Err(fault) if fault.kind() == ErrorKind::Interrupted => {}
                // The poll reports when there is room. The next read finds a broken socket.
                Err(_) => break,
            }
        }
        if let Some(layer) = &mut self.layer {
            // The next read finds a broken socket.
            let _ = layer.flush(&mut self.stream);
        }
        self.unsent.drain(..sent);
        if self.unsent.is_empty() {
            self.unsent.shrink_to(UNSENT_KEPT_BYTES);
        }
    }

    /// Handles complete frames, and keeps the rest.
    fn receive(
        &mut self,
        bytes: &[u8],
        dialect: &dyn Dialect,
        event: impl FnMut(What),
    ) -> Result<(), ConnectError> {
        if self.input.is_empty() {
            let taken = self.take(bytes, dialect, event)?;
            self.input.extend_from_slice(&bytes[taken..]);
        } else {
            self.input.extend_from_slice(bytes);
            let mut input = mem::take(&mut self.input);
            let taken = self.take(&input, dialect, event);
            input.drain(..taken.clone().unwrap_or_default());
            self.input = input;
            taken?;
        }
        Ok(())
    }

    /// Handles complete frames, and returns their length.
    fn take(
        &mut self,
        bytes: &[u8],
        dialect: &dyn Dialect,
        mut event: impl FnMut(What),
    ) -> Result<usize, ConnectError> {
        let mut taken = 0;
        if !self.upgraded {
            let Some(length) = upgrade::answer(bytes, dialect.protocol(), true)? else {
                return Ok(0);
            };
            (taken, self.upgraded) = (length, true);
            if !dialect.greets() {
                event(What::Ready(Limits::default()));
            }
        }
        while let Some(frame) = Frame::first(&bytes[taken..]) {
            let payload = &bytes[taken..][frame.payload.clone()];
            taken += frame.payload.end;
            match frame.opcode {
                frame::CLOSE => {
                    let code = payload.first_chunk().copied();
                    event(What::Bye(code.map_or(1005, u16::from_be_bytes)));
                }
                frame::PING => self.send(frame::PONG, payload),
                frame::PONG => {}
                _ if frame.is_last && self.message.is_empty() => {
                    self.read(dialect, payload, &mut event);
                }
                _ => {
                    self.message.extend_from_slice(payload);
                    if frame.is_last {
                        let message = mem::take(&mut self.message);
                        self.read(dialect, &message, &mut event);
                    }
                }
            }
        }
        Ok(taken)
    }

    fn read(&mut self, dialect: &dyn Dialect, message: &[u8], event: &mut impl FnMut(What)) {
        let what = dialect.read(message);
        if let What::Reply(text) = what {
            self.send(frame::TEXT, text.as_bytes());
        } else if !matches!(what, What::Other) {
            event(what);
        }
    }

    /// Returns the fault with which the connection has ended.
    fn fault(&self, fault: Option<io::Error>, protocol: Option<&str>) -> ConnectError {
        if self.upgraded {
            let text = fault.map_or("the server ended it".to_owned(), |fault| fault.to_string());
            return ConnectError::Rejected(format!("connection lost: {text}"));
        }
        // An answer before the end explains more.
        match (upgrade::answer(&self.input, protocol, false), fault) {
            (_, Some(fault)) if self.input.is_empty() => fault.into(),
            (Err(said), _) => said,
            (Ok(_), _) => ConnectError::Unreachable("the server ended it".to_owned()),
        }
    }
}
