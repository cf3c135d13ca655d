//! The least a server can cost: one thread, epoll, one ready-made frame and one `send` per member.
//! No limits, no heartbeat, no JSON, no guard against a client that misbehaves.
//!
//! With `--batch`, what was published to a room within one turn of the loop is joined and sent with
//! one `send` per member.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};

use roomcast_bench::{allow_many_files, listener, plain::Request};
use roomcast_load::frame::{self, Frame};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::net::{SocketFlags, accept_with, sockopt::set_tcp_nodelay};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

const EVENTS_MAX: usize = 1024;
const READ_BYTES: usize = 65_536;

struct Client {
    stream: TcpStream,
    upgraded: bool,
    /// The beginning of what is not complete yet.
    input: Vec<u8>,
    /// Bytes that the socket had no room for.
    unsent: Vec<u8>,
    rooms: Vec<String>,
}

#[derive(Default)]
struct Room {
    /// File descriptors.
    members: Vec<usize>,
    /// Frames published in this turn, with `--batch`.
    published: Vec<u8>,
}

struct Floor {
    epoll: OwnedFd,
    /// By file descriptor: the cheapest map there is.
    clients: Vec<Option<Client>>,
    rooms: HashMap<String, Room>,
    batch: bool,
    /// Rooms with something in `published`.
    dirty: Vec<String>,
}

fn main() {
    allow_many_files();
    let listener = listener();
    let epoll = epoll::create(CreateFlags::CLOEXEC).expect("epoll is there");
    let listening = listener.as_raw_fd() as u64;
    epoll::add(
        &epoll,
        &listener,
        EventData::new_u64(listening),
        EventFlags::IN,
    )
    .expect("a listener can be watched");
    let batch = std::env::args().any(|argument| argument == "--batch");
    let (clients, rooms, dirty) = (Vec::new(), HashMap::new(), Vec::new());
    let mut floor = Floor {
        epoll,
        clients,
        rooms,
        batch,
        dirty,
    };
    let mut events = Vec::with_capacity(EVENTS_MAX);
    let mut bytes = vec![0; READ_BYTES];
    loop {
        events.clear();
        if epoll::wait(&floor.epoll, spare_capacity(&mut events), None).is_err() {
            continue;
        }
        for event in &events {
            let (flags, fd) = (event.flags, event.data.u64());
            if fd == listening {
                floor.accept(&listener);
            } else {
                floor.serve(fd as usize, flags, &mut bytes);
            }
        }
        floor.flush();
    }
}

impl Floor {
    fn accept(&mut self, listener: &TcpListener) {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        while let Ok(socket) = accept_with(listener, flags) {
            let _ = set_tcp_nodelay(&socket, true);
            let stream = TcpStream::from(socket);
            let fd = stream.as_raw_fd() as usize;
            epoll::add(
                &self.epoll,
                &stream,
                EventData::new_u64(fd as u64),
                EventFlags::IN,
            )
            .expect("a socket can be watched");
            if self.clients.len() <= fd {
                self.clients.resize_with(fd + 1, || None);
            }
            let (input, unsent, rooms) = (Vec::new(), Vec::new(), Vec::new());
            self.clients[fd] = Some(Client {
                stream,
                upgraded: false,
                input,
                unsent,
                rooms,
            });
        }
    }

    fn serve(&mut self, fd: usize, flags: EventFlags, bytes: &mut [u8]) {
        let Some(client) = &mut self.clients[fd] else {
            return;
        };
        if flags.contains(EventFlags::OUT) {
            client.write_unsent(&self.epoll, fd);
        }
        if flags == EventFlags::OUT {
            return;
        }
        let read = match client.stream.read(bytes) {
            Ok(0) => return self.disconnect(fd),
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
            Err(_) => return self.disconnect(fd),
        };
        if client.input.is_empty() {
            let taken = self.take(fd, &mut bytes[..read]);
            if let (Some(taken), Some(client)) = (taken, &mut self.clients[fd]) {
                client.input.extend_from_slice(&bytes[taken..read]);
            }
        } else {
            let mut input = std::mem::take(&mut client.input);
            input.extend_from_slice(&bytes[..read]);
            let taken = self.take(fd, &mut input);
            if let (Some(taken), Some(client)) = (taken, &mut self.clients[fd]) {
                input.drain(..taken);
                client.input = input;
            }
        }
    }

