//! A test stage for an application: tests apply inputs and check the exact commands.

use std::time::Duration;

use roomcast_core::{
    App, Applied, Command, Config, ConnId, DisconnectReason, Frame, Gateway, Handshake, Input,
    Limits, Outbox, Outcome, Timestamp,
    gateway::{AppState, CompleteError, ConnectError, Token},
    hub::ConnState,
};

/// An application with its outbox and a clock; connections are named `a`, `b`, ... in the order
/// they connect.
pub(crate) struct Stage<G> {
    pub(crate) app: App<G>,
    pub(crate) out: Outbox,
    pub(crate) now: Timestamp,
    config: Config,
}

fn config() -> Config {
    let mut limits = Limits::default();
    limits.heartbeat = None;
    limits.rooms_per_connection = 3;
    Config::new("e").with_limits(limits)
}

fn name(id: ConnId) -> char {
    char::from(b'a' + u8::try_from(id.serial()).expect("few connections"))
}

impl<G: Gateway> Stage<G> {
    pub(crate) fn new(gateway: G) -> Self {
        Self::with_config(gateway, config())
    }

    fn with_config(gateway: G, config: Config) -> Self {
        Self {
            app: App::new(config.clone(), gateway),
            out: Outbox::new(),
            now: Timestamp::ZERO,
            config,
        }
    }

    /// Creates a stage with these policies, in JSON, and the commands of a host that stores
    /// histories.
    pub(crate) fn with_policies(gateway: G, policies: &str) -> Self {
        let policies = serde_json::from_str(policies).expect("policies");
        Self::with_config(gateway, config().with_policies(policies).with_durable(true))
    }

    /// Creates a stage with these policies and subscriptions, in JSON.
    pub(crate) fn with_subscriptions(gateway: G, policies: &str, subscriptions: &str) -> Self {
        let policies = serde_json::from_str(policies).expect("policies");
        let subscriptions = serde_json::from_str(subscriptions).expect("subscriptions");
        let config = config().with_policies(policies);
        Self::with_config(gateway, config.with_subscriptions(subscriptions))
    }

    /// Creates a stage whose host asks a backend about joins.
    pub(crate) fn with_asks(gateway: G) -> Self {
        Self::with_config(gateway, config().with_asks_join(true))
    }

    pub(crate) fn with_policies_and_limits(gateway: G, policies: &str, limits: Limits) -> Self {
        let policies = serde_json::from_str(policies).expect("policies");
        let config = config().with_policies(policies).with_durable(true);
        Self::with_config(gateway, config.with_limits(limits))
    }

    /// Creates a stage with `N` connections of the users `ann`, `ben` and so on, whose commands
    /// have been carried out.
    pub(crate) fn connected<const N: usize>(gateway: G) -> (Self, [ConnId; N]) {
        let mut stage = Self::new(gateway);
        let mut users = ["ann", "ben", "cat", "dan"].into_iter();
        let conns = [(); N].map(|()| {
            let user = users.next().expect("few connections");
            stage.connect(user).expect("admitted")
        });
        stage.out.clear();
        (stage, conns)
    }

    pub(crate) fn connect(&mut self, user: &str) -> Result<ConnId, ConnectError> {
        self.connect_with(Handshake::new().with_user(user))
    }

    pub(crate) fn connect_with(&mut self, handshake: Handshake) -> Result<ConnId, ConnectError> {
        let Applied::Connected(connected) = self.apply(&Input::Connect(handshake)) else {
            panic!("a connection");
        };
        connected
    }

    pub(crate) fn apply(&mut self, input: &Input<'_>) -> Applied {
        self.app.apply(self.now, input, &mut self.out)
    }

    /// Has the application add a connection that is not in the room yet.
    pub(crate) fn join(&mut self, conn: ConnId, room: &str) {
        let (room, meta) = (room.into(), None);
        let joined = self.apply(&Input::Join { conn, room, meta });
        assert_eq!(joined, Applied::Joined(Ok(false)));
    }

