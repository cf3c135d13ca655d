//! Rooms with a policy: their start, timers and end, and changes of policies.

use alloc::vec::Vec;
use core::{ops::Bound, time::Duration};

use super::Hub;
use crate::policy::{Policies, PresencePolicy, RoomPolicy};
use crate::relay::Topic;
use crate::room::{history::History, presence::Arrival, presence::Presence, presence::Who};
use crate::{outbox::Outbox, time::Timestamp};

impl Hub {
    /// The index of a room's policy, whether or not the room exists.
    pub(super) fn policy_of(&self, room: &str) -> Option<usize> {
        match self.rooms.find(room) {
            Some((_, room)) => room.extra.as_ref().map(|extra| extra.policy),
            None => self.config.policies.index_of(room),
        }
    }

    /// The policy of a room, whether or not the room exists.
    pub(crate) fn policy(&self, room: &str) -> Option<&RoomPolicy> {
        self.policy_of(room)
            .map(|index| self.config.policies.get(index))
    }

    /// The policy of an existing room.
    pub(super) fn room_policy(&self, slot: u32) -> Option<&RoomPolicy> {
        let extra = self.rooms.get(slot).extra.as_ref()?;
        Some(self.config.policies.get(extra.policy))
    }

    /// True for each of the two that rooms of a policy have: history, presence.
    pub(super) fn wants(&self, policy: &RoomPolicy) -> (bool, bool) {
        let shows = policy.presence != PresencePolicy::Off;
        let enveloped = !self.config.raw;
        // The histories of a clustered hub are the relay's.
        let keeps = policy.history.is_some() && !self.is_clustered();
        (keeps && enveloped, shows && enveloped)
    }

    /// Opens a room that does not exist yet, with the history and presence that its policy asks
    /// for.
    pub(super) fn open(&mut self, now: Timestamp, name: &str, policy: Option<usize>) -> u32 {
        let slot = self.rooms.open(name);
        if let Some(index) = policy {
            let (keeps, shows) = self.wants(self.config.policies.get(index));
            self.rooms.set_policy(slot, policy);
            if keeps {
                self.rooms.begin_history(now, slot, &self.config.epoch);
            }
            if shows {
                self.rooms.set_presence(slot, Some(Presence::default()));
            }
        }
        slot
    }

    /// Tells a durable host that the state of a room changed.
    pub(super) fn persist_room(&self, slot: u32, out: &mut Outbox) {
        if self.config.durable {
            out.persist_room(&self.rooms.get(slot).name);
        }
    }

    /// Ends a room without members, and its history.
    pub(super) fn forget(&mut self, slot: u32, out: &mut Outbox) {
        // The command needs the room's name; the host carries it out after the room has ended.
        self.persist_room(slot, out);
        self.end(slot, out);
    }

    /// Ends a room without a history that lost its last member, unless absent users may still
    /// return.
    pub(super) fn vacate(&mut self, slot: u32, out: &mut Outbox) {
        let waits = self.rooms.get(slot).waits();
        if waits && self.rooms.vacant() < self.config.limits.history_rooms {
            return self.rooms.set_vacant(slot, true);
        }
        if waits {
            self.persist_room(slot, out);
        }
        self.end(slot, out);
    }

    fn end(&mut self, slot: u32, out: &mut Outbox) {
        let waits = self.rooms.get(slot).waits();
        while let Some(presence) = self.rooms.presence_mut(slot)
            && let Some(user) = presence.expire(Timestamp::from_millis(u64::MAX))
        {
            self.note_absent(slot, Who::User(&user), None, out);
        }
        if waits {
            self.tell_if_vacated(slot, out);
        }
        self.rooms.end(slot);
    }

    /// Acts on due room timers.
    pub(super) fn tick_rooms(&mut self, now: Timestamp, out: &mut Outbox) {
        while let Some(slot) = self.rooms.take_due(now) {
            self.tick_room(now, slot, out);
        }
    }

    fn tick_room(&mut self, now: Timestamp, slot: u32, out: &mut Outbox) {
        while let Some(presence) = self.rooms.presence_mut(slot) {
            let before = presence.users();
            let Some(user) = presence.expire(now) else {
                break;
            };
            self.announce(slot, before, "$left", Who::User(&user), None, out);
            self.note_absent(slot, Who::User(&user), None, out);
            self.persist_room(slot, out);
            self.tell_if_vacated(slot, out);
        }
        let room = self.rooms.get(slot);
        let (idle, waits) = (room.members.is_empty(), room.waits());
        if idle && room.history().is_some_and(|history| !history.is_emptied()) {
            // It lost its members while the hub slept.
            self.rooms
                .change_history(slot, |history| history.set_emptied(Some(now)));
            self.persist_room(slot, out);
        }
        if idle && !waits && self.expiry(slot).is_none_or(|expiry| expiry <= now) {
            return self.forget(slot, out);
        }
        self.trim_told(now, slot, out);
        if let Some(next) = self.next_due(slot) {
            // An earlier time would come due within this same call.
            let soonest = now + Duration::from_millis(1);
            self.rooms.arm(slot, next.max(soonest));
        }
    }

    /// The time at which a room without members ends.
    fn expiry(&self, slot: u32) -> Option<Timestamp> {
        let (room, policy) = (self.rooms.get(slot), self.history_policy(slot)?);
        Some(room.history()?.expiry(policy.age))
    }

