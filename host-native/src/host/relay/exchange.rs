//! The exchange between the shards and the relay.

mod nodes;

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::Arc,
    time::Duration,
};

use roomcast_core::relay::{RelayCommand, RelayEvent, Topic};
use roomcast_relay::{Address, Channel, Event, Events, RedisRelay, Relay, Settings};
use tokio::{
    select,
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    about::About,
    call,
    connect::{connect, first_serial},
    counts::counts,
    order::Order,
    presence,
    publishes::Publishes,
    queue::{Answer, Queues, bytes_of},
};
use crate::{
    clock::millis,
    shard::{Mail, Posts, home_of, post_batch},
    shared::relay::{HubCommand, NodeLoad, NodesReply, RelayLink, RelayRequest, SERIAL_BLOCK},
};

/// The time between two refreshes of positions: the relay forgets rooms that nobody touches.
const REFRESH: Duration = Duration::from_secs(60);
/// The time between two reports of this node about itself, which its heartbeats carry.
const REPORT: Duration = Duration::from_secs(1);
/// The time for calls in flight at the end, and as much for giving up the lease.
const END: Duration = Duration::from_secs(2);
/// The pause before a call is retried.
const PAUSE: Duration = Duration::from_millis(500);
/// The maximum number of requests and messages that are handled in one round.
const BATCH: usize = 256;

/// The only task that talks to the relay. It never waits for a shard.
pub(super) struct Exchange {
    relay: Arc<RedisRelay>,
    events: Events,
    link: Arc<RelayLink>,
    requests: mpsc::UnboundedReceiver<RelayRequest>,
    posts: Posts,
    /// Mail for each shard, sent at the end of the round.
    outgoing: Vec<Vec<Mail>>,
    queues: Queues,
    /// Publishes that are sent together once another call may start.
    publishes: Publishes,
    /// The answers of the round. They are sent after its messages: a publish that is answered once
    /// its message has arrived need not wait for it.
    answers: Vec<Answer>,
    order: Order,
    namespaces: HashMap<Arc<str>, Opened>,
    about: About,
    /// Open questions to other nodes, with the channels for the answers.
    questions: HashMap<u64, mpsc::UnboundedSender<NodesReply>>,
}

/// A namespace that exists on a shard.
struct Opened {
    instance: u64,
    topics: HashSet<Topic>,
    /// The number of `Down` events that it was sent.
    downs: u64,
}

impl Exchange {
    /// Connects to the relay, and waits until it is ready.
    pub(super) async fn start(mut settings: Settings, posts: Posts) -> Result<Self, String> {
        let about = About::now();
        settings.about = about.text(NodeLoad::default(), 0, 0);
        let (url, is_replicated) = (settings.url.clone(), settings.replicas_ack > 0);
        let (relay, mut events) = connect(settings).await?;
        let relay = Arc::new(relay);
        let first = first_serial(&relay, &mut events, &url).await?;
        let (counted, node) = (relay.clone(), relay.node());
        let counts = move || counts(&counted);
        let (link, requests) = RelayLink::new((&node, is_replicated), posts.len(), counts);
        link.add_serials(first, SERIAL_BLOCK);
        link.set_up(true);
        tracing::info!(%url, node = &*relay.node(), "the relay is ready");
        Ok(Self {
            outgoing: posts.iter().map(|_| Vec::new()).collect(),
            relay,
            events,
            link,
            requests,
            posts,
            queues: Queues::new(),
            publishes: Publishes::default(),
            answers: Vec::new(),
            order: Order::default(),
            namespaces: HashMap::new(),
            about,
            questions: HashMap::new(),
        })
    }

    pub(super) fn link(&self) -> Arc<RelayLink> {
        self.link.clone()
    }

    /// Exchanges messages until `ending` fires or its sender is dropped.
    pub(super) async fn run(mut self, mut ending: oneshot::Receiver<()>) {
        let mut refresh = interval(REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut report = interval(REPORT);
        report.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let has_space = self.link.has_space();
            self.queues.begin(has_space);
            select! {
                Some(request) = self.requests.recv() => self.take_request(request),
                Some(mut answers) = self.queues.next() => self.answers.append(&mut answers),
                event = self.events.next(), if has_space => match event {
                    Some(event) => self.take_event(event),
                    None => break,
                },
                () = self.link.caught_up.notified(), if !has_space => {}
                _ = refresh.tick() => self.refresh(),
                _ = report.tick() => self.report(),
                _ = &mut ending => break,
            }
            for _ in 0..BATCH {
                if let Ok(request) = self.requests.try_recv() {
                    self.take_request(request);
                } else if let Some(mut answers) = self.queues.try_next() {
                    // Everything that arrived together is one batch of mail. The rest wakes the
                    // next wait.
                    self.answers.append(&mut answers);
                } else if has_space && let Some(event) = self.events.try_next() {
                    // Taken only while there is space: a taken event cannot be put back.
                    self.take_event(event);
                } else {
                    break;
                }
            }
            self.publish();
            self.post_answers();
            self.send_mail();
        }
        self.finish().await;
    }

