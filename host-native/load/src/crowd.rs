//! Many WebSocket clients on one thread and one epoll.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use roomcast_bench::frame::{self, Frame};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use rustix::net::{bind, connect, socket_with};

use crate::dialect::{Dialect, Meaning};

const EVENTS_MAX: usize = 2048;
const READ_BYTES: usize = 262_144;
/// Ports of one address are fewer than the connections of a run, some of which linger.
const SOURCE_ADDRESSES: usize = 64;
/// Half of the backlog that the standard library gives a listener.
const OPENING_MAX: usize = 64;
const SET_UP_TIME_MAX: Duration = Duration::from_secs(120);
/// Between looks at the sockets in a measured window.
const NAP: Duration = Duration::from_micros(50);

/// Which connection; given out again after `forget`.
pub type Id = usize;

/// Something that a connection got.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum What {
    Ready,
    Joined,
    Left,
    Answered,
    Said(u64),
    /// The server wants to close, or answers our close.
    Bye,
    Closed,
}

pub struct Event {
    pub id: Id,
    pub what: What,
    /// When it was read, as in `Crowd::now_ns`.
    pub at_ns: u64,
}

/// How `Crowd::turn` waits.
#[derive(Clone, Copy)]
pub enum Wait {
    /// For an event.
    Event,
    /// Asleep for a moment, and never in epoll: a server would pay for waking the generator up, and
    /// the more the slower it sends.
    Nap,
}

struct Client {
    stream: TcpStream,
    upgraded: bool,
    /// The beginning of what is not complete yet.
    input: Vec<u8>,
    /// What the socket had no room for.
    unsent: Vec<u8>,
}

pub struct Crowd {
    pub dialect: Dialect,
    port: u16,
    epoll: OwnedFd,
    clients: Vec<Option<Client>>,
    free: Vec<Id>,
    opened: usize,
    /// Clients with something unsent.
    blocked: Vec<Id>,
    ready: Vec<epoll::Event>,
    bytes: Vec<u8>,
    begun: Instant,
}

impl Crowd {
    pub fn new(dialect: Dialect, port: u16) -> Self {
        Self {
            dialect,
            port,
            epoll: epoll::create(CreateFlags::CLOEXEC).expect("epoll is there"),
            clients: Vec::new(),
            free: Vec::new(),
            opened: 0,
            blocked: Vec::new(),
            ready: Vec::with_capacity(EVENTS_MAX),
            bytes: vec![0; READ_BYTES],
            begun: Instant::now(),
        }
    }

