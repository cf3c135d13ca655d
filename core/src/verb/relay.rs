//! Events of the relay, and the requests that waited for them.

use alloc::{boxed::Box, vec::Vec};
use core::{ops::Bound, slice::from_ref};

use crate::hub::{Hub, RequestError};
use crate::outbox::Outbox;
use crate::relay::{Asked, Effect, Published, RelayEvent, Taken, Topic, TopicPage, Track};
use crate::room::pending_read::PendingRead;
use crate::time::Timestamp;

impl Hub {
    /// Applies an event of the relay in a clustered hub; any other hub ignores it.
    ///
    /// Work: the members of the event's room, the messages in it, and the requests that waited for
    /// it. [`RelayEvent::Up`] and [`RelayEvent::Down`]: all topics.
    pub fn take_event(&mut self, now: Timestamp, event: &RelayEvent, out: &mut Outbox) {
        if !self.is_clustered() {
            return;
        }
        match event {
            RelayEvent::Up => self.relay_up(now, out),
            RelayEvent::Down => self.relay_down(now, out),
            RelayEvent::Published { token, outcome } => {
                self.take_published(now, *token, outcome, out);
            }
            RelayEvent::Message {
                topic,
                epoch,
                offset,
                body,
            } => self.take_message(now, topic, (epoch, *offset), body, out),
            RelayEvent::Subscribed { token, pages } => {
                if let Some(Asked::Subscribe(topics)) = self.take_asked(*token) {
                    self.take_pages(now, *token, (&topics, pages), out);
                }
            }
            RelayEvent::Page { token, page } => {
                if let Some(asked) = self.take_asked(*token) {
                    self.take_answer(now, *token, (asked, page), out);
                }
            }
            RelayEvent::Present {
                token,
                change,
                room,
                name,
            } => self.take_entered(*token, *change, (room, name), out),
            RelayEvent::Reconciled {
                token,
                room,
                changes,
            } => {
                self.take_asked(*token);
                for (name, change) in changes {
                    self.take_present((room, name), *change, out);
                }
            }
            RelayEvent::Users { token, page } => {
                if let Some(Asked::Users(room, is_for_clients)) = self.take_asked(*token) {
                    self.take_users(now, (*token, page), out);
                    if is_for_clients {
                        self.take_list(now, &room, out);
                    }
                }
            }
            RelayEvent::Notice(notice) => self.take_notice(notice, out),
            RelayEvent::Registered => self.enter_all(out),
            RelayEvent::Reaped { room, names } => self.take_reaped(room, names, out),
            RelayEvent::Withdrawn { users, everyone_s } => {
                self.take_withdrawn(now, users, *everyone_s, out);
            }
            RelayEvent::Wanted { room } => self.follow_early(now, room, out),
            RelayEvent::Failed { token } => {
                if let Some(asked) = self.take_asked(*token) {
                    self.fail(now, asked, Some(now + Track::RETRY), out);
                }
            }
            RelayEvent::Serials { first, count } => {
                if let Some(relay) = self.relay_mut() {
                    relay.add_serials(*first, *count);
                }
            }
        }
    }

    fn take_asked(&mut self, token: u64) -> Option<Asked> {
        self.relay_mut()?.take_asked(token)
    }

    fn relay_up(&mut self, now: Timestamp, out: &mut Outbox) {
        if self.is_relay_up() {
            // Requests on the previous connections are lost.
            self.relay_down(now, out);
        }
        let rooms = self.table().range(Bound::Unbounded);
        let rooms = rooms.filter(|(_, room)| !room.members.is_empty());
        let mut topics: Vec<Topic> = rooms.map(|(_, room)| Topic::room(&room.name)).collect();
        topics.insert(0, Topic::All);
        if let Some(relay) = self.relay_mut() {
            relay.set_up(true);
            for topic in &topics {
                relay.open_track(topic);
            }
        }
        self.subscribe(&topics, out);
        let until = now + Track::RECONCILE;
        let unsure = self.relay_mut().map(|relay| relay.take_all_unsure(until));
        self.enter_again(unsure.into_iter().flatten(), out);
    }

