//! A client: its requests, the frames it received, and whether they are possible.

mod frame;

use std::{collections::BTreeMap, panic};

use roomcast_core::{
    ConnId, Hub,
    relay::{Topic, TopicPosition},
};

use self::frame::{Code, Frame, Joined, Page, Sent};
use super::broker::Placed;
use super::seen::Seen;
use super::truth::{Claim, Recipient, Truth};

/// A statement that does not hold.
pub(crate) struct Violation(pub(crate) String);

/// Ends a story. No panic is printed: the story says what happened.
pub(crate) fn violated(text: impl Into<String>) -> ! {
    panic::resume_unwind(Box::new(Violation(text.into())))
}

macro_rules! holds {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            $crate::cluster::client::violated(format!($($text)+));
        }
    };
}
pub(crate) use holds;

/// Rooms of these stories, and whether each keeps a history.
pub(crate) const ROOMS: [(&str, bool); 3] = [("den", true), ("log", true), ("plain", false)];

pub(crate) fn keeps(room: &str) -> bool {
    ROOMS.contains(&(room, true))
}

#[derive(Debug, Default)]
pub(crate) struct Client {
    pub(crate) index: usize,
    pub(crate) user: Option<&'static str>,
    /// The node and the connection, while there is one.
    pub(crate) link: Option<(usize, ConnId)>,
    /// All connections that it ever had, the newest last.
    pub(crate) conns: Vec<ConnId>,
    pub(crate) requests: BTreeMap<u64, Request>,
    next_id: u64,
    pub(crate) rooms: BTreeMap<String, Place>,
    /// Its positions in rooms that keep a history.
    pub(crate) known: BTreeMap<String, Known>,
    /// Its position in the topic of all.
    pub(crate) all: Place,
    /// Users whom it knows to be in rooms that show it.
    pub(crate) seen: BTreeMap<String, Seen>,
    pub(crate) told: Told,
}

/// Counts of what a client was told.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Told {
    pub(crate) messages: u64,
    pub(crate) gaps: u64,
    pub(crate) recovered: u64,
    pub(crate) acked: u64,
    pub(crate) unavailable: u64,
    pub(crate) pages: u64,
    pub(crate) notices: u64,
}

#[derive(Debug, Clone)]
pub(crate) enum Request {
    Join { room: String, since: Option<Known> },
    Leave { room: String },
    Publish { message: u64 },
    History { room: String },
    Members { room: String },
}

/// A position, and the part of the log after which the client lacks messages.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) epoch: String,
    pub(crate) offset: u64,
    next: usize,
}

/// A membership.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    /// Nothing before this place in the log may come.
    next: usize,
    /// Everything from this place in the log on must come.
    owed: usize,
    /// True when a gap was told, and nothing came since.
    gap: bool,
    epoch: Option<String>,
}

impl Client {
    pub(crate) fn new(index: usize, user: Option<&'static str>) -> Self {
        Self {
            index,
            user,
            ..Self::default()
        }
    }

    /// Takes a connection to a node, which is at this place in the topic of everything but
    /// single rooms.
    pub(crate) fn connected(
        &mut self,
        (node, conn): (usize, ConnId),
        at: Option<&TopicPosition>,
        log: &[Placed],
    ) {
        self.link = Some((node, conn));
        self.conns.push(conn);
        let is_past = |placed: &Placed| {
            let epoch = at.filter(|at| at.epoch == placed.position.epoch);
            let is_past = epoch.is_some_and(|at| placed.position.offset <= at.offset);
            placed.topic == Topic::All && is_past
        };
        self.all = Place {
            next: log.iter().rposition(is_past).map_or(0, |last| last + 1),
            owed: log.len(),
            epoch: at.map(|at| at.epoch.to_string()),
            ..Place::default()
        };
    }

    /// The connection is over: what it asked for is not answered any more.
    pub(crate) fn disconnected(&mut self) {
        self.link = None;
        self.requests.clear();
        self.rooms.clear();
        self.seen.clear();
    }

    pub(crate) fn request(&mut self, request: Request) -> u64 {
        self.next_id += 1;
        self.requests.insert(self.next_id, request);
        self.next_id
    }

    /// Takes a frame of a node.
    pub(crate) fn sees(
        &mut self,
        conn: ConnId,
        text: &str,
        hub: &Hub,
        (truth, log): (&mut Truth, &[Placed]),
    ) {
        let frame: Frame<'_> = serde_json::from_str(text).expect("a frame");
        holds!(
            self.link.is_some_and(|(_, of)| of == conn),
            "I25: a frame for a connection that is over: {text}"
        );
        let known = frame.id.map(|id| self.requests.remove(&id));
        match known {
            Some(None) => violated(format!("I17: an answer to nothing: {text}")),
            Some(Some(request)) => self.answered(request, &frame, truth, log),
            None => match &*frame.event {
                "m" => self.received(conn, &frame, hub, (truth, log)),
                "$gap" => self.gap(frame.room.as_deref()),
                "$bye" => {}
                event @ ("$joined" | "$left") => self.notice(event, &frame),
                _ => violated(format!("a frame that nobody expects: {text}")),
            },
        }
    }

