//! The relay state of a clustered hub.

use alloc::{
    boxed::Box, collections::BTreeMap, collections::BTreeSet, collections::VecDeque, vec::Vec,
};

use super::{publishes::Publishes, stats::RelayStats, topic::Topic, track::Track};
use crate::{room::pending_read::PendingRead, time::Timestamp, wire::ConnId};

/// The limit on requests that wait for the relay, per topic and in total: as many as return at once
/// when a node has ended.
pub(crate) const WAITING_MAX: usize = 65_536;

/// The state of the relay: followed topics, unanswered publishes and pending requests.
#[derive(Debug, Clone)]
pub(crate) struct Relay {
    pub(crate) node: Box<str>,
    up: bool,
    tracks: BTreeMap<Topic, Track>,
    pub(crate) publishes: Publishes,
    asked: BTreeMap<u64, Asked>,
    /// The number of those that clients wait for.
    requests: usize,
    /// Clients that wait for users, by the room that the relay was asked about for them.
    lists: BTreeMap<Box<str>, Listing>,
    /// The token of the last command.
    next: u64,
    /// An entry for each topic with a due time.
    timers: BTreeSet<(Timestamp, Topic)>,
    armed: BTreeMap<Topic, Timestamp>,
    /// The serial that connections to come must be below.
    serials_end: u64,
    /// The ranges of serials after these, each as its first and its end.
    serials: VecDeque<(u64, u64)>,
    /// Users whose state at the relay is uncertain, by room.
    unsure: BTreeSet<(Box<str>, Box<str>)>,
    /// The time at which these users are entered again.
    unsure_at: Option<Timestamp>,
    /// Rooms whose users were sent to the relay without an answer. A lost connection's buffer may
    /// still deliver them later, when they are outdated.
    doubts: BTreeSet<Box<str>>,
    /// The time at which the users of these rooms are sent again, even if there are none.
    doubts_at: Option<Timestamp>,
    /// The serial of the first connection that opened since the topic of all was last followed.
    /// These connections are not sent its missed messages, which they may have received on another
    /// node.
    newcomers: Option<u64>,
    pub(crate) stats: RelayStats,
    /// Answers for backends that the host has not taken.
    pub(crate) answered: Vec<(u64, Answered)>,
}

/// The outcome of a publish for a backend: the connections that it reached here and its offset, or
/// whether its key is known of another message.
pub(crate) type Answered = Result<(usize, Option<u64>), bool>;

/// Clients that wait for the users of a room. However many they are, one list is in flight at a
/// time: clients that ask meanwhile get the next list, as the first may be older than their
/// request.
#[derive(Debug, Clone, Default)]
struct Listing {
    /// Clients whose list is in flight.
    first: Vec<PendingRead>,
    next: Vec<PendingRead>,
}

impl Listing {
    fn len(&self) -> usize {
        self.first.len() + self.next.len()
    }
}

/// A pending request to the relay.
#[derive(Debug, Clone)]
pub(crate) enum Asked {
    /// Positions of topics, behind a subscription.
    Subscribe(Vec<Topic>),
    /// Messages that a topic lacks.
    Fill(Topic),
    /// Messages that a client missed which joins a room.
    Join(Topic, PendingRead),
    /// A page of a history for a client.
    History(PendingRead),
    /// Users of a room; perhaps for the [clients that wait](Relay::begin_list).
    Users(Box<str>, bool),
    /// A user who is entered into a room.
    Present(Box<str>, Box<str>),
    /// All users of this node in a room.
    Reconcile(Box<str>),
}

impl Asked {
    /// The request of a client that waits for it.
    pub(crate) const fn request(&self) -> Option<&PendingRead> {
        match self {
            Self::Join(_, request) | Self::History(request) => Some(request),
            Self::Subscribe(_)
            | Self::Fill(_)
            | Self::Users(..)
            | Self::Present(..)
            | Self::Reconcile(_) => None,
        }
    }

    pub(crate) fn into_request(self) -> Option<PendingRead> {
        match self {
            Self::Join(_, request) | Self::History(request) => Some(request),
            Self::Subscribe(_)
            | Self::Fill(_)
            | Self::Users(..)
            | Self::Present(..)
            | Self::Reconcile(_) => None,
        }
    }
}

impl Relay {
    /// The relay of a node that has not reached it yet. Connections have the serials below
    /// `serials_end`.
    pub(crate) fn new(node: Box<str>, serials_end: u64) -> Self {
        Self {
            node,
            up: false,
            tracks: [(Topic::All, Track::default())].into(),
            publishes: Publishes::default(),
            asked: BTreeMap::new(),
            requests: 0,
            lists: BTreeMap::new(),
            next: 0,
            timers: BTreeSet::new(),
            armed: BTreeMap::new(),
            serials_end,
            serials: VecDeque::new(),
            unsure: BTreeSet::new(),
            unsure_at: None,
            doubts: BTreeSet::new(),
            doubts_at: None,
            newcomers: None,
            stats: RelayStats::default(),
            answered: Vec::new(),
        }
    }