    /// Handles what is complete and returns its length; nothing once the client is gone.
    fn take(&mut self, fd: usize, bytes: &mut [u8]) -> Option<usize> {
        let mut taken = 0;
        if !self.clients[fd].as_ref()?.upgraded {
            let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
                return Some(0);
            };
            taken = end + 4;
            self.upgrade(fd, &bytes[..end]);
        }
        while let Some(frame) = Frame::first(&bytes[taken..]) {
            let (start, end) = (taken + frame.payload.start, taken + frame.payload.end);
            taken = end;
            let payload = &mut bytes[start..end];
            frame::apply(frame.mask.unwrap_or_default(), payload);
            if frame.opcode == frame::CLOSE {
                self.answer(fd, frame::CLOSE, &frame::NORMAL);
                self.disconnect(fd);
                return None;
            }
            if let Some(request) = std::str::from_utf8(payload).ok().and_then(Request::read) {
                self.perform(fd, request);
            }
        }
        Some(taken)
    }

    fn upgrade(&mut self, fd: usize, head: &[u8]) {
        let Some(client) = &mut self.clients[fd] else {
            return;
        };
        client.upgraded = true;
        let head = String::from_utf8_lossy(head);
        let fields = head.lines().filter_map(|line| line.split_once(": "));
        let key = fields.filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
        let key = key.map(|(_, value)| value).next().unwrap_or_default();
        let accept = derive_accept_key(key.as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        client.send(&self.epoll, fd, answer.as_bytes());
    }

    fn perform(&mut self, fd: usize, request: Request<'_>) {
        match request {
            Request::Join(room) => {
                let Some(client) = &mut self.clients[fd] else {
                    return;
                };
                client.rooms.push(room.to_owned());
                self.rooms
                    .entry(room.to_owned())
                    .or_default()
                    .members
                    .push(fd);
                self.answer(fd, frame::TEXT, b"+");
            }
            Request::Leave(room) => {
                let Some(client) = &mut self.clients[fd] else {
                    return;
                };
                client.rooms.retain(|joined| joined != room);
                self.leave(fd, room);
                self.answer(fd, frame::TEXT, b"-");
            }
            Request::Ask => self.answer(fd, frame::TEXT, b"?"),
            Request::Publish {
                room: name,
                payload,
            } => {
                let Some(room) = self.rooms.get_mut(name) else {
                    return;
                };
                if self.batch {
                    if room.published.is_empty() {
                        self.dirty.push(name.to_owned());
                    }
                    let text = format!("!{payload}");
                    frame::from_server(frame::TEXT, text.as_bytes(), &mut room.published);
                } else {
                    let mut bytes = Vec::with_capacity(payload.len() + 16);
                    let text = format!("!{payload}");
                    frame::from_server(frame::TEXT, text.as_bytes(), &mut bytes);
                    send_to_all(&mut self.clients, &self.epoll, &room.members, &bytes);
                }
            }
        }
    }

    fn flush(&mut self) {
        for name in self.dirty.drain(..) {
            let Some(room) = self.rooms.get_mut(&name) else {
                continue;
            };
            send_to_all(
                &mut self.clients,
                &self.epoll,
                &room.members,
                &room.published,
            );
            room.published.clear();
        }
    }

    fn answer(&mut self, fd: usize, opcode: u8, payload: &[u8]) {
        let mut bytes = Vec::with_capacity(16);
        frame::from_server(opcode, payload, &mut bytes);
        if let Some(client) = &mut self.clients[fd] {
            client.send(&self.epoll, fd, &bytes);
        }
    }

    fn leave(&mut self, fd: usize, name: &str) {
        let Some(room) = self.rooms.get_mut(name) else {
            return;
        };
        if let Some(at) = room.members.iter().position(|&member| member == fd) {
            room.members.swap_remove(at);
        }
        if room.members.is_empty() {
            self.rooms.remove(name);
        }
    }

    fn disconnect(&mut self, fd: usize) {
        let Some(client) = self.clients[fd].take() else {
            return;
        };
        for room in &client.rooms {
            self.leave(fd, room);
        }
    }
}

fn send_to_all(clients: &mut [Option<Client>], epoll: &OwnedFd, members: &[usize], bytes: &[u8]) {
    for &fd in members {
        if let Some(client) = &mut clients[fd] {
            client.send(epoll, fd, bytes);
        }
    }
}

impl Client {
    fn send(&mut self, epoll: &OwnedFd, fd: usize, bytes: &[u8]) {
        if self.unsent.is_empty() {
            // A broken socket is found by the next read.
            let sent = self.stream.write(bytes).unwrap_or(0);
            if sent == bytes.len() {
                return;
            }
            self.unsent.extend_from_slice(&bytes[sent..]);
            self.watch(epoll, fd, EventFlags::IN | EventFlags::OUT);
        } else {
            self.unsent.extend_from_slice(bytes);
        }
    }

    fn write_unsent(&mut self, epoll: &OwnedFd, fd: usize) {
        let sent = self.stream.write(&self.unsent).unwrap_or(0);
        self.unsent.drain(..sent);
        if self.unsent.is_empty() {
            self.watch(epoll, fd, EventFlags::IN);
        }
    }

    fn watch(&self, epoll: &OwnedFd, fd: usize, flags: EventFlags) {
        let _ = epoll::modify(epoll, &self.stream, EventData::new_u64(fd as u64), flags);
    }
}
