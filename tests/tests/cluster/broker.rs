//! A relay in memory that can be broken: a model of the scripts of a real relay, each in one step.

mod users;

use std::collections::{BTreeMap, VecDeque};

use roomcast_core::{
    ConnId,
    relay::{Publish, Published, Read, StreamMessage, Topic, TopicPage, TopicPosition, Wanted},
};

use self::users::Users;
pub(crate) use self::users::{LEASE_MS, Push};

/// The most messages in the answer to a subscription; nodes ask for the rest.
const WANTED_MAX: usize = 3;

/// Bugs that are planted in the relay, in its hosts and around the core, to see that each is found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Plants {
    /// A replica that is promoted goes on under the same epochs.
    pub(crate) no_lineage_check: bool,
    /// The relay knows no idempotency keys.
    pub(crate) no_keys: bool,
    /// Every tenth message gets the offset of the one before it.
    pub(crate) offset_twice: bool,
    /// A topic that was dropped begins again under the same epoch.
    pub(crate) epoch_kept: bool,
    /// A publish that timed out is reported as a success.
    pub(crate) doubt_is_success: bool,
    /// Positions are read before the subscription that they are for.
    pub(crate) position_first: bool,
    /// A dead subscription is never detected.
    pub(crate) no_probe: bool,
    /// All nodes give their connections the same numbers.
    pub(crate) same_serials: bool,
    /// A node delivers its own publishes at once, and again when they come back.
    pub(crate) local_first: bool,
    /// A node notifies no client of a gap.
    pub(crate) gap_ignored: bool,
    /// A node takes each epoch of a topic for the first.
    pub(crate) lineage_ignored: bool,
    /// A node delivers all messages that waited for the answer to a subscription, even those up to
    /// its position.
    pub(crate) waiting_kept: bool,
    /// Users of dead nodes stay.
    pub(crate) no_reaper: bool,
    /// A node still writes after it was declared dead.
    pub(crate) no_fence: bool,
    /// A node keeps its name although the relay's data may be older than before.
    pub(crate) incarnation_kept: bool,
    /// A list of users claims to include the next notice.
    pub(crate) list_too_new: bool,
}

/// A message that has its place, as the relay of that moment gave it.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    /// The number of the message, by which the story knows it.
    pub(crate) id: u64,
    pub(crate) topic: Topic,
    pub(crate) position: TopicPosition,
    /// The connection that published it.
    pub(crate) conn: Option<ConnId>,
}

pub(crate) struct Broker {
    plants: Plants,
    master: Store,
    replica: Store,
    /// The lineage of the master: another one for each that is promoted or restarted.
    pub(crate) lineage: u64,
    /// Everything that ever had a place, in the order in which it got one.
    pub(crate) log: Vec<Placed>,
    /// The number of times that data may have been lost.
    pub(crate) losses: u64,
    pub(crate) continued: Continued,
    epochs: u64,
    publishes: u64,
    incarnations: u64,
}

/// The earlier epoch that each epoch continues, and its last offset, unless it started at 0.
#[derive(Debug, Clone, Default)]
pub(crate) struct Continued(BTreeMap<Box<str>, (Box<str>, u64)>);

impl Continued {
    /// Returns the epoch that first assigned an offset which a later epoch still has.
    pub(crate) fn epoch_of<'a>(&'a self, epoch: &'a str, offset: u64) -> &'a str {
        let mut epoch = epoch;
        while let Some((before, last)) = self.0.get(epoch)
            && offset <= *last
        {
            epoch = before;
        }
        epoch
    }

    pub(crate) fn follow(&mut self, other: &Self) {
        if self.0.len() != other.0.len() {
            self.0.clone_from(&other.0);
        }
    }
}

#[derive(Debug, Clone, Default)]
struct Store {
    topics: BTreeMap<Topic, Stream>,
    keys: BTreeMap<Box<str>, (u64, TopicPosition)>,
    users: Users,
}

