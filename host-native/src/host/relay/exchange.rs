//! The exchange between the shards and the relay.

mod nodes;

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;
use roomcast_core::relay::{RelayCommand, RelayEvent, Topic};
use roomcast_relay::{Address, Channel, Event, Events, RedisRelay, Relay, Settings, StartError};
use tokio::{
    select,
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    about::About,
    call,
    counts::counts,
    presence,
    queue::{Answer, Queue},
    settings::explain,
};
use crate::{
    shard::{Mail, Posts, home_of, post_batch},
    shared::relay::{BLOCK, NodeLoad, NodesReply, RelayLink, RelayRequest},
};

/// The time within which a relay is reached, and that within which it is then ready.
const START: Duration = Duration::from_secs(3);
const READY: Duration = Duration::from_secs(10);
/// The time between two refreshes of positions: the relay forgets rooms that nobody touches.
const REFRESH: Duration = Duration::from_secs(60);
/// The time between two reports of this node about itself, which its heartbeats carry.
const REPORT: Duration = Duration::from_secs(1);
/// The time for what is under way at the end, and that for giving the lease back.
const END: Duration = Duration::from_secs(2);
/// The pause before numbers are asked for again.
const PAUSE: Duration = Duration::from_millis(500);
/// Calls under way at one time that say who is in rooms: a node that enters all of its users anew
/// has thousands.
const ENTRIES_MAX: usize = 64;
/// The same of calls that read messages, up to 4 MiB each: many clients come back at one time.
const READS_MAX: usize = 16;
/// Requests and messages that leave in one batch of mail.
const BATCH: usize = 256;
/// Bytes that a message counts beside its body.
const MESSAGE_BYTES: usize = 256;

/// The task that alone talks to the relay. It never waits for a shard.
pub(super) struct Exchange {
    relay: Arc<RedisRelay>,
    events: Events,
    link: Arc<RelayLink>,
    requests: mpsc::UnboundedReceiver<RelayRequest>,
    posts: Posts,
    /// Mail for each shard, which leaves with the round.
    outgoing: Vec<Vec<Mail>>,
    calls: Queue,
    /// Calls that tell the relay who is in rooms: of two that are about one user the later counts.
    entries: Queue,
    /// Reads, and subscriptions, which read too. They begin while no shard is behind. The end of a
    /// subscription is among them: it is not to overtake the beginning.
    reads: Queue,
    namespaces: HashMap<Arc<str>, Opened>,
    about: About,
    /// Questions to other nodes, with the ways of the answers.
    questions: HashMap<u64, mpsc::UnboundedSender<NodesReply>>,
}

/// A namespace that lives on a shard.
struct Opened {
    instance: u64,
    topics: HashSet<Topic>,
}

impl Exchange {
    /// Connects to the relay, and waits until it is ready.
    pub(super) async fn start(mut settings: Settings, posts: Posts) -> Result<Self, String> {
        let about = About::now();
        settings.about = about.text(NodeLoad::default(), 0, 0);
        let url = settings.url.clone();
        let (relay, mut events) = connect(settings).await?;
        let relay = Arc::new(relay);
        let first = async {
            loop {
                while events
                    .next()
                    .await
                    .is_some_and(|event| event != Event::Ready)
                {}
                // It may be lost at once, and is then ready again.
                if let Ok(first) = relay.take_numbers(BLOCK, 0).await {
                    return first;
                }
            }
        };
        let first = timeout(READY, first).await;
        let first = first.map_err(|_| format!("{url} answers, but does not publish"))?;
        let counted = relay.clone();
        let (link, requests) = RelayLink::new(&relay.node(), posts.len(), move || counts(&counted));
        link.add_numbers(first, BLOCK);
        link.set_up(true);
        tracing::info!(%url, node = &*relay.node(), "the relay is ready");
        Ok(Self {
            outgoing: posts.iter().map(|_| Vec::new()).collect(),
            relay,
            events,
            link,
            requests,
            posts,
            calls: Queue::new(usize::MAX),
            entries: Queue::new(ENTRIES_MAX),
            reads: Queue::new(READS_MAX),
            namespaces: HashMap::new(),
            about,
            questions: HashMap::new(),
        })
    }

