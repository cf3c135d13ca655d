//! A node: the real core, and the lines between it and the relay.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use roomcast_core::{
    App, Applied, CloseCode, Command, Config, ConnId, Frame, Hub, Input, Outbox, Timestamp,
    hub::{Cluster, HubState},
    journal::{Entry, Opening, Record, Replay},
    relay::{Published, RelayCommand, RelayEvent, Topic, TopicPage},
};

use super::broker::{Broker, Plants, id_of};
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
    pub(crate) commands: VecDeque<RelayCommand>,
    /// Commands of connections that are lost, which the relay may still find in its buffers.
    pub(crate) late: VecDeque<RelayCommand>,
    /// Answers on their way, with what the host waits for.
    pub(crate) answers: VecDeque<RelayEvent>,
    /// Messages on their way.
    pub(crate) pushes: VecDeque<RelayEvent>,
    pub(crate) subscribed: BTreeSet<Topic>,
    /// Topics whose subscription is later than it should be: a planted bug.
    late_subscriptions: VecDeque<Topic>,
    /// Commands without an answer, in their order.
    unanswered: VecDeque<RelayCommand>,
    /// True while messages are lost that the host thinks it gets.
    pub(crate) detached: bool,
    /// True while the relay does nothing for this node: it talks to one that is gone.
    pub(crate) cut_off: bool,
    /// Frames for the story to look at, in their order.
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
    pub(crate) fn new(index: usize, config: &Config, plants: Plants, records: bool) -> Self {
        let block = if plants.same_serials { 0 } else { index as u64 };
        let first = block * SERIALS;
        let config =
            config
                .clone()
                .with_cluster(Cluster::new(format!("n{index}"), first, SERIALS_FIRST));
        let opening = Opening::new(config.clone(), HubState::default());
        let opening = Entry::new(Timestamp::ZERO, "r", Record::Open(opening)).to_line();
        let mut node = Self {
            app: App::new(config, ()),
            out: Outbox::new(),
            plants,
            commands: VecDeque::new(),
            late: VecDeque::new(),
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
                    self.commands.push_back(command.clone());
                    if !matches!(command, RelayCommand::Unsubscribe { .. }) {
                        self.unanswered.push_back(command.clone());
                    }
                }
                Command::Ping { .. } | Command::Persist { .. } => {}
                Command::Append { .. }
                | Command::PersistRoom { .. }
                | Command::PersistKey { .. }
                | Command::LoadHistory { .. }
                | Command::Tell { .. } => panic!("a clustered hub keeps nothing: {command:?}"),
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

    /// Delivers messages that came before the page that has them.
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

    /// The relay does the next command of this node; false when there is none.
    pub(crate) fn execute(&mut self, broker: &mut Broker) -> Option<(Topic, RelayEvent)> {
        if let Some(topic) = self.late_subscriptions.pop_front() {
            self.subscribed.insert(topic);
            return None;
        }
        let command = self.commands.pop_front()?;
        if self.cut_off {
            return None;
        }
        let (answer, push) = self.perform(&command, broker);
        self.answers.extend(answer);
        push
    }

    /// The relay finds a command of a connection that is lost: nobody gets its answer.
    pub(crate) fn execute_late(&mut self, broker: &mut Broker) -> Option<(Topic, RelayEvent)> {
        let command = self.late.pop_front()?;
        match command {
            RelayCommand::Publish(_) => self.perform(&command, broker).1,
            // Those of a connection end with it.
            RelayCommand::Subscribe { .. }
            | RelayCommand::Unsubscribe { .. }
            | RelayCommand::Read(_) => None,
        }
    }

    fn perform(
        &mut self,
        command: &RelayCommand,
        broker: &mut Broker,
    ) -> (Option<RelayEvent>, Option<(Topic, RelayEvent)>) {
        match command {
            RelayCommand::Publish(publish) => {
                let (outcome, goes_out) = broker.publish(publish);
                let token = publish.token;
                let push = match &outcome {
                    Published::Accepted { position, .. } if goes_out => {
                        let message = RelayEvent::Message {
                            topic: publish.topic.clone(),
                            epoch: position.epoch.clone(),
                            offset: position.offset,
                            body: publish.body.clone(),
                        };
                        Some((publish.topic.clone(), message))
                    }
                    _ => None,
                };
                (Some(RelayEvent::Published { token, outcome }), push)
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
                (Some(RelayEvent::Subscribed { token, pages }), None)
            }
            RelayCommand::Unsubscribe { topic } => {
                self.subscribed.remove(topic);
                (None, None)
            }
            RelayCommand::Read(read) => {
                let (token, page) = (read.token, broker.read(read));
                (Some(RelayEvent::Page { token, page }), None)
            }
        }
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

    /// The host waited for too long: it begins another connection for commands, and says of all
    /// that it asked that there is no answer. `finds` of them the relay finds later all the same.
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
                RelayCommand::Unsubscribe { .. } => continue,
            };
            self.event(now, failed);
        }
    }

    fn late_commands(&mut self, finds: bool) {
        let commands = std::mem::take(&mut self.commands);
        for command in commands {
            if let RelayCommand::Unsubscribe { topic } = &command {
                // Sent again on the connection that follows.
                self.subscribed.remove(topic);
            } else if finds {
                self.late.push_back(command);
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
    pub(crate) fn up(&mut self, now: u64) {
        self.cut_off = false;
        self.event(now, RelayEvent::Up);
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
