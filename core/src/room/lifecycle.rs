//! Rooms that a policy matches: how they begin, what they keep, how they end.

use alloc::{boxed::Box, sync::Arc};

use crate::{
    hub::Hub,
    hub::change::Change,
    hub::conn::{ConnId, Metas},
    hub::error::JoinError,
    outbox::{Kind, Outbox},
    policy::{HistoryPolicy, Overflow, PresencePolicy, RoomPolicy},
    room::history::{Except, History},
    room::presence::{Arrival, Presence, Who},
    room::{Extra, Room},
    time::Timestamp,
};

impl Hub {
    /// The index of the policy of a room, whether or not there is the room.
    pub(crate) fn policy_of(&self, room: &str) -> Option<usize> {
        match self.rooms.find(room) {
            Some((_, room)) => room.extra.as_ref().map(|extra| extra.policy),
            None => self.config.policies.index_of(room),
        }
    }

    /// Opens a room that there is none of, with what its policy wants.
    pub(crate) fn open(&mut self, now: Timestamp, name: &str, policy: Option<usize>) -> u32 {
        let Some(index) = policy else {
            return self.rooms.open(name, None);
        };
        let policy = self.config.policies.get(index);
        let (keeps, shows) = (policy.history.is_some(), policy.presence);
        let raw = self.config.raw;
        let history = (keeps && !raw).then(|| {
            self.histories_opened += 1;
            self.unsaved = true;
            History::new(&self.config.epoch, self.histories_opened, now)
        });
        let presence = (shows != PresencePolicy::Off && !raw).then(Presence::default);
        let extra = Extra {
            policy: index,
            history,
            presence,
            due: None,
            vacant: false,
        };
        let slot = self.rooms.open(name, Some(Box::new(extra)));
        self.touch(slot);
        slot
    }

    /// The part of [`enter`](Self::enter) for a hub with policies; the connection is not in yet.
    #[inline(never)]
    pub(crate) fn enter_by_policy(
        &mut self,
        now: Timestamp,
        conn: ConnId,
        room: &str,
        meta: Option<&str>,
        out: &mut Outbox,
    ) -> Result<(u32, bool), JoinError> {
        let policy = self.policy_of(room);
        let found = self.rooms.find(room).map(|(slot, _)| slot);
        let shown = match policy {
            Some(policy) => self.check_policy(policy, conn, found, meta)?,
            None => None,
        };
        let slot = found.unwrap_or_else(|| self.open(now, room, policy));
        self.rooms.add(slot, conn);
        if let Some(connection) = self.conns.get_mut(conn) {
            connection.rooms.push(slot);
        }
        out.persist(conn);
        if let Some(changes) = &mut self.changes {
            let room = room.into();
            changes.push(Change::Joined { conn, room });
        }
        if policy.is_some() {
            self.arrive(slot, conn, shown, out);
        }
        Ok((slot, false))
    }

    /// Whether the policy of a room lets a connection in; gives what presence is to show of it.
    fn check_policy(
        &self,
        policy: usize,
        conn: ConnId,
        slot: Option<u32>,
        meta: Option<&str>,
    ) -> Result<Option<Arc<str>>, JoinError> {
        let (limits, policy) = (&self.config.limits, self.config.policies.get(policy));
        let room = slot.map(|slot| self.rooms.get(slot));
        let members = room.map_or(0, |room| room.members.len());
        if let Some(limit) = policy.members
            && members >= limit
        {
            return Err(JoinError::MemberLimit { limit });
        }
        if policy.presence != PresencePolicy::Members || self.config.raw {
            return Ok(None);
        }
        fits(meta, limits.meta_bytes)?;
        if let Some(bytes_max) = limits.metas_bytes
            && let Some(connection) = self.conns.get(conn)
        {
            let presence = room.and_then(Room::presence);
            let user = connection.user.as_deref();
            let known = presence.and_then(|presence| presence.meta(user));
            let held = connection.metas.iter().map(|(_, meta)| &**meta);
            let metas = held.chain(known.or(meta));
            if metas.map(Metas::kept_bytes).sum::<usize>() > bytes_max {
                return Err(JoinError::Metas { bytes_max });
            }
        }
        Ok(meta.map(Into::into))
    }

