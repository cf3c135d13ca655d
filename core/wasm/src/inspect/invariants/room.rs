//! A room, as known from the frames of its members.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use roomcast_core::{ConnId, room::Position};

use super::{envelope::Since, violation::Violations};

/// The number of messages remembered for a room: more than a join replays.
const LOGGED_MAX: usize = 1024;

/// A room.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) members: BTreeSet<ConnId>,
    /// The last notice about each user: `$joined` or not, and its line.
    present: BTreeMap<String, (bool, usize)>,
    position: Option<Position<'static>>,
    log: VecDeque<Logged>,
}

/// A message that has an offset.
#[derive(Debug)]
struct Logged {
    offset: u64,
    from: Option<ConnId>,
    /// True when it was for every member but its publisher.
    is_for_all: bool,
    /// Connections that it left out.
    excepted: Vec<ConnId>,
}

/// A message to be remembered.
#[derive(Debug)]
pub(super) struct Sent {
    /// The client that published it.
    pub(super) from: Option<ConnId>,
    /// True when it was for every member but its publisher.
    pub(super) is_for_all: bool,
    /// Connections that it left out.
    pub(super) excepted: Vec<ConnId>,
}

impl Room {
    /// Forgets who is present: notices may have been left out.
    pub(super) fn forget_present(&mut self) {
        self.present.clear();
    }

    /// Forgets the position: messages were sent that the journal does not name.
    pub(super) fn forget_position(&mut self) {
        self.position = None;
        self.log.clear();
    }

    /// Handles a notice that a user has joined or left. `since` has the lines at which the
    /// memberships of its recipients began. The same notice twice is a violation for recipients
    /// that got both.
    pub(super) fn told(
        &mut self,
        (name, joined): (String, bool),
        since: &[(ConnId, usize)],
        room: &str,
        violations: &mut Violations,
    ) {
        let line = violations.line();
        if let Some((before, at)) = self.present.insert(name.clone(), (joined, line))
            && before == joined
            && let Some((conn, _)) = since.iter().find(|(_, since)| *since < at)
        {
            let event = if joined { "$joined" } else { "$left" };
            let text = format!("`{event}` of `{}` comes twice", name.trim_end());
            violations.add("I35", (Some(*conn), room), text);
        }
    }

    /// Handles the position after an input that publishes at most one message to the room.
    pub(super) fn moved(
        &mut self,
        position: Position<'_>,
        room: &str,
        sent: Sent,
        violations: &mut Violations,
    ) {
        let known = self.position.as_ref();
        let known = known.filter(|known| known.epoch == position.epoch);
        if known.is_none() {
            self.log.clear();
        }
        if let Some(known) = known {
            let (before, after) = (known.offset, position.offset);
            if after == before {
                return;
            }
            if after != before + 1 {
                // A lower offset means that messages were lost.
                let invariant = if after < before { "I32" } else { "I28" };
                let text = format!("the offset goes from {before} to {after}");
                violations.add(invariant, (None, room), text);
            }
            self.log.push_back(Logged {
                offset: after,
                from: sent.from,
                is_for_all: sent.is_for_all,
                excepted: sent.excepted,
            });
            if self.log.len() > LOGGED_MAX {
                self.log.pop_front();
            }
        }
        self.position = Some(position.into_owned());
    }

    /// Checks a position that a client is told: in one epoch it only grows.
    pub(super) fn check_position(
        &self,
        (conn, room): (ConnId, &str),
        epoch: &str,
        offset: u64,
        violations: &mut Violations,
    ) {
        if let Some(known) = &self.position
            && known.epoch == epoch
            && offset < known.offset
        {
            let text = format!("the offset is {offset}, and was {} before", known.offset);
            violations.add("I32", (Some(conn), room), text);
        }
    }

    /// Offsets of the messages between two positions that excluded a client, as far as they are
    /// remembered.
    pub(super) fn excepted(&self, conn: ConnId, since: &Since, epoch: &str, to: u64) -> Vec<u64> {
        let is_known = self.position.as_ref();
        let is_known = is_known.is_some_and(|known| known.epoch == epoch);
        let log = self.log.iter().filter(|_| is_known);
        let excepted = log.filter(|logged| {
            (since.offset + 1..=to).contains(&logged.offset) && logged.excepted.contains(&conn)
        });
        excepted.map(|logged| logged.offset).collect()
    }

    /// Offsets of the messages between two positions that a client must get, as far as they are
    /// remembered.
    pub(super) fn due(&self, conn: ConnId, since: &Since, epoch: &str, to: u64) -> Vec<u64> {
        if self
            .position
            .as_ref()
            .is_none_or(|known| known.epoch != epoch)
        {
            return Vec::new();
        }
        let own = |from: ConnId| from == conn || since.conns.contains(&from);
        let missed = self.log.iter().filter(|logged| {
            (since.offset + 1..=to).contains(&logged.offset)
                && logged.is_for_all
                && !logged.from.is_some_and(own)
        });
        missed.map(|logged| logged.offset).collect()
    }
}
