//! A clustered hub: its commands to the relay, and its reaction to relay events.

#![allow(clippy::wildcard_enum_match_arm)] // any other command is unexpected

use std::time::Duration;

use roomcast_core::{
    Audience, Command, Config, ConnId, Frame, Handshake, Hub, Outbox, Payload, Policies, Timestamp,
    hub::Cluster,
    relay::{Published, RelayCommand, RelayEvent, StreamMessage, Topic, TopicPage, TopicPosition},
};

pub(super) struct Node {
    pub(super) hub: Hub,
    pub(super) out: Outbox,
    pub(super) now: Timestamp,
    /// Commands for the relay that were not taken yet.
    pub(super) commands: Vec<RelayCommand>,
    /// Entries of this node among those with members of a room.
    pub(super) entered: Vec<RelayCommand>,
}

impl Node {
    /// A node that follows only the topic of all.
    pub(super) fn new() -> Self {
        let policies = r#"{"rooms":[{"match":"log","history":{"messages":9}}]}"#;
        let policies: Policies = serde_json::from_str(policies).expect("policies");
        Self::with(Config::new("alone").with_policies(policies))
    }

    pub(super) fn with(config: Config) -> Self {
        Self::in_cluster(config, Cluster::new("n1", 0, 100))
    }

    pub(super) fn in_cluster(config: Config, cluster: Cluster) -> Self {
        let mut node = Self {
            hub: Hub::new(config.with_cluster(cluster)),
            out: Outbox::new(),
            now: Timestamp::ZERO,
            commands: Vec::new(),
            entered: Vec::new(),
        };
        node.event(RelayEvent::Up);
        node.subscribed(&[page(Topic::All, 0, &[])]);
        node
    }

    pub(super) fn connect(&mut self) -> ConnId {
        self.connect_with(Handshake::new())
    }

    pub(super) fn connect_as(&mut self, user: &str) -> ConnId {
        self.connect_with(Handshake::new().with_user(user))
    }

    fn connect_with(&mut self, handshake: Handshake) -> ConnId {
        let connected = self.hub.connect(self.now, handshake, &mut self.out);
        self.out.clear();
        connected.expect("room for it")
    }

