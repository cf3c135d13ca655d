//! The database: its file, tables, errors, and the checksums of its rows.

use std::{fmt::Write, io, path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

pub(super) const FILE: &str = "histories.sqlite";
/// SQLite's log, while the database is open or after a crash.
pub(super) const LOG: &str = "histories.sqlite-wal";
/// The shared memory of the log's readers.
pub(super) const SHARED_MEMORY: &str = "histories.sqlite-shm";
/// The application id in the file's header: "room" in ASCII.
pub(super) const APPLICATION_ID: i32 = 0x726f_6f6d;
/// The version of the tables, also in the file's header.
pub(super) const FORMAT: i32 = 2;
pub(super) const TABLES: &str = "
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
/// Created where it is missing, as in older stores. The key is the namespace's name: withdrawals
/// stay when the namespace is removed, and when the store is not trusted.
pub(super) const WITHDRAWN: &str = "
    CREATE TABLE IF NOT EXISTS withdrawn (namespace TEXT NOT NULL, user TEXT NOT NULL,
        not_before INTEGER NOT NULL, PRIMARY KEY (namespace, user)) WITHOUT ROWID;
";
/// The user name of the row for all users. No user has an empty name.
pub(super) const EVERYONE: &str = "";
/// Created where it is missing: versions that do not know the table ignore it.
pub(super) const CLIENT_KEYS: &str = "
    CREATE TABLE IF NOT EXISTS client_keys (namespace INTEGER NOT NULL, client TEXT NOT NULL,
        key TEXT NOT NULL, expires INTEGER NOT NULL, state TEXT NOT NULL, sum INTEGER NOT NULL,
        PRIMARY KEY (namespace, client, key)) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS client_keys_by_expiry ON client_keys (namespace, expires);
";

/// Errors of the database.
#[derive(Debug, thiserror::Error)]
pub(super) enum DatabaseError {
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

/// The text of an error, with the remedy.
pub(super) fn explain(fault: &DatabaseError) -> String {
    use rusqlite::ErrorCode::{
        DatabaseBusy, DatabaseCorrupt, DiskFull, NotADatabase, ReadOnly, Unknown,
    };
    let advice = match fault {
        DatabaseError::Damaged(_) => DAMAGED,
        DatabaseError::Taken => "stop it, or give each server its own",
        DatabaseError::Foreign(_) => "give another folder",
        DatabaseError::Sqlite(fault) => match fault.sqlite_error_code() {
            // The statements are correct, so the tables or their values are damaged.
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
        DatabaseError::Io(fault) if fault.kind() == io::ErrorKind::StorageFull => {
            "the disk is full: make room, and start again"
        }
        DatabaseError::Io(_) | DatabaseError::Json(_) => {
            "look at the disk, and who may write there"
        }
    };
    format!("{fault}: {advice}")
}

const DAMAGED: &str = "the file is damaged: move it away to begin with empty histories";

pub(super) fn connect(folder: &Path) -> Result<Connection, rusqlite::Error> {
    let db = Connection::open(folder.join(FILE))?;
    // No other program should use the database, and one that does must not block the server.
    db.busy_timeout(Duration::ZERO)?;
    // With a log, readers and the writer do not block each other, and a commit is a write without a
    // sync.
    db.pragma_update(None, "journal_mode", "wal")?;
    // A separate thread makes checkpoints.
    db.pragma_update(None, "wal_autocheckpoint", 0)?;
    db.pragma_update(None, "cell_size_check", true)?;
    db.pragma_update(None, "temp_store", "memory")?;
    db.set_prepared_statement_cache_capacity(32);
    Ok(db)
}

/// Opens the database file without the log, read-only. Must be closed before anybody writes to it.
pub(super) fn connect_without_log(folder: &Path) -> Result<Connection, DatabaseError> {
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
    // After an interrupted checkpoint, pages at the end may be missing that the first page counts.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, true)?;
    Ok(db)
}

/// Converts a number for SQLite, which has no unsigned integers. No offset and no time is that
/// large.
pub(super) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The checksum of a message. `place` is the namespace and the room.
pub(super) fn message_sum(
    place: [&str; 2],
    position: i64,
    at: i64,
    excluded: &str,
    frame: &str,
) -> i64 {
    let [position, at] = [position, at].map(i64::to_le_bytes);
    let [namespace, room, excluded, frame] =
        [place[0], place[1], excluded, frame].map(str::as_bytes);
    checksum(&[namespace, room, &position, &at, excluded, frame])
}

/// The checksum of values: SQLite checks only the structure of its pages, and not their contents.
pub(super) fn checksum(parts: &[&[u8]]) -> i64 {
    let mut hasher = crc32fast::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}