    /// Answers the clients that wanted the users of a room before the relay was asked for them.
    fn take_list(&mut self, now: Timestamp, room: &str, out: &mut Outbox) {
        if self.can_ask_users(room) && !self.knows_users(room) {
            // The list is of another epoch, or has to be requested again.
            return self.ask_users(room, true, out);
        }
        let Some(relay) = self.relay_mut() else {
            return;
        };
        let (mut waiting, mut has_more) = relay.take_list(room);
        if has_more && !self.can_ask_users(room) {
            // The room is not followed any more, so none of these clients is a member.
            let ended = self.relay_mut().map(|relay| relay.end_list(room));
            waiting.extend(ended.into_iter().flatten());
            has_more = false;
        }
        for request in waiting {
            if self.connection(request.conn).is_none() {
                continue;
            }
            let request = request.request();
            if let Err(error) = self.list_members(now, &request, out) {
                out.error(request.conn, request.address(), &error);
            }
        }
        if has_more {
            self.ask_users(room, true, out);
        }
    }

    fn relay_down(&mut self, now: Timestamp, out: &mut Outbox) {
        self.note_newcomers();
        let Some(relay) = self.relay_mut() else {
            return;
        };
        relay.set_up(false);
        let asked: Vec<Asked> = relay.take_all_asked().collect();
        let pending: Vec<_> = relay.publishes.take_all().collect();
        let topics: Vec<Topic> = relay.topics().map(|(topic, _)| topic.clone()).collect();
        for pending in pending {
            match pending.placed().cloned() {
                Some(position) => self.accepted(now, pending, (position, false), out),
                None => self.failed(now, pending, &Published::TimedOut, out),
            }
        }
        for asked in asked {
            self.fail(now, asked, None, out);
        }
        for topic in topics {
            self.stop_following(&topic, out);
        }
    }

    /// Stops following a topic when the relay is down.
    fn stop_following(&mut self, topic: &Topic, out: &mut Outbox) {
        let empty = topic
            .as_room()
            .is_some_and(|room| self.members(room).is_empty());
        let Some(relay) = self.relay_mut() else {
            return;
        };
        let Some(track) = relay.track_mut(topic) else {
            return;
        };
        track.go_offline(None);
        let joins = track.take_joins();
        let acks = track.expire_acks(Timestamp::from_millis(u64::MAX));
        if empty {
            relay.close_track(topic);
        } else {
            relay.arm(topic);
        }
        for ack in acks {
            self.acknowledge(topic, ack, false, out);
        }
        for join in joins {
            self.refuse_read(&join, out);
        }
    }

    fn refuse_read(&self, read: &PendingRead, out: &mut Outbox) {
        if self.connection(read.conn).is_some() {
            let request = read.request();
            out.error(read.conn, request.address(), &RequestError::Relay);
        }
    }

    /// Handles a request that the relay did not answer.
    fn fail(
        &mut self,
        now: Timestamp,
        asked: Asked,
        retry_at: Option<Timestamp>,
        out: &mut Outbox,
    ) {
        match asked {
            Asked::Subscribe(topics) => {
                for topic in topics {
                    self.fail_topic(now, &topic, retry_at, out);
                }
            }
            Asked::Fill(topic) => self.fail_topic(now, &topic, retry_at, out),
            Asked::Join(topic, request) => {
                if let Some(track) = self.relay_mut().and_then(|relay| relay.track_mut(&topic)) {
                    track.end_recovery();
                }
                self.refuse_read(&request, out);
                if let Some(room) = topic.as_room() {
                    self.unfollow_if_empty(now, room);
                }
            }
            Asked::History(request) => self.refuse_read(&request, out),
            Asked::Users(room, is_for_clients) => {
                if is_for_clients && let Some(relay) = self.relay_mut() {
                    for request in relay.end_list(&room) {
                        self.refuse_read(&request, out);
                    }
                }
                self.fail_users(room, retry_at);
            }
            Asked::Reconcile(room) => {
                if let Some(relay) = self.relay_mut() {
                    relay.add_doubt(room.clone(), now + Track::RECONCILE);
                }
                self.fail_users(room, retry_at);
            }
            Asked::Present(room, name) => {
                if let Some(relay) = self.relay_mut() {
                    relay.add_doubt(room.clone(), now + Track::RECONCILE);
                    relay.add_unsure((room, name), retry_at);
                }
            }
        }
    }