    /// Connects and asks for the upgrade; `What::Ready` follows. `receive_bytes` makes the
    /// kernel's buffer small.
    pub fn open(&mut self, receive_bytes: Option<usize>) -> Id {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)
            .expect("a socket can be made: the limit of open files may be too low");
        sockopt::set_tcp_nodelay(&socket, true).expect("a TCP option");
        sockopt::set_socket_reuseaddr(&socket, true).expect("a socket option");
        if let Some(bytes) = receive_bytes {
            sockopt::set_socket_recv_buffer_size(&socket, bytes).expect("a socket option");
        }
        let source = 2 + self.opened % SOURCE_ADDRESSES;
        self.opened += 1;
        let source = Ipv4Addr::new(127, 0, 0, u8::try_from(source).expect("it is small"));
        bind(&socket, &SocketAddrV4::new(source, 0)).expect("a port is free");
        connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port))
            .expect("the server listens");
        let stream = TcpStream::from(socket);
        stream
            .set_nonblocking(true)
            .expect("a socket can be non-blocking");

        let id = self.free.pop().unwrap_or_else(|| {
            self.clients.push(None);
            self.clients.len() - 1
        });
        epoll::add(
            &self.epoll,
            &stream,
            EventData::new_u64(id as u64),
            EventFlags::IN,
        )
        .expect("a socket can be watched");
        let (input, unsent) = (Vec::new(), Vec::new());
        self.clients[id] = Some(Client {
            stream,
            upgraded: false,
            input,
            unsent,
        });
        self.send_bytes(id, self.dialect.upgrade(self.port).as_bytes());
        id
    }

    /// Opens connections, each in its room or in none, and waits until all are.
    pub fn gather(&mut self, count: usize, room_of: impl Fn(usize) -> Option<String>) -> Vec<Id> {
        let (mut ids, mut rooms) = (Vec::with_capacity(count), Vec::new());
        let (mut settled, mut events) = (0, Vec::new());
        let begun = Instant::now();
        while settled < count {
            while ids.len() < count && ids.len() - settled < OPENING_MAX {
                let id = self.open(None);
                rooms.resize(rooms.len().max(id + 1), None);
                rooms[id] = room_of(ids.len());
                ids.push(id);
            }
            self.turn(Wait::Event, &mut events);
            for event in events.drain(..) {
                match (event.what, rooms.get(event.id).cloned().flatten()) {
                    (What::Ready, Some(room)) => self.send(event.id, &self.dialect.join(&room)),
                    (What::Ready, None) | (What::Joined, _) => settled += 1,
                    (What::Bye | What::Closed, _) => panic!("closed during set-up"),
                    _ => {}
                }
            }
            assert!(
                begun.elapsed() < SET_UP_TIME_MAX,
                "{settled} of {count} connections settled"
            );
        }
        ids
    }

    /// Sends one message.
    pub fn send(&mut self, id: Id, text: &str) {
        let mut bytes = Vec::with_capacity(text.len() + 16);
        frame::from_client(frame::TEXT, text.as_bytes(), &mut bytes);
        self.send_bytes(id, &bytes);
    }

    /// Sends a close frame; `What::Bye` and `What::Closed` follow.
    pub fn close(&mut self, id: Id) {
        let mut bytes = Vec::with_capacity(16);
        frame::from_client(frame::CLOSE, &frame::NORMAL, &mut bytes);
        self.send_bytes(id, &bytes);
    }

    /// Sends ready-made frames.
    pub fn send_bytes(&mut self, id: Id, bytes: &[u8]) {
        let Some(client) = &mut self.clients[id] else {
            return;
        };
        if client.unsent.is_empty() {
            // A broken socket is found by the next read.
            let sent = client.stream.write(bytes).unwrap_or(0);
            if sent < bytes.len() {
                client.unsent.extend_from_slice(&bytes[sent..]);
                self.blocked.push(id);
            }
        } else {
            client.unsent.extend_from_slice(bytes);
        }
    }

    /// Ends a connection and forgets it. It is reset, so that its port is free at once.
    pub fn forget(&mut self, id: Id) {
        if let Some(client) = self.clients[id].take() {
            let _ = sockopt::set_socket_linger(&client.stream, Some(Duration::ZERO));
            self.free.push(id);
        }
    }

    /// Reads nothing from this connection any more.
    pub fn stop_reading(&self, id: Id) {
        if let Some(client) = &self.clients[id] {
            let _ = epoll::delete(&self.epoll, &client.stream);
        }
    }

    /// Reads from it again.
    pub fn read_again(&self, id: Id) {
        if let Some(client) = &self.clients[id] {
            let data = EventData::new_u64(id as u64);
            let _ = epoll::add(&self.epoll, &client.stream, data, EventFlags::IN);
        }
    }

    pub fn now_ns(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Reads once from every connection that has something, and appends what it was.
    pub fn turn(&mut self, wait: Wait, events: &mut Vec<Event>) {
        self.send_blocked();
        let timeout = match wait {
            Wait::Event => Timespec {
                tv_sec: 0,
                tv_nsec: 100_000_000,
            },
            Wait::Nap => Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
        };
        self.poll(&timeout);
        if self.ready.is_empty() && matches!(wait, Wait::Nap) {
            std::thread::sleep(NAP);
            self.poll(&timeout);
        }
        let ready = std::mem::take(&mut self.ready);
        let mut bytes = std::mem::take(&mut self.bytes);
        for event in &ready {
            let data = event.data;
            self.receive(data.u64() as Id, &mut bytes, events);
        }
        (self.ready, self.bytes) = (ready, bytes);
    }

    fn poll(&mut self, timeout: &Timespec) {
        self.ready.clear();
        let _ = epoll::wait(&self.epoll, spare_capacity(&mut self.ready), Some(timeout));
    }

    fn send_blocked(&mut self) {
        self.blocked.retain(|&id| {
            let Some(client) = &mut self.clients[id] else {
                return false;
            };
            let sent = client.stream.write(&client.unsent).unwrap_or(0);
            client.unsent.drain(..sent);
            !client.unsent.is_empty()
        });
    }

    fn receive(&mut self, id: Id, bytes: &mut [u8], events: &mut Vec<Event>) {
        let Some(client) = &mut self.clients[id] else {
            return;
        };
        let read = match client.stream.read(bytes) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(_) => 0,
        };
        let at_ns = self.now_ns();
        if read == 0 {
            self.stop_reading(id);
            events.push(Event {
                id,
                what: What::Closed,
                at_ns,
            });
            return;
        }
        let Some(client) = &mut self.clients[id] else {
            return;
        };
        if client.input.is_empty() {
            let taken = self.take(id, &bytes[..read], at_ns, events);
            if let Some(client) = &mut self.clients[id] {
                client.input.extend_from_slice(&bytes[taken..read]);
            }
        } else {
            let mut input = std::mem::take(&mut client.input);
            input.extend_from_slice(&bytes[..read]);
            let taken = self.take(id, &input, at_ns, events);
            input.drain(..taken);
            if let Some(client) = &mut self.clients[id] {
                client.input = input;
            }
        }
    }

    /// Handles what is complete, and returns its length.
    fn take(&mut self, id: Id, bytes: &[u8], at_ns: u64, events: &mut Vec<Event>) -> usize {
        let mut taken = 0;
        let Some(client) = &mut self.clients[id] else {
            return bytes.len();
        };
        if !client.upgraded {
            let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
                return 0;
            };
            let head = String::from_utf8_lossy(&bytes[..end]);
            assert!(head.starts_with("HTTP/1.1 101"), "not upgraded: {head}");
            client.upgraded = true;
            taken = end + 4;
            if self.dialect.ready_at_once() {
                events.push(Event {
                    id,
                    what: What::Ready,
                    at_ns,
                });
            }
        }
        while let Some(frame) = Frame::first(&bytes[taken..]) {
            let payload = &bytes[taken..][frame.payload.clone()];
            taken += frame.payload.end;
            if let Some(what) = self.meaning(id, frame.opcode, payload) {
                events.push(Event { id, what, at_ns });
            }
        }
        taken
    }

    fn meaning(&mut self, id: Id, opcode: u8, payload: &[u8]) -> Option<What> {
        match opcode {
            frame::CLOSE => return Some(What::Bye),
            frame::PING => {
                let mut pong = Vec::new();
                frame::from_client(frame::PONG, payload, &mut pong);
                self.send_bytes(id, &pong);
                return None;
            }
            frame::PONG => return None,
            _ => {}
        }
        Some(match self.dialect.read(payload) {
            Meaning::Said(number) => What::Said(number),
            Meaning::Answered => What::Answered,
            Meaning::Joined => What::Joined,
            Meaning::Left => What::Left,
            Meaning::Ready => What::Ready,
            Meaning::Reply(text) => {
                self.send(id, text);
                return None;
            }
            Meaning::Nothing => return None,
        })
    }
}
