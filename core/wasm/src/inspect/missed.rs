//! Messages that a connection did not get.

use std::{borrow::Cow, rc::Rc};

use roomcast_core::{
    ConnId, Input, Outbox,
    journal::{Record, Replay},
};
use serde::{Deserialize, de::IgnoredAny};

use super::{fault::InspectError, lines::Lines, output::Output, player::Player};

/// A search for the lines that publish a message of others to a room while a connection is open
/// and does not get it.
#[derive(Debug)]
pub struct Missed {
    player: Player,
    conn: ConnId,
    end: usize,
    found: Vec<u32>,
}

/// The members of a frame that distinguish a room's messages from answers and notices.
#[derive(Debug, Deserialize)]
struct Head<'a> {
    #[serde(borrow, default)]
    event: Cow<'a, str>,
    #[serde(default)]
    room: Option<IgnoredAny>,
    #[serde(default)]
    key: Option<IgnoredAny>,
    #[serde(default)]
    error: Option<IgnoredAny>,
}

impl Head<'_> {
    /// True for a message of an application in a room.
    fn is_message(&self) -> bool {
        self.room.is_some() && !self.event.starts_with('$')
    }
}

/// The publish of a line: its publisher, if it is a client, and whether it has a key.
struct Publish {
    conn: Option<ConnId>,
    has_key: bool,
}

impl Missed {
    pub(super) fn new(lines: &Rc<Lines>, end: usize, conn: &str) -> Result<Self, InspectError> {
        let Ok(conn) = conn.parse() else {
            let fault = format!("`{conn}` is no connection: give its id, such as 0");
            return Err(InspectError::new(fault));
        };
        Ok(Self {
            player: Player::new(lines, 0, Replay::new()),
            conn,
            end,
            found: Vec::new(),
        })
    }

    /// Reads this number of further lines; true at the end.
    ///
    /// # Errors
    ///
    /// When a line is not a line of a journal.
    pub fn read(&mut self, lines_max: usize) -> Result<bool, InspectError> {
        let lines = Rc::clone(&self.player.lines);
        let to = self.end.min(self.player.at.saturating_add(lines_max));
        while self.player.at < to {
            let line = self.player.at + 1;
            let entry = lines.entry(line)?;
            let hub = self.player.replay.hub(&entry.namespace);
            let is_there = hub.is_some_and(|hub| hub.connection(self.conn).is_some());
            self.player.play()?;
            let Record::Input(input) = &entry.record else {
                continue;
            };
            if is_there
                && let Some(publish) = Publish::of(input)
                && publish.is_missed_by(self.conn, &self.player.out)
            {
                self.found.push(u32::try_from(line).unwrap_or(u32::MAX));
            }
        }
        Ok(to == self.end)
    }

    /// The line that was read last.
    pub const fn at(&self) -> usize {
        self.player.at
    }

    /// The lines found so far, without those that were taken before.
    pub fn take(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.found)
    }
}

impl Publish {
    #[allow(clippy::wildcard_enum_match_arm)] // no other publishes to a room
    fn of(input: &Input<'_>) -> Option<Self> {
        match input {
            Input::Text { conn, text } => {
                let head: Head<'_> = serde_json::from_str(text).ok()?;
                head.is_message().then_some(Self {
                    conn: Some(*conn),
                    has_key: head.key.is_some(),
                })
            }
            Input::Send { audience, key, .. } => (!audience.rooms.is_empty()).then_some(Self {
                conn: None,
                has_key: key.is_some(),
            }),
            _ => None,
        }
    }

    /// True when these commands show that the message was accepted, and that the connection did not
    /// get it. A message that nobody got counts as accepted unless it was refused, or has a key:
    /// with a key it may be a repetition.
    fn is_missed_by(&self, conn: ConnId, out: &Outbox) -> bool {
        if self.conn == Some(conn) {
            return false;
        }
        let (mut is_sent, mut is_refused) = (false, false);
        for output in Output::all(out) {
            let Output::Send {
                to,
                frame,
                binary: false,
            } = &output
            else {
                continue;
            };
            let Ok(head) = serde_json::from_str::<Head<'_>>(frame) else {
                continue;
            };
            let is_answer = self.conn.is_some_and(|own| **to == [own]);
            is_refused |= is_answer && head.error.is_some();
            if head.is_message() && !is_answer {
                if to.contains(&conn) {
                    return false;
                }
                is_sent = true;
            }
        }
        is_sent || !(is_refused || self.has_key)
    }
}