#[derive(Debug, Clone)]
struct Stream {
    position: TopicPosition,
    lineage: u64,
    messages: VecDeque<StreamMessage>,
    /// The number of the last presence notice.
    notices: u64,
}

impl Broker {
    pub(crate) fn new(plants: Plants) -> Self {
        Self {
            plants,
            master: Store::default(),
            replica: Store::default(),
            lineage: 1,
            log: Vec::new(),
            losses: 0,
            continued: Continued::default(),
            epochs: 0,
            publishes: 0,
            incarnations: 0,
        }
    }

    /// Returns the topic as a script finds it: restarted if it is gone, under a new epoch if it
    /// belongs to another lineage.
    fn stream(&mut self, topic: &Topic) -> &mut Stream {
        let fresh: Box<str> = match self.plants.epoch_kept {
            true => "e".into(),
            false => format!("e{}", self.epochs + 1).into(),
        };
        if !self.master.topics.contains_key(topic) {
            self.epochs += 1;
            let stream = Stream {
                position: TopicPosition::new(fresh.clone(), 0),
                lineage: self.lineage,
                messages: VecDeque::new(),
                notices: 0,
            };
            self.master.topics.insert(topic.clone(), stream);
        }
        let stream = self.master.topics.get_mut(topic).expect("it is there");
        let is_of_now = self.plants.no_lineage_check || stream.lineage == self.lineage;
        if !is_of_now {
            // Offsets continue, and the kept messages remain.
            self.epochs += 1;
            stream.lineage = self.lineage;
            let before = std::mem::replace(&mut stream.position.epoch, fresh.clone());
            if before != fresh {
                let last = stream.position.offset;
                self.continued.0.insert(fresh, (before, last));
            }
        }
        stream
    }

    /// Gives a message its place, unless it has one. Returns the outcome, and whether the message
    /// goes to those who subscribe.
    pub(crate) fn publish(&mut self, publish: &Publish) -> (Published, bool) {
        let owner = publish.owner.as_ref();
        let owners = owner.into_iter();
        let owners = owners.flat_map(|it| std::iter::once(&it.name).chain(&it.earlier));
        let owned = owners.map(|owner| format!("{owner} {}", publish.key).into());
        let mut names: Vec<Box<str>> = owned.collect();
        if owner.is_none() {
            names.push(publish.key.clone());
        }
        let knows = !self.plants.no_keys;
        for name in names.iter().filter(|_| knows) {
            let Some((fingerprint, first)) = self.master.keys.get(name).cloned() else {
                continue;
            };
            if fingerprint != publish.fingerprint {
                return (Published::KeyReused, false);
            }
            if let Some(position) = self.repeated(&publish.topic, &first) {
                let repeated = true;
                return (Published::Accepted { position, repeated }, false);
            }
        }
        self.publishes += 1;
        let stays = self.plants.offset_twice && self.publishes.is_multiple_of(10);
        let stream = self.stream(&publish.topic);
        let offset = &mut stream.position.offset;
        *offset += u64::from(!stays || *offset == 0);
        let message = StreamMessage {
            offset: *offset,
            body: publish.body.clone(),
        };
        if let Some(keep) = publish.keep {
            stream.messages.push_back(message);
            let lengths = stream.messages.iter().map(|message| message.body.len());
            let mut bytes = lengths.sum::<usize>();
            while stream.messages.len() > keep.messages || bytes > keep.bytes {
                let oldest = stream.messages.pop_front();
                bytes -= oldest.map_or(0, |oldest| oldest.body.len());
            }
        }
        let position = stream.position.clone();
        let known = (publish.fingerprint, position.clone());
        self.master.keys.insert(names[0].clone(), known);
        self.log.push(Placed {
            id: id_of(&publish.body),
            topic: publish.topic.clone(),
            position: position.clone(),
            conn: conn_of(&publish.body),
        });
        let repeated = false;
        (Published::Accepted { position, repeated }, true)
    }

