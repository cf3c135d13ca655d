//! Clients on this machine, more than one address has ports for.

use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use roomcast_load::{Crowd, Dialect, Event, Id, Tls, Wait, What};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use rustix::net::{bind, connect, socket_with};

use crate::secure;

/// Ports of one address are fewer than the connections of a run, some of which linger.
const SOURCE_ADDRESSES: usize = 64;
/// Half of the backlog that the standard library gives a listener.
const OPENING_MAX: usize = 64;
const SET_UP_TIME_MAX: Duration = Duration::from_secs(120);
/// For the wait when nothing is measured.
pub const EVENT: Wait = Wait::Event(Duration::from_millis(100));

pub struct Clients {
    crowd: Crowd,
    server: SocketAddrV4,
    opened: usize,
}

impl Deref for Clients {
    type Target = Crowd;

    fn deref(&self) -> &Crowd {
        &self.crowd
    }
}

impl DerefMut for Clients {
    fn deref_mut(&mut self) -> &mut Crowd {
        &mut self.crowd
    }
}

impl Clients {
    /// With a certificate, the one of the server, they speak TLS.
    pub fn new(dialect: Box<dyn Dialect>, port: u16, certificate: Option<&str>) -> Self {
        let server = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let mut crowd = Crowd::new(dialect, &server.to_string()).expect("a poll is there");
        if let Some(certificate) = certificate {
            let tls = Tls::new(secure::config(certificate), secure::name());
            crowd = crowd.with_layers(Box::new(tls));
        }
        Self {
            crowd,
            server,
            opened: 0,
        }
    }

    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// Has connections from now on go to another server of this machine; gives the port of the last
    /// one.
    pub fn set_port(&mut self, port: u16) -> u16 {
        let before = self.port();
        self.server.set_port(port);
        before
    }

    /// Connects and asks for the upgrade; `What::Ready` follows. `receive_bytes` makes the
    /// kernel's buffer small.
    pub fn open(&mut self, receive_bytes: Option<usize>) -> Id {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)
            .expect("a socket can be made: the limit of open files may be too low");
        sockopt::set_socket_reuseaddr(&socket, true).expect("a socket option");
        if let Some(bytes) = receive_bytes {
            sockopt::set_socket_recv_buffer_size(&socket, bytes).expect("a socket option");
        }
        let source = 2 + self.opened % SOURCE_ADDRESSES;
        self.opened += 1;
        let source = Ipv4Addr::new(127, 0, 0, u8::try_from(source).expect("it is small"));
        bind(&socket, &SocketAddrV4::new(source, 0)).expect("a port is free");
        connect(&socket, &self.server).expect("the server listens");
        let added = self.crowd.add(TcpStream::from(socket));
        added.expect("a socket can be watched")
    }

    /// Opens connections, each in its room or in none, and waits until all are.
    pub fn gather(&mut self, count: usize, room_of: impl Fn(usize) -> Option<usize>) -> Vec<Id> {
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
            self.turn(EVENT, &mut events);
            for Event { id, what, .. } in events.drain(..) {
                match (&what, rooms.get(id).copied().flatten()) {
                    (What::Ready(_), Some(room)) => self.join(id, room as u32),
                    (What::Ready(_), None) | (What::Joined, _) => settled += 1,
                    (What::Bye(_) | What::Ended(_) | What::Refusal(_), _) => refuse(&what),
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

    /// Ends a connection. It is reset, so that its port is free at once.
    pub fn reset(&mut self, id: Id) {
        if let Some(stream) = self.forget(id) {
            let _ = sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
        }
    }
}

/// Ends the run: an error costs the server less than the work that was asked for, and must not
/// count.
pub fn refuse(what: &What) -> ! {
    panic!("the server has something against it: {what:?}")
}
