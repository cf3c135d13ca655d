//! A client, as known from the frames that it got.

use std::collections::BTreeMap;

use roomcast_core::ConnId;

use super::{envelope::Since, violation::Violations};

/// A connection that is alive.
#[derive(Debug, Default)]
pub(super) struct Client {
    /// True after `$bye`.
    pub(super) has_bye: bool,
    pub(super) rooms: BTreeMap<Box<str>, Member>,
    /// Ids of requests that are not answered.
    asked: Vec<String>,
    /// Joins that are not answered: the room, and the position to recover from.
    joins: Vec<(Box<str>, Option<Since>)>,
}

/// A membership.
#[derive(Debug)]
pub(super) struct Member {
    /// The line that it began with.
    pub(super) since: usize,
    /// The highest offset that the client knows of.
    last: u64,
    replay: Option<Replay>,
}

/// Missed messages that a join replays.
#[derive(Debug)]
struct Replay {
    /// The number of messages that are still to come.
    left: usize,
    /// The offset of the last replayed message.
    at: u64,
    /// Offsets that must be among them, as far as known.
    due: Vec<u64>,
    /// Offsets of messages that left the client out.
    excepted: Vec<u64>,
}

impl Client {
    /// True when a request of it has no answer yet: its next messages may have to wait.
    pub(super) const fn is_waiting(&self) -> bool {
        !(self.asked.is_empty() && self.joins.is_empty())
    }

    pub(super) fn ask(&mut self, id: String) {
        self.asked.push(id);
    }

    pub(super) fn ask_join(&mut self, room: &str, since: Option<Since>) {
        self.joins.push((room.into(), since));
    }

    /// Removes a request that was answered; false when there is none with this id.
    pub(super) fn answer(&mut self, id: &str) -> bool {
        let found = self.asked.iter().position(|asked| asked == id);
        found.is_some_and(|at| {
            self.asked.remove(at);
            true
        })
    }

    /// Removes the oldest join of a room, and returns its position.
    pub(super) fn answer_join(&mut self, room: &str) -> Option<Since> {
        let at = self.joins.iter().position(|(asked, _)| **asked == *room)?;
        self.joins.remove(at).1
    }
}

impl Member {
    /// A member since this line, which knows of this offset.
    pub(super) const fn new(since: usize, last: u64) -> Self {
        Self {
            since,
            last,
            replay: None,
        }
    }

    /// Expects a replay of this number of messages above an offset, with the due ones among them.
    pub(super) fn expect(&mut self, left: usize, at: u64, (due, excepted): (Vec<u64>, Vec<u64>)) {
        self.replay = Some(Replay {
            left,
            at,
            due,
            excepted,
        });
    }

    /// Checks a message of the room; true when it belongs to a replay.
    pub(super) fn got(
        &mut self,
        (conn, room): (ConnId, &str),
        offset: Option<u64>,
        violations: &mut Violations,
    ) -> bool {
        let who = (Some(conn), room);
        let offset = offset.unwrap_or(0);
        if let Some(replay) = self.replay.as_mut().filter(|replay| replay.left > 0) {
            if offset <= replay.at {
                let text = format!("offset {offset} is replayed behind {}", replay.at);
                violations.add("I30", who, text);
            }
            if replay.excepted.contains(&offset) {
                let text = format!("offset {offset} is replayed, and left the client out");
                violations.add("I33", who, text);
            }
            (replay.left, replay.at) = (replay.left - 1, offset);
            replay.due.retain(|due| *due != offset);
            return true;
        }
        if offset > 0 {
            if offset <= self.last {
                let text = format!("offset {offset} arrives behind {}", self.last);
                violations.add("I12", who, text);
            }
            self.last = offset;
        }
        false
    }

    /// Ends a replay: no message of it may be missing.
    pub(super) fn end_replay(&mut self, who: (ConnId, &str), violations: &mut Violations) {
        let Some(replay) = self.replay.take() else {
            return;
        };
        let who = (Some(who.0), who.1);
        if replay.left > 0 {
            let text = format!("{} missed messages do not follow the join", replay.left);
            violations.add("I30", who, text);
        } else if let Some(due) = replay.due.first() {
            let text = format!("the message of offset {due} is not among those missed");
            violations.add("I30", who, text);
        }
    }
}
