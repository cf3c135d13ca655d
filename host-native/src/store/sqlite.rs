//! The store in one SQLite file.
//!
//! A turn's changes are one transaction, which is committed before any output of the turn leaves
//! the process. Committed data is with the operating system, or with [`StoreSync::Always`] on the
//! disk, so it survives the end of the process, or of the system.
//!
//! A store that may lack data that clients have seen is not trusted: an offset that is given out
//! twice would make a client skip messages. There are four checks. Each row has a checksum, which
//! includes what the row belongs to. A file beside the database counts commits, which reveals a log
//! that lost its end. The database in turn identifies that file, which reveals a restored copy. And
//! the store records which boot of the system wrote it: after another boot without a clean end, the
//! last commits may be missing.

mod checkpoint;
mod commits;
mod damage;
mod database;
mod header;
mod integrity;
mod lines;
mod read;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use roomcast_core::room::HistoryMessage;
use rusqlite::{Connection, TransactionBehavior};

pub(crate) use self::lines::LineStore;
use self::{
    checkpoint::Checkpoints,
    commits::Found,
    database::{
        APPLICATION_ID, CLIENT_KEYS, DatabaseError, FORMAT, TABLES, WITHDRAWN, connect, explain,
    },
    header::Header,
    writer::Writer,
};
use super::{
    batch::{Batch, StoredNamespace, StoredRoom, StoredWithdrawn},
    public::{StoreError, StoreSync},
};

/// The histories of all namespaces.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    writer: Arc<Mutex<Writer>>,
    checkpoints: Checkpoints,
    /// Locked while the store is open: two servers must not write to it.
    _lock: File,
}

impl Store {
    /// Opens the store in a folder, or creates one. A store that cannot be trusted is emptied, with
    /// a warning.
    ///
    /// Work: reads the whole store.
    pub(crate) fn open(folder: &Path, sync: StoreSync) -> Result<Self, StoreError> {
        Self::open_locked(folder, sync).map_err(|fault| error(folder, &fault))
    }

    fn open_locked(folder: &Path, sync: StoreSync) -> Result<Self, DatabaseError> {
        fs::create_dir_all(folder)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join("lock"))?;
        commits::lock(&lock)?;
        // Checked before any file is opened that another folder may share.
        let mut found = Found::look(folder)?;
        if integrity::part(folder, &found)? {
            found.used = false;
        }
        let held = integrity::held(folder);
        let mut db = connect(folder)?;
        check_format(&mut db)?;
        damage::check(&mut db, folder)?;
        let (header, commits) = integrity::begin(&mut db, folder, found, held, sync)?;
        let writer = Writer {
            db,
            header,
            commits,
        };
        let writer = Arc::new(Mutex::new(writer));
        let checkpoints = Checkpoints::start(connect(folder)?, writer.clone())?;
        Ok(Self {
            folder: folder.into(),
            writer,
            checkpoints,
            _lock: lock,
        })
    }

    /// Writes a batch, in one transaction. After an error either all of it is written or nothing:
    /// waiting callers must not be told that it is.
    pub(crate) fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        let writer = &mut *self.writer();
        writer.write(batch).map_err(|fault| self.error(&fault))?;
        self.checkpoints.note();
        Ok(())
    }

    /// The names of all stored namespaces.
    pub(crate) fn namespaces(&self) -> Result<Vec<Arc<str>>, StoreError> {
        read::namespaces(&self.writer().db).map_err(|fault| self.error(&fault.into()))
    }

    /// Loads a namespace, except the messages of its rooms; `None` when it is not stored. Damaged
    /// data is left out, and logged as an error: damaged rooms start anew. Rooms with longer names
    /// than `room_name_bytes`, which nobody can join any more, are left out too.
    pub(crate) fn load(
        &self,
        namespace: &str,
        room_name_bytes: usize,
    ) -> Result<Option<StoredNamespace>, StoreError> {
        let writer = self.writer();
        let loaded = read::load(&writer.db, namespace, room_name_bytes);
        loaded.map_err(|fault| self.error(&fault.into()))
    }

    /// The messages of a room, oldest first, from the last gap or damage on.
    pub(crate) fn messages(
        &self,
        namespace: &str,
        room: &StoredRoom,
    ) -> Result<Vec<HistoryMessage>, StoreError> {
        let writer = self.writer();
        read::messages(&writer.db, namespace, room).map_err(|fault| self.error(&fault.into()))
    }

    /// The users of a namespace, each with the time before which its identities are refused, in
    /// seconds since 1970.
    pub(crate) fn withdrawn(&self, namespace: &str) -> Result<StoredWithdrawn, StoreError> {
        let writer = self.writer();
        read::withdrawn(&writer.db, namespace).map_err(|fault| self.error(&fault.into()))
    }

    /// Closes the store: syncs everything, and marks the end as orderly.
    pub(crate) fn close(&self) -> Result<(), StoreError> {
        self.checkpoints.stop();
        let writer = &mut *self.writer();
        integrity::end(writer).map_err(|fault| self.error(&fault))
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, fault: &DatabaseError) -> StoreError {
        error(&self.folder, fault)
    }
}

fn error(folder: &Path, fault: &DatabaseError) -> StoreError {
    StoreError {
        path: folder.into(),
        fault: explain(fault),
    }
}

fn check_format(db: &mut Connection) -> Result<(), DatabaseError> {
    let number = |name: &str| db.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0));
    let (id, format): (i32, i32) = (number("application_id")?, number("user_version")?);
    if (id, format) == (APPLICATION_ID, FORMAT) {
        db.execute_batch(WITHDRAWN)?;
        db.execute_batch(CLIENT_KEYS)?;
        return damage::check_schema(db);
    }
    let tables: u32 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if id == APPLICATION_ID {
        return Err(DatabaseError::Foreign(
            "the store is of another version of Roomcast",
        ));
    }
    if (id, format, tables) != (0, 0, 0) {
        return Err(DatabaseError::Foreign("this is another program's database"));
    }
    db.pragma_update(None, "synchronous", "full")?;
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(TABLES)?;
    tx.execute_batch(WITHDRAWN)?;
    tx.execute_batch(CLIENT_KEYS)?;
    Header::new().write(&tx)?;
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", FORMAT)?;
    Ok(tx.commit()?)
}
