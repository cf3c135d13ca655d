//! A story: three nodes, their clients and the relay do one random thing after the other.

use std::{borrow::Cow, collections::BTreeSet};

use roomcast_core::{
    Applied, Audience, Config, ConnId, Delivery, DisconnectReason, Frame, Handshake, Input, Limits,
    Policies, SendError, relay::Topic,
};
use serde_json::value::RawValue;

use super::broker::{Broker, Plants};
use super::client::{Client, ROOMS, Request, holds, keeps};
use super::node::Node;
use super::truth::{Message, Publisher, Truth};
use crate::simulation::random::Random;

const NODES: usize = 3;
/// Users of the clients; three of them have none.
const USERS: [Option<&str>; 7] = [
    Some("ann"),
    Some("ann"),
    Some("ben"),
    None,
    None,
    None,
    Some("ben"),
];
/// Steps before the faults end.
pub(crate) const STEPS: usize = 300;
const POLICIES: &str = r#"{"rooms":[
    {"match":"den","history":{"messages":4}},
    {"match":"log","history":{"messages":200},"echo":true}
]}"#;

/// What a story came to.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) steps: u64,
    pub(crate) publishes: u64,
    pub(crate) places: u64,
    pub(crate) acked: u64,
    pub(crate) delivered: u64,
    pub(crate) gaps: u64,
    pub(crate) recovered: u64,
    pub(crate) unavailable: u64,
    pub(crate) in_doubt: u64,
    pub(crate) faults: u64,
}

impl Figures {
    pub(crate) fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.publishes += other.publishes;
        self.places += other.places;
        self.acked += other.acked;
        self.delivered += other.delivered;
        self.gaps += other.gaps;
        self.recovered += other.recovered;
        self.unavailable += other.unavailable;
        self.in_doubt += other.in_doubt;
        self.faults += other.faults;
    }
}

pub(crate) struct Story {
    random: Random,
    plants: Plants,
    now: u64,
    broker: Broker,
    nodes: Vec<Node>,
    clients: Vec<Client>,
    truth: Truth,
    /// Messages of backends that wait for their outcome, by node and number.
    sent: Vec<(usize, u64, u64)>,
    next_message: u64,
    figures: Figures,
    /// What happened, for a story that fails.
    pub(crate) lines: Vec<String>,
    tells: bool,
}

impl Story {
    pub(crate) fn new(seed: u64, plants: Plants, records: bool) -> Self {
        let policies: Policies = serde_json::from_str(POLICIES).expect("policies");
        let mut limits = Limits::default();
        (limits.heartbeat, limits.inbound_messages) = (None, None);
        let config = Config::new("alone")
            .with_policies(policies)
            .with_limits(limits);
        let node = |index| Node::new(index, &config, plants, records);
        let users = USERS.into_iter().enumerate();
        let mut story = Self {
            random: Random::new(seed),
            plants,
            now: 1_000,
            broker: Broker::new(plants),
            nodes: (0..NODES).map(node).collect(),
            clients: users
                .map(|(index, user)| Client::new(index, user))
                .collect(),
            truth: Truth::default(),
            sent: Vec::new(),
            next_message: 0,
            figures: Figures::default(),
            lines: Vec::new(),
            tells: std::env::var_os("ROOMCAST_SEED").is_some(),
        };
        for node in 0..NODES {
            story.nodes[node].up(story.now);
        }
        story.drain();
        story
    }

    /// Tells the whole story.
    pub(crate) fn tell(&mut self) -> Figures {
        for _ in 0..STEPS {
            self.step();
        }
        self.end();
        for client in &self.clients {
            self.figures.delivered += client.told.messages;
            self.figures.gaps += client.told.gaps;
            self.figures.recovered += client.told.recovered;
            self.figures.acked += client.told.acked;
            self.figures.unavailable += client.told.unavailable;
        }
        for node in &self.nodes {
            self.figures.steps += node.steps;
            let stats = node.app.hub().relay_stats().expect("it is clustered");
            self.figures.in_doubt += stats.in_doubt;
        }
        self.figures.places = self.broker.log.len() as u64;
        self.figures
    }

