//! The store: histories that outlive the process, in one SQLite file.
//!
//! A turn's changes are one transaction, which is committed before anything that the turn made
//! leaves the process. What is committed is with the operating system, or with
//! [`StoreSync::Always`] on the disk; so it survives the end of the process, or of the system.
//!
//! A store that may lack what clients have seen is not believed: an offset that is given out twice
//! would make a client skip messages. Four things tell. Each row has a checksum, also of what it
//! belongs to. A file beside the database counts commits, so that a log which lost its end shows;
//! and the database knows that file, so that a copy which was put back shows. And the store notes
//! which boot of the system wrote it: after another boot, without a clean end, the last commits may
//! be missing.

mod batch;
mod checkpoint;
mod commits;
mod damage;
mod error;
mod integrity;
mod read;
mod sync;
#[cfg(test)]
mod tests;

use std::{
    fmt::Write,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use roomcast_core::{
    hub::{KeyState, RoomState},
    room::HistoryMessage,
};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

pub(crate) use self::batch::{Batch, NamespaceHeader};
use self::{
    batch::NamespaceBatch,
    checkpoint::Checkpoints,
    commits::{Commits, Found},
    integrity::Header,
};
pub use self::{error::StoreError, sync::StoreSync};

/// The histories of all namespaces.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    writer: Arc<Mutex<Writer>>,
    checkpoints: Checkpoints,
    /// Held while the store is open: two servers must not write to it.
    _lock: File,
}

/// The one connection that writes.
#[derive(Debug)]
struct Writer {
    db: Connection,
    header: Header,
    commits: Commits,
}

/// A namespace as the store holds it.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) life: NamespaceHeader,
    pub(crate) rooms: Vec<KeptRoom>,
    pub(crate) keys: Vec<KeyState>,
}

/// A room as the store holds it.
#[derive(Debug)]
pub(crate) struct KeptRoom {
    id: i64,
    pub(crate) state: RoomState,
}

const FILE: &str = "histories.sqlite";
/// SQLite's log, and what its readers share, while the database is open or after a crash.
const LOG: &str = "histories.sqlite-wal";
const SHARED_MEMORY: &str = "histories.sqlite-shm";
/// "room" in ASCII: what the file is, in its header.
const APPLICATION_ID: i32 = 0x726f_6f6d;
const FORMAT: i32 = 2;
const TABLES: &str = "
    CREATE TABLE life (boot TEXT NOT NULL, clean INTEGER NOT NULL, synced INTEGER NOT NULL,
        commits INTEGER NOT NULL, nonce TEXT NOT NULL, sum INTEGER NOT NULL);
    CREATE TABLE namespaces (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
        life TEXT NOT NULL, sum INTEGER NOT NULL);
    CREATE TABLE rooms (id INTEGER PRIMARY KEY, namespace INTEGER NOT NULL, name TEXT NOT NULL,
        state TEXT NOT NULL, sum INTEGER NOT NULL, UNIQUE (namespace, name));
    CREATE TABLE messages (room INTEGER NOT NULL, position INTEGER NOT NULL, at INTEGER NOT NULL,
        excluded TEXT NOT NULL, frame TEXT NOT NULL, sum INTEGER NOT NULL,
        PRIMARY KEY (room, position)) WITHOUT ROWID;
    CREATE TABLE keys (namespace INTEGER NOT NULL, key TEXT NOT NULL, expires INTEGER NOT NULL,
        state TEXT NOT NULL, sum INTEGER NOT NULL, PRIMARY KEY (namespace, key)) WITHOUT ROWID;
    CREATE INDEX keys_by_expiry ON keys (namespace, expires);
";

impl Store {
    /// Opens the store in a folder, or makes one. One that cannot be believed is emptied, with a
    /// warning.
    ///
    /// Work: the whole store is read.
    pub(crate) fn open(folder: &Path, sync: StoreSync) -> Result<Self, StoreError> {
        Self::open_locked(folder, sync).map_err(|fault| StoreError {
            path: folder.into(),
            fault: explain(&fault),
        })
    }

