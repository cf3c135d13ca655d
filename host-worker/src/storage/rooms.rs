//! Rooms and their histories in the object's storage.

use std::{collections::BTreeSet, ops::RangeInclusive};

use roomcast_core::{
    Timestamp,
    hub::RoomState,
    room::{Except, HistoryMessage},
};
use serde::Deserialize;
use worker::{SqlStorage, SqlStorageValue};

use super::{
    integer, number, reading,
    value::{Number, Text},
    writing,
};
use crate::platform::{Appended, Fault, Kept};

/// Made when a room is saved for the first time.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS histories (
        only INTEGER PRIMARY KEY CHECK (only = 0),
        lives INTEGER NOT NULL
    );
    CREATE TABLE IF NOT EXISTS rooms (
        room TEXT NOT NULL,
        part INTEGER NOT NULL,
        state TEXT NOT NULL,
        PRIMARY KEY (room, part)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS messages (
        room TEXT NOT NULL,
        position INTEGER NOT NULL,
        at_ms INTEGER NOT NULL,
        frame TEXT NOT NULL,
        excepted TEXT NOT NULL,
        PRIMARY KEY (room, position)
    ) WITHOUT ROWID;";

/// Bytes of a room's state in one row: the platform takes 2 MB, and a thousand users who are waited
/// for may take more.
const PART_BYTES_MAX: usize = 1_000_000;

/// What is known of the tables.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    made: bool,
    /// Whether the epoch is another than the one that is saved.
    renewed: bool,
    /// Rooms whose state has several rows, and perhaps others.
    parted: BTreeSet<String>,
}

/// What the tables hold.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) histories_opened: u64,
    pub(super) rooms: Vec<RoomState>,
    pub(super) unreadable: Vec<String>,
    /// How many rows have not even the name of a room.
    pub(super) damaged: usize,
}

#[derive(Deserialize)]
struct LivesRow {
    lives: Number,
}

#[derive(Deserialize)]
struct RoomRow {
    room: Text,
    state: Text,
}

#[derive(Deserialize)]
struct MessageRow {
    position: Number,
    at_ms: Number,
    frame: Text,
    excepted: Text,
}

impl MessageRow {
    /// `None` when it is damaged.
    fn read(self) -> Option<HistoryMessage> {
        let at = Timestamp::from_millis(integer(self.at_ms.0?)?);
        let except = match &*self.excepted.0? {
            "" => Except::Nobody,
            json => serde_json::from_str(json).ok()?,
        };
        let offset = integer(self.position.0?)?;
        Some(HistoryMessage::new(offset, at, self.frame.0?, except))
    }
}

impl Rooms {
    pub(super) const fn is_renewed(&self) -> bool {
        self.renewed
    }

    /// Reads everything but messages.
    pub(super) fn load(&mut self, sql: &SqlStorage, made: bool) -> worker::Result<Loaded> {
        *self = Self {
            made,
            ..Self::default()
        };
        if !made {
            return Ok(Loaded::default());
        }
        let lives: Vec<LivesRow> = sql.exec("SELECT lives FROM histories", None)?.to_array()?;
        let lives = lives.first().and_then(|row| integer(row.lives.0?));
        self.renewed = lives.is_none();
        let mut loaded = Loaded {
            histories_opened: lives.unwrap_or_default(),
            ..Loaded::default()
        };
        const STATES: &str = "SELECT room, state FROM rooms ORDER BY room, part";
        let rows: Vec<RoomRow> = sql.exec(STATES, None)?.to_array()?;
        let rows_read = rows.len();
        // A part that is damaged makes the whole state one.
        let rows = rows.into_iter().filter_map(|row| {
            let state = row.state.0.unwrap_or_default();
            Some((row.room.0?, state))
        });
        let rows: Vec<_> = rows.collect();
        loaded.damaged = rows_read - rows.len();
        let mut rows = rows.into_iter().peekable();
        while let Some((room, mut state)) = rows.next() {
            while let Some((room, part)) = rows.next_if(|(other, _)| *other == room) {
                state.push_str(&part);
                self.parted.insert(room);
            }
            let read = serde_json::from_str(&state).ok();
            match read.filter(|read: &RoomState| read.room() == room) {
                Some(read) => loaded.rooms.push(read),
                None => loaded.unreadable.push(room),
            }
        }
        Ok(loaded)
    }

