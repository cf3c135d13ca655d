//! A test harness for a hub: tests apply inputs and check the exact commands.

use std::time::Duration;

use roomcast_core::{
    Audience, Command, Config, ConnId, Delivery, EncodeError, Frame, Handshake, Hub, Limits,
    Outbox, Payload, Timestamp, hub::Refusal,
};

/// A hub with its outbox and a clock; connections are named `a`, `b`, ... in the order they
/// connect.
pub(crate) struct Harness {
    pub(crate) hub: Hub,
    pub(crate) out: Outbox,
    pub(crate) now: Timestamp,
}

/// The commands as lines, such as `send a,b {"event":"said",...}`.
pub(crate) fn lines(out: &Outbox) -> Vec<String> {
    let name = |id: ConnId| char::from(b'a' + u8::try_from(id.serial()).expect("few connections"));
    let line = |command| match command {
        Command::Send { to, frame, .. } => {
            let to: Vec<_> = to.iter().map(|&id| name(id).to_string()).collect();
            let text = String::from_utf8_lossy(frame.as_bytes());
            format!("send {} {text}", to.join(","))
        }
        Command::Close { conn, code, reason } => format!("close {} {code} {reason}", name(conn)),
        Command::Ping { conn } => format!("ping {}", name(conn)),
        Command::Persist { conn } => format!("persist {}", name(conn)),
        Command::Append {
            room,
            offset,
            frame,
            ..
        } => format!("append {room} {offset} {frame}"),
        Command::PersistRoom { room } => format!("persist {room}"),
        Command::PersistKey { client, key } => format!("persist key {key} of {client}"),
        Command::LoadHistory { room } => format!("recall {room}"),
        Command::Relay(command) => format!("relay {command:?}"),
        Command::Tell { event, .. } => format!("tell {event}"),
    };
    out.iter().map(line).collect()
}

impl Harness {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> Self {
        Self {
            hub: Hub::new(Config::new("e").with_limits(limits)),
            out: Outbox::new(),
            now: Timestamp::ZERO,
        }
    }

    /// Returns `N` anonymous connections whose commands have been carried out.
    pub(crate) fn connected<const N: usize>() -> (Self, [ConnId; N]) {
        let mut harness = Self::new();
        let conns = [(); N].map(|()| harness.connect(Handshake::new()).expect("room for it"));
        harness.out.clear();
        (harness, conns)
    }

    pub(crate) fn connect(&mut self, handshake: Handshake) -> Result<ConnId, Refusal> {
        self.hub.connect(self.now, handshake, &mut self.out)
    }

    /// Receives a text message, and publishes it if the hub leaves that to the application.
    pub(crate) fn text(&mut self, conn: ConnId, text: &str) {
        let received = self
            .hub
            .receive(self.now, conn, Frame::Text(text), &mut self.out);
        if let Some(message) = received.expect("a live connection") {
            self.hub
                .publish(self.now, &message, &mut self.out)
                .expect("a live connection");
        }
    }

    pub(crate) fn join(&mut self, conn: ConnId, room: &str) {
        self.hub
            .join(self.now, conn, room, &mut self.out)
            .expect("a join");
        self.out.clear();
    }

    pub(crate) fn send(
        &mut self,
        audience: &Audience,
        data: &str,
    ) -> Result<Delivery, EncodeError> {
        let data = Payload::parse(data).expect("JSON");
        self.hub
            .send(self.now, audience, "told", data, &mut self.out)
    }

    pub(crate) fn wait(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
        self.hub.handle_timeout(self.now, &mut self.out);
    }

    /// Asserts that the commands are exactly these, and carries them out.
    #[track_caller]
    pub(crate) fn assert_commands<const N: usize>(&mut self, expected: [&str; N]) {
        assert_eq!(lines(&self.out), expected);
        self.out.clear();
        self.hub.assert_consistent();
    }

    /// Asserts that a connection is sent an error with this code; its text is for people.
    #[track_caller]
    pub(crate) fn assert_error(&mut self, head: &str, code: &str) {
        let [line] = &*lines(&self.out) else {
            panic!("one error, not {:?}", lines(&self.out));
        };
        let start = format!(r#"{head},"error":{{"code":"{code}","message":""#);
        assert!(line.starts_with(&start), "{line}");
        self.out.clear();
    }
}

pub(crate) const NOBODY: Delivery = Delivery {
    matched: 0,
    queued: 0,
    dropped: 0,
    offset: None,
};

pub(crate) fn queued(count: usize) -> Delivery {
    Delivery {
        matched: count,
        queued: count,
        dropped: 0,
        offset: None,
    }
}

/// Returns an id that no hub assigns within a test.
pub(crate) fn stranger() -> ConnId {
    "9007199254740991".parse().expect("the largest id")
}