    fn notice(&mut self, event: &str, frame: &Frame<'_>) {
        let room = frame.room.as_deref().expect("a room");
        holds!(
            self.rooms.contains_key(room),
            "I10, I11: {event} in {room}, where it is not"
        );
        self.told.notices += 1;
        if let Some(seen) = self.seen.get_mut(room) {
            seen.takes(event, frame.data.expect("data").get());
        }
    }

    fn gap(&mut self, room: Option<&str>) {
        self.told.gaps += 1;
        match room {
            None => self.all.gap = true,
            Some(room) => {
                let Some(place) = self.rooms.get_mut(room) else {
                    violated(format!("I10, I11: a gap in {room}, where it is not"));
                };
                place.gap = true;
            }
        }
    }

    fn recipient(&self, conn: ConnId) -> Recipient<'_> {
        Recipient {
            client: self.index,
            user: self.user,
            conn,
            conns: &self.conns,
        }
    }

    fn received(
        &mut self,
        conn: ConnId,
        frame: &Frame<'_>,
        hub: &Hub,
        (truth, log): (&Truth, &[Placed]),
    ) {
        self.told.messages += 1;
        let id: u64 = frame.data.expect("data").get().parse().expect("a number");
        let topic = frame.room.as_deref().map_or(Topic::All, Topic::room);
        let mut topics = hub.topics();
        let at = topics.find_map(|(of, at)| at.filter(|_| *of == topic));
        let epoch = at.map(|at| &*at.epoch);
        let who = (self.index, conn.to_string());
        let claim = truth.claim(id, &self.recipient(conn));
        holds!(
            claim != Claim::Never,
            "I15: {who:?} gets {id}, which it never may"
        );
        let place = match topic.as_room() {
            None => &self.all,
            Some(room) => match self.rooms.get(room) {
                Some(place) => place,
                None => violated(format!(
                    "I10, I11: {who:?} gets {id} of {room}, and is not in"
                )),
            },
        };
        // After a gap the epoch is that of the node.
        let epoch = place.epoch.as_deref().filter(|_| !place.gap).or(epoch);
        let from = frame.from.as_ref().map(|from| from.conn);
        let is_it = |at: &usize| *at >= place.next && log[*at].conn == from;
        // A message that the relay lost may have a second position, in another epoch.
        let all = truth.positions(id).iter().copied();
        let all: Vec<usize> = all.filter(is_it).collect();
        let is_of_now = |at: &&usize| epoch == Some(&*log[**at].position.epoch);
        let likely = if place.gap { all.last() } else { all.first() };
        let Some(at) = all.iter().find(is_of_now).or(likely).copied() else {
            violated(format!("I12: {who:?} gets {id} again, or before its time"));
        };
        let placed = &log[at];
        if let Some(epoch) = &place.epoch
            && !place.gap
        {
            let now = &placed.position.epoch;
            holds!(
                **epoch == **now,
                "I32: {who:?} is in {epoch}, and {id} is of {now}"
            );
        }
        self.nothing_is_missing(&topic, place, conn, at, truth, log);
        let offset = topic
            .as_room()
            .is_some_and(keeps)
            .then_some(placed.position.offset);
        holds!(
            frame.offset == offset,
            "I28: {id} has {:?}, not {offset:?}",
            frame.offset
        );
        let place = match topic.as_room() {
            None => &mut self.all,
            Some(room) => self.rooms.get_mut(room).expect("it was there"),
        };
        let (epoch, next) = (placed.position.epoch.to_string(), at + 1);
        place.epoch = Some(epoch.clone());
        (place.next, place.owed, place.gap) = (next, next, false);
        if let (Some(room), Some(offset)) = (topic.as_room(), offset) {
            let known = Known {
                epoch,
                offset,
                next,
            };
            self.known.insert(room.to_owned(), known);
        }
    }

    /// Checks that no owed message precedes a position in the log, unless a gap was reported.
    fn nothing_is_missing(
        &self,
        topic: &Topic,
        place: &Place,
        conn: ConnId,
        to: usize,
        truth: &Truth,
        log: &[Placed],
    ) {
        if place.gap {
            return;
        }
        for &at in truth.positions_in(topic, place.owed.max(place.next), to) {
            let id = log[at].id;
            let claim = truth.claim(id, &self.recipient(conn));
            holds!(
                claim != Claim::Owed,
                "I13: {} ({conn}) is not told that it lacks {id} of {topic:?}, at {:?}",
                self.index,
                log[at].position
            );
        }
    }

    fn answered(&mut self, request: Request, frame: &Frame<'_>, truth: &mut Truth, log: &[Placed]) {
        if let Some(Code { code }) = &frame.error {
            let allowed = match &request {
                Request::Join { .. } => ["unavailable", "forbidden"].contains(&&**code),
                Request::Publish { .. } => code == "unavailable",
                Request::History { .. } | Request::Members { .. } => {
                    ["unavailable", "forbidden"].contains(&&**code)
                }
                Request::Leave { .. } => false,
            };
            holds!(allowed, "I17: {request:?} is answered {code}");
            self.told.unavailable += 1;
            return;
        }
        let data = frame.data.expect("data").get();
        match request {
            Request::Join { room, since } => {
                let joined = serde_json::from_str(data).expect("an answer to $join");
                self.joined(room, since, &joined, truth, log);
            }
            Request::Leave { room } => {
                self.rooms.remove(&room);
                self.seen.remove(&room);
            }
            Request::Members { room } => {
                self.seen.insert(room, Seen::page(data));
            }
            Request::Publish { message } => {
                let sent: Sent = serde_json::from_str(data).expect("an answer to a publish");
                self.acked(message, sent.offset, truth, log);
            }
            Request::History { room } => {
                let page: Page<'_> = serde_json::from_str(data).expect("a page");
                self.page(&room, &page, truth, log);
            }
        }
    }

    fn acked(&mut self, message: u64, offset: Option<u64>, truth: &mut Truth, log: &[Placed]) {
        self.told.acked += 1;
        let positions = truth.positions(message);
        holds!(
            !positions.is_empty(),
            "an answer to {message}, which has no place"
        );
        if let Some(offset) = offset {
            let is_one = positions
                .iter()
                .any(|&at| log[at].position.offset == offset);
            holds!(is_one, "I34: {message} is not at {offset}");
        }
        let message = truth.messages.get_mut(&message).expect("it was published");
        message.acked = true;
    }

    fn joined(
        &mut self,
        room: String,
        since: Option<Known>,
        joined: &Joined,
        truth: &Truth,
        log: &[Placed],
    ) {
        if joined.already {
            holds!(
                self.rooms.contains_key(&room),
                "I5: {room}: `already` is wrong"
            );
            return;
        }
        holds!(
            !self.rooms.contains_key(&room),
            "I5: {room}: `already` is wrong"
        );
        let (epoch, offset) = (joined.epoch.clone(), joined.offset);
        let mut place = Place {
            owed: log.len(),
            ..Place::default()
        };
        if keeps(&room) {
            let topic = Topic::room(&room);
            let of_epoch = |at: &&usize| *log[**at].position.epoch == *epoch;
            let positions = truth.positions_in(&topic, 0, log.len());
            let mut positions = positions.iter().filter(of_epoch).copied();
            let before = |at: &usize| log[*at].position.offset <= offset;
            if let Some(last) = positions.clone().rfind(before) {
                (place.next, place.owed) = (last + 1, last + 1);
            } else if let Some(first) = positions.next() {
                (place.next, place.owed) = (first, first);
            }
        }
        place.epoch = Some(epoch.clone());
        match (joined.recovered, since) {
            (Some(true), Some(since)) => {
                self.told.recovered += 1;
                holds!(since.epoch == epoch, "I31: recovered from {}", since.epoch);
                holds!(
                    since.offset <= offset,
                    "I31: recovered from ahead of {offset}"
                );
                (place.next, place.owed) = (since.next, since.next);
            }
            (Some(true), None) => violated("I30: recovered from nothing"),
            _ if keeps(&room) => {
                let next = place.owed;
                let known = Known {
                    epoch,
                    offset,
                    next,
                };
                self.known.insert(room.clone(), known);
            }
            _ => {}
        }
        self.rooms.insert(room, place);
    }

    fn page(&mut self, room: &str, page: &Page<'_>, truth: &Truth, log: &[Placed]) {
        self.told.pages += 1;
        let mut last = 0;
        for message in &page.messages {
            let offset = message.offset.expect("an offset");
            let id: u64 = message.data.expect("data").get().parse().expect("a number");
            holds!(offset > last, "I29: {offset} behind {last}");
            last = offset;
            let of = truth.continued.epoch_of(&page.epoch, offset);
            let is_it = |&at: &usize| {
                let Placed {
                    topic, position, ..
                } = &log[at];
                let epoch = *position.epoch == *of;
                epoch && position.offset == offset && topic.as_room() == Some(room)
            };
            holds!(
                truth.positions(id).iter().any(is_it),
                "I29: {id} is not at {offset}"
            );
        }
    }

    /// Checks, after all faults, that each owed message has come or a gap was reported.
    pub(crate) fn check_end(&self, truth: &Truth, log: &[Placed]) {
        let Some((_, conn)) = self.link else {
            return;
        };
        let pending = self.requests.values().next();
        holds!(
            pending.is_none(),
            "I17: {} waits for {pending:?}",
            self.index
        );
        self.nothing_is_missing(&Topic::All, &self.all, conn, log.len(), truth, log);
        for (room, place) in &self.rooms {
            let topic = Topic::room(room);
            self.nothing_is_missing(&topic, place, conn, log.len(), truth, log);
        }
    }
}
