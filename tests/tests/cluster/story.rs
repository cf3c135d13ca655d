//! A story: three nodes, their clients and the relay do one random thing after the other.

mod acts;
mod check;
mod faults;

use roomcast_core::{
    Config, Delivery, Input, Limits, Policies, SendError,
    policy::{EventKind, Subscription, Subscriptions},
};

use super::broker::{Broker, Plants, Push};
use super::client::{Client, holds};
use super::node::Node;
use super::truth::Truth;
use crate::simulation::random::Random;

pub(crate) const NODES: usize = 3;
/// The time after which a node renews its lease, in milliseconds.
const BEAT_MS: u64 = 3_000;
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
    {"match":"den","history":{"messages":4},"presence":"members","presence_grace_s":0},
    {"match":"log","history":{"messages":200},"echo":true,"presence":"members","presence_grace_s":5}
]}"#;

/// Counts of a story.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) steps: u64,
    pub(crate) publishes: u64,
    pub(crate) positions: u64,
    pub(crate) acked: u64,
    pub(crate) delivered: u64,
    pub(crate) gaps: u64,
    pub(crate) recovered: u64,
    pub(crate) unavailable: u64,
    pub(crate) in_doubt: u64,
    pub(crate) notices: u64,
    pub(crate) tells: u64,
    pub(crate) faults: u64,
}

impl Figures {
    pub(crate) fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.publishes += other.publishes;
        self.positions += other.positions;
        self.acked += other.acked;
        self.delivered += other.delivered;
        self.gaps += other.gaps;
        self.recovered += other.recovered;
        self.unavailable += other.unavailable;
        self.in_doubt += other.in_doubt;
        self.notices += other.notices;
        self.tells += other.tells;
        self.faults += other.faults;
    }
}

pub(crate) struct Story {
    random: Random,
    plants: Plants,
    records: bool,
    config: Config,
    now: u64,
    next_beat: u64,
    broker: Broker,
    pub(crate) nodes: Vec<Node>,
    /// Nodes that ever ran.
    runs: u64,
    pub(crate) clients: Vec<Client>,
    truth: Truth,
    /// Messages of backends that wait for their outcome, by node and number.
    sent: Vec<(usize, u64, u64)>,
    next_message: u64,
    /// Events for backends.
    pub(crate) tells: Vec<String>,
    figures: Figures,
    /// Steps and frames, for a story that fails.
    pub(crate) lines: Vec<String>,
    speaks: bool,
}

impl Story {
    pub(crate) fn new(seed: u64, plants: Plants, records: bool) -> Self {
        let policies: Policies = serde_json::from_str(POLICIES).expect("policies");
        let mut limits = Limits::default();
        (limits.heartbeat, limits.inbound_messages) = (None, None);
        let kinds = [
            EventKind::RoomOccupied,
            EventKind::RoomVacated,
            EventKind::UserJoined,
            EventKind::UserLeft,
        ];
        let subscription = Subscription::new(kinds, "*".parse().expect("a pattern"));
        let config = Config::new("alone")
            .with_policies(policies)
            .with_limits(limits)
            .with_subscriptions(Subscriptions::from_iter([subscription]));
        let users = USERS.into_iter().enumerate();
        let mut story = Self {
            random: Random::new(seed),
            plants,
            records,
            config,
            now: 1_000,
            next_beat: 0,
            broker: Broker::new(plants),
            nodes: Vec::new(),
            runs: 0,
            clients: users
                .map(|(index, user)| Client::new(index, user))
                .collect(),
            truth: Truth::default(),
            sent: Vec::new(),
            next_message: 0,
            tells: Vec::new(),
            figures: Figures::default(),
            lines: Vec::new(),
            speaks: std::env::var_os("ROOMCAST_SEED").is_some(),
        };
        for _ in 0..NODES {
            let mut node = story.new_node();
            node.up(story.now, &mut story.broker);
            story.nodes.push(node);
        }
        story.drain();
        story
    }

    fn new_node(&mut self) -> Node {
        let incarnation = self.broker.register(self.now);
        let how = (self.plants, self.records);
        self.runs += 1;
        Node::new(
            self.runs - 1,
            &self.config,
            how,
            (incarnation, self.broker.lineage),
        )
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
            self.figures.notices += client.told.notices;
        }
        for node in &self.nodes {
            self.figures.steps += node.steps;
            let stats = node.app.hub().relay_stats().expect("it is clustered");
            self.figures.in_doubt += stats.in_doubt;
        }
        self.figures.positions = self.broker.log.len() as u64;
        self.figures
    }

    pub(crate) fn replays(&self) -> usize {
        self.nodes.iter().map(Node::replays).sum()
    }

    fn say(&mut self, line: impl FnOnce() -> String) {
        if self.speaks {
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

    /// The relay executes a command of a node, perhaps one of a lost connection.
    fn relay_acts(&mut self, node: usize) {
        let late = !self.nodes[node].late.is_empty() && self.chance(4);
        let broker = &mut self.broker;
        let pushes = match late {
            true => self.nodes[node].execute_late(broker),
            false => self.nodes[node].execute(broker),
        };
        self.truth.follow(&self.broker);
        self.push(&pushes);
    }

    /// The relay sends messages to those who subscribe.
    fn push(&mut self, pushes: &[Push]) {
        for (topic, message) in pushes {
            self.say(|| format!("{message:?}"));
            for node in &mut self.nodes {
                node.push(topic, message);
            }
        }
    }

    /// A core gets an answer or a message.
    fn host_acts(&mut self, node: usize) {
        if self.nodes[node].stopped {
            return;
        }
        if self.chance(2) {
            let answer = self.nodes[node].answers.front().cloned();
            self.say(|| format!("  {node} is answered {answer:?}"));
            self.nodes[node].answer(self.now);
        } else {
            self.nodes[node].deliver(self.now);
        }
        self.look(node);
    }

    pub(crate) fn wait(&mut self, millis: u64) {
        self.say(|| format!("{millis} ms"));
        let end = self.now + millis;
        while self.next_beat <= end {
            self.tick(self.next_beat.max(self.now));
            self.next_beat = self.now + BEAT_MS;
            for node in 0..NODES {
                let pushes = self.nodes[node].beat(self.now, &mut self.broker);
                self.push(&pushes);
                self.look(node);
            }
        }
        self.tick(end);
    }

    /// Nodes act on timers that are due up to a time.
    fn tick(&mut self, end: u64) {
        for node in (0..NODES)
            .filter(|node| !self.nodes[*node].stopped)
            .collect::<Vec<_>>()
        {
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

    /// Everything that is on its way gets there.
    pub(crate) fn drain(&mut self) {
        loop {
            let mut quiet = true;
            for node in 0..NODES {
                if !self.nodes[node].is_quiet() && !self.nodes[node].stopped {
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
            let hub = self.nodes[node].app.hub();
            let told = (&mut self.truth, &*self.broker.log);
            self.clients[client].sees(conn, &text, hub, told);
        }
        for conn in std::mem::take(&mut self.nodes[node].closed) {
            let of = |client: &&mut Client| client.link == Some((node, conn));
            if let Some(client) = self.clients.iter_mut().find(of) {
                client.disconnected();
            }
        }
        let tells = std::mem::take(&mut self.nodes[node].tells);
        self.figures.tells += tells.len() as u64;
        self.tells.extend(tells);
        for (token, outcome) in self.nodes[node].app.take_send_outcomes() {
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
                let placed = !self.truth.positions(message).is_empty();
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
}