    /// Has the application remove a connection that is in the room.
    pub(crate) fn leave(&mut self, conn: ConnId, room: &str) {
        let room = room.into();
        assert_eq!(
            self.apply(&Input::Leave { conn, room }),
            Applied::Left(true)
        );
    }

    pub(crate) fn complete(&mut self, token: Token, outcome: Outcome) -> Result<(), CompleteError> {
        let Applied::Completed(completed) = self.apply(&Input::Complete { token, outcome }) else {
            panic!("an answer");
        };
        completed
    }

    pub(crate) fn text(&mut self, conn: ConnId, text: &str) {
        self.frame(conn, Frame::Text(text));
    }

    pub(crate) fn frame(&mut self, conn: ConnId, frame: Frame<'_>) {
        assert_eq!(self.apply(&Input::message(conn, frame)), Applied::Done);
    }

    pub(crate) fn lost(&mut self, conn: ConnId) {
        let reason = DisconnectReason::Lost;
        let gone = self.apply(&Input::Disconnect { conn, reason });
        assert_eq!(gone, Applied::Done);
    }

    /// Advances the clock, stopping at each deadline.
    pub(crate) fn wait(&mut self, millis: u64) {
        let until = self.now + Duration::from_millis(millis);
        while let Some(due) = self.app.next_timeout().filter(|&due| due <= until) {
            self.now = due;
            self.apply(&Input::Timeout);
        }
        self.now = until;
    }

    /// Drops the application and restores it from text, with a new gateway.
    pub(crate) fn sleep(&mut self, gateway: G) {
        let conns = self.app.hub().connections();
        let conns: Vec<ConnState> = conns
            .map(|info| self.app.hub().conn_state(info.id).expect("alive"))
            .collect();
        let saved = serde_json::to_string(&(self.app.state(), conns)).expect("plain data");
        let (state, conns): (AppState, Vec<ConnState>) =
            serde_json::from_str(&saved).expect("what was saved");
        self.app = App::restore(self.config.clone(), gateway, state, conns).expect("one snapshot");
    }

    /// Carries the commands out, and returns them as lines such as `send a,b {"event":"said",...}`.
    pub(crate) fn take(&mut self) -> Vec<String> {
        let line = |command| match command {
            Command::Send { to, frame, .. } => {
                let to: Vec<_> = to.iter().map(|&id| name(id).to_string()).collect();
                match frame {
                    Frame::Text(text) => format!("send {} {text}", to.join(",")),
                    Frame::Binary(bytes) => format!("send {} {bytes:?}", to.join(",")),
                }
            }
            Command::Close { conn, code, reason } => {
                format!("close {} {code} {reason}", name(conn))
            }
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
        let lines = self.out.iter().map(line).collect();
        self.out.clear();
        self.app.hub().assert_consistent();
        lines
    }

    /// Asserts that the commands are exactly these, except `persist`.
    #[track_caller]
    pub(crate) fn expect<const N: usize>(&mut self, expected: [&str; N]) {
        let mut lines = self.take();
        lines.retain(|line| !line.starts_with("persist"));
        assert_eq!(lines, expected);
    }

    /// Takes the faults of the application as the host would log them.
    pub(crate) fn faults(&mut self) -> Vec<String> {
        let faults = self.app.take_errors();
        faults.iter().map(ToString::to_string).collect()
    }
}

/// Applies an input as a host does: catches a panic, and reports it to the application.
pub(crate) fn caught<G: Gateway>(stage: &mut Stage<G>, input: &Input<'_>) {
    let (app, out, now) = (&mut stage.app, &mut stage.out, stage.now);
    let catch = |act: &mut dyn FnMut()| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(act)).is_err()
    };
    if catch(&mut || drop(app.apply(now, input, out))) {
        let mut input = input;
        while catch(&mut || app.unwound(now, input, "planted", out)) {
            input = &Input::Timeout;
        }
    }
}