    /// True when presence could show this of a member that joins again. It is not shown, and too
    /// much is refused all the same.
    pub(crate) fn check_meta(&self, slot: u32, meta: Option<&str>) -> Result<(), JoinError> {
        match self.room_policy(slot) {
            Some(policy) if policy.presence == PresencePolicy::Members && !self.config.raw => {
                fits(meta, self.config.limits.meta_bytes)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Puts a message behind a room's history. Commands that this leads to are left to
    /// [`evict`](Self::evict).
    pub(crate) fn append(&mut self, now: Timestamp, slot: u32, frame: &str, except: Except) {
        if let Some(history) = self.rooms.get_mut(slot).history_mut() {
            let before = history.cost();
            history.push(now, frame, except);
            self.histories.bytes += history.cost() - before;
        }
        self.trim(now, slot);
        self.touch(slot);
        if let Some(policy) = self.history_policy(slot) {
            self.arm(slot, now + policy.age);
        }
    }

    /// Drops what a room's policy does not keep.
    pub(crate) fn trim(&mut self, now: Timestamp, slot: u32) {
        let Some(policy) = self.history_policy(slot).copied() else {
            return;
        };
        self.change(slot, |history| history.trim(now, &policy));
    }

    /// [`trim`](Self::trim), and the host is told what it need not keep any more.
    pub(crate) fn trim_told(&mut self, now: Timestamp, slot: u32, out: &mut Outbox) {
        let first = |hub: &Self| hub.rooms.get(slot).history().map(History::first);
        let before = first(self);
        self.trim(now, slot);
        if first(self) != before {
            self.persist_room(slot, out);
        }
    }

    /// Asks the host for the messages that it has of a room, when all together are more than the policy
    /// keeps: which of them are too many can be said only of those that are here.
    pub(crate) fn recall_if_large(&self, slot: u32, out: &mut Outbox) {
        let history = self.rooms.get(slot).history();
        if let (Some(history), Some(policy)) = (history, self.history_policy(slot))
            && history.is_away()
            && history.kept_bytes() > policy.bytes
        {
            out.load_history(&self.rooms.get(slot).name);
        }
    }

    /// Changes a room's history, and what depends on it.
    pub(crate) fn change(&mut self, slot: u32, change: impl FnOnce(&mut History)) {
        let room = self.rooms.get_mut(slot);
        let idle = room.members.is_empty();
        if let Some(history) = room.history_mut() {
            let before = history.cost();
            change(history);
            self.histories.bytes = self.histories.bytes + history.cost() - before;
            self.histories.insert(history, slot, idle);
        }
    }

    /// The room is the newest of all.
    pub(crate) fn touch(&mut self, slot: u32) {
        let room = self.rooms.get_mut(slot);
        let idle = room.members.is_empty();
        if let Some(history) = room.history_mut() {
            history.seq = self.histories.touch(history.seq);
            self.histories.insert(history, slot, idle);
        }
    }

    /// Holds the limits on all histories together.
    pub(crate) fn evict(&mut self, out: &mut Outbox) {
        let limits = &self.config.limits;
        let (bytes_max, rooms_max) = (limits.history_bytes, limits.history_rooms);
        self.trim_histories(bytes_max, out);
        while self.histories.idle() > rooms_max
            && let Some(slot) = self.histories.oldest_idle()
        {
            self.forget(slot, out);
        }
    }

    /// Drops messages of histories when those take more than so many bytes of memory: of the room with
    /// the oldest last message first, and of each the oldest first. For a host that has several hubs
    /// and one limit. Rooms keep their positions.
    ///
    /// Work: what is dropped.
    pub fn trim_histories(&mut self, bytes_max: usize, out: &mut Outbox) {
        if self.histories.bytes <= bytes_max {
            return;
        }
        // Not to the brim, or each further message would cost a room something.
        let left = bytes_max - bytes_max / 32;
        while self.histories.bytes > left
            && let Some(slot) = self.histories.oldest_held()
        {
            let over = self.histories.bytes - left;
            self.change(slot, |history| history.shed(over));
            self.persist_room(slot, out);
        }
    }

    /// Ends a room that nobody is in, and its history.
    fn forget(&mut self, slot: u32, out: &mut Outbox) {
        // Said before it is done; carried out after.
        self.persist_room(slot, out);
        self.end(slot);
    }

    pub(crate) fn end(&mut self, slot: u32) {
        self.set_vacant(slot, false);
        while let Some(presence) = self.rooms.get_mut(slot).presence_mut()
            && let Some(user) = presence.expire(Timestamp::from_millis(u64::MAX))
        {
            self.note_absent(slot, Who::User(&user), None);
        }
        self.change(slot, History::clear);
        let room = self.rooms.get(slot);
        if let Some(history) = room.history() {
            self.histories.remove(history.seq);
        }
        if let Some(due) = room.extra.as_ref().and_then(|extra| extra.due) {
            self.dues.remove(&(due, room.name.clone()));
        }
        self.rooms.end(slot);
    }

    pub(crate) fn persist_room(&self, slot: u32, out: &mut Outbox) {
        if self.config.durable {
            out.persist_room(&self.rooms.get(slot).name);
        }
    }

    /// A connection came into a room that a policy matches. `shown` is what presence shows of it.
    pub(crate) fn arrive(
        &mut self,
        slot: u32,
        conn: ConnId,
        shown: Option<Arc<str>>,
        out: &mut Outbox,
    ) {
        self.set_vacant(slot, false);
        let room = self.rooms.get_mut(slot);
        let first = room.members.len() == 1;
        if first && let Some(history) = room.history_mut() {
            history.emptied = None;
            self.histories.insert(history, slot, false);
            self.persist_room(slot, out);
        }
        let Some(connection) = self.conns.get_mut(conn) else {
            return;
        };
        let user = connection.user.clone();
        let who = Who::new(conn, user.as_deref());
        let Some(presence) = self.rooms.get_mut(slot).presence_mut() else {
            return;
        };
        let before = presence.users();
        let arrival = presence.arrive(who, shown.clone());
        let kept = match &arrival {
            Arrival::First => &shown,
            Arrival::Back(meta) | Arrival::Further(meta) => meta,
        };
        if let Some(meta) = kept {
            connection.metas.push(slot, meta.clone());
        }
        match arrival {
            Arrival::First => {
                self.announce(slot, before, "$joined", who, shown.as_deref(), out);
                if let Some(user) = user {
                    self.note_user(|hub| Change::Present {
                        conn,
                        room: hub.rooms.get(slot).name.clone(),
                        user,
                    });
                }
            }
            Arrival::Back(_) => self.persist_room(slot, out),
            Arrival::Further(_) => {}
        }
    }

    /// Has a room looked at, at the latest then.
    pub(crate) fn arm(&mut self, slot: u32, at: Timestamp) {
        let room = self.rooms.get_mut(slot);
        let Some(extra) = &mut room.extra else {
            return;
        };
        if extra.due.is_some_and(|due| due <= at) {
            return;
        }
        if let Some(later) = extra.due.replace(at) {
            self.dues.remove(&(later, room.name.clone()));
        }
        self.dues.insert((at, room.name.clone()));
    }

    /// Does what is due in rooms.
    pub(crate) fn look_at_rooms(&mut self, now: Timestamp, out: &mut Outbox) {
        while let Some((due, _)) = self.dues.first()
            && *due <= now
            && let Some((_, name)) = self.dues.pop_first()
        {
            let Some((slot, _)) = self.rooms.find(&name) else {
                debug_assert!(false, "a timer without its room");
                continue;
            };
            if let Some(extra) = &mut self.rooms.get_mut(slot).extra {
                extra.due = None;
            }
            self.look_at(now, slot, out);
        }
    }

    fn look_at(&mut self, now: Timestamp, slot: u32, out: &mut Outbox) {
        while let Some(presence) = self.rooms.get_mut(slot).presence_mut() {
            let before = presence.users();
            let Some(user) = presence.expire(now) else {
                break;
            };
            self.announce(slot, before, "$left", Who::User(&user), None, out);
            self.note_absent(slot, Who::User(&user), None);
            self.persist_room(slot, out);
        }
        let room = self.rooms.get_mut(slot);
        let idle = room.members.is_empty();
        if idle
            && let Some(history) = room.history_mut()
            && history.emptied.is_none()
        {
            // It lost its members while the hub slept.
            history.emptied = Some(now);
            self.persist_room(slot, out);
        }
        let waits = self.rooms.get(slot).waits();
        if idle && !waits && self.expiry(slot).is_none_or(|expiry| expiry <= now) {
            return self.forget(slot, out);
        }
        self.trim_told(now, slot, out);
        if let Some(next) = self.next_due(slot) {
            // At once would be within this very call.
            let soonest = now + core::time::Duration::from_millis(1);
            self.arm(slot, next.max(soonest));
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
    pub(crate) fn next_due(&self, slot: u32) -> Option<Timestamp> {
        let room = self.rooms.get(slot);
        let extra = room.extra.as_ref()?;
        let presence = extra.presence.as_ref().and_then(Presence::next_expiry);
        let holds = |history: &History| history.len() > 0 || history.is_away();
        let history = match &extra.history {
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

    /// The part of `assert_consistent` for rooms that a policy matches.
    pub(crate) fn assert_kept(&self) {
        let rooms = || self.rooms.range(core::ops::Bound::Unbounded);
        let histories = || rooms().filter_map(|room| Some((room, room.history()?)));
        let bytes: usize = histories().map(|(_, history)| history.cost()).sum();
        assert_eq!(bytes, self.histories.bytes, "bytes of histories");
        let held = histories().filter(|(_, history)| history.len() > 0).count();
        assert_eq!(held, self.histories.held(), "histories with messages");
        let idle = histories().filter(|(room, _)| room.members.is_empty());
        assert_eq!(idle.count(), self.histories.idle(), "rooms without members");
        let vacant = rooms().filter(|room| room.is_vacant());
        assert_eq!(vacant.count(), self.vacant, "vacant rooms");
        let mut dues = 0;
        for room in rooms() {
            let alone = room.members.is_empty() && room.history().is_none();
            assert_eq!(room.is_vacant(), alone && room.waits(), "{}", room.name);
            let slot = self.rooms.find(&room.name).map(|(slot, _)| slot);
            let due = room.extra.as_ref().and_then(|extra| extra.due);
            let next = slot.and_then(|slot| self.next_due(slot));
            assert!(
                due.is_some() >= next.is_some(),
                "{} has no timer",
                room.name
            );
            if let Some(due) = due {
                let key = (due, room.name.clone());
                assert!(self.dues.contains(&key), "a lost timer");
                dues += 1;
            }
        }
        assert_eq!(dues, self.dues.len(), "timers without rooms");
    }

    pub(crate) fn room_policy(&self, slot: u32) -> Option<&RoomPolicy> {
        let extra = self.rooms.get(slot).extra.as_ref()?;
        Some(self.config.policies.get(extra.policy))
    }

    /// The kind of an answer that says where a member of a room stands.
    pub(crate) fn position_kind(&self, slot: u32, out: &mut Outbox) -> Kind {
        match self.room_policy(slot) {
            Some(policy) if policy.overflow == Overflow::DropOldest => {
                let offset = self.position_at(slot).offset;
                out.position(&self.rooms.get(slot).name, offset)
            }
            Some(_) | None => Kind::CONTROL,
        }
    }

    pub(crate) fn history_policy(&self, slot: u32) -> Option<&HistoryPolicy> {
        self.room_policy(slot)?.history.as_ref()
    }
}

impl Room {
    pub(crate) fn history(&self) -> Option<&History> {
        self.extra.as_ref()?.history.as_ref()
    }

    pub(crate) fn history_mut(&mut self) -> Option<&mut History> {
        self.extra.as_mut()?.history.as_mut()
    }

    pub(crate) fn presence(&self) -> Option<&Presence> {
        self.extra.as_ref()?.presence.as_ref()
    }

    pub(crate) fn presence_mut(&mut self) -> Option<&mut Presence> {
        self.extra.as_mut()?.presence.as_mut()
    }
}

/// True when presence may show so much of one user.
fn fits(meta: Option<&str>, bytes_max: usize) -> Result<(), JoinError> {
    if meta.is_some_and(|meta| meta.len() > bytes_max) {
        return Err(JoinError::Meta { bytes_max });
    }
    Ok(())
}