    fn open_locked(folder: &Path, sync: StoreSync) -> Result<Self, Fault> {
        fs::create_dir_all(folder)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join("lock"))?;
        commits::lock(&lock)?;
        // Before anything is opened that may be another folder's too.
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

    /// Writes a batch, in one transaction. After an error nothing of it is written, or all of it
    /// is: whoever waits for it must not be told that it is.
    pub(crate) fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        let writer = &mut *self.writer();
        let written = writer.commit(|db| {
            for (name, batch) in &batch.namespaces {
                write_namespace(db, name, batch)?;
            }
            Ok(())
        });
        written.map_err(|fault| self.error(&fault))?;
        self.checkpoints.note();
        Ok(())
    }

    /// The names of all namespaces that there are.
    pub(crate) fn namespaces(&self) -> Result<Vec<Arc<str>>, StoreError> {
        read::namespaces(&self.writer().db).map_err(|fault| self.error(&fault.into()))
    }

    /// A namespace, but for the messages of its rooms; `None` when it was not kept. What is damaged
    /// is left out, with an error in the log: rooms that are, begin anew. So are rooms with longer
    /// names, which nobody can join any more.
    pub(crate) fn load(
        &self,
        namespace: &str,
        room_name_bytes: usize,
    ) -> Result<Option<Kept>, StoreError> {
        let writer = self.writer();
        let loaded = read::load(&writer.db, namespace, room_name_bytes);
        loaded.map_err(|fault| self.error(&fault.into()))
    }

    /// The messages of a room, oldest first; those behind the first gap or damage are left out.
    pub(crate) fn messages(
        &self,
        namespace: &str,
        room: &KeptRoom,
    ) -> Result<Vec<HistoryMessage>, StoreError> {
        let writer = self.writer();
        read::messages(&writer.db, namespace, room).map_err(|fault| self.error(&fault.into()))
    }

    /// The end: everything is made to last, and the store says so.
    pub(crate) fn close(&self) -> Result<(), StoreError> {
        self.checkpoints.stop();
        let writer = &mut *self.writer();
        integrity::end(writer).map_err(|fault| self.error(&fault))
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, fault: &Fault) -> StoreError {
        StoreError {
            path: self.folder.clone(),
            fault: explain(fault),
        }
    }
}

/// Faults inside the store.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("damaged: {0}")]
    Damaged(String),
    #[error("{0}")]
    Foreign(&'static str),
    #[error("another server uses this store")]
    Taken,
}

/// Says what is wrong, and what to do about it.
fn explain(fault: &Fault) -> String {
    use rusqlite::ErrorCode::{
        DatabaseBusy, DatabaseCorrupt, DiskFull, NotADatabase, ReadOnly, Unknown,
    };
    let advice = match fault {
        Fault::Damaged(_) => DAMAGED,
        Fault::Taken => "stop it, or give each server its own",
        Fault::Foreign(_) => "give another folder",
        Fault::Sqlite(fault) => match fault.sqlite_error_code() {
            // The statements are right: it is the tables, or a value in them, that are not.
            Some(DatabaseCorrupt | NotADatabase | Unknown) | None => DAMAGED,
            Some(DatabaseBusy) => {
                "another program has it open: nobody but the server may write there"
            }
            Some(ReadOnly) => {
                "let the server write there; if it may, the file is damaged: move it away to begin with \
                 empty histories"
            }
            Some(DiskFull) => "the disk is full: make room, and start again",
            _ => "look at the disk, and who may write there",
        },
        Fault::Io(fault) if fault.kind() == io::ErrorKind::StorageFull => {
            "the disk is full: make room, and start again"
        }
        Fault::Io(_) | Fault::Json(_) => "look at the disk, and who may write there",
    };
    format!("{fault}: {advice}")
}

