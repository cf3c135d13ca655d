//! What the object's storage holds: the epoch, the next serial number, idempotency keys, rooms with
//! their histories, what an application keeps.

use std::ops::RangeInclusive;

use roomcast_core::{
    Timestamp,
    hub::{HubState, KeyState},
    room::HistoryMessage,
};
use serde::Deserialize;
use worker::{SqlStorage, SqlStorageValue};

use self::{rooms::Rooms, value::Text};
use crate::platform::{Fault, Kept, Saved};

mod rooms;
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
    sql: SqlStorage,
    /// A new one for a namespace that was never saved.
    epoch: String,
    /// Whether the tables are there, and that of the application.
    made: bool,
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
    state: Text,
}

impl KeyRow {
    /// `None` when it is damaged.
    fn read(self) -> Option<KeyState> {
        serde_json::from_str(&self.state.0?).ok()
    }
}

impl Storage {
    pub(crate) fn new(sql: SqlStorage, epoch: String) -> Self {
        Self {
            rooms: Rooms::default(),
            sql,
            epoch,
            made: false,
            application_made: false,
        }
    }

    /// What was saved, without keys that have expired at `now`.
    pub(crate) fn load(&mut self, now: Timestamp) -> Result<Saved, Fault> {
        let saved = self.read(now).map_err(|fault| reading(&fault))?;
        if let Some(saved) = saved? {
            self.epoch.clone_from(&saved.epoch);
            return Ok(saved);
        }
        Ok(Saved {
            epoch: self.epoch.clone(),
            state: HubState::default(),
            rooms: Vec::new(),
            unreadable: Vec::new(),
            damaged: 0,
            application: String::new(),
        })
    }

    fn read(&mut self, now: Timestamp) -> worker::Result<Result<Option<Saved>, Fault>> {
        const TABLES: &str = "SELECT name FROM sqlite_master WHERE type = 'table' AND name IN ('namespace', 'application', 'rooms')";
        let tables: Vec<TableRow> = self.sql.exec(TABLES, None)?.to_array()?;
        let has = |name| tables.iter().any(|table| table.name == name);
        self.made = has("namespace");
        self.application_made = has("application");
        if !self.made {
            return Ok(Ok(None));
        }
        const NAMESPACE: &str = "SELECT version, epoch, next_serial FROM namespace";
        let rows: Vec<NamespaceRow> = self.sql.exec(NAMESPACE, None)?.to_array()?;
        let Some(row) = rows.into_iter().next() else {
            return Ok(Ok(None));
        };
        if integer(row.version) != Some(VERSION as u64) {
            let why = format!("its version is {}, known is {VERSION}", row.version);
            return Ok(Err(Fault::new("the storage cannot be read", why)));
        }
        const KEYS: &str = "SELECT state FROM keys WHERE expires_ms > ?";
        let now = vec![number(now.as_millis())];
        let rows: Vec<KeyRow> = self.sql.exec(KEYS, now)?.to_array()?;
        let rows_read = rows.len();
        // Without one that is damaged a request that is repeated counts as new.
        let keys: Vec<KeyState> = rows.into_iter().filter_map(KeyRow::read).collect();
        let keys_damaged = rows_read - keys.len();
        let state = integer(row.next_serial).map(HubState::from_serial);
        let mut kept = Vec::new();
        if self.application_made {
            const STATE: &str = "SELECT state FROM application";
            kept = self.sql.exec(STATE, None)?.to_array::<StateRow>()?;
        }
        let application = kept.pop().map(|row| row.state).unwrap_or_default();
        let loaded = self.rooms.load(&self.sql, has("rooms"))?;
        // Without their number the histories_opened of histories might come again: they count in a new epoch.
        let epoch = if self.rooms.is_renewed() {
            self.epoch.clone()
        } else {
            row.epoch
        };
        Ok(match state {
            Some(state) => Ok(Some(Saved {
                epoch,
                state: state
                    .with_keys(keys)
                    .with_histories_opened(loaded.histories_opened),
                rooms: loaded.rooms,
                unreadable: loaded.unreadable,
                damaged: keys_damaged + loaded.damaged,
                application,
            })),
            None => Err(Fault::new("the storage cannot be read", "a bad number")),
        })
    }