    pub(crate) fn replays(&self) -> usize {
        self.nodes.iter().map(Node::replays).sum()
    }

    fn say(&mut self, line: impl FnOnce() -> String) {
        if self.tells {
            let line = format!("{} {}", self.now, line());
            self.lines.push(line);
        }
    }

    fn one_of(&mut self, count: usize) -> usize {
        self.random.below(count)
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.random.below(one_in) == 0
    }

    fn step(&mut self) {
        match self.one_of(100) {
            0..=33 => self.client_acts(),
            34..=38 => self.backend_sends(),
            39..=58 => {
                let node = self.one_of(NODES);
                let times = 1 + self.one_of(4);
                for _ in 0..times {
                    self.relay_acts(node);
                }
            }
            59..=76 => {
                let node = self.one_of(NODES);
                let times = 1 + self.one_of(4);
                for _ in 0..times {
                    self.host_acts(node);
                }
            }
            77..=88 => self.drain(),
            89..=94 => {
                let millis = [1, 200, 1_100, 5_200][self.one_of(4)];
                self.wait(millis);
            }
            _ => self.fault(),
        }
    }

    fn client_acts(&mut self) {
        let client = self.one_of(self.clients.len());
        let Some((node, conn)) = self.clients[client].link else {
            return self.connect(client);
        };
        let (room, _) = ROOMS[self.one_of(ROOMS.len())];
        match self.one_of(20) {
            0 => {
                self.say(|| format!("{client} disconnects"));
                let reason = DisconnectReason::Lost;
                let _ = self.nodes[node].apply(self.now, &Input::Disconnect { conn, reason });
                self.clients[client].disconnected();
                self.look(node);
            }
            1 => {
                self.say(|| format!("{client} is closed"));
                self.nodes[node].close(self.now, conn);
                self.look(node);
            }
            2 => {
                let request = Request::Leave {
                    room: room.to_owned(),
                };
                self.request(client, request, |id| verb(id, "$leave", room, ""));
            }
            3..=7 => self.join(client, room),
            8 if keeps(room) => {
                let request = Request::History {
                    room: room.to_owned(),
                };
                let span = ["", r#","data":{"after":1}"#][self.one_of(2)];
                self.request(client, request, |id| verb(id, "$history", room, span));
            }
            9..=10 => self.retry(client),
            _ => self.publish(client, room),
        }
    }

    fn connect(&mut self, client: usize) {
        let node = self.one_of(NODES);
        let mut handshake = Handshake::new();
        if let Some(user) = self.clients[client].user {
            handshake = handshake.with_user(user);
        }
        let connected = self.nodes[node].apply(self.now, &Input::Connect(handshake));
        let Applied::Connected(Ok(conn)) = connected else {
            panic!("{connected:?}");
        };
        self.say(|| format!("{client} connects to {node} as {conn}"));
        let mut topics = self.nodes[node].app.hub().topics();
        let at = topics.find_map(|(topic, at)| at.filter(|_| *topic == Topic::All));
        let client_of = &mut self.clients[client];
        client_of.connected((node, conn), at, &self.broker.log);
        drop(topics);
        // It goes back to where it was.
        for (room, _) in ROOMS {
            if self.clients[client].known.contains_key(room) && self.chance(2) {
                self.join(client, room);
            }
        }
    }

    fn join(&mut self, client: usize, room: &str) {
        let known = self.clients[client].known.get(room).cloned();
        let is_in = self.clients[client].rooms.contains_key(room);
        let waits = self.clients[client].requests.values();
        let mut waits =
            waits.filter(|it| matches!(it, Request::Join { room: of, .. } if of == room));
        if waits.next().is_some() {
            return;
        }
        let since = known.filter(|_| !is_in && self.random.below(4) > 0);
        let conns = self.clients[client].conns.iter().rev().skip(1).take(16);
        let conns: Vec<_> = conns.map(|conn| format!("\"{conn}\"")).collect();
        let data = match &since {
            None => String::new(),
            Some(since) => format!(
                r#","data":{{"since":{{"epoch":"{}","offset":{},"conn":[{}]}}}}"#,
                since.epoch,
                since.offset,
                conns.join(",")
            ),
        };
        let room = room.to_owned();
        let request = Request::Join {
            room: room.clone(),
            since,
        };
        self.request(client, request, |id| verb(id, "$join", &room, &data));
    }

    fn publish(&mut self, client: usize, room: &'static str) {
        let message = self.new_message();
        let conn = *self.clients[client].conns.last().expect("it is connected");
        let (keyed, echo) = (
            self.chance(2),
            [None, Some(true), Some(false)][self.one_of(3)],
        );
        let key = keyed.then(|| format!("k{message}"));
        let echoes = echo.unwrap_or(room == "log");
        let text = format!(
            r#""event":"m","room":"{room}","data":{message}{}{}"#,
            echo.map_or(String::new(), |echo| format!(r#","echo":{echo}"#)),
            key.as_ref()
                .map_or(String::new(), |key| format!(r#","key":"{key}""#)),
        );
        self.truth.messages.insert(
            message,
            Message {
                publisher: Publisher::Client {
                    client,
                    conns: vec![conn],
                    echo: echoes,
                },
                key: key.map(|_| text.clone()),
                attempts: 1,
                acked: false,
                losses: self.broker.losses,
            },
        );
        self.figures.publishes += 1;
        self.request(client, Request::Publish { message }, |id| {
            format!(r#"{{{text},"id":{id}}}"#)
        });
    }

    /// Publishes something again that was not answered, or that failed.
    fn retry(&mut self, client: usize) {
        let waits: BTreeSet<u64> = {
            let requests = self.clients[client].requests.values();
            let messages = requests.filter_map(|request| match request {
                Request::Publish { message } => Some(*message),
                _ => None,
            });
            messages.collect()
        };
        let is_of = |message: &Message| {
            let of =
                matches!(&message.publisher, Publisher::Client { client: of, .. } if *of == client);
            of && message.key.is_some() && !message.acked && message.attempts < 4
        };
        let mut messages = self.truth.messages.iter_mut();
        let found = messages.find(|(id, message)| is_of(message) && !waits.contains(id));
        let Some((&id, message)) = found else {
            return;
        };
        let conn = *self.clients[client].conns.last().expect("it is connected");
        message.attempts += 1;
        let text = message.key.clone().expect("it has one");
        let Publisher::Client { conns, .. } = &mut message.publisher else {
            return;
        };
        let earlier: Vec<_> = conns.iter().map(|conn| format!("\"{conn}\"")).collect();
        if !conns.contains(&conn) {
            conns.push(conn);
        }
        let request = Request::Publish { message: id };
        self.request(client, request, |id| {
            format!(r#"{{{text},"conn":[{}],"id":{id}}}"#, earlier.join(","))
        });
    }

    fn new_message(&mut self) -> u64 {
        self.next_message += 1;
        self.next_message
    }

    fn request(&mut self, client: usize, request: Request, text: impl FnOnce(u64) -> String) {
        let (node, conn) = self.clients[client].link.expect("it is connected");
        let text = text(self.clients[client].request(request));
        self.say(|| format!("{client} at {node}: {text}"));
        self.nodes[node].apply(self.now, &Input::message(conn, Frame::Text(&text)));
        self.look(node);
    }

    fn backend_sends(&mut self) {
        let (node, message) = (self.one_of(NODES), self.new_message());
        let (mut user, mut except_user, mut except_conn, mut rooms) =
            (None, None, None, Vec::new());
        let linked: Vec<ConnId> = self
            .clients
            .iter()
            .filter_map(|it| Some(it.link?.1))
            .collect();
        let mut audience = match self.one_of(5) {
            0 => Audience::all(),
            1 => {
                user = Some("ann");
                Audience::user("ann")
            }
            2 => {
                rooms = vec!["den", "plain"];
                Audience::rooms(rooms.clone())
            }
            _ => Audience::room(ROOMS[self.one_of(ROOMS.len())].0),
        };
        if self.chance(3) {
            except_user = Some("ben");
            audience = audience.except_user("ben");
        } else if self.chance(3) && !linked.is_empty() {
            let conn = linked[self.one_of(linked.len())];
            except_conn = Some(conn);
            audience = audience.except_conn(conn);
        }
        let key = self.chance(2).then(|| format!("b{message}"));
        let data = RawValue::from_string(message.to_string()).expect("a number");
        let input = Input::Send {
            key: key.as_deref().map(Cow::Borrowed),
            audience: Cow::Borrowed(&audience),
            event: "m".into(),
            path: None,
            data: Cow::Borrowed(&data),
        };
        self.say(|| format!("a backend sends {message} at {node} to {audience:?}"));
        self.truth.messages.insert(
            message,
            Message {
                publisher: Publisher::Backend {
                    user,
                    rooms,
                    except_user,
                    except_conn,
                },
                key: None,
                attempts: 1,
                acked: false,
                losses: self.broker.losses,
            },
        );
        self.figures.publishes += 1;
        match self.nodes[node].apply(self.now, &input) {
            Applied::Relayed(token) => self.sent.push((node, token, message)),
            Applied::Sent(Err(SendError::Unavailable)) => self.figures.unavailable += 1,
            applied => panic!("{applied:?}"),
        }
        self.look(node);
    }

    /// The relay does something for a node, or finds something that is long lost.
    fn relay_acts(&mut self, node: usize) {
        let late = !self.nodes[node].late.is_empty() && self.chance(4);
        let broker = &mut self.broker;
        let push = match late {
            true => self.nodes[node].execute_late(broker),
            false => self.nodes[node].execute(broker),
        };
        self.truth.follow(&self.broker.log);
        if let Some((topic, message)) = push {
            let placed = self.broker.log.last().cloned();
            self.say(|| format!("{placed:?}"));
            for node in &mut self.nodes {
                node.push(&topic, &message);
            }
        }
    }

    /// A core gets an answer or a message.
    fn host_acts(&mut self, node: usize) {
        if self.chance(2) {
            let answer = self.nodes[node].answers.front().cloned();
            self.say(|| format!("  {node} is answered {answer:?}"));
            self.nodes[node].answer(self.now);
        } else {
            self.nodes[node].deliver(self.now);
        }
        self.look(node);
    }

    fn wait(&mut self, millis: u64) {
        self.say(|| format!("{millis} ms"));
        let end = self.now + millis;
        for node in 0..NODES {
            let mut now = self.now;
            while let Some(due) = self.nodes[node].app.next_timeout()
                && due.as_millis() <= end
            {
                now = due.as_millis().max(now);
                self.nodes[node].apply(now, &Input::Timeout);
                self.look(node);
            }
        }
        self.now = end;
    }

    fn fault(&mut self) {
        self.figures.faults += 1;
        let node = self.one_of(NODES);
        let finds = self.chance(2);
        match self.one_of(16) {
            0..=2 => {
                self.say(|| {
                    format!("{node} waits too long, and the relay finds it later: {finds}")
                });
                self.nodes[node].time_out(self.now, finds);
            }
            3 => {
                self.say(|| format!("{node} loses its connections"));
                self.nodes[node].down(self.now, finds);
            }
            4..=6 => self.reconnect(node, finds),
            7 => {
                self.say(|| format!("{node} gets no messages any more"));
                self.nodes[node].detached = true;
            }
            8 => self.duplicate(node),
            9..=11 => {
                self.say(|| "the replica gets everything".to_owned());
                self.broker.replicate();
            }
            12 => {
                self.say(|| "the replica is promoted".to_owned());
                self.broker.promote();
                self.all_cut_off();
            }
            13 => {
                self.say(|| "the relay is restarted".to_owned());
                self.broker.restart();
                self.all_cut_off();
            }
            14 => {
                let topic = Topic::room(ROOMS[self.one_of(ROOMS.len())].0);
                self.say(|| format!("the relay drops {topic:?}"));
                self.broker.evict(&topic);
            }
            _ if self.chance(3) => {
                self.say(|| "the relay drops everything".to_owned());
                self.broker.flush();
            }
            _ => self.foreign(node),
        }
        self.look(node);
    }

    /// The relay that all nodes talk to is gone.
    fn all_cut_off(&mut self) {
        for node in &mut self.nodes {
            node.cut_off = true;
        }
        // Most hosts see it at once.
        for node in 0..NODES {
            if !self.chance(3) {
                self.reconnect(node, false);
                self.look(node);
            }
        }
    }

    fn reconnect(&mut self, node: usize, finds: bool) {
        self.say(|| format!("{node} connects anew"));
        self.nodes[node].down(self.now, finds);
        self.look(node);
        self.nodes[node].up(self.now);
    }

    /// A message comes a second time.
    fn duplicate(&mut self, node: usize) {
        let count = self.nodes[node].pushes.len();
        if count > 0 {
            let at = self.one_of(count);
            self.say(|| format!("{node} gets a message twice"));
            let pushes = &mut self.nodes[node].pushes;
            let again = pushes[at].clone();
            pushes.push_back(again);
        }
    }

    /// Something that no hub wrote comes in the name of a topic. The relay gave it no place: a host
    /// can tell, and the core has to bear it.
    fn foreign(&mut self, node: usize) {
        self.say(|| format!("{node} gets something foreign"));
        let body = [&b""[..], b"1e", b"{}", &[0xff; 9]][self.one_of(4)].into();
        let topic = Topic::room(ROOMS[self.one_of(ROOMS.len())].0);
        let message = roomcast_core::relay::RelayEvent::Message {
            topic,
            epoch: "foreign".into(),
            offset: 1 + self.one_of(9) as u64,
            body,
        };
        self.nodes[node].pushes.push_back(message);
    }

    /// Everything that is on its way gets there.
    fn drain(&mut self) {
        loop {
            let mut quiet = true;
            for node in 0..NODES {
                if !self.nodes[node].is_quiet() {
                    quiet = false;
                    self.relay_acts(node);
                    self.host_acts(node);
                }
            }
            if quiet {
                return;
            }
        }
    }

    /// The faults end: hosts find out what is dead, and everything gets there.
    fn end(&mut self) {
        for node in 0..NODES {
            while !self.nodes[node].late.is_empty() {
                self.relay_acts(node);
            }
            let dead = self.nodes[node].cut_off || !self.nodes[node].app.hub().is_relay_up();
            let detached = self.nodes[node].detached && !self.plants.no_probe;
            if dead || detached {
                self.reconnect(node, false);
                self.look(node);
            }
        }
        for _ in 0..4 {
            self.drain();
            self.wait(6_000);
        }
        self.drain();
        self.check();
    }

    /// Gives clients their frames, and looks at what else a node has for the outside.
    fn look(&mut self, node: usize) {
        for (conn, text) in std::mem::take(&mut self.nodes[node].frames) {
            let of = |client: &Client| client.link == Some((node, conn));
            let Some(client) = self.clients.iter().position(of) else {
                holds!(
                    text.contains("$bye"),
                    "I25: {conn} is over, and gets {text}"
                );
                continue;
            };
            self.say(|| format!("    {client} < {text}"));
            self.clients[client].sees(conn, &text, &mut self.truth, &self.broker.log);
        }
        for conn in std::mem::take(&mut self.nodes[node].closed) {
            let of = |client: &&mut Client| client.link == Some((node, conn));
            if let Some(client) = self.clients.iter_mut().find(of) {
                client.disconnected();
            }
        }
        for (token, outcome) in self.nodes[node].app.take_relayed() {
            self.outcome(node, token, outcome);
        }
    }

    fn outcome(&mut self, node: usize, token: u64, outcome: Result<Delivery, SendError>) {
        let of = |(at, number, _): &(usize, u64, u64)| (*at, *number) == (node, token);
        let Some(at) = self.sent.iter().position(of) else {
            panic!("an outcome of nothing");
        };
        let (_, _, message) = self.sent.remove(at);
        match outcome {
            Ok(_) => {
                self.figures.acked += 1;
                let placed = !self.truth.places(message).is_empty();
                holds!(
                    placed,
                    "a backend is answered for {message}, which has no place"
                );
                let message = self.truth.messages.get_mut(&message).expect("it was sent");
                message.acked = true;
            }
            Err(SendError::Unavailable) => self.figures.unavailable += 1,
            Err(error) => panic!("{error}"),
        }
    }

    /// Checks what holds when everything got there.
    fn check(&self) {
        let log = &self.broker.log;
        for client in &self.clients {
            client.check_end(&self.truth, log);
        }
        holds!(self.sent.is_empty(), "backends wait for {:?}", self.sent);
        for (number, node) in self.nodes.iter().enumerate() {
            let hub = node.app.hub();
            let rooms = hub.rooms("", None).map(|room| Topic::room(room.name));
            let wanted: BTreeSet<Topic> = rooms.chain([Topic::All]).collect();
            let subscribed = &node.subscribed;
            holds!(
                *subscribed == wanted,
                "I41: {number} has {subscribed:?}, not {wanted:?}"
            );
            holds!(
                hub.relay_pending() == 0,
                "{number} waits for answers to publishes"
            );
        }
        for (id, message) in &self.truth.messages {
            let places = self.truth.places(*id).len();
            let lost = message.losses != self.broker.losses;
            let once = places <= 1 || lost || self.is_late(*id, message);
            holds!(once, "I34: {id} has {places} places");
            holds!(
                !message.acked || places > 0,
                "{id} was answered, and has no place"
            );
        }
        self.check_order();
    }

    /// True when the relay took attempts of a client without a user from its newest connection to its
    /// oldest. An attempt looks for the keys of the connections before it, and knows none of those to
    /// come: who could write a key of another connection could keep that from publishing.
    fn is_late(&self, id: u64, message: &Message) -> bool {
        let Publisher::Client { client, conns, .. } = &message.publisher else {
            return false;
        };
        let places = self.truth.places(id).iter();
        let at = places.map(|&place| {
            let conn = self.broker.log[place].conn;
            conns.iter().position(|of| Some(*of) == conn)
        });
        self.clients[*client].user.is_none() && at.is_sorted_by(|a, b| a > b)
    }

    /// The messages of a publisher have the order in which it published them, those aside that it
    /// published more than once or that were not answered as done.
    fn check_order(&self) {
        let mut last = std::collections::BTreeMap::new();
        for (id, message) in &self.truth.messages {
            let Publisher::Client { conns, .. } = &message.publisher else {
                continue;
            };
            if !message.acked || message.attempts > 1 {
                continue;
            }
            let Some(&at) = self.truth.places(*id).first() else {
                continue;
            };
            let before = last.insert(conns[0], at);
            holds!(
                before < Some(at),
                "I16: {id} of {:?} is before an earlier one",
                conns[0]
            );
        }
    }
}

fn verb(id: u64, verb: &str, room: &str, data: &str) -> String {
    format!(r#"{{"event":"{verb}","id":{id},"room":"{room}"{data}}}"#)
}