    pub(crate) const fn is_up(&self) -> bool {
        self.up
    }

    pub(crate) const fn set_up(&mut self, up: bool) {
        self.up = up;
    }

    /// A token for a command.
    pub(crate) const fn token(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Asks for something, by a command of the token that is returned.
    pub(crate) fn ask(&mut self, asked: Asked) -> u64 {
        let token = self.token();
        self.requests += usize::from(asked.request().is_some());
        self.asked.insert(token, asked);
        token
    }

    /// The number of things that the relay was asked for.
    pub(crate) fn asked(&self) -> usize {
        self.asked.len()
    }

    /// True when no further request of a client may wait.
    pub(crate) const fn has_enough_requests(&self) -> bool {
        self.requests >= WAITING_MAX
    }

    pub(crate) fn take_asked(&mut self, token: u64) -> Option<Asked> {
        let asked = self.asked.remove(&token)?;
        self.requests -= usize::from(asked.request().is_some());
        Some(asked)
    }

    pub(crate) fn take_all_asked(&mut self) -> impl Iterator<Item = Asked> + use<> {
        self.requests = self.lists.values().map(Listing::len).sum();
        core::mem::take(&mut self.asked).into_values()
    }

    /// Adds a client that waits for the users of a room. Returns true when the relay is to be asked
    /// for them.
    pub(crate) fn begin_list(&mut self, room: &str, request: PendingRead) -> bool {
        self.requests += 1;
        if let Some(listing) = self.lists.get_mut(room) {
            listing.next.push(request);
            return false;
        }
        let first = [request].into();
        let next = Vec::new();
        self.lists.insert(room.into(), Listing { first, next });
        true
    }

    /// Takes the clients whose list has arrived. Returns true when others wait, for whom the relay
    /// is to be asked again.
    pub(crate) fn take_list(&mut self, room: &str) -> (Vec<PendingRead>, bool) {
        let Some(listing) = self.lists.get_mut(room) else {
            return (Vec::new(), false);
        };
        let next = core::mem::take(&mut listing.next);
        let first = core::mem::replace(&mut listing.first, next);
        let has_more = !listing.first.is_empty();
        if !has_more {
            self.lists.remove(room);
        }
        self.requests -= first.len();
        (first, has_more)
    }

    /// Takes all clients that wait for the users of a room.
    pub(crate) fn end_list(&mut self, room: &str) -> Vec<PendingRead> {
        let listing = self.lists.remove(room).unwrap_or_default();
        self.requests -= listing.len();
        let mut ended = listing.first;
        ended.extend(listing.next);
        ended
    }

    /// Takes the pending requests of a connection for which `is_over` is true.
    pub(crate) fn end_asked(
        &mut self,
        conn: ConnId,
        is_over: impl Fn(&Asked) -> bool,
    ) -> Vec<Asked> {
        let is_of = |asked: &Asked| asked.request().is_some_and(|it| it.conn == conn);
        let ended = self
            .asked
            .extract_if(.., |_, asked| is_of(asked) && is_over(asked));
        let ended: Vec<_> = ended.map(|(_, asked)| asked).collect();
        self.requests -= ended.len();
        ended
    }

    pub(crate) fn track(&self, topic: &Topic) -> Option<&Track> {
        self.tracks.get(topic)
    }

    pub(crate) fn track_mut(&mut self, topic: &Topic) -> Option<&mut Track> {
        self.tracks.get_mut(topic)
    }

    pub(crate) fn open_track(&mut self, topic: &Topic) -> &mut Track {
        self.tracks.entry(topic.clone()).or_default()
    }

    pub(crate) fn close_track(&mut self, topic: &Topic) {
        self.tracks.remove(topic);
        self.arm(topic);
    }

    /// Records that the topic of all is not followed from now on, until [`admit`](Self::admit): the
    /// next connection has this serial.
    pub(crate) fn note_newcomers(&mut self, next_serial: u64) {
        self.newcomers.get_or_insert(next_serial);
    }

    /// The serial of the first connection that opened while the topic of all was not followed.
    pub(crate) const fn newcomers(&self) -> Option<u64> {
        self.newcomers
    }

    /// The topic of all is followed by all connections.
    pub(crate) const fn admit(&mut self) {
        self.newcomers = None;
    }

    /// The topics that are followed.
    pub(crate) fn topics(&self) -> impl Iterator<Item = (&Topic, &Track)> {
        self.tracks.iter()
    }

    /// Sets the timer of a topic by what it has to do.
    pub(crate) fn arm(&mut self, topic: &Topic) {
        let due = self.tracks.get(topic).and_then(Track::due);
        if self.armed.get(topic).copied() == due {
            return;
        }
        if let Some(before) = self.armed.remove(topic) {
            self.timers.remove(&(before, topic.clone()));
        }
        if let Some(due) = due {
            self.armed.insert(topic.clone(), due);
            self.timers.insert((due, topic.clone()));
        }
    }

    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        let due = self.timers.first().map(|(due, _)| *due);
        due.into_iter()
            .chain(self.unsure_at)
            .chain(self.doubts_at)
            .min()
    }