const DAMAGED: &str = "the file is damaged: move it away to begin with empty histories";

fn connect(folder: &Path) -> Result<Connection, rusqlite::Error> {
    let db = Connection::open(folder.join(FILE))?;
    // Nobody else has business with it: whoever has must not hold the server up.
    db.busy_timeout(std::time::Duration::ZERO)?;
    // Readers and the writer do not wait for each other, and a commit is a write without a sync.
    db.pragma_update(None, "journal_mode", "wal")?;
    // Checkpoints have a thread of their own.
    db.pragma_update(None, "wal_autocheckpoint", 0)?;
    db.pragma_update(None, "cell_size_check", true)?;
    db.pragma_update(None, "temp_store", "memory")?;
    db.set_prepared_statement_cache_capacity(32);
    Ok(db)
}

/// The database alone, as it is in its file: to be closed before anybody writes to it.
fn connect_without_log(folder: &Path) -> Result<Connection, Fault> {
    use rusqlite::{OpenFlags, config::DbConfig};
    let mut uri = String::from("file:");
    for byte in folder
        .join(FILE)
        .canonicalize()?
        .as_os_str()
        .as_encoded_bytes()
    {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte));
            }
            _ => write!(uri, "%{byte:02x}").unwrap_or_default(),
        }
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let db = Connection::open_with_flags(uri + "?immutable=1", flags)?;
    // When a checkpoint was cut off, pages of the end may be missing that the first page counts.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, true)?;
    Ok(db)
}

fn check_format(db: &mut Connection) -> Result<(), Fault> {
    let number = |name: &str| db.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0));
    let (id, format): (i32, i32) = (number("application_id")?, number("user_version")?);
    if (id, format) == (APPLICATION_ID, FORMAT) {
        return damage::check_schema(db);
    }
    let tables: u32 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if id == APPLICATION_ID {
        return Err(Fault::Foreign(
            "the store is of another version of Roomcast",
        ));
    }
    if (id, format, tables) != (0, 0, 0) {
        return Err(Fault::Foreign("this is another program's database"));
    }
    db.pragma_update(None, "synchronous", "full")?;
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(TABLES)?;
    Header::new().write(&tx)?;
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", FORMAT)?;
    Ok(tx.commit()?)
}

