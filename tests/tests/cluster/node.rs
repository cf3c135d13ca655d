//! A node: the real core, and its connections to the relay.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use roomcast_core::{
    App, Applied, CloseCode, Command, Config, ConnId, Frame, Hub, Input, Outbox, Timestamp,
    hub::{Cluster, HubState},
    journal::{Entry, Opening, Record, Replay},
    relay::{Published, RelayCommand, RelayEvent, Topic, TopicPage},
};

use super::broker::{Broker, Plants, Push, id_of};
use super::client::keeps;

/// The first number of the connections of each node, and how many it has at the beginning.
const SERIALS: u64 = 1_000;
const SERIALS_FIRST: u64 = 3;
/// The beginning of the notice that messages are lost.
const GAP: &str = r#"{"event":"$gap""#;

pub(crate) struct Node {
    pub(crate) app: App<()>,
    out: Outbox,
    plants: Plants,
    /// Commands that the relay has not done yet, of the present connection.
    pub(crate) commands: VecDeque<(u64, RelayCommand)>,
    /// Commands of connections that are lost, which the relay may still find in its buffers.
    pub(crate) late: VecDeque<(u64, RelayCommand)>,
    /// The name under which it has a lease.
    pub(crate) incarnation: u64,
    /// The lineage of the relay for which it has that name.
    lineage: u64,
    /// True while its process is stopped.
    pub(crate) stopped: bool,
    /// Events for backends.
    pub(crate) tells: Vec<String>,
    /// Answers on their way, with what the host waits for.
    pub(crate) answers: VecDeque<RelayEvent>,
    /// Messages on their way.
    pub(crate) pushes: VecDeque<RelayEvent>,
    pub(crate) subscribed: BTreeSet<Topic>,
    /// Topics whose subscription is later than it should be: a planted bug.
    late_subscriptions: VecDeque<Topic>,
    /// Commands without an answer, in their order.
    unanswered: VecDeque<RelayCommand>,
    /// True while messages are lost although the host thinks that it is subscribed.
    pub(crate) detached: bool,
    /// True while the relay ignores this node, which talks to a relay that is gone.
    pub(crate) cut_off: bool,
    /// Frames for the story, in their order.
    pub(crate) frames: Vec<(ConnId, String)>,
    pub(crate) closed: Vec<ConnId>,
    /// Lines of a journal, and the commands that each led to; `None` when nobody wants them.
    journal: Option<Vec<(String, String)>>,
    pub(crate) steps: u64,
    /// The first epoch of each topic: for a planted bug.
    epochs: BTreeMap<Topic, Box<str>>,
    /// Messages of topics whose subscription has no answer: for a planted bug.
    waiting: Vec<RelayEvent>,
}

impl Node {
    /// The node of this number, which no other has; with a lease under that name.
    pub(crate) fn new(
        number: u64,
        config: &Config,
        (plants, records): (Plants, bool),
        (incarnation, lineage): (u64, u64),
    ) -> Self {
        let block = if plants.same_serials { 0 } else { number };
        // Ids begin again within the serials of the first node.
        let first = ConnId::SERIALS - 5 + block * SERIALS;
        let cluster = Cluster::new(format!("n{number}"), first, SERIALS_FIRST);
        let config = config.clone().with_cluster(cluster);
        let opening = Opening::new(config.clone(), HubState::default());
        let opening = Entry::new(Timestamp::ZERO, "r", Record::Open(opening)).to_line();
        let mut node = Self {
            app: App::new(config, ()),
            out: Outbox::new(),
            plants,
            commands: VecDeque::new(),
            late: VecDeque::new(),
            incarnation,
            lineage,
            stopped: false,
            tells: Vec::new(),
            answers: VecDeque::new(),
            pushes: VecDeque::new(),
            subscribed: BTreeSet::new(),
            late_subscriptions: VecDeque::new(),
            unanswered: VecDeque::new(),
            detached: false,
            cut_off: false,
            frames: Vec::new(),
            closed: Vec::new(),
            journal: records.then(|| vec![(opening, String::new())]),
            steps: 0,
            epochs: BTreeMap::new(),
            waiting: Vec::new(),
        };
        let (first, count) = (first + SERIALS_FIRST, SERIALS - SERIALS_FIRST);
        node.event(0, RelayEvent::Serials { first, count });
        node
    }