    pub(crate) fn save_serial(&mut self, next: u64) -> Result<(), Fault> {
        self.write_serial(next).map_err(|fault| writing(&fault))
    }

    fn write_serial(&mut self, next: u64) -> worker::Result<()> {
        self.make()?;
        const SAVE: &str = "UPDATE namespace SET next_serial = ?";
        self.sql.exec(SAVE, vec![number(next)])?;
        Ok(())
    }

    pub(crate) fn save_key(
        &mut self,
        key: &KeyState,
        now: Timestamp,
        keys_max: usize,
    ) -> Result<(), Fault> {
        let state = serde_json::to_string(key)
            .map_err(|fault| Fault::new("an idempotency key cannot be encoded", fault))?;
        self.write_key(key, state, now, keys_max)
            .map_err(|fault| writing(&fault))
    }

    fn write_key(
        &mut self,
        key: &KeyState,
        state: String,
        now: Timestamp,
        keys_max: usize,
    ) -> worker::Result<()> {
        self.make()?;
        const EXPIRED: &str = "DELETE FROM keys WHERE expires_ms <= ?";
        self.sql.exec(EXPIRED, vec![number(now.as_millis())])?;
        const SAVE: &str = "INSERT OR REPLACE INTO keys (key, expires_ms, state) VALUES (?, ?, ?)";
        let expires = number(key.expires().as_millis());
        self.sql
            .exec(SAVE, vec![key.key().into(), expires, state.into()])?;
        const SURPLUS: &str = "DELETE FROM keys WHERE key IN
            (SELECT key FROM keys ORDER BY expires_ms DESC, key DESC LIMIT -1 OFFSET ?)";
        self.sql.exec(SURPLUS, vec![number(keys_max as u64)])?;
        Ok(())
    }

    /// Writes what belongs to no connection. More than one statement, unless there are no rooms: it is
    /// for the caller to take all of them back when one fails.
    pub(crate) fn save_kept(&mut self, kept: &Kept<'_>) -> Result<(), Fault> {
        if !kept.rooms.is_empty() {
            self.make().map_err(|fault| writing(&fault))?;
            self.rooms.save(&self.sql, kept, &self.epoch)?;
        }
        if let Some(state) = kept.application {
            self.write_application(state)
                .map_err(|fault| writing(&fault))?;
        }
        Ok(())
    }

    /// The messages of a room that have these offsets.
    pub(crate) fn history(
        &self,
        room: &str,
        offsets: RangeInclusive<u64>,
    ) -> Result<Vec<HistoryMessage>, Fault> {
        self.rooms.history(&self.sql, room, offsets)
    }

    fn write_application(&mut self, state: &str) -> worker::Result<()> {
        self.make()?;
        if !self.application_made {
            self.sql.exec(APPLICATION, None)?;
            self.application_made = true;
        }
        const SAVE: &str = "INSERT OR REPLACE INTO application (only, state) VALUES (0, ?)";
        self.sql.exec(SAVE, vec![state.into()])?;
        Ok(())
    }

    fn make(&mut self) -> worker::Result<()> {
        if !self.made {
            self.sql.exec(SCHEMA, None)?;
            const FIRST: &str = "INSERT OR IGNORE INTO namespace (only, version, epoch, next_serial) VALUES (0, ?, ?, 0)";
            let values = vec![VERSION.into(), self.epoch.as_str().into()];
            self.sql.exec(FIRST, values)?;
            self.made = true;
        }
        Ok(())
    }
}

/// SQLite's integers come back as JavaScript's numbers.
fn integer(number: f64) -> Option<u64> {
    const SAFE: f64 = 9_007_199_254_740_991.0;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // just looked at
    (number.fract() == 0.0 && (0.0..=SAFE).contains(&number)).then_some(number as u64)
}

fn number(number: u64) -> SqlStorageValue {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}

fn reading(fault: &worker::Error) -> Fault {
    Fault::new("the storage cannot be read", fault)
}

fn writing(fault: &worker::Error) -> Fault {
    Fault::new("the storage cannot be written", fault)
}