impl Writer {
    /// Commits one transaction, which is counted.
    fn commit(
        &mut self,
        write: impl FnOnce(&Transaction<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let header = Header {
            clean: false,
            ..self.header.clone()
        };
        self.turn(header, None, write)
    }

    /// A single transaction, which leaves the header as this one, but for what it counts.
    fn turn(
        &mut self,
        mut header: Header,
        file: Option<Commits>,
        write: impl FnOnce(&Transaction<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let before = self.header.commits;
        header.commits = before + 1;
        if let Some(file) = &file {
            header.nonce = file.nonce();
        }
        let tx = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        write(&tx)?;
        if !header.update(&tx, before)? {
            return Err(Fault::Foreign("another server has written to this store"));
        }
        tx.commit()?;
        self.header = header;
        let old = file.map(|file| std::mem::replace(&mut self.commits, file));
        self.commits.set_count(before + 1)?;
        if old.is_some() {
            self.commits.settle(old)?;
        }
        Ok(())
    }
}

fn write_namespace(db: &Transaction<'_>, name: &str, batch: &NamespaceBatch) -> Result<(), Fault> {
    let Some(life) = &batch.life else {
        return forget_namespace(db, name);
    };
    let life = serde_json::to_string(life)?;
    let sum = checksum(&[name.as_bytes(), life.as_bytes()]);
    let namespace: i64 = db
        .prepare_cached(
            "INSERT INTO namespaces (name, life, sum) VALUES (?1, ?2, ?3)
             ON CONFLICT (name) DO UPDATE SET life = ?2, sum = ?3 RETURNING id",
        )?
        .query_row(params![name, life, sum], |row| row.get(0))?;
    for (room, batch) in &batch.rooms {
        let Some(state) = &batch.state else {
            forget_room(db, namespace, room)?;
            continue;
        };
        let json = serde_json::to_string(state)?;
        let sum = checksum(&[name.as_bytes(), room.as_bytes(), json.as_bytes()]);
        let id: i64 = db
            .prepare_cached(
                "INSERT INTO rooms (namespace, name, state, sum) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (namespace, name) DO UPDATE SET state = ?3, sum = ?4 RETURNING id",
            )?
            .query_row(params![namespace, room, json, sum], |row| row.get(0))?;
        let place = [name, room];
        let mut insert = db.prepare_cached(
            "INSERT OR REPLACE INTO messages (room, position, at, excluded, frame, sum)
             VALUES (?, ?, ?, ?, ?, ?)",
        )?;
        for message in &batch.messages {
            let excluded = serde_json::to_string(&message.except)?;
            let (position, at) = (integer(message.offset), integer(message.at.as_millis()));
            let sum = message_sum(place, position, at, &excluded, &message.frame);
            insert.execute(params![id, position, at, excluded, message.frame, sum])?;
        }
        // Above the last there may be some of an earlier life.
        db.prepare_cached("DELETE FROM messages WHERE room = ? AND position < ?")?
            .execute([id, integer(state.first())])?;
        db.prepare_cached("DELETE FROM messages WHERE room = ? AND position > ?")?
            .execute([id, integer(state.offset())])?;
    }
    if let Some(now) = batch.now {
        db.prepare_cached("DELETE FROM keys WHERE namespace = ? AND expires <= ?")?
            .execute([namespace, integer(now.as_millis())])?;
    }
    for key in &batch.keys {
        let json = serde_json::to_string(key)?;
        let sum = checksum(&[name.as_bytes(), json.as_bytes()]);
        let expires = integer(key.expires().as_millis());
        db.prepare_cached("INSERT OR REPLACE INTO keys VALUES (?, ?, ?, ?, ?)")?
            .execute(params![namespace, key.key(), expires, json, sum])?;
    }
    Ok(())
}

fn forget_room(db: &Transaction<'_>, namespace: i64, room: &str) -> Result<(), Fault> {
    let id: Option<i64> = db
        .prepare_cached("DELETE FROM rooms WHERE namespace = ? AND name = ? RETURNING id")?
        .query_row(params![namespace, room], |row| row.get(0))
        .optional()?;
    if let Some(id) = id {
        db.prepare_cached("DELETE FROM messages WHERE room = ?")?
            .execute([id])?;
    }
    Ok(())
}

fn forget_namespace(db: &Transaction<'_>, name: &str) -> Result<(), Fault> {
    let id: Option<i64> = db
        .prepare_cached("DELETE FROM namespaces WHERE name = ? RETURNING id")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    if let Some(id) = id {
        db.execute(
            "DELETE FROM messages WHERE room IN (SELECT id FROM rooms WHERE namespace = ?)",
            [id],
        )?;
        db.execute("DELETE FROM rooms WHERE namespace = ?", [id])?;
        db.execute("DELETE FROM keys WHERE namespace = ?", [id])?;
    }
    Ok(())
}

/// SQLite has no unsigned integers; no offset and no time gets that far.
fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// `place` is the namespace and the room.
fn message_sum(place: [&str; 2], position: i64, at: i64, excluded: &str, frame: &str) -> i64 {
    let [position, at] = [position, at].map(i64::to_le_bytes);
    let [namespace, room, excluded, frame] =
        [place[0], place[1], excluded, frame].map(str::as_bytes);
    checksum(&[namespace, room, &position, &at, excluded, frame])
}

/// SQLite checks the structure of its pages, and not what is in them.
fn checksum(parts: &[&[u8]]) -> i64 {
    let mut hasher = crc32fast::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}