    /// Handles a failed request for users, or a failed update of this node's users.
    fn fail_users(&mut self, room: Box<str>, retry_at: Option<Timestamp>) {
        let topic = Topic::Room(room);
        let Some((relay, at)) = self.relay_mut().zip(retry_at) else {
            return;
        };
        if let Some(track) = relay.track_mut(&topic)
            && let Some(roster) = track.roster_mut()
        {
            roster.fail();
            track.reconcile_by(at);
        }
        relay.arm(&topic);
    }

    fn fail_topic(
        &mut self,
        now: Timestamp,
        topic: &Topic,
        retry_at: Option<Timestamp>,
        out: &mut Outbox,
    ) {
        if *topic == Topic::All {
            self.note_newcomers();
        }
        let Some(relay) = self.relay_mut() else {
            return;
        };
        let Some(track) = relay.track_mut(topic) else {
            return;
        };
        track.go_offline(retry_at);
        let joins = track.take_joins();
        relay.arm(topic);
        for join in joins {
            self.refuse_read(&join, out);
        }
        if let Some(room) = topic.as_room() {
            self.unfollow_if_empty(now, room);
        }
    }

    /// Handles a message of a subscription.
    fn take_message(
        &mut self,
        now: Timestamp,
        topic: &Topic,
        (epoch, offset): (&str, u64),
        body: &[u8],
        out: &mut Outbox,
    ) {
        let Some(relay) = self.relay_mut() else {
            return;
        };
        let Some(track) = relay.track_mut(topic) else {
            relay.stats.duplicates += 1;
            return;
        };
        match track.take_message(epoch, offset, body) {
            Taken::Next => {
                self.deliver_relayed(topic, (epoch, offset), body, out);
                self.release(now, topic, out);
            }
            Taken::Duplicate => relay.stats.duplicates += 1,
            Taken::Held => {}
            Taken::Ask => self.fill(topic, out),
        }
    }

    /// Answers the publishes that waited until this node has delivered so far.
    fn release(&mut self, now: Timestamp, topic: &Topic, out: &mut Outbox) {
        let Some(relay) = self.relay_mut() else {
            return;
        };
        let acks = relay
            .track_mut(topic)
            .map(Track::take_acks)
            .unwrap_or_default();
        if acks.is_empty() {
            return;
        }
        relay.arm(topic);
        for ack in acks {
            self.acknowledge(topic, ack, true, out);
        }
        if let Some(room) = topic.as_room() {
            self.unfollow_if_empty(now, room);
        }
    }

    /// Handles the pages of new subscriptions; topics without a page are requested again.
    fn take_pages(
        &mut self,
        now: Timestamp,
        token: u64,
        (topics, pages): (&[Topic], &[TopicPage]),
        out: &mut Outbox,
    ) {
        for topic in topics {
            match pages.iter().find(|page| page.topic == *topic) {
                Some(page) => self.take_page(now, token, page, out),
                None => self.fail_topic(now, topic, Some(now + Track::RETRY), out),
            }
        }
    }