    pub(super) fn link(&self) -> Arc<RelayLink> {
        self.link.clone()
    }

    /// Exchanges messages until the end is rung or nobody can ring it any more.
    pub(super) async fn run(mut self, mut ending: oneshot::Receiver<()>) {
        let mut refresh = interval(REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut report = interval(REPORT);
        report.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let has_space = self.link.has_space();
            self.calls.begin();
            self.entries.begin();
            if has_space {
                self.reads.begin();
            }
            select! {
                Some(request) = self.requests.recv() => self.take_request(request),
                Some(answer) = self.calls.next(), if !self.calls.is_idle() => {
                    self.take_answer(answer);
                }
                Some(answer) = self.entries.next(), if !self.entries.is_idle() => {
                    self.take_answer(answer);
                }
                Some(answer) = self.reads.next(), if !self.reads.is_idle() => {
                    self.take_answer(answer);
                }
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
                } else if let Some(Some(answer)) = self.calls.next().now_or_never() {
                    // All that came together is one batch of mail. The next wait has it wake again.
                    self.take_answer(answer);
                } else if has_space && let Some(event) = self.events.try_next() {
                    // Without space it is not taken: it would be lost.
                    self.take_event(event);
                } else {
                    break;
                }
            }
            self.send_mail();
        }
        self.finish().await;
    }

    /// Carries out what the shards asked for last, and gives the lease back. Nobody waits for what
    /// is read.
    async fn finish(mut self) {
        while let Ok(request) = self.requests.try_recv() {
            self.take_request(request);
        }
        let rest = async {
            self.calls.begin();
            self.entries.await_all().await;
            self.calls.await_all().await;
        };
        let is_done = timeout(END, rest).await.is_ok();
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
                let topics = HashSet::new();
                let opened = Opened { instance, topics };
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
            RelayRequest::Command { namespace, command } => self.command(namespace, command),
            RelayRequest::Numbers => self.take_numbers(),
            RelayRequest::Nodes(request) => self.take_nodes_request(request),
        }
    }

    fn command(&mut self, namespace: Arc<str>, command: RelayCommand) {
        let Some(opened) = self.namespaces.get_mut(&namespace) else {
            return;
        };
        let (relay, instance) = (self.relay.clone(), opened.instance);
        match command {
            RelayCommand::Publish(publish) => self.calls.push(async move {
                let event = call::publish(&*relay, &namespace, publish).await;
                answer(namespace, instance, event)
            }),
            RelayCommand::Subscribe { token, topics } => {
                let wanted = topics.iter().map(|wanted| wanted.topic.clone());
                opened.topics.extend(wanted);
                self.reads.push(async move {
                    let event = call::subscribe(&*relay, &namespace, token, topics).await;
                    answer(namespace, instance, event)
                });
            }
            RelayCommand::Read(read) => self.reads.push(async move {
                let event = call::read(&*relay, &namespace, read).await;
                answer(namespace, instance, event)
            }),
            RelayCommand::SetPresent { token, room, user } => self.entries.push(async move {
                let event = presence::set(&*relay, &namespace, token, &room, user).await;
                answer(namespace, instance, event)
            }),
            RelayCommand::Reconcile { token, room, users } => self.entries.push(async move {
                let event = presence::reconcile(&*relay, &namespace, token, &room, users).await;
                answer(namespace, instance, event)
            }),
            RelayCommand::ListUsers { token, room, limit } => self.calls.push(async move {
                let event = presence::list(&*relay, &namespace, token, room, limit).await;
                answer(namespace, instance, event)
            }),
            RelayCommand::Unsubscribe { topic } => {
                opened.topics.remove(&topic);
                let address = call::address(&namespace, &topic);
                self.unsubscribe(vec![address]);
            }
        }
    }

    fn unsubscribe(&mut self, topics: Vec<Address>) {
        let relay = self.relay.clone();
        self.reads.push(async move {
            // Without an answer the topics are not wanted all the same.
            let _ = relay.unsubscribe(&topics).await;
            None
        });
    }

    /// Takes numbers until there are some.
    fn take_numbers(&mut self) {
        let (relay, link) = (self.relay.clone(), self.link.clone());
        self.calls.push(async move {
            loop {
                match relay.take_numbers(BLOCK, link.numbers_end()).await {
                    Ok(first) => {
                        link.add_numbers(first, BLOCK);
                        return None;
                    }
                    Err(_) => sleep(PAUSE).await,
                }
            }
        });
    }

    /// Touches all rooms that somebody is in.
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
        self.calls.push(async move {
            if let Err(fault) = relay.positions(&rooms).await {
                tracing::debug!(%fault, "the relay did not take a refresh");
            }
            None
        });
    }

    /// Has the next heartbeat say how this node is.
    fn report(&self) {
        let lag_ms = self.relay.backlog().age.as_millis();
        let lag_ms = u64::try_from(lag_ms).unwrap_or(u64::MAX);
        let (load, namespaces) = (self.link.load(), self.namespaces.len());
        self.relay
            .set_about(self.about.text(load, namespaces, lag_ms));
    }

    fn take_answer(&mut self, answer: Option<Answer>) {
        if let Some(answer) = answer {
            let bytes = bytes_of(&answer.event);
            self.post(&answer.namespace, answer.instance, answer.event, bytes);
        }
    }

    fn take_event(&mut self, event: Event) {
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
                    epoch: (*epoch).into(),
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
                self.entries.clear();
                // Hubs subscribe anew, to what they want then.
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

    /// Tells a namespace something, if it lives here.
    fn tell(&mut self, namespace: &Arc<str>, event: RelayEvent) {
        if let Some(instance) = self.namespaces.get(namespace).map(|it| it.instance) {
            let bytes = bytes_of(&event);
            self.post(namespace, instance, event, bytes);
        }
    }

    /// Tells all namespaces something.
    fn tell_each(&mut self, event: &RelayEvent) {
        let namespaces = self.namespaces.iter();
        let all: Vec<_> = namespaces
            .map(|(namespace, opened)| (namespace.clone(), opened.instance))
            .collect();
        for (namespace, instance) in all {
            self.post(&namespace, instance, event.clone(), 0);
        }
    }

    /// Tells a namespace of users of a dead node, also when it does not live here: no other node is
    /// told.
    fn tell_of_dead(&mut self, address: Address, names: Vec<Box<str>>) {
        let Channel::Room(room) = address.channel else {
            return;
        };
        let (namespace, room) = (address.namespace, (*room).into());
        let shard = home_of(&namespace, self.posts.len());
        let task = Mail::task(move |shard| shard.take_reaped(&namespace, room, names));
        self.outgoing[shard].push(task);
    }

    /// Tells all namespaces that the relay can be reached, or not any more.
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
                post_batch(&self.posts, shard, mem::take(mail));
            }
        }
    }
}

