//! Queues of hooks, in a database beside the histories.
//!
//! An event is stored when its turn is committed, and removed when its endpoint has accepted it. A
//! lost or damaged queue costs events, but no client a message: so it has no checksums.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use roomcast_hooks::{Change, KeptEvent};
use rusqlite::{Connection, params};

use super::{
    super::{
        batch::StoredLine,
        public::{StoreError, StoreSync},
    },
    database::{DatabaseError, integer},
    error,
};

const FILE: &str = "hooks.sqlite";
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS lines (name TEXT PRIMARY KEY, epoch TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS events (line TEXT NOT NULL, seq INTEGER NOT NULL,
        first_seq INTEGER NOT NULL, json TEXT NOT NULL, PRIMARY KEY (line, seq)) WITHOUT ROWID;
";

/// The queues of all endpoints.
#[derive(Debug)]
pub(crate) struct LineStore {
    folder: PathBuf,
    db: Mutex<Connection>,
}

impl LineStore {
    /// Opens the queues in the folder of a store, which is open and so locked by this server.
    pub(crate) fn open(folder: &Path, sync: StoreSync) -> Result<Self, StoreError> {
        let db = connect(folder, sync).map_err(|fault| error(folder, &fault.into()))?;
        Ok(Self {
            folder: folder.into(),
            db: Mutex::new(db),
        })
    }

    /// The names of all queues.
    pub(crate) fn names(&self) -> Result<Vec<String>, StoreError> {
        let db = self.db();
        let names = || {
            let mut stored = db.prepare("SELECT name FROM lines ORDER BY name")?;
            let names = stored.query_map([], |row| row.get(0))?;
            names.collect::<Result<Vec<String>, _>>()
        };
        names().map_err(|fault| self.error(fault))
    }

    /// Removes the queues with other names; returns the number of their events.
    pub(crate) fn forget_others(&self, names: &[String]) -> Result<usize, StoreError> {
        let db = self.db();
        let forget = || {
            let mut stored = db.prepare("SELECT name FROM lines")?;
            let stored: Result<Vec<String>, _> = stored.query_map([], |row| row.get(0))?.collect();
            let mut events = 0;
            for name in stored?.iter().filter(|name| !names.contains(name)) {
                events += db.execute("DELETE FROM events WHERE line = ?", [name])?;
                db.execute("DELETE FROM lines WHERE name = ?", [name])?;
            }
            Ok(events)
        };
        forget().map_err(|fault| self.error(fault))
    }

    /// Loads a queue; `None` when it has no events.
    pub(crate) fn load(&self, name: &str) -> Result<Option<StoredLine>, StoreError> {
        let db = self.db();
        let load = || {
            let select = "SELECT first_seq, seq, json FROM events WHERE line = ? ORDER BY seq";
            let mut events = db.prepare(select)?;
            let events = events.query_map([name], |row| {
                let (first_seq, seq): (i64, i64) = (row.get(0)?, row.get(1)?);
                let json: String = row.get(2)?;
                Ok(KeptEvent {
                    first_seq: first_seq.unsigned_abs(),
                    seq: seq.unsigned_abs(),
                    json: json.into(),
                })
            })?;
            let events: Vec<_> = events.collect::<Result<_, _>>()?;
            if events.is_empty() {
                return Ok(None);
            }
            let select = "SELECT epoch FROM lines WHERE name = ?";
            let epoch = db.query_row(select, [name], |row| row.get(0))?;
            Ok(Some(StoredLine { epoch, events }))
        };
        load().map_err(|fault| self.error(fault))
    }

    /// Writes changes of a queue, in one transaction.
    pub(crate) fn save(
        &self,
        name: &str,
        epoch: &str,
        changes: &[Change],
    ) -> Result<(), StoreError> {
        let mut db = self.db();
        let mut save = || {
            let tx = db.transaction()?;
            tx.prepare_cached("INSERT OR REPLACE INTO lines (name, epoch) VALUES (?, ?)")?
                .execute([name, epoch])?;
            for change in changes {
                match change {
                    Change::Keep(event) => tx
                        .prepare_cached(
                            "INSERT OR REPLACE INTO events (line, seq, first_seq, json)
                             VALUES (?, ?, ?, ?)",
                        )?
                        .execute(params![
                            name,
                            integer(event.seq),
                            integer(event.first_seq),
                            &*event.json
                        ])?,
                    Change::Forget {
                        first_seq,
                        last_seq,
                    } => tx
                        .prepare_cached(
                            "DELETE FROM events WHERE line = ? AND seq BETWEEN ? AND ?",
                        )?
                        .execute(params![name, integer(*first_seq), integer(*last_seq)])?,
                };
            }
            tx.commit()
        };
        save().map_err(|fault| self.error(fault))
    }

    fn db(&self) -> MutexGuard<'_, Connection> {
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, fault: rusqlite::Error) -> StoreError {
        error(&self.folder, &DatabaseError::Sqlite(fault))
    }
}

fn connect(folder: &Path, sync: StoreSync) -> Result<Connection, rusqlite::Error> {
    let db = Connection::open(folder.join(FILE))?;
    db.pragma_update(None, "journal_mode", "wal")?;
    // A commit survives the end of the process even without a sync.
    let synchronous = match sync {
        StoreSync::Always => "full",
        StoreSync::Second => "normal",
    };
    db.pragma_update(None, "synchronous", synchronous)?;
    db.pragma_update(None, "temp_store", "memory")?;
    db.execute_batch(TABLES)?;
    Ok(db)
}
