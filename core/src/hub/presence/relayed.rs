//! Presence of a clustered hub: the relay decides which users have joined and left, over all nodes.

use alloc::{boxed::Box, format, string::ToString, vec::Vec};

use super::Counts;
use crate::hub::{Hub, RequestError};
use crate::policy::{EventKind, PresencePolicy};
use crate::relay::{
    Asked, Notice, PresenceChange, PresentUser, RelayCommand, RoomUsers, Roster, Topic, Track,
    Turn, WAITING_MAX,
};
use crate::room::{Room, pending_read::PendingRead, presence::Presence, presence::Who};
use crate::{outbox::Outbox, time::Timestamp, wire::Message};

/// The beginning of names that no room has.
///
/// The relay also counts the nodes that have members of a room: as the single user `*` of a room
/// whose name is U+0001 and the room's. All of them, whether or not backends are told of that here:
/// other nodes may tell theirs, and hooks and policies change while members stay. With a history,
/// its meta is the time in milliseconds for which the room is remembered when the last node leaves.
const OCCUPANCY: char = '\u{1}';
/// The name of the single user, whose connections are the nodes.
const OCCUPANT: &str = "*";

impl Hub {
    /// Users of a room on all nodes, as far as this one knows them.
    pub(super) fn roster(&self, room: &str) -> Option<&Roster> {
        let track = self.relay.as_ref()?.track(&Topic::room(room))?;
        track.roster().filter(|roster| roster.is_known())
    }

    /// True when a room shows who is in it.
    fn shows_users(&self, room: &str) -> bool {
        let policy = self.policy(room).filter(|_| !self.config.raw);
        policy.is_some_and(|policy| policy.presence != PresencePolicy::Off)
    }

    /// Tells the relay how many connections a user has in a room here.
    #[cold]
    #[inline(never)]
    pub(in crate::hub) fn enter_user(&mut self, slot: u32, who: Who<'_>, out: &mut Outbox) {
        let room = self.rooms.get(slot);
        let user = entry(room.presence(), who);
        self.tell_relay(&room.name.clone(), user, out);
    }

    /// Tells the relay whether a room has members here.
    pub(in crate::hub) fn enter_room(&mut self, slot: u32, occupied: bool, out: &mut Outbox) {
        let room = &*self.rooms.get(slot).name;
        let user = self.occupant(room, occupied);
        self.tell_relay(&occupancy(room), user, out);
    }

    /// This node as the occupant of a room. Its meta is the time for which the room is remembered
    /// without members.
    fn occupant(&self, room: &str, occupied: bool) -> PresentUser {
        PresentUser {
            name: OCCUPANT.into(),
            conns: u64::from(occupied),
            waits: false,
            meta: self
                .keeps(room)
                .then(|| self.kept_ms(room).to_string().into()),
        }
    }

    fn tell_relay(&mut self, room: &str, user: PresentUser, out: &mut Outbox) {
        let Some(relay) = self.relay.as_mut() else {
            return;
        };
        if !relay.is_up() {
            return relay.add_unsure((room.into(), user.name), None);
        }
        let token = relay.ask(Asked::Present(room.into(), user.name.clone()));
        let room = room.into();
        out.relay(RelayCommand::SetPresent { token, room, user });
    }

    /// Sends users again of whom the relay may have a different state.
    pub(crate) fn enter_again(
        &mut self,
        users: impl IntoIterator<Item = (Box<str>, Box<str>)>,
        out: &mut Outbox,
    ) {
        for (room, name) in users {
            let user = self.own_entry(&room, &name);
            self.tell_relay(&room, user, out);
        }
    }

