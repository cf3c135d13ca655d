//! Storage of the object: the epoch, the next serial number, idempotency keys, rooms with their
//! histories, and the state that an application keeps.

use std::ops::RangeInclusive;

use roomcast_core::{
    Timestamp,
    hub::{ClientKeyState, HubState, KeyState},
    room::HistoryMessage,
};
use serde::de::DeserializeOwned;
use worker::{SqlStorage, SqlStorageValue};

use self::{
    lines::Lines,
    rooms::Rooms,
    sql::{Sql, integer, number, text},
};
use crate::platform::{Kept, PlatformError, Saved};

mod lines;
mod published;
mod rooms;
mod sql;

pub(crate) use self::published::PublishedCopy;

/// The tables. Code with a later schema must first read `version`.
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
/// The table of the application's state, created when there is state for the first time.
const APPLICATION: &str = "
    CREATE TABLE IF NOT EXISTS application (
        only INTEGER PRIMARY KEY CHECK (only = 0),
        state TEXT NOT NULL
    );";
/// The table of withdrawn users, created with the first one.
const WITHDRAWN: &str = "
    CREATE TABLE IF NOT EXISTS withdrawn (
        user TEXT PRIMARY KEY,
        not_before_s INTEGER NOT NULL
    ) WITHOUT ROWID;";
