//! Damage of the whole database: checks at the start, and repairs.

use std::{collections::BTreeSet, path::Path};

use rusqlite::{Connection, TransactionBehavior};

use super::database::{CLIENT_KEYS, DatabaseError, TABLES, WITHDRAWN};

/// Checks that tables and indexes are as they were created.
pub(super) fn check_schema(db: &Connection) -> Result<(), DatabaseError> {
    let made = Connection::open_in_memory()?;
    made.execute_batch(TABLES)?;
    made.execute_batch(WITHDRAWN)?;
    made.execute_batch(CLIENT_KEYS)?;
    let (made, found) = (schema(&made)?, schema(db)?);
    match made.difference(&found).next() {
        None => Ok(()),
        Some((kind, name, ..)) => Err(DatabaseError::Damaged(format!(
            "the {kind} {name} is not as it was made"
        ))),
    }
}

type Schema = BTreeSet<(String, String, String, Option<String>)>;

fn schema(db: &Connection) -> Result<Schema, rusqlite::Error> {
    let mut query = db.prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema")?;
    let rows = query.query_map([], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
    })?;
    rows.collect()
}

/// Checks the whole database. Indexes that do not fit their tables are rebuilt, with a warning.
/// Rows that the tables themselves lost are reported when they are missed. Rows whose owners were
/// lost are dropped here, with an error.
pub(super) fn check(db: &mut Connection, folder: &Path) -> Result<(), DatabaseError> {
    // The quick check would not do: it trusts indexes.
    let look = |db: &Connection| -> Result<String, rusqlite::Error> {
        db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
    };
    let store = tracing::field::display(folder.display());
    let found = look(db)?;
    if found != "ok" {
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mended = tx.execute_batch("REINDEX").and_then(|()| look(&tx));
        if mended.as_deref() != Ok("ok") {
            return Err(DatabaseError::Damaged(found));
        }
        tx.commit()?;
        tracing::warn!(%store, found, "the store is damaged: its indexes were made again");
    }
    for (what, of, table, column, owners) in ORPHANS {
        let orphans = format!("FROM {table} WHERE {column} NOT IN (SELECT id FROM {owners})");
        let count: i64 =
            db.query_row(&format!("SELECT count(*) {orphans}"), [], |row| row.get(0))?;
        if count > 0 {
            tracing::error!(%store, count, "{what} in the store belong to {of} that is lost: they are dropped");
            db.execute(&format!("DELETE {orphans}"), [])?;
        }
    }
    Ok(())
}

const ORPHANS: [(&str, &str, &str, &str, &str); 4] = [
    ("rooms", "a namespace", "rooms", "namespace", "namespaces"),
    ("keys", "a namespace", "keys", "namespace", "namespaces"),
    (
        "keys of clients",
        "a namespace",
        "client_keys",
        "namespace",
        "namespaces",
    ),
    ("messages", "a room", "messages", "room", "rooms"),
];