    /// The state of a user of this node for the relay.
    fn own_entry(&self, room: &str, name: &str) -> PresentUser {
        if let Some(name) = room.strip_prefix(OCCUPANCY) {
            let room = self.rooms.find(name).map(|(_, room)| room);
            let occupied = room.is_some_and(Room::is_occupied);
            return self.occupant(name, occupied);
        }
        let presence = self.rooms.find(room).and_then(|(_, room)| room.presence());
        // The name was made from a `Who`.
        let who = Who::parse(name).unwrap_or(Who::User(name));
        entry(presence, who)
    }

    /// Enters all users again, after the relay has lost those of this node.
    pub(crate) fn enter_all(&mut self, out: &mut Outbox) {
        let mut users = Vec::new();
        for (_, room) in self.rooms.range(core::ops::Bound::Unbounded) {
            let listed = room.presence().into_iter().flat_map(|all| all.list(None));
            users.extend(listed.map(|it| (room.name.clone(), it.who.cursor().into())));
            if room.is_occupied() {
                users.push((occupancy(&room.name), OCCUPANT.into()));
            }
        }
        self.enter_again(users, out);
    }

    /// This node in each room that it has members of, as the relay is to have it: for
    /// [`enter_changed`](Self::enter_changed).
    pub(in crate::hub) fn occupants(&self) -> Vec<(Box<str>, PresentUser)> {
        if !self.is_clustered() {
            return Vec::new();
        }
        let rooms = self.rooms.range(core::ops::Bound::Unbounded);
        let occupied = rooms.filter(|(_, room)| room.is_occupied());
        let entry = |room: &Room| (occupancy(&room.name), self.occupant(&room.name, true));
        occupied.map(|(_, room)| entry(room)).collect()
    }

    /// Tells the relay of rooms that are to be remembered for another time than before, or have no
    /// members here any more.
    pub(in crate::hub) fn enter_changed(
        &mut self,
        before: Vec<(Box<str>, PresentUser)>,
        out: &mut Outbox,
    ) {
        for (room, before) in before {
            let user = self.own_entry(&room, OCCUPANT);
            if user != before {
                self.tell_relay(&room, user, out);
            }
        }
    }

    /// Tells the relay which users of a room are on this node.
    fn reconcile(&mut self, room: &str, out: &mut Outbox) {
        let users = self.own_entries(room);
        if let Some(relay) = self.relay.as_mut().filter(|relay| relay.is_up()) {
            let room: Box<str> = room.into();
            let token = relay.ask(Asked::Reconcile(room.clone()));
            out.relay(RelayCommand::Reconcile { token, room, users });
        }
    }

    /// All users of this node in a room.
    fn own_entries(&self, room: &str) -> Vec<PresentUser> {
        if room.starts_with(OCCUPANCY) {
            let entry = self.own_entry(room, OCCUPANT);
            return Some(entry)
                .filter(|entry| entry.conns > 0)
                .into_iter()
                .collect();
        }
        let presence = self.rooms.find(room).and_then(|(_, room)| room.presence());
        let users = presence
            .into_iter()
            .flat_map(|presence| presence.list(None));
        users.map(|it| entry(presence, it.who)).collect()
    }

    /// Follows the users of a room whose topic is followed.
    pub(crate) fn follow_users(&mut self, now: Timestamp, topic: &Topic, out: &mut Outbox) {
        let Some(room) = topic.as_room() else {
            return;
        };
        let shows = self.shows_users(room);
        let relay = self.relay.as_mut();
        let Some(track) = relay.and_then(|relay| relay.track_mut(topic)) else {
            return;
        };
        track.show_users(shows);
        let asks = track.is_live() && track.roster().is_some_and(Roster::is_offline);
        if asks {
            track.reconcile_by(now + Track::RECONCILE);
        }
        if let Some(relay) = self.relay.as_mut() {
            relay.arm(topic);
        }
        if asks {
            self.ask_users(room, false, out);
            self.reconcile(room, out);
        }
    }

