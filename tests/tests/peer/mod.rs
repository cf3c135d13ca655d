//! A client that writes its own bytes: several frames in one segment, half a frame, wrong ones.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::Mutex,
    time::Duration,
};

use socket2::{Domain, Socket, Type};

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const CLOSE: u8 = 0x88;

/// Time that the server may take for anything: a fault when it passes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A free port of this machine, which the system gives to nobody else before this process ends: a
/// socket that does not listen holds it. A server can listen there all the same, as both allow that
/// the address is used again.
pub(crate) fn free_port() -> u16 {
    static HELD: Mutex<Vec<Socket>> = Mutex::new(Vec::new());
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("a socket");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).expect("a port");
    let bound = socket.local_addr().expect("an address").as_socket();
    // Other systems would keep the server away too.
    if cfg!(target_os = "linux") {
        HELD.lock().expect("no panic").push(socket);
    }
    bound.expect("of the internet").port()
}

/// An utterance of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    Text(String),
    Ping,
    /// An answer to a ping.
    Pong,
    /// A close frame with this code; 1005 is none.
    Close(u16),
    /// The end of the stream.
    End,
}

pub(crate) struct Peer {
    stream: TcpStream,
    read: Vec<u8>,
}

/// The bytes of one frame.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let shortest = match payload.len() {
        0..126 => 0,
        126..0x1_0000 => 2,
        _ => 8,
    };
    frame_with_length(first, payload, shortest)
}

/// The same, with a length of 0, 2 or 8 further bytes.
pub(crate) fn frame_with_length(first: u8, payload: &[u8], bytes: usize) -> Vec<u8> {
    const MASK: [u8; 4] = [7, 0, 99, 200];
    let len = payload.len() as u64;
    let mut frame = vec![first];
    match bytes {
        0 => frame.push(0x80 | u8::try_from(len).expect("short")),
        2 => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(len).expect("short").to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend(len.to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(b, m)| b ^ m));
    frame
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    frame(TEXT, text.as_bytes())
}

pub(crate) fn close(code: u16) -> Vec<u8> {
    frame(CLOSE, &code.to_be_bytes())
}

impl Peer {
    /// Connects, with the subprotocol, and reads `$welcome`.
    pub(crate) fn connect(authority: &str, namespace: &str) -> Self {
        let peer = Self::silent(authority);
        peer.upgrade(authority, namespace).welcomed()
    }

    /// Connects with further header fields, and the subprotocol; gives `$welcome` too.
    pub(crate) fn connect_with(authority: &str, fields: &str) -> (Self, String) {
        let mut peer = Self::silent(authority);
        let head = peer.ask(authority, "/ws", fields);
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        let said = peer.next();
        if let Said::Text(text) = &said
            && text.contains("$welcome")
        {
            return (peer, text.clone());
        }
        panic!("no welcome: {said:?}")
    }

    fn welcomed(mut self) -> Self {
        assert!(matches!(self.next(), Said::Text(text) if text.contains("$welcome")));
        self
    }

