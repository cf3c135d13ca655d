//! Topics that a clustered hub follows, according to the members of their rooms.

use alloc::{boxed::Box, vec::Vec};
use core::time::Duration;

use crate::hub::{Hub, conns::Connection, error::Refusal, error::RequestError};
use crate::relay::{
    Asked, Read, RelayCommand, RelayStats, Topic, TopicPosition, Track, WAITING_MAX, Wanted,
};
use crate::room::{Position, pending_read::PendingRead};
use crate::time::{Timestamp, whole_millis};
use crate::{outbox::Outbox, wire::ConnId, wire::Message};

/// The maximum size of the messages read at once for all members of a topic, in bytes.
const FILL_BYTES_MAX: usize = 4 << 20;
/// The maximum number of topics in one subscribe command.
const SUBSCRIBE_MAX: usize = 256;

impl Hub {
    /// Counters of the relay; `None` when the hub is its own sequencer.
    pub fn relay_stats(&self) -> Option<RelayStats> {
        Some(self.relay.as_ref()?.stats)
    }

    /// True when the relay of a clustered hub can be reached.
    pub fn is_relay_up(&self) -> bool {
        self.relay.as_ref().is_some_and(|relay| relay.is_up())
    }

    /// Commands of a clustered hub that the relay has not answered.
    pub fn relay_pending(&self) -> usize {
        let relay = self.relay.as_ref();
        relay.map_or(0, |relay| relay.publishes.len() + relay.asked())
    }

    /// True while it is uncertain that the relay has the current users of a clustered hub. A hub
    /// that ends then may leave some behind until the lease of its node ends.
    pub fn has_unsure_users(&self) -> bool {
        self.relay.as_ref().is_some_and(|relay| relay.is_unsure())
    }

    /// The time at which the last absent user stops being expected back; `None` when no user is
    /// absent.
    ///
    /// Work: the rooms.
    pub fn users_wait_until(&self) -> Option<Timestamp> {
        let rooms = self.rooms.range(core::ops::Bound::Unbounded);
        let waits = rooms.filter_map(|(_, room)| room.presence()?.last_expiry());
        waits.max()
    }

    /// The topics that a clustered hub follows, sorted, each with its position if that is known.
    pub fn topics(&self) -> impl Iterator<Item = (&Topic, Option<&TopicPosition>)> {
        let relay = self.relay.as_ref().into_iter();
        relay.flat_map(|relay| relay.topics().map(|(topic, it)| (topic, it.position())))
    }

    /// The number of connections that a clustered hub can still take before it needs
    /// [more serials](crate::relay::RelayEvent::Serials); `None` when it needs none.
    pub fn serials_left(&self) -> Option<u64> {
        Some(self.relay.as_ref()?.serials_left(self.next_serial))
    }

    /// Takes the serial of the next connection.
    pub(in crate::hub) fn take_serial(&mut self) -> Result<(), Refusal> {
        if let Some(relay) = self.relay.as_mut() {
            self.next_serial = relay.serial(self.next_serial).ok_or(Refusal::Exhausted)?;
        }
        Ok(())
    }

    /// True when a live connection got this serial, as the hub counts them, or a later one. Ids
    /// begin again after [`ConnId::SERIALS`], so this counts back from the newest.
    pub(in crate::hub) const fn is_since(&self, conn: ConnId, serial: u64) -> bool {
        let age = self.next_serial.wrapping_sub(conn.serial() + 1) % ConnId::SERIALS;
        age < self.next_serial.saturating_sub(serial)
    }

    /// Records that connections opened from here on miss messages of the topic of all.
    pub(crate) fn note_newcomers(&mut self) {
        let next_serial = self.next_serial;
        if let Some(relay) = self.relay.as_mut() {
            relay.note_newcomers(next_serial);
        }
    }