    /// Answers a client with the users of a room once the relay has listed them with the number of
    /// their connections: there are no notices of that number.
    pub(crate) fn list_users(
        &mut self,
        request: &Message<'_>,
        room: &str,
        out: &mut Outbox,
    ) -> Result<(), RequestError> {
        let relay = self.relay.as_mut().ok_or(RequestError::Relay)?;
        if relay.has_enough_requests() {
            return Err(RequestError::Reads { limit: WAITING_MAX });
        }
        if relay.begin_list(room, PendingRead::new(request)) {
            self.ask_users(room, true, out);
        }
        Ok(())
    }

    /// Asks the relay for the users of a room, either for clients that wait for them or because
    /// they are not known.
    pub(crate) fn ask_users(&mut self, room: &str, is_for_clients: bool, out: &mut Outbox) {
        let limit = self.config.limits.presence_list;
        let Some(relay) = self.relay.as_mut().filter(|relay| relay.is_up()) else {
            return;
        };
        let token = relay.ask(Asked::Users(room.into(), is_for_clients));
        let track = relay.track_mut(&Topic::room(room));
        let roster = track.and_then(Track::roster_mut);
        // Notices of a room that is followed are not held back for clients.
        if let Some(roster) = roster.filter(|it| !is_for_clients || !it.is_live()) {
            roster.ask(token);
        }
        let room = room.into();
        out.relay(RelayCommand::ListUsers { token, room, limit });
    }

    /// True when the users of a room are known, by the last list and all notices since.
    pub(crate) fn knows_users(&self, room: &str) -> bool {
        self.roster(room).is_some_and(Roster::is_live)
    }

    /// True when a list of users is to come from the relay.
    pub(crate) fn can_ask_users(&self, room: &str) -> bool {
        let relay = self.relay.as_ref().filter(|relay| relay.is_up());
        let track = relay.and_then(|relay| relay.track(&Topic::room(room)));
        track.is_some_and(|track| track.roster().is_some())
    }

    /// Applies the list of a room's users.
    pub(crate) fn take_users(
        &mut self,
        now: Timestamp,
        (token, page): (u64, &RoomUsers),
        out: &mut Outbox,
    ) {
        let list_max = self.config.limits.presence_list;
        let relay = self.relay.as_mut();
        let track = relay.and_then(|relay| relay.track_mut(&Topic::room(&page.room)));
        let Some(roster) = track.and_then(Track::roster_mut) else {
            return;
        };
        let mut turns = Vec::new();
        let again = roster.take_users(token, page, (list_max, now), &mut turns);
        if let Some(relay) = self.relay.as_mut() {
            relay.arm(&Topic::room(&page.room));
        }
        self.tell_turns(&page.room, turns, out);
        if again {
            self.ask_users(&page.room, false, out);
        }
    }

    /// Applies a notice of a user who joined or left.
    pub(crate) fn take_notice(&mut self, notice: &Notice, out: &mut Outbox) {
        let list_max = self.config.limits.presence_list;
        let relay = self.relay.as_mut();
        let track = relay.and_then(|relay| relay.track_mut(&Topic::room(&notice.room)));
        let Some(roster) = track.and_then(Track::roster_mut) else {
            return;
        };
        let mut turns = Vec::new();
        let asks = roster.take_notice(notice, list_max, &mut turns);
        self.tell_turns(&notice.room, turns, out);
        if asks {
            self.ask_users(&notice.room, false, out);
        }
    }

    pub(in crate::hub) fn tell_turns(&self, room: &str, turns: Vec<Turn>, out: &mut Outbox) {
        let Some((slot, _)) = self.rooms.find(room) else {
            return;
        };
        let conns = self.roster(room).map_or(0, |roster| roster.counts().1);
        for turn in turns {
            let event = match turn.change {
                PresenceChange::Joined => "$joined",
                PresenceChange::Left => "$left",
            };
            let (before, after) = (turn.before, turn.after);
            let counts = Counts {
                before,
                after,
                conns,
            };
            self.notify(
                slot,
                counts,
                (event, turn.name.who(), turn.meta.as_deref()),
                out,
            );
        }
    }