    /// Carries out the last requests of the shards, and gives up the lease. Reads are not finished:
    /// nobody waits for them.
    async fn finish(mut self) {
        while let Ok(request) = self.requests.try_recv() {
            self.take_request(request);
        }
        if let Some(rest) = self.publishes.take() {
            self.send(rest);
        }
        let is_done = timeout(END, self.queues.await_changes()).await.is_ok();
        let retired = timeout(END, self.relay.retire_after(self.link.users_wait())).await;
        if !is_done || !matches!(retired, Ok(Ok(()))) {
            tracing::warn!(
                "the relay did not answer at the end: other nodes clear up after this one"
            );
        }
    }

    fn take_request(&mut self, request: RelayRequest) {
        match request {
            RelayRequest::Open {
                namespace,
                instance,
                generation,
            } => {
                let opened = Opened {
                    instance,
                    topics: HashSet::new(),
                    downs: 0,
                };
                self.namespaces.insert(namespace.clone(), opened);
                if generation != self.link.generation() {
                    self.post(&namespace, instance, self.state(), 0);
                }
            }
            RelayRequest::Close { namespace } => {
                if let Some(opened) = self.namespaces.remove(&namespace) {
                    let topics = opened.topics.iter();
                    let topics = topics.map(|topic| call::address(&namespace, topic));
                    self.unsubscribe(topics.collect());
                }
            }
            RelayRequest::Commands(commands) => {
                for command in commands {
                    self.command(command);
                }
            }
            RelayRequest::Serials => self.take_serials(),
            RelayRequest::Nodes(request) => self.take_nodes_request(request),
        }
    }

    fn command(&mut self, command: HubCommand) {
        let HubCommand {
            namespace,
            downs,
            command,
        } = command;
        let opened = self.namespaces.get_mut(&namespace);
        // The hub already treats a command from before a loss as failed. If it were carried out, it
        // would follow later changes of others: a server may have been frozen for long.
        let Some(opened) = opened.filter(|opened| opened.downs == downs) else {
            return;
        };
        let (relay, instance) = (self.relay.clone(), opened.instance);
        match command {
            RelayCommand::Publish(publish) => {
                let attempt_id = format!("{}.{instance}:{}", relay.node(), publish.token);
                if let Some(full) = self.publishes.add(namespace, instance, publish, attempt_id) {
                    self.send(full);
                }
            }
            RelayCommand::Subscribe { token, topics } => {
                let wanted = topics.iter().map(|wanted| wanted.topic.clone());
                opened.topics.extend(wanted);
                self.queues.subscriptions.push(async move {
                    let event = call::subscribe(&*relay, &namespace, token, topics).await;
                    Some(answer(namespace, instance, event))
                });
            }
            RelayCommand::Read(read) => self.queues.reads.push(async move {
                let event = call::read(&*relay, &namespace, read).await;
                Some(answer(namespace, instance, event))
            }),
            RelayCommand::SetPresent { token, room, user } => {
                self.queues.entries.push(async move {
                    let event = presence::set(&*relay, &namespace, token, &room, user).await;
                    Some(answer(namespace, instance, event))
                });
            }
            RelayCommand::Reconcile { token, room, users } => {
                self.queues.entries.push(async move {
                    let event = presence::reconcile(&*relay, &namespace, token, &room, users).await;
                    Some(answer(namespace, instance, event))
                });
            }
            RelayCommand::ListUsers { token, room, limit } => {
                let pace = self.queues.pace.clone();
                self.queues.lists.push(async move {
                    let list = presence::list(&*relay, &namespace, token, room, limit);
                    let event = pace.keep(list).await;
                    Some(answer(namespace, instance, event))
                });
            }
            RelayCommand::Unsubscribe { topic } => {
                opened.topics.remove(&topic);
                let address = call::address(&namespace, &topic);
                self.unsubscribe(vec![address]);
            }
        }
    }

    /// Sends the collected publishes. While too many calls are in flight, they wait, and more
    /// messages are sent together.
    fn publish(&mut self) {
        if self.queues.publishes.has_place()
            && let Some(publishes) = self.publishes.take()
        {
            self.send(publishes);
        }
    }

    fn send(&mut self, publishes: Publishes) {
        let relay = self.relay.clone();
        let calls = &mut self.queues.publishes;
        calls.push_all(async move { publishes.send(&*relay).await });
    }

    fn unsubscribe(&mut self, topics: Vec<Address>) {
        let relay = self.relay.clone();
        self.queues.subscriptions.push(async move {
            // The topics are no longer wanted, even without an answer.
            let _ = relay.unsubscribe(&topics).await;
            None
        });
    }

    /// Takes a block of connection serials; retries until it has one.
    fn take_serials(&mut self) {
        let (relay, link) = (self.relay.clone(), self.link.clone());
        self.queues.calls.push(async move {
            loop {
                match relay.take_serials(SERIAL_BLOCK, link.serials_end()).await {
                    Ok(first) => {
                        link.add_serials(first, SERIAL_BLOCK);
                        return None;
                    }
                    Err(_) => sleep(PAUSE).await,
                }
            }
        });
    }