    /// Gives the core an input, and carries out what follows.
    pub(crate) fn apply(&mut self, now: u64, input: &Input<'_>) -> Applied {
        let now = Timestamp::from_millis(now);
        let applied = self.app.apply(now, input, &mut self.out);
        if let Some(journal) = &mut self.journal {
            let line = Entry::new(now, "r", Record::Input(input.clone())).to_line();
            journal.push((line, format!("{:?}", self.out.iter().collect::<Vec<_>>())));
        }
        self.steps += 1;
        for command in &self.out {
            match command {
                Command::Send { to, frame, .. } => {
                    let Frame::Text(text) = frame else {
                        panic!("a binary frame");
                    };
                    let told = !(self.plants.gap_ignored && text.starts_with(GAP));
                    for conn in to.iter().filter(|_| told) {
                        self.frames.push((*conn, text.to_owned()));
                    }
                }
                Command::Close { conn, .. } => self.closed.push(conn),
                Command::Relay(command) => {
                    if let RelayCommand::Publish(publish) = command
                        && self.plants.local_first
                    {
                        let frames = &mut self.frames;
                        show(
                            self.app.hub(),
                            (&publish.topic, None),
                            &publish.body,
                            frames,
                        );
                    }
                    self.commands.push_back((self.incarnation, command.clone()));
                    if !matches!(command, RelayCommand::Unsubscribe { .. }) {
                        self.unanswered.push_back(command.clone());
                    }
                }
                Command::Tell { event, .. } => self.tells.push(event.to_owned()),
                Command::Ping { .. } | Command::Persist { .. } => {}
                Command::Append { .. }
                | Command::PersistRoom { .. }
                | Command::PersistKey { .. }
                | Command::LoadHistory { .. } => {
                    panic!("a clustered hub keeps nothing: {command:?}")
                }
            }
        }
        self.out.clear();
        self.app.hub().assert_consistent();
        applied
    }

    pub(crate) fn event(&mut self, now: u64, mut event: RelayEvent) {
        if self.plants.lineage_ignored {
            self.forge_epochs(&mut event);
        }
        if let RelayEvent::Message { topic, .. } = &event
            && self.plants.waiting_kept
            && self
                .unanswered
                .iter()
                .any(|command| asks_for(command, topic))
        {
            self.waiting.push(event.clone());
        }
        let pages = match &event {
            RelayEvent::Subscribed { pages, .. } => pages.clone(),
            _ => Vec::new(),
        };
        self.apply(now, &Input::Relay(Box::new(event)));
        for page in pages {
            self.show_waiting(&page);
        }
    }

    /// Gives all positions of a topic its first epoch.
    fn forge_epochs(&mut self, event: &mut RelayEvent) {
        let mut forge = |topic: &Topic, epoch: &mut Box<str>| {
            let first = self.epochs.entry(topic.clone());
            epoch.clone_from(first.or_insert_with(|| epoch.clone()));
        };
        match event {
            RelayEvent::Message { topic, epoch, .. } => forge(topic, epoch),
            RelayEvent::Subscribed { pages, .. } => {
                for page in pages {
                    forge(&page.topic, &mut page.position.epoch);
                }
            }
            RelayEvent::Page { page, .. } => forge(&page.topic, &mut page.position.epoch),
            _ => {}
        }
    }

    /// Delivers messages that arrived before the page that contains them.
    fn show_waiting(&mut self, page: &TopicPage) {
        let is_of = |it: &mut RelayEvent| matches!(it, RelayEvent::Message { topic, .. } if *topic == page.topic);
        for message in self.waiting.extract_if(.., is_of) {
            if let RelayEvent::Message {
                topic,
                epoch,
                offset,
                body,
            } = message
                && epoch == page.position.epoch
                && offset <= page.position.offset
            {
                let (hub, frames) = (self.app.hub(), &mut self.frames);
                show(hub, (&topic, Some(offset)), &body, frames);
            }
        }
    }

    /// The relay does the next command of this node.
    pub(crate) fn execute(&mut self, broker: &mut Broker) -> Vec<Push> {
        if let Some(topic) = self.late_subscriptions.pop_front() {
            self.subscribed.insert(topic);
            return Vec::new();
        }
        let Some((incarnation, command)) = self.commands.pop_front() else {
            return Vec::new();
        };
        if self.cut_off {
            return Vec::new();
        }
        let (answer, pushes) = self.perform(incarnation, &command, broker);
        self.answers.extend(answer);
        pushes
    }

