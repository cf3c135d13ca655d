//! Checks of a hub's tables against each other.

use std::collections::BTreeMap;

use roomcast_core::{ConnId, Hub, Policies, Timestamp, hub::Counts, policy::Right};

use super::{envelope::Reply, violation::Violations};

/// The number of newest messages of each history that are checked.
const MESSAGES_MAX: usize = 64;

/// The tables of a hub, reduced to what is compared.
#[derive(Debug)]
pub(super) struct Tables<'a> {
    pub(super) counts: Counts,
    pub(super) rooms: Vec<RoomTable<'a>>,
    pub(super) connections: BTreeMap<ConnId, Vec<&'a str>>,
    /// Rooms that a connection may be in.
    pub(super) rooms_max: usize,
}

/// A room of a hub.
#[derive(Debug)]
pub(super) struct RoomTable<'a> {
    pub(super) name: &'a str,
    /// The number of members, as it is counted.
    pub(super) counted: usize,
    pub(super) members: &'a [ConnId],
    /// Members without the right to be in the room.
    pub(super) unentitled: Vec<ConnId>,
    pub(super) history: Option<HistoryTable>,
}

/// A history of a hub.
#[derive(Debug)]
pub(super) struct HistoryTable {
    /// The offset of the last message of the room, kept or not.
    pub(super) last: u64,
    /// The offset of the oldest message that is kept; above `last` when none is.
    pub(super) first: u64,
    /// Offsets of the newest messages.
    pub(super) offsets: Vec<u64>,
    /// Messages that the policy keeps, if it is known.
    pub(super) messages_max: Option<usize>,
}

impl<'a> Tables<'a> {
    /// The tables of a hub at a time. Work: all rooms and memberships.
    pub(super) fn of(hub: &'a Hub, policies: &Policies, now: Timestamp) -> Self {
        // A right that has just ended is enforced only by the timeout, which is still due.
        let is_settled = hub.next_timeout().is_none_or(|next| next > now);
        let rooms = hub.rooms("", None).map(|room| {
            let members = hub.members(room.name);
            let may_be_in = |conn: &&ConnId| hub.allows(now, **conn, Right::Join, room.name);
            let unentitled = members.iter().filter(|_| is_settled);
            RoomTable {
                name: room.name,
                counted: room.members,
                members,
                unentitled: unentitled
                    .filter(|conn| !may_be_in(conn))
                    .copied()
                    .collect(),
                history: HistoryTable::of(hub, room.name, policies),
            }
        });
        let connections = hub.connections().map(|info| {
            let rooms = hub.rooms_of(info.id).unwrap_or_default();
            (info.id, rooms)
        });
        Self {
            counts: hub.counts(),
            rooms: rooms.collect(),
            connections: connections.collect(),
            rooms_max: hub.limits().rooms_per_connection,
        }
    }

    /// Checks that memberships are symmetrical and within their limit, that counters equal a
    /// recount, that no room is empty, and that histories have no gap.
    pub(super) fn check(&self, violations: &mut Violations) {
        let mut memberships = 0;
        for room in &self.rooms {
            memberships += room.members.len();
            self.check_room(room, violations);
        }
        let mut joined = 0;
        for (conn, rooms) in &self.connections {
            joined += rooms.len();
            if rooms.len() > self.rooms_max {
                let text = format!("it is in {} rooms, of {}", rooms.len(), self.rooms_max);
                violations.add("I9", (Some(*conn), ""), text);
            }
            for room in rooms {
                // Both are sorted.
                let at = self.rooms.binary_search_by_key(room, |known| known.name);
                let members = at.map_or(&[][..], |at| self.rooms[at].members);
                if members.binary_search(conn).is_err() {
                    let text = "the room is among its rooms, and it is no member";
                    violations.add("I1", (Some(*conn), room), text);
                }
            }
        }
        if joined != memberships {
            let text = format!("rooms have {memberships} members, and connections {joined} rooms");
            violations.add("I1", (None, ""), text);
        }
        let counts = &self.counts;
        let counted = (counts.connections, counts.rooms, counts.memberships);
        let recount = (self.connections.len(), self.rooms.len(), memberships);
        if counted != recount {
            let text = format!(
                "{counted:?} connections, rooms and memberships are counted, not {recount:?}"
            );
            violations.add("I2", (None, ""), text);
        }
    }

    fn check_room(&self, room: &RoomTable<'_>, violations: &mut Violations) {
        let members = room.members.len();
        if members != room.counted {
            let text = format!("{} members are counted, not {members}", room.counted);
            violations.add("I2", (None, room.name), text);
        }
        if members == 0 && room.history.is_none() {
            let text = "it has neither a member nor a history";
            violations.add("I3", (None, room.name), text);
        }
        for conn in room.members {
            if !self.connections.contains_key(conn) {
                let text = "a member has ended";
                violations.add("I4", (Some(*conn), room.name), text);
            }
        }
        for conn in &room.unentitled {
            let text = "a member has not the right to the room";
            violations.add("I4", (Some(*conn), room.name), text);
        }
        if let Some(history) = &room.history {
            history.check(room.name, violations);
        }
    }
}

impl HistoryTable {
    fn of(hub: &Hub, room: &str, policies: &Policies) -> Option<Self> {
        let first = hub.history_first(room)?;
        let frames = hub.history(room, None, None, MESSAGES_MAX)?;
        let offset = |frame: &str| serde_json::from_str::<Reply<'_>>(frame).ok()?.offset;
        let policy = policies.of(room).and_then(|policy| policy.history.as_ref());
        Some(Self {
            last: hub.position(room).offset,
            first,
            offsets: frames.iter().filter_map(|frame| offset(frame)).collect(),
            messages_max: policy.map(|policy| policy.messages),
        })
    }

    fn check(&self, room: &str, violations: &mut Violations) {
        let kept = self.last + 1 - self.first.min(self.last + 1);
        if let Some(max) = self.messages_max
            && kept > max as u64
        {
            let text = format!("it keeps {kept} messages, of {max}");
            violations.add("I29", (None, room), text);
        }
        let first = self.last + 1 - self.offsets.len() as u64;
        if !self.offsets.iter().copied().eq(first..=self.last) || first < self.first {
            let (offsets, last) = (&self.offsets, self.last);
            let text = format!("it has the offsets {offsets:?}, and the last is {last}");
            violations.add("I29", (None, room), text);
        }
    }
}