/// The user name of the row that applies to all users. No user has an empty name.
const EVERYONE: &str = "";
/// The table of clients' keys, created when a client first publishes with a key.
const CLIENT_KEYS: &str = "
    CREATE TABLE IF NOT EXISTS client_keys (
        client TEXT NOT NULL,
        key TEXT NOT NULL,
        expires_ms INTEGER NOT NULL,
        state TEXT NOT NULL,
        PRIMARY KEY (client, key)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS client_keys_by_expiry ON client_keys (expires_ms);";
const VERSION: i64 = 1;

#[derive(Debug)]
pub(crate) struct Storage {
    sql: Sql,
    /// The epoch: a new one when the namespace was never saved.
    epoch: String,
    /// True when the tables exist.
    made: bool,
    /// True when the table of the application exists.
    application_made: bool,
    /// True when the table of clients' keys exists.
    client_keys_made: bool,
    rooms: Rooms,
    lines: Lines,
}

impl Storage {
    pub(crate) fn new(sql: SqlStorage, epoch: String) -> Self {
        Self {
            rooms: Rooms::default(),
            lines: Lines::default(),
            sql: Sql(sql),
            epoch,
            made: false,
            application_made: false,
            client_keys_made: false,
        }
    }

    /// Loads the saved state, without keys that have expired at `now`.
    pub(crate) fn load(&mut self, now: Timestamp) -> Result<Saved, PlatformError> {
        let unreadable = |why: &str| PlatformError::new("the storage cannot be read", why);
        const TABLES: &str = "SELECT name FROM sqlite_master WHERE type = 'table' AND name IN ('namespace', 'application', 'client_keys', 'rooms', 'withdrawn', 'hook_lines')";
        let tables = self.sql.read_column(TABLES, vec![])?;
        let has = |name: &str| tables.contains(&name.into());
        self.made = has("namespace");
        self.application_made = has("application");
        self.client_keys_made = has("client_keys");
        let mut saved = Saved {
            epoch: self.epoch.clone(),
            ..Saved::default()
        };
        if !self.made {
            return Ok(saved);
        }
        const NAMESPACE: &str = "SELECT version, epoch, next_serial FROM namespace";
        let Some(row) = self.sql.read(NAMESPACE, vec![])?.pop() else {
            return Ok(saved);
        };
        let row = row
            .try_into()
            .map_err(|_| unreadable("columns are missing"))?;
        let [version, epoch, next_serial]: [SqlStorageValue; 3] = row;
        if integer(&version) != Some(VERSION as u64) {
            let why = format!("its version is {version:?}, known is {VERSION}");
            return Err(unreadable(&why));
        }
        let (keys, keys_damaged) = self.load_keys::<KeyState>("keys", now)?;
        let (client_keys, client_keys_damaged) = if self.client_keys_made {
            self.load_keys::<ClientKeyState>("client_keys", now)?
        } else {
            (Vec::new(), 0)
        };
        if self.application_made {
            const STATE: &str = "SELECT state FROM application";
            if let Some(state) = self.sql.read_column(STATE, vec![])?.pop() {
                let damaged = || unreadable("the application's state is no text");
                saved.application = text(state).ok_or_else(damaged)?;
            }
        }
        let mut withdrawn = if has("withdrawn") {
            self.withdrawn()?
        } else {
            Vec::new()
        };
        let all = withdrawn.iter().position(|(user, _)| **user == *EVERYONE);
        let not_before_s = all.map_or(0, |all| withdrawn.swap_remove(all).1);
        let loaded = self.rooms.load(&self.sql, has("rooms"))?;
        // When the number of opened histories is lost, a number might be used for a second history:
        // so the namespace starts a new epoch.
        if !self.rooms.is_renewed() {
            saved.epoch = text(epoch).ok_or_else(|| unreadable("its epoch is no text"))?;
            self.epoch.clone_from(&saved.epoch);
        }
        let next_serial = integer(&next_serial).ok_or_else(|| unreadable("a bad number"))?;
        let state = HubState::from_serial(next_serial).with_keys(keys);
        saved.state = state
            .with_client_keys(client_keys)
            .with_histories_opened(loaded.histories_opened)
            .with_withdrawn(withdrawn)
            .with_not_before_s(not_before_s);
        let (lines, lines_damaged) = self.lines.load(&self.sql, has("hook_lines"))?;
        saved.lines = lines;
        saved.rooms = loaded.rooms;
        saved.unreadable = loaded.unreadable;
        saved.damaged = keys_damaged + client_keys_damaged + lines_damaged + loaded.damaged;
        Ok(saved)
    }

    /// Reads the keys of a table that have not expired, and counts those that cannot be read.
    fn load_keys<K: DeserializeOwned>(
        &self,
        table: &str,
        now: Timestamp,
    ) -> Result<(Vec<K>, usize), PlatformError> {
        let query = format!("SELECT state FROM {table} WHERE expires_ms > ?");
        let states = self
            .sql
            .read_column(&query, vec![number(now.as_millis())])?;
        let states_read = states.len();
        // Without a damaged key, a repeated request counts as new.
        let keys = states.into_iter().filter_map(text);
        let keys = keys.filter_map(|state| serde_json::from_str(&state).ok());
        let keys: Vec<K> = keys.collect();
        let damaged = states_read - keys.len();
        Ok((keys, damaged))
    }

    pub(crate) fn save_serial(&mut self, next: u64) -> Result<(), PlatformError> {
        self.make()?;
        const SAVE: &str = "UPDATE namespace SET next_serial = ?";
        self.sql.write(SAVE, vec![number(next)])
    }

    fn withdrawn(&self) -> Result<Vec<(Box<str>, u64)>, PlatformError> {
        const ALL: &str = "SELECT user, not_before_s FROM withdrawn";
        let rows = self.sql.read(ALL, vec![])?.into_iter();
        let users = rows.filter_map(|row| {
            let [user, not_before_s]: [SqlStorageValue; 2] = row.try_into().ok()?;
            Some((text(user)?.into(), integer(&not_before_s)?))
        });
        Ok(users.collect())
    }

    pub(crate) fn save_withdrawn(
        &mut self,
        user: &str,
        not_before_s: u64,
    ) -> Result<(), PlatformError> {
        self.make()?;
        self.sql.write(WITHDRAWN, vec![])?;
        const SAVE: &str = "INSERT OR REPLACE INTO withdrawn (user, not_before_s) VALUES (?, ?)";
        self.sql
            .write(SAVE, vec![user.into(), number(not_before_s)])
    }

    /// Saves the time that applies to all users, then deletes users whose own time is not later.
    pub(crate) fn save_not_before(&mut self, not_before_s: u64) -> Result<(), PlatformError> {
        self.save_withdrawn(EVERYONE, not_before_s)?;
        const COVERED: &str = "DELETE FROM withdrawn WHERE not_before_s <= ? AND user <> ?";
        let values = vec![number(not_before_s), EVERYONE.into()];
        self.sql.write(COVERED, values)
    }

    pub(crate) fn save_key(
        &mut self,
        key: &KeyState,
        now: Timestamp,
        keys_max: usize,
    ) -> Result<(), PlatformError> {
        let state = serde_json::to_string(key)
            .map_err(|fault| PlatformError::new("an idempotency key cannot be encoded", fault))?;
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

    /// Writes the state that belongs to no connection. It takes more than one statement, except for
    /// the state of an application alone: the caller must roll all of them back when one fails.
    pub(crate) fn save_kept(&mut self, kept: &Kept<'_>) -> Result<(), PlatformError> {
        if !kept.rooms.is_empty() {
            self.make()?;
            self.rooms.save(&self.sql, kept, &self.epoch)?;
        }
        self.save_client_keys(kept)?;
        if !kept.lines.is_empty() {
            self.make()?;
            self.lines.save(&self.sql, kept)?;
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

    fn save_client_keys(&mut self, kept: &Kept<'_>) -> Result<(), PlatformError> {
        if kept.keys.is_empty() {
            return Ok(());
        }
        self.make()?;
        if !self.client_keys_made {
            self.sql.write(CLIENT_KEYS, vec![])?;
            self.client_keys_made = true;
        }
        const EXPIRED: &str = "DELETE FROM client_keys WHERE expires_ms <= ?";
        let now = number(kept.now.as_millis());
        self.sql.write(EXPIRED, vec![now])?;
        for (client, key, state) in &kept.keys {
            let (client, key) = ((*client).into(), (*key).into());
            let Some(state) = state else {
                const FORGET: &str = "DELETE FROM client_keys WHERE client = ? AND key = ?";
                self.sql.write(FORGET, vec![client, key])?;
                continue;
            };
            let text = serde_json::to_string(state).map_err(|fault| {
                PlatformError::new("an idempotency key cannot be encoded", fault)
            })?;
            let expires = number(state.expires().as_millis());
            const SAVE: &str = "INSERT OR REPLACE INTO client_keys (client, key, expires_ms, state)
                VALUES (?, ?, ?, ?)";
            let values = vec![client, key, expires, text.into()];
            self.sql.write(SAVE, values)?;
        }
        Ok(())
    }

    /// Reads the messages of a room at these offsets.
    pub(crate) fn history(
        &self,
        room: &str,
        offsets: RangeInclusive<u64>,
    ) -> Result<Vec<HistoryMessage>, PlatformError> {
        self.rooms.history(&self.sql, room, offsets)
    }

    fn make(&mut self) -> Result<(), PlatformError> {
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