    /// Marks a user to be entered again, at the time `at` or when the relay can be reached again.
    pub(crate) fn add_unsure(&mut self, entry: (Box<str>, Box<str>), at: Option<Timestamp>) {
        self.unsure.insert(entry);
        self.unsure_at = self.unsure_at.or(at);
    }

    /// True when users are to be sent to the relay again.
    pub(crate) fn is_unsure(&self) -> bool {
        !(self.unsure.is_empty() && self.doubts.is_empty())
    }

    /// Takes the users who are to be entered again, when that is due.
    pub(crate) fn take_unsure(&mut self, now: Timestamp) -> BTreeSet<(Box<str>, Box<str>)> {
        match self.unsure_at.take_if(|at| *at <= now) {
            Some(_) if self.up => core::mem::take(&mut self.unsure),
            _ => BTreeSet::new(),
        }
    }

    /// Records that until this time the relay may have other users of a room than it was sent.
    pub(crate) fn add_doubt(&mut self, room: Box<str>, until: Timestamp) {
        self.doubts.insert(room);
        self.doubts_at = self.doubts_at.max(Some(until));
    }

    /// Takes the rooms that are in doubt, when it is time to tell the relay again.
    pub(crate) fn take_doubts(&mut self, now: Timestamp) -> BTreeSet<Box<str>> {
        match self.doubts_at.take_if(|at| *at <= now) {
            Some(_) if self.up => core::mem::take(&mut self.doubts),
            _ => BTreeSet::new(),
        }
    }

    /// Takes all users to be entered again, as the relay can be reached again.
    pub(crate) fn take_all_unsure(&mut self, until: Timestamp) -> BTreeSet<(Box<str>, Box<str>)> {
        self.unsure_at = None;
        self.doubts_at = (!self.doubts.is_empty()).then_some(until);
        core::mem::take(&mut self.unsure)
    }

    /// Takes the timer of a topic that is due.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Option<Topic> {
        self.timers.first().filter(|(due, _)| *due <= now)?;
        let (_, topic) = self.timers.pop_first()?;
        self.armed.remove(&topic);
        Some(topic)
    }

    /// Adds serials for connections to come.
    pub(crate) fn add_serials(&mut self, first: u64, count: u64) {
        self.serials.push_back((first, first.saturating_add(count)));
    }

    /// The serial of the next connection, when it should be `next`; `None` when none is left.
    pub(crate) fn serial(&mut self, next: u64) -> Option<u64> {
        if next < self.serials_end {
            return Some(next);
        }
        let (first, end) = self.serials.pop_front()?;
        self.serials_end = end;
        Some(first.max(next)).filter(|serial| *serial < end)
    }

    /// The number of connections that can still get a serial, when the next one is `next`.
    pub(crate) fn serials_left(&self, next: u64) -> u64 {
        let later = self.serials.iter().map(|(first, end)| end - first);
        self.serials_end.saturating_sub(next) + later.sum::<u64>()
    }

    pub(crate) fn assert_consistent(&self) {
        self.publishes.assert_consistent();
        for (topic, track) in &self.tracks {
            assert_eq!(self.armed.get(topic).copied(), track.due(), "{topic:?}");
            assert!(self.up || track.is_offline(), "{topic:?} is not offline");
        }
        assert_eq!(self.armed.len(), self.timers.len());
        let requests = self.asked.values().filter(|it| it.request().is_some());
        let listed: usize = self.lists.values().map(Listing::len).sum();
        assert_eq!(
            requests.count() + listed,
            self.requests,
            "requests that wait"
        );
        let is_listed = |asked: &&Asked| matches!(asked, Asked::Users(room, true) if self.lists.contains_key(room));
        let is_list = |asked: &&Asked| matches!(asked, Asked::Users(_, true));
        for lists in [
            self.asked.values().filter(is_list).count(),
            self.asked.values().filter(is_listed).count(),
        ] {
            assert_eq!(lists, self.lists.len(), "lists on their way");
        }
        assert!(self.up || self.asked.is_empty() && self.publishes.len() == 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_who_are_entered_are_no_requests_of_clients() {
        let mut relay = Relay::new("n".into(), 0);
        for _ in 0..WAITING_MAX {
            relay.ask(Asked::Present("r".into(), "u".into()));
        }
        assert!(!relay.has_enough_requests());
    }
}
