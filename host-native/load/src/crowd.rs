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
/// More than this is given back when it is sent.
const UNSENT_KEPT_BYTES: usize = 65_536;
/// Between looks at the sockets in a measured window.
const NAP: Duration = Duration::from_micros(50);

/// The number of a connection, counted from 0; it is given out again after [`Crowd::forget`].
pub type Id = usize;

/// Something that a connection got.
#[derive(Debug)]
pub struct Event {
    /// The connection.
    pub id: Id,
    /// The thing that it got.
    pub what: What,
    /// The time at which it was read, as in [`Crowd::now_ns`].
    pub at_ns: u64,
}

/// Kinds of waiting in [`Crowd::turn`].
#[derive(Debug, Clone, Copy)]
pub enum Wait {
    /// Waits for an event, so long at most.
    Event(Duration),
    /// Asleep for a moment, and never in the poll: a server would pay for waking the generator up,
    /// and the more the slower it sends.
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
    /// The beginning of what is not complete yet.
    input: Vec<u8>,
    /// The frames so far of a message in several.
    message: Vec<u8>,
    /// Bytes that are not yet handed to the socket, or that it had no room for.
    unsent: Vec<u8>,
}

impl Crowd {
    /// Clients of a server that is called `host` in their requests.
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

    /// Puts a layer of its own between each later connection and its socket.
    #[must_use]
    pub fn with_layers(mut self, layers: Box<dyn Layers>) -> Self {
        self.layers = Some(layers);
        self
    }

    /// Connects without waiting for it; [`What::Ready`] follows, or [`What::Ended`].
    ///
    /// # Errors
    ///
    /// When the machine has no socket for it, or no way there.
    pub fn connect(&mut self, address: SocketAddr) -> io::Result<Id> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        self.watch(stream)
    }

    /// Takes a stream that is connected; [`What::Ready`] follows.
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

    /// So many questions, to be sent by [`Self::send_frames`].
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

    /// Puts a message with a payload of so many bytes behind what is to be sent; [`Self::flush`]
    /// sends it.
    pub fn publish(&mut self, id: Id, stamp: Stamp, bytes: usize) {
        if let Some(client) = self.clients.get_mut(id) {
            self.text.clear();
            self.dialect.publish(stamp, bytes, &mut self.text);
            frame::from_client(frame::TEXT, &self.text, &mut client.unsent);
        }
    }

    /// Sends what is to be sent, as far as the socket takes it; what it does not take follows by
    /// itself.
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

    /// Forgets a connection, which ends with its stream.
    pub fn forget(&mut self, id: Id) -> Option<TcpStream> {
        self.clients.try_remove(id).map(|client| client.stream)
    }

    /// Reads nothing from this connection any more.
    pub fn stop_reading(&mut self, id: Id) {
        if let Some(client) = self.clients.get_mut(id) {
            let _ = self.poll.registry().deregister(&mut client.stream);
        }
    }

    /// Reads from it again.
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

    /// Reads from every connection that has something, and appends what it was.
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
            // After that: a failed write would take the reason of the failure away.
            if event.is_writable() {
                self.flush(id);
            }
        }
        self.ready = ready;
    }

    /// An interrupted poll is one without events.
    fn poll(&mut self, time: Duration) {
        if self.poll.poll(&mut self.ready, Some(time)).is_err() {
            self.ready.clear();
        }
    }

    /// Reads what is there; to the end, when that `is_near`.
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
            // A read from a socket that fills less than the buffer has taken all there was.
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
                // The poll says when there is room. A broken socket is found by the next read.
                Err(_) => break,
            }
        }
        if let Some(layer) = &mut self.layer {
            // As above of a broken socket.
            let _ = layer.flush(&mut self.stream);
        }
        self.unsent.drain(..sent);
        if self.unsent.is_empty() {
            self.unsent.shrink_to(UNSENT_KEPT_BYTES);
        }
    }

    /// Handles what is complete, and keeps the rest.
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

    /// Handles what is complete, and returns its length.
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
        // What it said before it ended says more.
        match (upgrade::answer(&self.input, protocol, false), fault) {
            (_, Some(fault)) if self.input.is_empty() => fault.into(),
            (Err(said), _) => said,
            (Ok(_), _) => ConnectError::Unreachable("the server ended it".to_owned()),
        }
    }
}