    /// The relay executes a command of a lost connection: its answer is lost.
    pub(crate) fn execute_late(&mut self, broker: &mut Broker) -> Vec<Push> {
        let Some((incarnation, command)) = self.late.pop_front() else {
            return Vec::new();
        };
        match command {
            RelayCommand::Publish(_)
            | RelayCommand::SetPresent { .. }
            | RelayCommand::Reconcile { .. } => self.perform(incarnation, &command, broker).1,
            // Those of a connection end with it.
            RelayCommand::Subscribe { .. }
            | RelayCommand::Unsubscribe { .. }
            | RelayCommand::ListUsers { .. }
            | RelayCommand::Read(_) => Vec::new(),
        }
    }

    fn perform(
        &mut self,
        incarnation: u64,
        command: &RelayCommand,
        broker: &mut Broker,
    ) -> (Option<RelayEvent>, Vec<Push>) {
        let mut pushes = Vec::new();
        let answer = match command {
            RelayCommand::Publish(publish) => {
                let (outcome, goes_out) = broker.publish(publish);
                let token = publish.token;
                if let Published::Accepted { position, .. } = &outcome
                    && goes_out
                {
                    let message = RelayEvent::Message {
                        topic: publish.topic.clone(),
                        epoch: position.epoch.clone(),
                        offset: position.offset,
                        body: publish.body.clone(),
                    };
                    pushes.push((publish.topic.clone(), message));
                }
                RelayEvent::Published { token, outcome }
            }
            RelayCommand::Subscribe { token, topics } => {
                let token = *token;
                for wanted in topics {
                    if self.plants.position_first {
                        self.late_subscriptions.push_back(wanted.topic.clone());
                    } else {
                        self.subscribed.insert(wanted.topic.clone());
                    }
                }
                let pages = topics.iter().map(|wanted| broker.wanted(wanted)).collect();
                RelayEvent::Subscribed { token, pages }
            }
            RelayCommand::Unsubscribe { topic } => {
                self.subscribed.remove(topic);
                return (None, pushes);
            }
            RelayCommand::Read(read) => {
                let (token, page) = (read.token, broker.read(read));
                RelayEvent::Page { token, page }
            }
            RelayCommand::SetPresent { token, room, user } => {
                match broker.set_present(incarnation, room, user) {
                    Some((change, told)) => {
                        pushes = told;
                        let (room, name) = (room.clone(), user.name.clone());
                        RelayEvent::Present {
                            token: *token,
                            change,
                            room,
                            name,
                        }
                    }
                    None => RelayEvent::Failed { token: *token },
                }
            }
            RelayCommand::Reconcile { token, room, users } => {
                let token = *token;
                match broker.reconcile(incarnation, room, users) {
                    Some((changes, told)) => {
                        pushes = told;
                        RelayEvent::Reconciled {
                            token,
                            room: room.clone(),
                            changes,
                        }
                    }
                    None => RelayEvent::Failed { token },
                }
            }
            RelayCommand::ListUsers { token, room, limit } => {
                let (token, page) = (*token, broker.list_users(room, *limit));
                RelayEvent::Users { token, page }
            }
        };
        (Some(answer), pushes)
    }

    /// Renews the lease of this node, and removes users of those that have none any more.
    pub(crate) fn beat(&mut self, now: u64, broker: &mut Broker) -> Vec<Push> {
        if self.stopped || self.cut_off || !self.app.hub().is_relay_up() {
            return Vec::new();
        }
        if !broker.renew(self.incarnation, now) {
            self.incarnation = broker.register(now);
            self.event(now, RelayEvent::Registered);
        }
        let (reaped, pushes) = broker.reap(now);
        for (room, names) in reaped {
            self.event(now, RelayEvent::Reaped { room, names });
        }
        pushes
    }

    /// A message goes to this node, when it is subscribed to its topic.
    pub(crate) fn push(&mut self, topic: &Topic, message: &RelayEvent) {
        if self.subscribed.contains(topic) && !self.detached && !self.cut_off {
            self.pushes.push_back(message.clone());
        }
    }

    /// The core gets the next answer.
    pub(crate) fn answer(&mut self, now: u64) {
        if let Some(answer) = self.answers.pop_front() {
            let answered = self.unanswered.pop_front();
            assert!(answered.is_some(), "an answer to nothing: {answer:?}");
            self.event(now, answer);
        }
    }

    /// The core gets the next message.
    pub(crate) fn deliver(&mut self, now: u64) {
        if let Some(message) = self.pushes.pop_front() {
            self.event(now, message);
        }
    }