/// Connects. A relay that begins at the same time as this server is waited for.
async fn connect(settings: Settings) -> Result<(RedisRelay, Events), String> {
    let begun = Instant::now();
    loop {
        match RedisRelay::start(settings.clone()).await {
            Ok(started) => return Ok(started),
            Err(StartError::Unreachable { .. }) if begun.elapsed() < START => sleep(PAUSE).await,
            Err(fault) => return Err(explain(&fault)),
        }
    }
}

fn answer(namespace: Arc<str>, instance: u64, event: RelayEvent) -> Option<Answer> {
    Some(Answer {
        namespace,
        instance,
        event,
    })
}

#[allow(clippy::wildcard_enum_match_arm)] // the others are small
fn bytes_of(event: &RelayEvent) -> usize {
    let pages = match event {
        RelayEvent::Message { body, .. } => return MESSAGE_BYTES + body.len(),
        RelayEvent::Subscribed { pages, .. } => &**pages,
        RelayEvent::Page { page, .. } => std::slice::from_ref(page),
        RelayEvent::Users { page, .. } => return MESSAGE_BYTES * (1 + page.users.len()),
        _ => return MESSAGE_BYTES,
    };
    let messages = pages.iter().flat_map(|page| &page.messages);
    let bytes: usize = messages.map(|it| MESSAGE_BYTES + it.body.len()).sum();
    bytes + MESSAGE_BYTES * (1 + pages.len())
}