    /// The time of the next timer of a room.
    fn next_due(&self, slot: u32) -> Option<Timestamp> {
        let room = self.rooms.get(slot);
        let presence = room.presence().and_then(Presence::next_expiry);
        let holds = |history: &History| history.len() > 0 || history.is_away();
        let history = match room.history() {
            Some(history) if room.members.is_empty() && !history.is_emptied() => {
                Some(Timestamp::ZERO)
            }
            // The room ends when no absent user may return any more.
            Some(_) if room.members.is_empty() && room.waits() => None,
            Some(_) if room.members.is_empty() => self.expiry(slot),
            Some(history) if holds(history) => {
                let age = self.history_policy(slot).map(|policy| policy.age);
                age.map(|age| history.ages(age))
            }
            _ => None,
        };
        presence.into_iter().chain(history).min()
    }

    /// Sets the timer of a room to its next due time.
    pub(super) fn arm(&mut self, slot: u32) {
        if let Some(next) = self.next_due(slot) {
            self.rooms.arm(slot, next);
        }
    }

    /// The part of `assert_consistent` for the timers of rooms.
    pub(super) fn assert_armed(&self) {
        for (slot, room) in self.rooms.range(Bound::Unbounded) {
            let armed = room.is_armed() || self.next_due(slot).is_none();
            assert!(armed, "{} has no timer", room.name);
        }
    }
}

/// Changes of policies in a running hub.
impl Hub {
    /// Replaces the policies in force, also for existing rooms.
    ///
    /// The effect on a room depends on its old and its new policy:
    ///
    /// - A history that both keep continues, with its epoch and its offsets, trimmed by the new
    ///   policy. A history that only the old policy keeps ends. A history that only the new policy
    ///   keeps begins with the next message; members learn its epoch when they join again.
    /// - Presence that begins shows the present members, without their metadata; no client is told.
    ///   Presence that ends forgets its users, and the application is told that they are absent.
    /// - Everything else applies from now on: a lower member limit removes nobody, and absent users
    ///   may return for as long as before.
    ///
    /// Work: all rooms, their members, and the dropped messages.
    pub fn set_policies(&mut self, now: Timestamp, policies: Policies, out: &mut Outbox) {
        if policies == self.config.policies {
            return;
        }
        let occupants = self.occupants();
        let before = core::mem::replace(&mut self.config.policies, policies);
        self.rooms.forget_changes(now);
        let rooms = self.rooms.range(Bound::Unbounded);
        let slots: Vec<_> = rooms.map(|(slot, _)| slot).collect();
        // All of them first: before that, a room may have the number of a policy that is gone.
        for &slot in &slots {
            let policy = self.config.policies.index_of(&self.rooms.get(slot).name);
            self.fit(now, slot, policy, out);
        }
        for slot in slots {
            if self.rooms.has_extra(slot) {
                self.trim_told(now, slot, out);
                self.load_if_large(slot, out);
                self.arm(slot);
            }
        }
        self.enter_changed(occupants, out);
        self.evict(out);
        self.leave_by_grants(now, &before, out);
    }

    /// Starts and ends the history and the presence of a room by its new policy.
    fn fit(&mut self, now: Timestamp, slot: u32, policy: Option<usize>, out: &mut Outbox) {
        let wanted = policy.map(|index| self.wants(self.config.policies.get(index)));
        let (keeps, shows) = wanted.unwrap_or_default();
        if policy.is_some() {
            self.rooms.set_policy(slot, policy);
        }
        let room = self.rooms.get(slot);
        if room.extra.is_none() {
            return;
        }
        let empty = room.members.is_empty();
        let (kept, shown) = (room.history().is_some(), room.presence().is_some());
        match (shown, shows) {
            (true, false) => self.end_presence(slot, out),
            (false, true) => self.begin_presence(slot, out),
            _ => {}
        }
        let topic = (shown != shows).then(|| Topic::room(&self.rooms.get(slot).name));
        match (kept, keeps) {
            (true, false) => {
                self.rooms.end_history(slot);
                self.persist_room(slot, out);
            }
            (false, true) => {
                self.rooms.set_vacant(slot, false);
                self.rooms.begin_history(now, slot, &self.config.epoch);
                self.persist_room(slot, out);
            }
            _ => {}
        }
        if empty && !keeps {
            // Only absent users who may return can keep it open.
            self.rooms.set_vacant(slot, false);
            self.vacate(slot, out);
        } else if policy.is_none() {
            self.rooms.set_policy(slot, None);
        }
        // Only from here on the room has no policy that is no more.
        if let Some(topic) = topic.filter(|_| self.is_clustered()) {
            self.follow_users(now, &topic, out);
        }
    }

    /// Shows the present members, without metadata: it was not kept.
    fn begin_presence(&mut self, slot: u32, out: &mut Outbox) {
        let mut presence = Presence::default();
        for conn in self.rooms.get(slot).members.clone() {
            let Some(connection) = self.conns.get(conn) else {
                debug_assert!(false, "a member that is not connected");
                continue;
            };
            let user = connection.user.clone();
            let (arrival, _) = presence.join(Who::new(conn, user.as_deref()), None);
            if arrival == Arrival::First {
                self.note_present(slot, conn, out);
            }
        }
        self.rooms.set_presence(slot, Some(presence));
    }

    fn end_presence(&mut self, slot: u32, out: &mut Outbox) {
        let Some(presence) = self.rooms.set_presence(slot, None) else {
            return;
        };
        for listed in presence.list(None) {
            self.note_absent(slot, listed.who, None, out);
        }
        if presence.waits() {
            // The relay is told of all rooms at once, by their new policies.
            if !self.is_clustered() {
                self.tell_if_vacated(slot, out);
            }
            self.persist_room(slot, out);
        }
        for conn in self.rooms.get(slot).members.clone() {
            if let Some(connection) = self.conns.get_mut(conn) {
                connection.metas.remove(slot);
                out.persist(conn);
            }
        }
    }
}

#[cfg(test)]
mod tests;