    /// Returns the position of a message that had one before, in the current epoch if that still
    /// has it.
    fn repeated(&mut self, topic: &Topic, first: &TopicPosition) -> Option<TopicPosition> {
        let stream = self.stream(topic);
        let mut kept = stream.messages.iter();
        let is_kept = kept.any(|it| it.offset == first.offset);
        let position = TopicPosition::new(stream.position.epoch.clone(), first.offset);
        let is_of = first.epoch == position.epoch
            || is_kept && *first.epoch == *self.continued.epoch_of(&position.epoch, first.offset);
        is_of.then_some(position)
    }

    pub(crate) fn wanted(&mut self, wanted: &Wanted) -> TopicPage {
        let epoch = self.stream(&wanted.topic).position.epoch.clone();
        let after = wanted.after.as_ref();
        let known = after.filter(|after| after.epoch == epoch);
        let Some(known) = known else {
            return self.page(&wanted.topic, None, |_| Vec::new());
        };
        let after = known.offset;
        let behind = |messages: &VecDeque<StreamMessage>| {
            let behind = messages.iter().filter(|message| message.offset > after);
            behind.take(WANTED_MAX).cloned().collect()
        };
        self.page(&wanted.topic, Some(after), behind)
    }

    pub(crate) fn read(&mut self, read: &Read) -> TopicPage {
        let after = read.after.unwrap_or(0);
        let before = read.before.unwrap_or(u64::MAX);
        let newest = read.after.is_none();
        let limit = read.limit;
        self.page(&read.topic, read.after, |messages| {
            let fits = |message: &&StreamMessage| (after + 1..before).contains(&message.offset);
            let span: Vec<_> = messages.iter().filter(fits).cloned().collect();
            let skip = if newest {
                span.len().saturating_sub(limit)
            } else {
                0
            };
            span.into_iter().skip(skip).take(limit).collect()
        })
    }

    fn page(
        &mut self,
        topic: &Topic,
        _after: Option<u64>,
        messages: impl FnOnce(&VecDeque<StreamMessage>) -> Vec<StreamMessage>,
    ) -> TopicPage {
        let stream = self.stream(topic);
        let first = stream.messages.front().map(|first| first.offset);
        TopicPage {
            topic: topic.clone(),
            position: stream.position.clone(),
            first: first.unwrap_or(stream.position.offset + 1),
            messages: messages(&stream.messages),
        }
    }

    /// The replica gets everything that the master has.
    pub(crate) fn replicate(&mut self) {
        self.replica = self.master.clone();
    }

    /// The master is lost: the replica takes over with what it has replicated.
    pub(crate) fn promote(&mut self) {
        self.master = self.replica.clone();
        self.lineage += 1;
        self.losses += 1;
    }

    /// The relay begins again with all its data.
    pub(crate) fn restart(&mut self) {
        self.lineage += 1;
        self.losses += 1;
    }

    /// The data of a topic is gone.
    pub(crate) fn evict(&mut self, topic: &Topic) {
        self.master.topics.remove(topic);
        self.losses += 1;
    }

    /// All data is gone.
    pub(crate) fn flush(&mut self) {
        self.master = Store::default();
        self.losses += 1;
    }
}

/// The number that a message of these stories has for its payload: the last field of its form.
pub(crate) fn id_of(body: &[u8]) -> u64 {
    let text = std::str::from_utf8(body).expect("a text");
    let payload = text.trim_end_matches(',').rsplit(':').next();
    payload
        .and_then(|payload| payload.parse().ok())
        .expect("a number")
}

/// The connection in the form of a message between nodes: its third field, `-` when there is none.
/// None of the first three has a comma.
fn conn_of(body: &[u8]) -> Option<ConnId> {
    let text = std::str::from_utf8(body).expect("a text");
    let conn = text.split(',').nth(2)?;
    let conn = Some(conn).filter(|conn| !conn.starts_with('-'))?;
    conn.split_once(':')?.1.parse().ok()
}