    /// Touches all rooms that are subscribed, so that the relay keeps them.
    fn refresh(&mut self) {
        let mut rooms = Vec::new();
        for (namespace, opened) in &self.namespaces {
            let topics = opened.topics.iter();
            rooms.extend(topics.map(|topic| call::address(namespace, topic)));
        }
        if rooms.is_empty() || !self.link.is_up() {
            return;
        }
        let relay = self.relay.clone();
        self.queues.calls.push(async move {
            if let Err(fault) = relay.positions(&rooms).await {
                tracing::debug!(%fault, "the relay did not take a refresh");
            }
            None
        });
    }

    /// Puts the figures of this node into its next heartbeat.
    fn report(&self) {
        let lag = self.relay.backlog().age + self.link.under_way_age();
        let (load, namespaces) = (self.link.load(), self.namespaces.len());
        self.relay
            .set_about(self.about.text(load, namespaces, millis(lag)));
    }

    fn post_answers(&mut self) {
        let (answers, waiting) = (mem::take(&mut self.answers), self.relay.backlog().events);
        for answer in self.order.pass(answers, waiting) {
            let bytes = bytes_of(&answer.event);
            self.post(&answer.namespace, answer.instance, answer.event, bytes);
        }
    }

    fn take_event(&mut self, event: Event) {
        self.order.note_taken();
        match event {
            Event::Message {
                address,
                epoch,
                offset,
                body,
            } => {
                let topic = match address.channel {
                    Channel::All => Topic::All,
                    Channel::Room(room) => Topic::room(&room),
                };
                let event = RelayEvent::Message {
                    topic,
                    epoch,
                    offset,
                    body: Vec::from(body).into(),
                };
                self.tell(&address.namespace, event);
            }
            event @ Event::Presence { .. } => {
                if let Some((namespace, event)) = presence::notice(event) {
                    self.tell(&namespace, event);
                }
            }
            Event::Registered { .. } => self.tell_each(&RelayEvent::Registered),
            Event::Reaped { address, users } => self.tell_of_dead(address, users),
            Event::Lost(_) => {
                self.queues.clear();
                let _ = self.publishes.take();
                // Hubs subscribe again, to the topics that they want then.
                let mut topics = Vec::new();
                for (namespace, opened) in &mut self.namespaces {
                    let lost = mem::take(&mut opened.topics);
                    topics.extend(lost.iter().map(|topic| call::address(namespace, topic)));
                }
                self.unsubscribe(topics);
                self.tell_all(false);
            }
            Event::Ready => {
                tracing::info!("the relay is ready again");
                self.tell_all(true);
            }
            Event::Bus {
                namespace,
                from,
                body,
            } => self.take_bus(namespace, from, body),
        }
    }

    /// Sends an event to a namespace, if it exists here.
    fn tell(&mut self, namespace: &Arc<str>, event: RelayEvent) {
        if let Some(instance) = self.namespaces.get(namespace).map(|it| it.instance) {
            let bytes = bytes_of(&event);
            self.post(namespace, instance, event, bytes);
        }
    }

    /// Sends an event to all namespaces.
    fn tell_each(&mut self, event: &RelayEvent) {
        let namespaces = self.namespaces.iter();
        let all: Vec<_> = namespaces
            .map(|(namespace, opened)| (namespace.clone(), opened.instance))
            .collect();
        for (namespace, instance) in all {
            self.post(&namespace, instance, event.clone(), 0);
        }
    }

    /// Tells a namespace which users a dead node had, even if it does not exist here: no other node
    /// is told.
    fn tell_of_dead(&mut self, address: Address, names: Vec<Box<str>>) {
        let Channel::Room(room) = address.channel else {
            return;
        };
        let (namespace, room) = (address.namespace, (*room).into());
        let shard = home_of(&namespace, self.posts.len());
        let task = Mail::task(move |shard| shard.take_reaped(&namespace, room, names));
        self.outgoing[shard].push(task);
    }

    /// Tells all namespaces whether the relay can be reached.
    fn tell_all(&mut self, up: bool) {
        self.link.set_up(up);
        self.tell_each(&self.state());
    }

    fn state(&self) -> RelayEvent {
        if self.link.is_up() {
            RelayEvent::Up
        } else {
            RelayEvent::Down
        }
    }

    fn post(&mut self, namespace: &Arc<str>, instance: u64, event: RelayEvent, bytes: usize) {
        if matches!(event, RelayEvent::Down)
            && let Some(opened) = self.namespaces.get_mut(namespace)
        {
            opened.downs += 1;
        }
        let shard = home_of(namespace, self.posts.len());
        self.link.begins(shard, bytes);
        self.outgoing[shard].push(Mail::Relay {
            namespace: namespace.clone(),
            instance,
            event: Box::new(event),
            bytes,
        });
    }

    fn send_mail(&mut self) {
        for (shard, mail) in self.outgoing.iter_mut().enumerate() {
            if !mail.is_empty() {
                self.link.hands_over(shard);
                post_batch(&self.posts, shard, mem::take(mail));
            }
        }
    }
}

fn answer(namespace: Arc<str>, instance: u64, event: RelayEvent) -> Answer {
    Answer {
        namespace,
        instance,
        event,
    }
}