    /// Takes the frames that an input led to, each preceded by the serial numbers of its
    /// recipients.
    pub(super) fn frames(&mut self) -> Vec<String> {
        let mut frames = Vec::new();
        for command in &self.out {
            match command {
                Command::Send { to, frame, .. } => {
                    let to: Vec<_> = to.iter().map(|conn| conn.serial().to_string()).collect();
                    let text = String::from_utf8_lossy(frame.as_bytes());
                    frames.push(format!("{} {text}", to.join(",")));
                }
                Command::Relay(command @ RelayCommand::SetPresent { room, .. })
                    if room.starts_with('\u{1}') =>
                {
                    self.entered.push(command.clone());
                }
                Command::Relay(command) => self.commands.push(command.clone()),
                Command::Tell { event, .. } => frames.push(format!("told {event}")),
                Command::Persist { .. } | Command::Ping { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        self.out.clear();
        self.hub.assert_consistent();
        frames
    }

    pub(super) fn text(&mut self, conn: ConnId, text: &str) -> Vec<String> {
        let (hub, out) = (&mut self.hub, &mut self.out);
        let received = hub.receive(self.now, conn, Frame::Text(text), out);
        if let Some(message) = received.expect("it is alive") {
            hub.publish(self.now, &message, out).expect("it is alive");
        }
        self.frames()
    }

    pub(super) fn event(&mut self, event: RelayEvent) -> Vec<String> {
        self.hub.take_event(self.now, &event, &mut self.out);
        self.frames()
    }

    pub(super) fn wait(&mut self, millis: u64) -> Vec<String> {
        self.now = self.now + Duration::from_millis(millis);
        self.hub.handle_timeout(self.now, &mut self.out);
        self.frames()
    }

    pub(super) fn command(&mut self) -> RelayCommand {
        assert_eq!(self.commands.len(), 1, "{:?}", self.commands);
        self.commands.pop().expect("it is one")
    }

    /// Returns the token of the only pending request to the relay.
    pub(super) fn token(&mut self) -> u64 {
        match self.command() {
            RelayCommand::Publish(publish) => publish.token,
            RelayCommand::Subscribe { token, .. } => token,
            RelayCommand::Read(read) => read.token,
            RelayCommand::SetPresent { token, .. }
            | RelayCommand::Reconcile { token, .. }
            | RelayCommand::ListUsers { token, .. } => token,
            RelayCommand::Unsubscribe { topic } => panic!("the end of {topic:?}"),
        }
    }

    pub(super) fn subscribed(&mut self, pages: &[TopicPage]) -> Vec<String> {
        let (token, pages) = (self.token(), pages.to_vec());
        self.event(RelayEvent::Subscribed { token, pages })
    }

    /// Connects a member of a room that is at an offset.
    pub(super) fn member(&mut self, room: &str, offset: u64) -> ConnId {
        let conn = self.connect();
        let join = format!(r#"{{"event":"$join","room":"{room}"}}"#);
        assert_eq!(self.text(conn, &join), Vec::<String>::new());
        self.subscribed(&[page(Topic::room(room), offset, &[])]);
        conn
    }

    /// Delivers a message from a client of another node.
    pub(super) fn message(&mut self, room: &str, offset: u64) -> Vec<String> {
        let body = body(offset);
        let (topic, epoch) = (Topic::room(room), "e".into());
        self.event(RelayEvent::Message {
            topic,
            epoch,
            offset,
            body,
        })
    }
}

fn body(data: u64) -> Box<[u8]> {
    let digits = data.to_string();
    let text = format!("1e2:n2,1:1,3:900,---1:m,-{}:{digits},", digits.len());
    text.into_bytes().into()
}

/// Body of a message from a backend to everybody.
pub(super) fn body_to_all(data: u64) -> Box<[u8]> {
    let text = format!(r#"1e2:n2,1:1,---12:{{"all":true}},1:m,-1:{data},"#);
    text.into_bytes().into()
}

pub(super) fn page(topic: Topic, offset: u64, kept: &[u64]) -> TopicPage {
    let message = |&offset: &u64| StreamMessage {
        offset,
        body: body(offset),
    };
    TopicPage {
        topic,
        position: TopicPosition::new("e", offset),
        first: kept.first().copied().unwrap_or(offset + 1),
        messages: kept.iter().map(message).collect(),
    }
}

pub(super) fn said(to: &str, room: &str, offset: u64) -> String {
    let numbered = match room {
        "log" => format!(r#""offset":{offset},"#),
        _ => String::new(),
    };
    format!(
        r#"{to} {{"event":"m","room":"{room}","from":{{"conn":"900"}},{numbered}"data":{offset}}}"#
    )
}

pub(super) const PUBLISH: &str = r#"{"event":"said","room":"log","id":1,"data":"hi","echo":true}"#;
const ANSWER: &str = r#"0 {"event":"said","id":1,"room":"log","data":{"reached":1,"offset":1}}"#;

pub(super) fn accepted(token: u64, offset: u64) -> RelayEvent {
    let (position, repeated) = (TopicPosition::new("e", offset), false);
    let outcome = Published::Accepted { position, repeated };
    RelayEvent::Published { token, outcome }
}

#[test]
fn a_publish_is_delivered_when_it_comes_back_and_answered_behind_that() {
    let mut node = Node::new();
    let conn = node.member("log", 0);
    assert!(node.text(conn, PUBLISH).is_empty());
    let RelayCommand::Publish(publish) = node.command() else {
        panic!("no publish");
    };
    assert_eq!((&*publish.key, publish.fingerprint), ("n:n1:4", 0));
    assert_eq!(publish.keep.map(|keep| keep.messages), Some(9));
    assert!(node.event(accepted(publish.token, 1)).is_empty());
    let message = RelayEvent::Message {
        topic: publish.topic,
        epoch: "e".into(),
        offset: 1,
        body: publish.body,
    };
    let delivered = r#"0 {"event":"said","room":"log","from":{"conn":"0"},"offset":1,"data":"hi"}"#;
    assert_eq!(node.event(message.clone()), [delivered, ANSWER]);
    assert!(node.event(message).is_empty(), "it is there already");
    assert_eq!(
        node.hub.relay_stats().map(|stats| stats.duplicates),
        Some(1)
    );
}

#[test]
fn a_repetition_is_answered_as_the_first_was() {
    let mut node = Node::new();
    let conn = node.member("log", 0);
    let text = PUBLISH.replace(r#""id":1"#, r#""id":1,"key":"k""#);
    for repeated in [false, true] {
        assert!(node.text(conn, &text).is_empty());
        let RelayCommand::Publish(publish) = node.command() else {
            panic!("no publish");
        };
        let owner = publish.owner.map(|owner| owner.name);
        assert_eq!((&*publish.key, owner.as_deref()), ("k", Some("c:c0")));
        let position = TopicPosition::new("e", 1);
        if !repeated {
            node.event(RelayEvent::Message {
                topic: publish.topic,
                epoch: position.epoch.clone(),
                offset: position.offset,
                body: publish.body,
            });
        }
        let (token, outcome) = (publish.token, Published::Accepted { position, repeated });
        assert_eq!(
            node.event(RelayEvent::Published { token, outcome }),
            [ANSWER]
        );
    }
}

#[test]
fn the_relay_is_told_whether_a_room_with_a_history_has_members() {
    let mut node = Node::new();
    let (first, second) = (node.member("log", 0), node.connect());
    node.text(second, r#"{"event":"$join","room":"log"}"#);
    for conn in [first, second] {
        node.text(conn, r#"{"event":"$leave","room":"log"}"#);
    }
    assert_eq!(node.entered(), ["log 1 300000", "log 0 300000"]);
}

#[test]
fn a_publish_without_an_answer_in_time_is_sent_again_under_its_key() {
    let mut node = Node::new();
    let conn = node.connect();
    node.text(conn, PUBLISH);
    let first = node.command();
    let RelayCommand::Publish(publish) = first.clone() else {
        panic!("no publish");
    };
    let token = publish.token;
    let outcome = Published::TimedOut;
    let in_doubt = outcome.clone();
    let frames = node.event(RelayEvent::Published {
        token,
        outcome: in_doubt,
    });
    assert!(frames.is_empty());
    assert_eq!(node.command(), first);
    let answers = node.event(RelayEvent::Published { token, outcome });
    assert!(
        answers[0].contains(r#""error":{"code":"unavailable""#),
        "{answers:?}"
    );
    assert!(node.commands.is_empty());
}

#[test]
fn a_join_waits_for_the_position_and_what_comes_meanwhile_follows_it() {
    let mut node = Node::new();
    let conn = node.connect();
    node.text(conn, r#"{"event":"$join","room":"log"}"#);
    assert!(node.message("log", 5).is_empty() && node.message("log", 6).is_empty());
    let frames = node.subscribed(&[page(Topic::room("log"), 5, &[])]);
    let joined =
        r#"0 {"event":"$join","room":"log","data":{"epoch":"e","offset":5,"already":false}}"#;
    assert_eq!(frames, [joined, &said("0", "log", 6)]);
}

#[test]
fn leaving_ends_a_join_that_waits() {
    let mut node = Node::new();
    let conn = node.connect();
    node.text(conn, r#"{"event":"$join","id":1,"room":"log"}"#);
    let frames = node.text(conn, r#"{"event":"$leave","id":2,"room":"log"}"#);
    assert!(frames[0].starts_with(r#"0 {"event":"$join","id":1,"room":"log","error":{"code":"#));
    assert_eq!(
        frames[1],
        r#"0 {"event":"$leave","id":2,"room":"log","data":{"was":false}}"#
    );
    assert!(
        node.subscribed(&[page(Topic::room("log"), 5, &[])])
            .is_empty()
    );
    assert!(node.hub.members("log").is_empty());
    node.wait(5_000);
    let topic = Topic::room("log");
    assert_eq!(node.command(), RelayCommand::Unsubscribe { topic });
}

#[test]
fn what_was_missed_comes_from_the_relay_and_from_what_came_meanwhile() {
    let mut node = Node::new();
    node.member("log", 7);
    let conn = node.connect();
    let join = r#"{"event":"$join","room":"log","data":{"since":{"epoch":"e","offset":5}}}"#;
    assert!(node.text(conn, join).is_empty());
    let token = node.token();
    assert_eq!(node.message("log", 8), [said("0", "log", 8)]);
    let page = page(Topic::room("log"), 7, &[4, 5, 6, 7]);
    let frames = node.event(RelayEvent::Page { token, page });
    let joined = r#"1 {"event":"$join","room":"log","data":{"epoch":"e","offset":8,"already":false,"recovered":true,"missed":3}}"#;
    let missed = [6, 7, 8].map(|offset| said("1", "log", offset));
    assert_eq!(frames[0], joined);
    assert_eq!(frames[1..], missed);
}

#[test]
fn a_client_that_saw_more_than_this_node_waits_until_it_has_that_too() {
    let mut node = Node::new();
    node.member("log", 5);
    node.event(RelayEvent::Down);
    node.event(RelayEvent::Up);
    let token = node.token();
    let conn = node.connect();
    let join = r#"{"event":"$join","room":"log","data":{"since":{"epoch":"e","offset":7}}}"#;
    assert!(node.text(conn, join).is_empty() && node.commands.is_empty());
    let pages = [
        page(Topic::All, 0, &[]),
        page(Topic::room("log"), 8, &[6, 7, 8]),
    ]
    .into();
    let frames = node.event(RelayEvent::Subscribed { token, pages });
    assert_eq!(frames, [6, 7, 8].map(|offset| said("0", "log", offset)));
    let token = node.token();
    let page = page(Topic::room("log"), 8, &[8]);
    let frames = node.event(RelayEvent::Page { token, page });
    let joined = r#"1 {"event":"$join","room":"log","data":{"epoch":"e","offset":8,"already":false,"recovered":true,"missed":1}}"#;
    assert_eq!(frames, [joined, &said("1", "log", 8)]);
}

#[test]
fn a_send_to_all_comes_back_for_those_who_are_here() {
    let mut node = Node::new();
    let (conn, other) = (node.connect(), node.connect());
    let audience = Audience::all().except_conn(other);
    let data = Payload::parse("1").expect("JSON");
    let sent = node.hub.send(node.now, &audience, "m", data, &mut node.out);
    assert_eq!(sent.map(|delivery| delivery.matched), Ok(0));
    assert!(node.frames().is_empty());
    let RelayCommand::Publish(publish) = node.command() else {
        panic!("no publish");
    };
    assert_eq!(publish.topic, Topic::All);
    let message = RelayEvent::Message {
        topic: Topic::All,
        epoch: "e".into(),
        offset: 1,
        body: publish.body,
    };
    let frame = format!(r#"{} {{"event":"m","data":1}}"#, conn.serial());
    assert_eq!(node.event(message), [frame]);
}

#[test]
fn a_node_without_numbers_takes_no_connection_until_it_gets_more() {
    let config = Config::new("e").with_cluster(Cluster::new("n1", 7, 1));
    let (mut hub, mut out) = (Hub::new(config), Outbox::new());
    let mut connect = |hub: &mut Hub| {
        let connected = hub.connect(Timestamp::ZERO, Handshake::new(), &mut out);
        connected.ok().map(ConnId::serial)
    };
    assert_eq!((connect(&mut hub), connect(&mut hub)), (Some(7), None));
    let event = RelayEvent::Serials {
        first: 20,
        count: 9,
    };
    hub.take_event(Timestamp::ZERO, &event, &mut Outbox::new());
    assert_eq!((connect(&mut hub), hub.serials_left()), (Some(20), Some(8)));
}

#[test]
fn a_room_that_is_wanted_is_followed_before_somebody_is_brought_into_it() {
    let mut node = Node::new();
    let conn = node.connect();
    assert!(!node.hub.has_place_in("log"));
    let room = "log".into();
    assert!(node.event(RelayEvent::Wanted { room }).is_empty());
    node.subscribed(&[page(Topic::room("log"), 4, &[])]);
    assert!(node.hub.has_place_in("log"));
    let (now, out) = (node.now, &mut node.out);
    let joined = node.hub.join(now, conn, "log", out).expect("it is alive");
    assert_eq!((joined.position.offset, joined.already), (4, false));
    assert_eq!(node.frames(), Vec::<String>::new(), "no gap");
    assert_eq!(node.message("log", 5), [said("0", "log", 5)]);
}

#[test]
fn a_room_that_was_wanted_for_nothing_is_followed_no_more() {
    let mut node = Node::new();
    let room = "log".into();
    node.event(RelayEvent::Wanted { room });
    node.subscribed(&[page(Topic::room("log"), 4, &[])]);
    node.wait(5_000);
    let topic = Topic::room("log");
    assert_eq!(node.command(), RelayCommand::Unsubscribe { topic });
}

#[test]
fn messages_that_are_too_old_are_not_read() {
    let policies = r#"{"rooms":[{"match":"log","history":{"age_s":7}}]}"#;
    let policies: Policies = serde_json::from_str(policies).expect("policies");
    let mut node = Node::with(Config::new("alone").with_policies(policies));
    let conn = node.member("log", 4);
    let history = r#"{"event":"$history","room":"log"}"#;
    let back = r#"{"event":"$join","room":"log","data":{"since":{"epoch":"e","offset":2}}}"#;
    for text in [history, back] {
        assert!(node.text(conn, text).is_empty());
        let RelayCommand::Read(read) = node.command() else {
            panic!("no read");
        };
        assert_eq!(read.age_ms, 7_000, "{text}");
    }
}
