//! Rooms and their histories in the object's storage.

use std::{collections::BTreeSet, ops::RangeInclusive};

use roomcast_core::{
    Timestamp,
    hub::RoomState,
    room::{Except, HistoryMessage},
};
use worker::SqlStorageValue;

use super::sql::{Row, Sql, integer, number, text};
use crate::platform::{Appended, Kept, PlatformError};

/// The tables, created when a room is saved for the first time.
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

/// The most bytes of a room's state in one row: the platform allows 2 MB, and a thousand users who
/// may still come back can take more.
const PART_BYTES_MAX: usize = 1_000_000;

/// State of the tables, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    made: bool,
    /// True when the epoch differs from the saved one.
    renewed: bool,
    /// Rooms whose state may have several rows.
    parted: BTreeSet<String>,
}

/// Content of the tables.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) histories_opened: u64,
    pub(super) rooms: Vec<RoomState>,
    pub(super) unreadable: Vec<String>,
    /// The number of rows without a readable room name.
    pub(super) damaged: usize,
}

/// The message in a row; `None` when it is damaged.
fn message(row: Row) -> Option<HistoryMessage> {
    let [position, at_ms, frame, excepted]: [_; 4] = row.try_into().ok()?;
    let at = Timestamp::from_millis(integer(&at_ms)?);
    let except = match &*text(excepted)? {
        "" => Except::Nobody,
        json => serde_json::from_str(json).ok()?,
    };
    let (offset, frame) = (integer(&position)?, text(frame)?);
    Some(HistoryMessage::new(offset, at, frame, except))
}

impl Rooms {
    pub(super) const fn is_renewed(&self) -> bool {
        self.renewed
    }

    /// Reads everything but messages.
    pub(super) fn load(&mut self, sql: &Sql, made: bool) -> Result<Loaded, PlatformError> {
        *self = Self {
            made,
            ..Self::default()
        };
        if !made {
            return Ok(Loaded::default());
        }
        let opened = sql.read_column("SELECT lives FROM histories", vec![])?;
        let opened = opened.first().and_then(integer);
        self.renewed = opened.is_none();
        let mut loaded = Loaded {
            histories_opened: opened.unwrap_or_default(),
            ..Loaded::default()
        };
        const STATES: &str = "SELECT room, state FROM rooms ORDER BY room, part";
        let rows = sql.read(STATES, vec![])?;
        let rows_read = rows.len();
        // A damaged part makes the whole state damaged.
        let rows = rows.into_iter().filter_map(|row| {
            let [room, state]: [_; 2] = row.try_into().ok()?;
            Some((text(room)?, text(state).unwrap_or_default()))
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
        sql: &Sql,
        kept: &Kept<'_>,
        epoch: &str,
    ) -> Result<(), PlatformError> {
        self.write_head(sql, kept.histories_opened, epoch)?;
        for message in &kept.messages {
            write_message(sql, message)?;
        }
        for (room, state) in &kept.rooms {
            match state {
                Some(state) => self.write_room(sql, state, kept.histories_opened.is_some())?,
                None => self.forget(sql, room)?,
            }
        }
        Ok(())
    }

    fn write_head(
        &mut self,
        sql: &Sql,
        opened: Option<u64>,
        epoch: &str,
    ) -> Result<(), PlatformError> {
        // Written even before any history was opened: a missing number is treated as lost.
        let first = (!self.made || self.renewed).then_some(0);
        if !self.made {
            sql.write(TABLES, vec![])?;
            self.made = true;
        }
        if self.renewed {
            sql.write("UPDATE namespace SET epoch = ?", vec![epoch.into()])?;
            self.renewed = false;
        }
        if let Some(opened) = opened.or(first) {
            const SAVE: &str = "INSERT OR REPLACE INTO histories (only, lives) VALUES (0, ?)";
            sql.write(SAVE, vec![number(opened)])?;
        }
        Ok(())
    }

    /// Writes the state of a room. `begun` means that the room may have had another history before.
    fn write_room(
        &mut self,
        sql: &Sql,
        state: &RoomState,
        begun: bool,
    ) -> Result<(), PlatformError> {
        let text = serde_json::to_string(state)
            .map_err(|fault| PlatformError::new("a room's state cannot be encoded", fault))?;
        let room = || SqlStorageValue::from(state.room());
        if self.parted.remove(state.room()) {
            sql.write("DELETE FROM rooms WHERE room = ?", vec![room()])?;
        }
        for (part, text) in parts(&text).enumerate() {
            const SAVE: &str = "INSERT OR REPLACE INTO rooms (room, part, state) VALUES (?, ?, ?)";
            sql.write(SAVE, vec![room(), number(part as u64), text.into()])?;
            if part > 0 {
                self.parted.insert(state.room().to_owned());
            }
        }
        const BEFORE: &str = "DELETE FROM messages WHERE room = ? AND position < ?";
        sql.write(BEFORE, vec![room(), number(state.first())])?;
        if begun {
            const BEHIND: &str = "DELETE FROM messages WHERE room = ? AND position > ?";
            sql.write(BEHIND, vec![room(), number(state.offset())])?;
        }
        Ok(())
    }

    fn forget(&mut self, sql: &Sql, room: &str) -> Result<(), PlatformError> {
        self.parted.remove(room);
        sql.write("DELETE FROM rooms WHERE room = ?", vec![room.into()])?;
        sql.write("DELETE FROM messages WHERE room = ?", vec![room.into()])
    }

    /// Reads the messages of a room at these offsets. A damaged message is left out: the hub then
    /// treats those before it as lost.
    pub(super) fn history(
        &self,
        sql: &Sql,
        room: &str,
        offsets: RangeInclusive<u64>,
    ) -> Result<Vec<HistoryMessage>, PlatformError> {
        if !self.made {
            return Ok(Vec::new());
        }
        const READ: &str = "SELECT position, at_ms, frame, excepted FROM messages
            WHERE room = ? AND position BETWEEN ? AND ? ORDER BY position";
        let (first, last) = (number(*offsets.start()), number(*offsets.end()));
        let rows = sql.read(READ, vec![room.into(), first, last])?;
        Ok(rows.into_iter().filter_map(message).collect())
    }
}

fn write_message(sql: &Sql, message: &Appended<'_>) -> Result<(), PlatformError> {
    let excepted = match message.except {
        Except::Nobody => String::new(),
        except @ (Except::Conn(_) | Except::These(_)) => serde_json::to_string(except)
            .map_err(|fault| PlatformError::new("a message cannot be encoded", fault))?,
    };
    const SAVE: &str = "INSERT OR REPLACE INTO messages (room, position, at_ms, frame, excepted)
        VALUES (?, ?, ?, ?, ?)";
    let values = vec![
        message.room.into(),
        number(message.offset),
        number(message.at.as_millis()),
        message.frame.into(),
        excepted.into(),
    ];
    sql.write(SAVE, values)
}

/// Splits a text into parts that fit in a row; at least one.
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