    /// Connects with the subprotocol, and reads `$welcome`. The kernel takes little for it: what it
    /// does not read waits in the server.
    pub(crate) fn connect_small(authority: &str, namespace: &str) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        // What the server's kernel takes follows from the size of segments.
        socket.set_tcp_mss(1400).expect("a socket");
        socket.set_recv_buffer_size(16 * 1024).expect("a socket");
        let address: SocketAddr = authority.parse().expect("an address");
        socket.connect(&address.into()).expect("a server");
        let peer = Self::on(socket.into());
        peer.upgrade(authority, namespace).welcomed()
    }

    /// Connects, and says nothing yet.
    pub(crate) fn silent(authority: &str) -> Self {
        Self::on(TcpStream::connect(authority).expect("a server"))
    }

    fn on(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        Self {
            stream,
            read: Vec::new(),
        }
    }

    fn upgrade(mut self, authority: &str, namespace: &str) -> Self {
        let path = if namespace.is_empty() {
            "/ws".to_owned()
        } else {
            format!("/ws/{namespace}")
        };
        let head = self.ask(authority, &path, "");
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        self
    }

    /// Asks for a WebSocket with further header fields, a line each; gives the head of the
    /// response.
    pub(crate) fn ask(&mut self, authority: &str, path: &str, fields: &str) -> String {
        self.write(
            format!(
                "GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\n\
                 Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                 Sec-WebSocket-Protocol: roomcast.v1\r\n{fields}\r\n"
            )
            .as_bytes(),
        );
        self.head()
    }

    /// The head of an HTTP response.
    pub(crate) fn head(&mut self) -> String {
        let end = loop {
            let end = self.read.windows(4).position(|four| four == b"\r\n\r\n");
            match end {
                Some(end) => break end + 4,
                None => assert!(self.fill(), "a response"),
            }
        };
        let head = self.read.drain(..end).collect();
        String::from_utf8(head).expect("ASCII")
    }

    /// Reads for as long as something comes within this time, and keeps it.
    pub(crate) fn take_in(&mut self, pause: Duration) {
        self.stream.set_read_timeout(Some(pause)).expect("a socket");
        let mut buffer = [0; 64 * 1024];
        while let Ok(count @ 1..) = self.stream.read(&mut buffer) {
            self.read.extend_from_slice(&buffer[..count]);
        }
        self.stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a socket");
    }

    /// Writes in one segment, or as few as it takes.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("it is open");
    }

    pub(crate) fn say(&mut self, said: &str) {
        self.write(&text(said));
    }

    /// Ends its direction of the stream.
    pub(crate) fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("it is open");
    }

    /// True when there is more.
    fn fill(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        let count = loop {
            match self.stream.read(&mut buffer) {
                Ok(count) => break count,
                Err(fault) if fault.kind() == ErrorKind::ConnectionReset => break 0,
                // The process was stopped meanwhile.
                Err(fault) if fault.kind() == ErrorKind::Interrupted => {}
                Err(fault) => panic!("nothing came: {fault}"),
            }
        };
        self.read.extend_from_slice(&buffer[..count]);
        count > 0
    }

    /// True when that many bytes are there.
    fn has(&mut self, count: usize) -> bool {
        while self.read.len() < count {
            if !self.fill() {
                return false;
            }
        }
        true
    }

    pub(crate) fn next(&mut self) -> Said {
        if !self.has(2) {
            return Said::End;
        }
        let (first, second) = (self.read[0], self.read[1]);
        let head = match second {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        if !self.has(head) {
            return Said::End;
        }
        let len = match head {
            2 => usize::from(second),
            _ => self.read[2..head]
                .iter()
                .fold(0, |len, &byte| len << 8 | usize::from(byte)),
        };
        if !self.has(head + len) {
            return Said::End;
        }
        let payload: Vec<u8> = self.read.drain(..head + len).skip(head).collect();
        match first & 0x0f {
            1 => Said::Text(String::from_utf8(payload).expect("UTF-8")),
            8 => match payload.first_chunk() {
                Some(code) => Said::Close(u16::from_be_bytes(*code)),
                None => Said::Close(1005),
            },
            9 => Said::Ping,
            10 => Said::Pong,
            other => panic!("opcode {other}"),
        }
    }

    /// All that comes up to a close frame, or the end of the stream.
    pub(crate) fn rest(&mut self) -> Vec<Said> {
        let mut all = Vec::new();
        loop {
            let said = self.next();
            if said == Said::End {
                return all;
            }
            let last = matches!(said, Said::Close(_));
            all.push(said);
            if last {
                return all;
            }
        }
    }

    /// Joins a room, and reads the answer.
    pub(crate) fn join(&mut self, room: &str) -> String {
        self.say(&format!(r#"{{"event":"$join","id":"j","room":"{room}"}}"#));
        self.answer(r#""id":"j""#)
    }

    /// The next text with such a part. Whatever else comes before it, the end must not.
    pub(crate) fn answer(&mut self, part: &str) -> String {
        loop {
            let said = self.next();
            assert_ne!(said, Said::End, "no answer with {part}");
            if let Said::Text(text) = said
                && text.contains(part)
            {
                return text;
            }
        }
    }
}

/// Status and body of the answer to a call of the API in the default namespace.
pub(crate) fn call(
    authority: &str,
    (method, path): (&str, &str),
    key: &str,
    body: &str,
) -> (u16, String) {
    let mut stream = TcpStream::connect(authority).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let request = format!(
        "{method} /api/v1/default/{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\
         Authorization: Bearer {key}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}

/// A value of the server's metrics: that of a name with its labels, or the sum over the labels of
/// a name; `None` where there is none.
pub(crate) fn metric(authority: &str, name: &str) -> Option<u64> {
    let mut stream = TcpStream::connect(authority).expect("the server accepts");
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("it is open");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("text");
    let values = text.lines().filter_map(|line| {
        let (found, value) = line.rsplit_once(' ')?;
        let is_it = found == name || found.split('{').next() == Some(name);
        is_it.then(|| value.parse().expect("a number"))
    });
    values.reduce(|sum: u64, value| sum + value)
}