    fn take_answer(
        &mut self,
        now: Timestamp,
        token: u64,
        (asked, page): (Asked, &TopicPage),
        out: &mut Outbox,
    ) {
        match asked {
            Asked::Subscribe(topics) => self.take_pages(now, token, (&topics, from_ref(page)), out),
            Asked::Fill(topic) if topic == page.topic => self.take_page(now, token, page, out),
            Asked::Fill(topic) => self.fail_topic(now, &topic, Some(now + Track::RETRY), out),
            Asked::Join(topic, request) => self.take_missed(now, &topic, (request, page), out),
            Asked::History(request) => {
                if self.connection(request.conn).is_none() {
                    return;
                }
                let request = request.request();
                let answered = self.verb_history_relayed(now, &request, Some(page), out);
                if let Err(error) = answered {
                    out.error(request.conn, request.address(), &error);
                }
            }
            // None of them is answered by a page.
            Asked::Users(..) | Asked::Present(..) | Asked::Reconcile(_) => {}
        }
    }

    /// Handles the page of a topic: delivers missing messages, answers joins that waited for the
    /// position, then delivers the messages that were held back.
    fn take_page(&mut self, now: Timestamp, token: u64, page: &TopicPage, out: &mut Outbox) {
        let topic = &page.topic;
        let relay = self.relay_mut();
        let track = relay.and_then(|relay| relay.track_mut(topic));
        let Some(track) = track.filter(|track| track.awaits(token)) else {
            return;
        };
        let effects = track.take_page(page);
        let joins = track.take_joins();
        let mut missed = tells_newcomers(&effects);
        self.carry_out(topic, &page.position.epoch, effects, out);
        self.follow_users(now, topic, out);
        for join in joins {
            if self.connection(join.conn).is_some() {
                self.verb(now, &join.request(), out);
            }
        }
        let relay = self.relay_mut();
        let Some(track) = relay.and_then(|relay| relay.track_mut(topic)) else {
            return;
        };
        let (effects, again) = track.take_held(token);
        missed |= !effects.is_empty();
        self.carry_out(topic, &page.position.epoch, effects, out);
        if *topic == Topic::All {
            self.admit_newcomers(missed, again, out);
        }
        if again {
            self.fill(topic, out);
        }
        self.release(now, topic, out);
        if let Some(room) = topic.as_room() {
            self.unfollow_if_empty(now, room);
        }
    }

    /// Admits the connections that opened while the topic of all was not followed, unless the relay
    /// is asked `again`. Messages from before are reported to them as a gap.
    fn admit_newcomers(&mut self, missed: bool, again: bool, out: &mut Outbox) {
        let newcomers = self.relay_mut().and_then(|relay| relay.newcomers());
        if let Some(first) = newcomers.filter(|_| missed) {
            self.tell_gap_to_all(first, out);
        }
        if let Some(relay) = self.relay_mut().filter(|_| !again) {
            relay.admit();
        }
    }

    /// Handles the messages that a client missed.
    fn take_missed(
        &mut self,
        now: Timestamp,
        topic: &Topic,
        (request, page): (PendingRead, &TopicPage),
        out: &mut Outbox,
    ) {
        let relay = self.relay_mut();
        let Some(track) = relay.and_then(|relay| relay.track_mut(topic)) else {
            return self.refuse_read(&request, out);
        };
        let effects = track.take_ahead(page);
        self.carry_out(topic, &page.position.epoch, effects, out);
        self.release(now, topic, out);
        if self.connection(request.conn).is_some() {
            let request = request.request();
            let answered = self.verb_join_relayed(now, &request, Some(page), out);
            if let Err(error) = answered {
                out.error(request.conn, request.address(), &error);
            }
        }
        let relay = self.relay_mut();
        if let Some(track) = relay.and_then(|relay| relay.track_mut(topic)) {
            track.end_recovery();
        }
        if let Some(room) = topic.as_room() {
            self.unfollow_if_empty(now, room);
        }
    }
}

/// True when new connections must be told of a gap: the page delivers messages to the others, and
/// has no gap that everybody is told of.
fn tells_newcomers(effects: &[Effect]) -> bool {
    let tells_all = |effect: &Effect| matches!(effect, Effect::Gap { .. });
    !effects.is_empty() && !effects.iter().any(tells_all)
}