    /// The position of a room in a clustered hub, as far as known.
    pub(in crate::hub) fn relayed_position(&self, room: &str) -> Position<'_> {
        let mut position = self.nowhere();
        if let Some(at) = self.topic_position(&Topic::room(room)) {
            position.epoch = (&*at.epoch).into();
            position.offset = if self.keeps(room) { at.offset } else { 0 };
        }
        position
    }

    pub(crate) fn topic_position(&self, topic: &Topic) -> Option<&TopicPosition> {
        self.relay.as_ref()?.track(topic)?.position()
    }

    /// True while this node is up to date in a topic.
    pub(crate) fn is_live(&self, topic: &Topic) -> bool {
        let track = self.relay.as_ref().and_then(|relay| relay.track(topic));
        track.is_some_and(Track::is_live)
    }

    /// True when the relay keeps the messages of a room.
    pub(crate) fn keeps(&self, room: &str) -> bool {
        let policy = self.policy(room).filter(|_| !self.config.raw);
        policy.is_some_and(|policy| policy.history.is_some())
    }

    /// The milliseconds for which the relay keeps the messages of a room; 0 without a limit.
    pub(crate) fn kept_ms(&self, room: &str) -> u64 {
        let history = self.policy(room).and_then(|policy| policy.history);
        history.map_or(0, |history| whole_millis(history.age))
    }

    /// True when the position of a room is known, or the relay cannot be reached.
    pub fn has_place_in(&self, room: &str) -> bool {
        !self.is_relay_up() || self.topic_position(&Topic::room(room)).is_some()
    }

    /// Asks for the position of a room which a connection is about to be put into: without it, the
    /// connection would be told of a gap.
    pub(crate) fn follow_early(&mut self, now: Timestamp, room: &str, out: &mut Outbox) {
        self.follow(room, out);
        self.unfollow_if_empty(now, room);
    }

    /// Follows the topic of a room that somebody joins.
    pub(super) fn follow(&mut self, room: &str, out: &mut Outbox) {
        let topic = Topic::room(room);
        let Some(relay) = self.relay.as_mut() else {
            return;
        };
        let track = relay.open_track(&topic);
        track.set_idle_until(None);
        let asks = track.is_offline();
        relay.arm(&topic);
        if asks {
            self.subscribe(&[topic], out);
        }
    }

    /// Asks for the positions of topics, when the relay can be asked.
    pub(crate) fn subscribe(&mut self, topics: &[Topic], out: &mut Outbox) {
        let Some(relay) = self.relay.as_mut().filter(|relay| relay.is_up()) else {
            return;
        };
        for topics in topics.chunks(SUBSCRIBE_MAX) {
            let token = relay.ask(Asked::Subscribe(topics.to_vec()));
            let mut wanted = Vec::with_capacity(topics.len());
            for topic in topics {
                if let Some(track) = relay.track_mut(topic) {
                    track.ask(token);
                    let after = track.position().cloned();
                    let topic = topic.clone();
                    wanted.push(Wanted { topic, after });
                }
                relay.arm(topic);
            }
            let topics = wanted;
            out.relay(RelayCommand::Subscribe { token, topics });
        }
    }

    /// Asks for the messages that this node lacks of a topic.
    pub(crate) fn fill(&mut self, topic: &Topic, out: &mut Outbox) {
        let limit = self.config.limits.recovery_messages;
        let Some(relay) = self.relay.as_mut().filter(|relay| relay.is_up()) else {
            return;
        };
        let token = relay.ask(Asked::Fill(topic.clone()));
        if let Some(track) = relay.track_mut(topic) {
            track.ask(token);
            let after = track.position().map(|at| at.offset);
            relay.arm(topic);
            relay.stats.fills += 1;
            out.relay(RelayCommand::Read(Read {
                token,
                topic: topic.clone(),
                after,
                before: None,
                limit,
                bytes: FILL_BYTES_MAX,
                age_ms: 0,
            }));
        }
    }

    /// Holds a join until the position of its room is known.
    pub(crate) fn wait_for_topic(
        &mut self,
        room: &str,
        request: &Message<'_>,
        out: &mut Outbox,
    ) -> Result<(), RequestError> {
        let relay = self.relay.as_mut().filter(|relay| relay.is_up());
        let track = relay
            .ok_or(RequestError::Relay)?
            .open_track(&Topic::room(room));
        if track.joins() >= WAITING_MAX {
            return Err(RequestError::Reads { limit: WAITING_MAX });
        }
        track.push_join(PendingRead::new(request));
        self.follow(room, out);
        Ok(())
    }

    /// Asks for messages of a topic that a request needs.
    pub(crate) fn ask_relay(
        &mut self,
        asked: Asked,
        read: Read,
        out: &mut Outbox,
    ) -> Result<(), RequestError> {
        let relay = self.relay.as_mut().filter(|relay| relay.is_up());
        let relay = relay.ok_or(RequestError::Relay)?;
        if relay.has_enough_requests() {
            return Err(RequestError::Reads { limit: WAITING_MAX });
        }
        if let Asked::Join(topic, _) = &asked
            && let Some(track) = relay.track_mut(topic)
        {
            track.begin_recovery();
        }
        let token = relay.ask(asked);
        out.relay(RelayCommand::Read(Read { token, ..read }));
        Ok(())
    }

    /// Ends and answers the pending joins of a connection that leaves their room.
    pub(super) fn end_joins(&mut self, now: Timestamp, conn: ConnId, room: &str, out: &mut Outbox) {
        let topic = Topic::room(room);
        let Some(relay) = self.relay.as_mut() else {
            return;
        };
        let Some(track) = relay.track_mut(&topic) else {
            return;
        };
        let mut ended = track.end_joins(conn);
        if track.recovers() {
            let is_of = |asked: &Asked| matches!(asked, Asked::Join(of, _) if *of == topic);
            for asked in relay.end_asked(conn, is_of) {
                if let Some(track) = relay.track_mut(&topic) {
                    track.end_recovery();
                }
                ended.extend(asked.into_request());
            }
        }
        for request in ended {
            let to = request.request();
            out.error(conn, to.address(), &RequestError::JoinEnded);
        }
        self.unfollow_if_empty(now, room);
    }

    /// Schedules the end of following a topic, if its room has no members.
    pub(crate) fn unfollow_if_empty(&mut self, now: Timestamp, room: &str) {
        let empty = self.members(room).is_empty();
        let mut linger = Track::LINGER;
        if self.keeps(room) {
            // This node must forget the room before the relay does.
            linger = linger.min(Duration::from_millis(self.kept_ms(room) / 2));
        }
        let topic = Topic::room(room);
        if let Some(relay) = self.relay.as_mut()
            && let Some(track) = relay.track_mut(&topic)
        {
            let idle = empty && track.joins() == 0 && !track.recovers();
            track.set_idle_until(idle.then_some(now + linger));
            relay.arm(&topic);
        }
    }

    /// The names of the rooms that an ending connection leaves, in a clustered hub.
    pub(in crate::hub) fn followed_rooms(&self, ended: &Connection) -> Vec<Box<str>> {
        if !self.is_clustered() {
            return Vec::new();
        }
        let rooms = ended.rooms.iter();
        rooms
            .map(|&slot| self.rooms.get(slot).name.clone())
            .collect()
    }

    pub(in crate::hub) fn unfollow_left(&mut self, now: Timestamp, rooms: &[Box<str>]) {
        for room in rooms {
            self.unfollow_if_empty(now, room);
        }
    }

    /// Acts on due topic timers.
    pub(in crate::hub) fn tick_relay(&mut self, now: Timestamp, out: &mut Outbox) {
        self.tick_users(now, out);
        while let Some(topic) = self.relay.as_mut().and_then(|relay| relay.take_due(now)) {
            self.tick_topic(now, &topic, out);
        }
    }

    fn tick_topic(&mut self, now: Timestamp, topic: &Topic, out: &mut Outbox) {
        let empty = topic
            .as_room()
            .is_some_and(|room| self.members(room).is_empty());
        let Some(relay) = self.relay.as_mut() else {
            return;
        };
        let up = relay.is_up();
        let Some(track) = relay.track_mut(topic) else {
            return;
        };
        let (retries, live) = (track.takes_retry(now), track.is_live());
        let reconciles = track.takes_reconcile(now);
        let mut turns = Vec::new();
        if let Some(roster) = track.roster_mut() {
            roster.end_absence(now, &mut turns);
        }
        let lingered = track.is_over(now);
        let over = lingered && empty && track.joins() == 0 && !track.recovers();
        // A topic that is not followed any more has no later time for them.
        let late = track.expire_acks(if over {
            Timestamp::from_millis(u64::MAX)
        } else {
            now
        });
        if over {
            relay.close_track(topic);
            // This holds even if the topic is to be asked for again: its page failed, but perhaps
            // not the subscription.
            if up {
                let topic = topic.clone();
                out.relay(RelayCommand::Unsubscribe { topic });
            }
        } else {
            if lingered {
                track.set_idle_until(None);
            }
            relay.arm(topic);
        }
        // The relay has the message, but this node does not: something was lost on the way.
        if !late.is_empty() && live && !over {
            self.fill(topic, out);
        }
        for ack in late {
            self.acknowledge(topic, ack, false, out);
        }
        if retries && !over {
            self.subscribe(core::slice::from_ref(topic), out);
        }
        if let Some(room) = topic.as_room() {
            self.tell_turns(room, turns, out);
        }
        if reconciles && !over {
            self.tick_roster(now, topic, out);
        }
        if !over && let Some(room) = topic.as_room() {
            self.unfollow_if_empty(now, room);
        }
    }

    /// The part of `assert_consistent` for topics.
    pub(in crate::hub) fn assert_follows(&self) {
        let Some(relay) = self.relay.as_ref() else {
            return;
        };
        relay.assert_consistent();
        if !relay.is_up() {
            // A restored hub follows its rooms only from then on.
            return;
        }
        for room in self.rooms("", None).filter(|room| room.members > 0) {
            let topic = Topic::room(room.name);
            assert!(
                relay.track(&topic).is_some(),
                "{} is not followed",
                room.name
            );
        }
        for (topic, track) in relay.topics() {
            let Some(room) = topic.as_room() else {
                continue;
            };
            let waits = track.joins() > 0 || track.recovers() || track.due().is_some();
            let followed = waits || !self.members(room).is_empty();
            assert!(followed, "{room} is followed for nobody");
        }
    }
}