    /// Writes messages and the states of their rooms.
    pub(super) fn save(
        &mut self,
        sql: &SqlStorage,
        kept: &Kept<'_>,
        epoch: &str,
    ) -> Result<(), Fault> {
        self.write_head(sql, kept.histories_opened, epoch)
            .map_err(|fault| writing(&fault))?;
        for message in &kept.messages {
            let excepted = match message.except {
                Except::Nobody => String::new(),
                except @ (Except::Conn(_) | Except::These(_)) => serde_json::to_string(except)
                    .map_err(|fault| Fault::new("a message cannot be encoded", fault))?,
            };
            write_message(sql, message, excepted).map_err(|fault| writing(&fault))?;
        }
        for (room, state) in &kept.rooms {
            let written = match state {
                Some(state) => {
                    let text = serde_json::to_string(state)
                        .map_err(|fault| Fault::new("a room's state cannot be encoded", fault))?;
                    self.write_room(sql, state, &text, kept.histories_opened.is_some())
                }
                None => self.forget(sql, room),
            };
            written.map_err(|fault| writing(&fault))?;
        }
        Ok(())
    }

    fn write_head(
        &mut self,
        sql: &SqlStorage,
        lives: Option<u64>,
        epoch: &str,
    ) -> worker::Result<()> {
        // Also while no history has begun: a number that is missing is taken for one that was lost.
        let first = (!self.made || self.renewed).then_some(0);
        if !self.made {
            sql.exec(TABLES, None)?;
            self.made = true;
        }
        if self.renewed {
            sql.exec("UPDATE namespace SET epoch = ?", vec![epoch.into()])?;
            self.renewed = false;
        }
        if let Some(lives) = lives.or(first) {
            const SAVE: &str = "INSERT OR REPLACE INTO histories (only, lives) VALUES (0, ?)";
            sql.exec(SAVE, vec![number(lives)])?;
        }
        Ok(())
    }

    /// `begun` says that the room may have had another history before.
    fn write_room(
        &mut self,
        sql: &SqlStorage,
        state: &RoomState,
        text: &str,
        begun: bool,
    ) -> worker::Result<()> {
        let room = || SqlStorageValue::from(state.room());
        if self.parted.remove(state.room()) {
            sql.exec("DELETE FROM rooms WHERE room = ?", vec![room()])?;
        }
        for (part, text) in parts(text).enumerate() {
            const SAVE: &str = "INSERT OR REPLACE INTO rooms (room, part, state) VALUES (?, ?, ?)";
            sql.exec(SAVE, vec![room(), number(part as u64), text.into()])?;
            if part > 0 {
                self.parted.insert(state.room().to_owned());
            }
        }
        const BEFORE: &str = "DELETE FROM messages WHERE room = ? AND position < ?";
        sql.exec(BEFORE, vec![room(), number(state.first())])?;
        if begun {
            const BEHIND: &str = "DELETE FROM messages WHERE room = ? AND position > ?";
            sql.exec(BEHIND, vec![room(), number(state.offset())])?;
        }
        Ok(())
    }

    fn forget(&mut self, sql: &SqlStorage, room: &str) -> worker::Result<()> {
        self.parted.remove(room);
        for table in ["rooms", "messages"] {
            let statement = format!("DELETE FROM {table} WHERE room = ?");
            sql.exec(&statement, vec![room.into()])?;
        }
        Ok(())
    }

    /// Reads the messages of a room that have these offsets. One that is no message is left out: the
    /// hub takes those before it for lost.
    pub(super) fn history(
        &self,
        sql: &SqlStorage,
        room: &str,
        offsets: RangeInclusive<u64>,
    ) -> Result<Vec<HistoryMessage>, Fault> {
        if !self.made {
            return Ok(Vec::new());
        }
        let read = || -> worker::Result<Vec<MessageRow>> {
            const READ: &str = "SELECT position, at_ms, frame, excepted FROM messages
                WHERE room = ? AND position BETWEEN ? AND ? ORDER BY position";
            let values = vec![
                room.into(),
                number(*offsets.start()),
                number(*offsets.end()),
            ];
            sql.exec(READ, values)?.to_array()
        };
        let rows = read().map_err(|fault| reading(&fault))?;
        Ok(rows.into_iter().filter_map(MessageRow::read).collect())
    }
}

fn write_message(sql: &SqlStorage, message: &Appended<'_>, excepted: String) -> worker::Result<()> {
    const SAVE: &str = "INSERT OR REPLACE INTO messages (room, position, at_ms, frame, excepted)
        VALUES (?, ?, ?, ?, ?)";
    let values = vec![
        message.room.into(),
        number(message.offset),
        number(message.at.as_millis()),
        message.frame.into(),
        excepted.into(),
    ];
    sql.exec(SAVE, values)?;
    Ok(())
}

/// A text in parts that fit in a row; at least one.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut end = text.len().min(PART_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let (part, behind) = text.split_at(end);
        rest = (!behind.is_empty()).then_some(behind);
        Some(part)
    })
}