    /// Applies the answer for an entered user. The change is announced even if the command has
    /// failed here: no other answer has it.
    pub(crate) fn take_entered(
        &mut self,
        token: u64,
        change: Option<PresenceChange>,
        of: (&str, &str),
        out: &mut Outbox,
    ) {
        let asked = self.relay.as_mut();
        let asked = asked.and_then(|relay| relay.take_asked(token));
        match (asked, change) {
            (_, None) => {}
            (Some(Asked::Present(room, name)), Some(change)) => {
                self.take_present((&room, &name), change, out);
            }
            (_, Some(change)) => self.take_present(of, change, out),
        }
    }

    /// Tells backends and the application of a change. Only one node gets the answer that has it.
    pub(crate) fn take_present(
        &mut self,
        (room, name): (&str, &str),
        change: PresenceChange,
        out: &mut Outbox,
    ) {
        if let Some(room) = room.strip_prefix(OCCUPANCY) {
            let kind = match change {
                PresenceChange::Joined => EventKind::RoomOccupied,
                PresenceChange::Left => EventKind::RoomVacated,
            };
            return self.tell_of_room(kind, room, out);
        }
        let Some(Who::User(user)) = Who::parse(name) else {
            return;
        };
        match change {
            PresenceChange::Joined => {
                self.tell_user(EventKind::UserJoined, room, user, out);
                let members = self.members(room);
                let mut conns = self.conns.of_user(user).iter();
                let conn = conns
                    .find(|conn| members.binary_search(conn).is_ok())
                    .copied();
                if let Some(conn) = conn {
                    self.changes.push_present(room, conn, Some(user.into()));
                }
            }
            PresenceChange::Left => {
                self.tell_user(EventKind::UserLeft, room, user, out);
                self.changes.push_absent(room, Who::User(user), None);
            }
        }
    }

    /// Announces that users of a dead node were removed.
    pub(crate) fn take_reaped(&mut self, room: &str, names: &[Box<str>], out: &mut Outbox) {
        for name in names {
            self.take_present((room, name), PresenceChange::Left, out);
        }
    }

    /// Acts on due timers of presence.
    pub(in crate::hub) fn tick_users(&mut self, now: Timestamp, out: &mut Outbox) {
        let unsure = self.relay.as_mut().map(|relay| relay.take_unsure(now));
        self.enter_again(unsure.into_iter().flatten(), out);
        let doubts = self.relay.as_mut().map(|relay| relay.take_doubts(now));
        for room in doubts.into_iter().flatten() {
            self.reconcile(&room, out);
        }
    }

    /// Sends the users of a room to the relay again, or asks for them, when that is due.
    pub(in crate::hub) fn tick_roster(&mut self, now: Timestamp, topic: &Topic, out: &mut Outbox) {
        let Some(room) = topic.as_room() else {
            return;
        };
        let Some(relay) = self.relay.as_mut() else {
            return;
        };
        let Some(track) = relay
            .track_mut(topic)
            .filter(|track| track.roster().is_some())
        else {
            return;
        };
        track.reconcile_by(now + Track::RECONCILE);
        let asks = track.is_live() && track.roster().is_some_and(Roster::is_offline);
        relay.arm(topic);
        if asks {
            self.ask_users(room, false, out);
        }
        self.reconcile(room, out);
    }
}

/// The name under which the relay counts the nodes that have members of a room.
fn occupancy(room: &str) -> Box<str> {
    format!("{OCCUPANCY}{room}").into()
}

fn entry(presence: Option<&Presence>, who: Who<'_>) -> PresentUser {
    let found = presence.and_then(|presence| presence.entry(who));
    let (conns, meta) = found.unwrap_or_default();
    PresentUser {
        name: who.cursor().into(),
        conns: conns as u64,
        waits: found.is_some() && conns == 0,
        meta: meta.map(Into::into),
    }
}
