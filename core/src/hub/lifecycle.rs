//! Rooms that a policy matches: how they begin, when they are looked at, how they end.

use core::{ops::Bound, time::Duration};

use crate::{
    hub::Hub, outbox::Outbox, policy::PresencePolicy, policy::RoomPolicy, room::history::History,
    room::presence::Presence, room::presence::Who, time::Timestamp,
};

impl Hub {
    /// The index of the policy of a room, whether or not there is the room.
    pub(super) fn policy_of(&self, room: &str) -> Option<usize> {
        match self.rooms.find(room) {
            Some((_, room)) => room.extra.as_ref().map(|extra| extra.policy),
            None => self.config.policies.index_of(room),
        }
    }

    /// The policy of a room that there is.
    pub(super) fn room_policy(&self, slot: u32) -> Option<&RoomPolicy> {
        let extra = self.rooms.get(slot).extra.as_ref()?;
        Some(self.config.policies.get(extra.policy))
    }

    /// True for each that rooms of a policy have: a history, presence.
    pub(super) fn wants(&self, policy: &RoomPolicy) -> (bool, bool) {
        let shows = policy.presence != PresencePolicy::Off;
        let enveloped = !self.config.raw;
        (policy.history.is_some() && enveloped, shows && enveloped)
    }

    /// Opens a room that there is none of, with what its policy wants.
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

    /// Ends a room that nobody is in, and its history.
    pub(super) fn forget(&mut self, slot: u32, out: &mut Outbox) {
        // Said before it is done; carried out after.
        self.persist_room(slot, out);
        self.end(slot);
    }

    /// A room without a history has lost its last member: it ends, unless users are waited for.
    pub(super) fn vacate(&mut self, slot: u32, out: &mut Outbox) {
        let waits = self.rooms.get(slot).waits();
        if waits && self.rooms.vacant() < self.config.limits.history_rooms {
            return self.rooms.set_vacant(slot, true);
        }
        if waits {
            self.persist_room(slot, out);
        }
        self.end(slot);
    }

    fn end(&mut self, slot: u32) {
        while let Some(presence) = self.rooms.presence_mut(slot)
            && let Some(user) = presence.expire(Timestamp::from_millis(u64::MAX))
        {
            self.note_absent(slot, Who::User(&user), None);
        }
        self.rooms.end(slot);
    }

    /// Does what is due in rooms.
    pub(super) fn look_at_rooms(&mut self, now: Timestamp, out: &mut Outbox) {
        while let Some(slot) = self.rooms.take_due(now) {
            self.look_at(now, slot, out);
        }
    }

    fn look_at(&mut self, now: Timestamp, slot: u32, out: &mut Outbox) {
        while let Some(presence) = self.rooms.presence_mut(slot) {
            let before = presence.users();
            let Some(user) = presence.expire(now) else {
                break;
            };
            self.announce(slot, before, "$left", Who::User(&user), None, out);
            self.note_absent(slot, Who::User(&user), None);
            self.persist_room(slot, out);
        }
        let room = self.rooms.get(slot);
        let (idle, waits) = (room.members.is_empty(), room.waits());
        if idle
            && room
                .history()
                .is_some_and(|history| history.emptied.is_none())
        {
            // It lost its members while the hub slept.
            let emptied = |history: &mut History| history.emptied = Some(now);
            self.rooms.change_history(slot, emptied);
            self.persist_room(slot, out);
        }
        if idle && !waits && self.expiry(slot).is_none_or(|expiry| expiry <= now) {
            return self.forget(slot, out);
        }
        self.trim_told(now, slot, out);
        if let Some(next) = self.next_due(slot) {
            // At once would be within this very call.
            let soonest = now + Duration::from_millis(1);
            self.rooms.arm(slot, next.max(soonest));
        }
    }

    /// When a room without members ends.
    fn expiry(&self, slot: u32) -> Option<Timestamp> {
        let (room, policy) = (self.rooms.get(slot), self.history_policy(slot)?);
        let history = room.history()?;
        let last = history.emptied.unwrap_or_default().max(history.touched);
        Some(last + policy.age.min(history.idle_max()))
    }

    /// When to look at a room next.
    fn next_due(&self, slot: u32) -> Option<Timestamp> {
        let room = self.rooms.get(slot);
        let presence = room.presence().and_then(Presence::next_expiry);
        let holds = |history: &History| history.len() > 0 || history.is_away();
        let history = match room.history() {
            Some(history) if room.members.is_empty() && history.emptied.is_none() => {
                Some(Timestamp::ZERO)
            }
            // It ends when nobody is waited for any more.
            Some(_) if room.members.is_empty() && room.waits() => None,
            Some(_) if room.members.is_empty() => self.expiry(slot),
            Some(history) if holds(history) => {
                let age = self.history_policy(slot).map(|policy| policy.age);
                age.map(|age| history.touched + age)
            }
            _ => None,
        };
        presence.into_iter().chain(history).min()
    }

    /// Sets the timer of a room by what it has to do.
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