    /// The host times out: it opens another connection for commands, and reports every pending
    /// command as unanswered. With `finds` the relay still executes them later.
    pub(crate) fn time_out(&mut self, now: u64, finds: bool) {
        self.late_commands(finds);
        self.answers.clear();
        for command in std::mem::take(&mut self.unanswered) {
            let failed = match command {
                RelayCommand::Publish(publish) if self.plants.doubt_is_success => {
                    let position = roomcast_core::relay::TopicPosition::new("e1", 1);
                    let repeated = false;
                    let outcome = Published::Accepted { position, repeated };
                    let token = publish.token;
                    RelayEvent::Published { token, outcome }
                }
                RelayCommand::Publish(publish) => RelayEvent::Published {
                    token: publish.token,
                    outcome: Published::TimedOut,
                },
                RelayCommand::Subscribe { token, .. } => RelayEvent::Failed { token },
                RelayCommand::Read(read) => RelayEvent::Failed { token: read.token },
                RelayCommand::SetPresent { token, .. }
                | RelayCommand::Reconcile { token, .. }
                | RelayCommand::ListUsers { token, .. } => RelayEvent::Failed { token },
                RelayCommand::Unsubscribe { .. } => continue,
            };
            self.event(now, failed);
        }
    }

    fn late_commands(&mut self, finds: bool) {
        let commands = std::mem::take(&mut self.commands);
        for (incarnation, command) in commands {
            if let RelayCommand::Unsubscribe { topic } = &command {
                // Sent again on the connection that follows.
                self.subscribed.remove(topic);
            } else if finds {
                self.late.push_back((incarnation, command));
            }
        }
    }

    /// Both connections are lost, and the host says so.
    pub(crate) fn down(&mut self, now: u64, finds: bool) {
        self.late_commands(finds);
        self.answers.clear();
        self.pushes.clear();
        self.unanswered.clear();
        self.subscribed.clear();
        self.late_subscriptions.clear();
        self.waiting.clear();
        self.detached = false;
        self.event(now, RelayEvent::Down);
    }

    /// The host has new connections.
    pub(crate) fn up(&mut self, now: u64, broker: &mut Broker) {
        self.cut_off = false;
        self.event(now, RelayEvent::Up);
        if self.lineage != broker.lineage && !self.plants.incarnation_kept {
            // The relay's data of this node may be outdated: it ends with the old lease.
            self.lineage = broker.lineage;
            self.incarnation = broker.register(now);
            self.event(now, RelayEvent::Registered);
        }
    }

    /// True when nothing is on its way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.commands.is_empty()
            && self.answers.is_empty()
            && self.pushes.is_empty()
            && self.late_subscriptions.is_empty()
    }

    pub(crate) fn close(&mut self, now: u64, conn: ConnId) {
        self.apply(now, &Input::close(conn, CloseCode::REMOVED, "removed"));
    }

    /// Plays the journal of this node again: every line leads to the same commands.
    pub(crate) fn replays(&self) -> usize {
        let Some(journal) = &self.journal else {
            panic!("nothing was recorded");
        };
        let (mut replay, mut out) = (Replay::new(), Outbox::new());
        for (number, (line, commands)) in journal.iter().enumerate() {
            let entry = Entry::parse(line).unwrap_or_else(|fault| panic!("{fault}: {line}"));
            out.clear();
            replay.apply(&entry, &mut out).expect("it is open");
            if number > 0 {
                let again = format!("{:?}", out.iter().collect::<Vec<_>>());
                assert_eq!(again, *commands, "line {number}: {line}");
            }
        }
        journal.len()
    }
}

/// True when a command subscribes to a topic.
fn asks_for(command: &RelayCommand, topic: &Topic) -> bool {
    match command {
        RelayCommand::Subscribe { topics, .. } => topics.iter().any(|it| it.topic == *topic),
        _ => false,
    }
}

/// Delivers a message to the members of its room, as no hub does: for planted bugs.
fn show(
    hub: &Hub,
    (topic, offset): (&Topic, Option<u64>),
    body: &[u8],
    frames: &mut Vec<(ConnId, String)>,
) {
    let Some(room) = topic.as_room() else {
        return;
    };
    let offset = offset.filter(|_| keeps(room));
    let offset = offset.map_or(String::new(), |offset| format!(r#""offset":{offset},"#));
    let id = id_of(body);
    let text = format!(r#"{{"event":"m","room":"{room}",{offset}"data":{id}}}"#);
    let members = hub.members(room).iter();
    frames.extend(members.map(|member| (*member, text.clone())));
}
