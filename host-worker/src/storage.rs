//! Storage of the object: the epoch, the next serial number, idempotency keys, rooms with their
//! histories, and the state that an application keeps.

use std::ops::RangeInclusive;

use roomcast_core::{
    Timestamp,
    hub::{HubState, KeyState},
    room::HistoryMessage,
};
use serde::Deserialize;
use worker::SqlStorage;

use self::{
    rooms::Rooms,
    sql::{Sql, number},
    value::{Value, integer},
};
use crate::platform::{Fault, Kept, Saved};

mod rooms;
mod sql;
mod value;

/// The tables. A later version of them begins by reading `version`.
///
/// Nothing is written before there is something to save: asking for a namespace that nobody was in
/// leaves no trace.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS namespace (
        only INTEGER PRIMARY KEY CHECK (only = 0),
        version INTEGER NOT NULL,
        epoch TEXT NOT NULL,
        next_serial INTEGER NOT NULL
    );
    CREATE TABLE IF NOT EXISTS keys (
        key TEXT PRIMARY KEY,
        expires_ms INTEGER NOT NULL,
        state TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS keys_by_expiry ON keys (expires_ms, key);";
/// Made when an application keeps something for the first time.
const APPLICATION: &str = "
    CREATE TABLE IF NOT EXISTS application (
        only INTEGER PRIMARY KEY CHECK (only = 0),
        state TEXT NOT NULL
    );";
const VERSION: i64 = 1;

#[derive(Debug)]
pub(crate) struct Storage {
    sql: Sql,
    /// A new one for a namespace that was never saved.
    epoch: String,
    /// True when the tables are there.
    made: bool,
    /// True when the table of the application is there.
    application_made: bool,
    rooms: Rooms,
}

#[derive(Deserialize)]
struct TableRow {
    name: String,
}

#[derive(Deserialize)]
struct NamespaceRow {
    version: f64,
    epoch: String,
    next_serial: f64,
}

#[derive(Deserialize)]
struct StateRow {
    state: String,
}

#[derive(Deserialize)]
struct KeyRow {
    state: Value,
}

impl KeyRow {
    /// `None` when it is damaged.
    fn read(self) -> Option<KeyState> {
        serde_json::from_str(&self.state.text()?).ok()
    }
}

impl Storage {
    pub(crate) fn new(sql: SqlStorage, epoch: String) -> Self {
        Self {
            rooms: Rooms::default(),
            sql: Sql(sql),
            epoch,
            made: false,
            application_made: false,
        }
    }

    /// Loads the saved state, without keys that have expired at `now`.
    pub(crate) fn load(&mut self, now: Timestamp) -> Result<Saved, Fault> {
        if let Some(saved) = self.read(now)? {
            self.epoch.clone_from(&saved.epoch);
            return Ok(saved);
        }
        Ok(Saved {
            epoch: self.epoch.clone(),
            ..Saved::default()
        })
    }

    fn read(&mut self, now: Timestamp) -> Result<Option<Saved>, Fault> {
        let unreadable = |why: String| Fault::new("the storage cannot be read", why);
        const TABLES: &str = "SELECT name FROM sqlite_master WHERE type = 'table' AND name IN ('namespace', 'application', 'rooms')";
        let tables: Vec<TableRow> = self.sql.read(TABLES, vec![])?;
        let has = |name| tables.iter().any(|table| table.name == name);
        self.made = has("namespace");
        self.application_made = has("application");
        if !self.made {
            return Ok(None);
        }
        const NAMESPACE: &str = "SELECT version, epoch, next_serial FROM namespace";
        let rows: Vec<NamespaceRow> = self.sql.read(NAMESPACE, vec![])?;
        let Some(row) = rows.into_iter().next() else {
            return Ok(None);
        };
        if integer(row.version) != Some(VERSION as u64) {
            let why = format!("its version is {}, known is {VERSION}", row.version);
            return Err(unreadable(why));
        }
        const KEYS: &str = "SELECT state FROM keys WHERE expires_ms > ?";
        let rows: Vec<KeyRow> = self.sql.read(KEYS, vec![number(now.as_millis())])?;
        let rows_read = rows.len();
        // Without one that is damaged a request that is repeated counts as new.
        let keys: Vec<KeyState> = rows.into_iter().filter_map(KeyRow::read).collect();
        let keys_damaged = rows_read - keys.len();
        let state = integer(row.next_serial).map(HubState::from_serial);
        let mut kept = Vec::new();
        if self.application_made {
            const STATE: &str = "SELECT state FROM application";
            kept = self.sql.read::<StateRow>(STATE, vec![])?;
        }
        let application = kept.pop().map(|row| row.state).unwrap_or_default();
        let loaded = self.rooms.load(&self.sql, has("rooms"))?;
        // When the number of histories opened is lost, a history might get a number a second time:
        // the namespace then counts in a new epoch.
        let epoch = match self.rooms.is_renewed() {
            true => self.epoch.clone(),
            false => row.epoch,
        };
        let state = state.ok_or_else(|| unreadable("a bad number".to_owned()))?;
        Ok(Some(Saved {
            epoch,
            state: state
                .with_keys(keys)
                .with_histories_opened(loaded.histories_opened),
            rooms: loaded.rooms,
            unreadable: loaded.unreadable,
            damaged: keys_damaged + loaded.damaged,
            application,
        }))
    }

    pub(crate) fn save_serial(&mut self, next: u64) -> Result<(), Fault> {
        self.make()?;
        const SAVE: &str = "UPDATE namespace SET next_serial = ?";
        self.sql.write(SAVE, vec![number(next)])
    }

    pub(crate) fn save_key(
        &mut self,
        key: &KeyState,
        now: Timestamp,
        keys_max: usize,
    ) -> Result<(), Fault> {
        let state = serde_json::to_string(key)
            .map_err(|fault| Fault::new("an idempotency key cannot be encoded", fault))?;
        self.make()?;
        const EXPIRED: &str = "DELETE FROM keys WHERE expires_ms <= ?";
        self.sql.write(EXPIRED, vec![number(now.as_millis())])?;
        const SAVE: &str = "INSERT OR REPLACE INTO keys (key, expires_ms, state) VALUES (?, ?, ?)";
        let expires = number(key.expires().as_millis());
        let values = vec![key.key().into(), expires, state.into()];
        self.sql.write(SAVE, values)?;
        const SURPLUS: &str = "DELETE FROM keys WHERE key IN
            (SELECT key FROM keys ORDER BY expires_ms DESC, key DESC LIMIT -1 OFFSET ?)";
        self.sql.write(SURPLUS, vec![number(keys_max as u64)])
    }

    /// Writes what belongs to no connection. More than one statement, unless there are no rooms: it
    /// is for the caller to take all of them back when one fails.
    pub(crate) fn save_kept(&mut self, kept: &Kept<'_>) -> Result<(), Fault> {
        if !kept.rooms.is_empty() {
            self.make()?;
            self.rooms.save(&self.sql, kept, &self.epoch)?;
        }
        let Some(state) = kept.application else {
            return Ok(());
        };
        self.make()?;
        if !self.application_made {
            self.sql.write(APPLICATION, vec![])?;
            self.application_made = true;
        }
        const SAVE: &str = "INSERT OR REPLACE INTO application (only, state) VALUES (0, ?)";
        self.sql.write(SAVE, vec![state.into()])
    }

    /// The messages of a room that have these offsets.
    pub(crate) fn history(
        &self,
        room: &str,
        offsets: RangeInclusive<u64>,
    ) -> Result<Vec<HistoryMessage>, Fault> {
        self.rooms.history(&self.sql, room, offsets)
    }

    fn make(&mut self) -> Result<(), Fault> {
        if !self.made {
            self.sql.write(SCHEMA, vec![])?;
            const FIRST: &str = "INSERT OR IGNORE INTO namespace (only, version, epoch, next_serial) VALUES (0, ?, ?, 0)";
            let values = vec![VERSION.into(), self.epoch.as_str().into()];
            self.sql.write(FIRST, values)?;
            self.made = true;
        }
        Ok(())
    }
}
