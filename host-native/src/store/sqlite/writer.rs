//! The writing connection: one transaction for each batch.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::{
    commits::Commits,
    database::{DatabaseError, EVERYONE, checksum, integer, message_sum},
    header::Header,
};
use crate::store::batch::{Batch, NamespaceBatch};

/// The only connection that writes.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) db: Connection,
    pub(super) header: Header,
    pub(super) commits: Commits,
}

impl Writer {
    /// Writes a batch, in one counted transaction.
    pub(super) fn write(&mut self, batch: &Batch) -> Result<(), DatabaseError> {
        let header = Header {
            clean: false,
            ..self.header.clone()
        };
        self.transact(header, None, |db| {
            for (name, batch) in &batch.namespaces {
                write_namespace(db, name, batch)?;
            }
            Ok(())
        })
    }

    /// Runs a transaction, which also stores `header` with the incremented count of commits, and
    /// the nonce of `file` if there is one.
    pub(super) fn transact(
        &mut self,
        mut header: Header,
        file: Option<Commits>,
        write: impl FnOnce(&Transaction<'_>) -> Result<(), DatabaseError>,
    ) -> Result<(), DatabaseError> {
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
            return Err(DatabaseError::Foreign(
                "another server has written to this store",
            ));
        }
        tx.commit()?;
        self.header = header;
        let old = file.map(|file| std::mem::replace(&mut self.commits, file));
        self.commits.set_count(before + 1)?;
        if old.is_some() {
            self.commits.leave_alone(old)?;
        }
        Ok(())
    }
}

fn write_namespace(
    db: &Transaction<'_>,
    name: &str,
    batch: &NamespaceBatch,
) -> Result<(), DatabaseError> {
    for (user, not_before_s) in &batch.withdrawn {
        db.prepare_cached("INSERT OR REPLACE INTO withdrawn VALUES (?, ?, ?)")?
            .execute(params![name, user, integer(*not_before_s)])?;
    }
    if let Some(not_before_s) = batch.not_before_s.map(integer) {
        db.prepare_cached("DELETE FROM withdrawn WHERE namespace = ? AND not_before <= ?")?
            .execute(params![name, not_before_s])?;
        db.prepare_cached("INSERT OR REPLACE INTO withdrawn VALUES (?, ?, ?)")?
            .execute(params![name, EVERYONE, not_before_s])?;
    }
    let Some(header) = &batch.header else {
        return forget_namespace(db, name);
    };
    let header = serde_json::to_string(header)?;
    let sum = checksum(&[name.as_bytes(), header.as_bytes()]);
    let namespace: i64 = db
        .prepare_cached(
            "INSERT INTO namespaces (name, life, sum) VALUES (?1, ?2, ?3)
             ON CONFLICT (name) DO UPDATE SET life = ?2, sum = ?3 RETURNING id",
        )?
        .query_row(params![name, header, sum], |row| row.get(0))?;
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
        // Above the last message there may be some of an earlier header.
        db.prepare_cached("DELETE FROM messages WHERE room = ? AND position < ?")?
            .execute([id, integer(state.first())])?;
        db.prepare_cached("DELETE FROM messages WHERE room = ? AND position > ?")?
            .execute([id, integer(state.offset())])?;
    }
    write_keys(db, (namespace, name), batch)
}

fn write_keys(
    db: &Transaction<'_>,
    (namespace, name): (i64, &str),
    batch: &NamespaceBatch,
) -> Result<(), DatabaseError> {
    if let Some(now) = batch.now {
        let expired = [namespace, integer(now.as_millis())];
        db.prepare_cached("DELETE FROM keys WHERE namespace = ? AND expires <= ?")?
            .execute(expired)?;
        db.prepare_cached("DELETE FROM client_keys WHERE namespace = ? AND expires <= ?")?
            .execute(expired)?;
    }
    for key in &batch.keys {
        let json = serde_json::to_string(key)?;
        let sum = checksum(&[name.as_bytes(), json.as_bytes()]);
        let expires = integer(key.expires().as_millis());
        db.prepare_cached("INSERT OR REPLACE INTO keys VALUES (?, ?, ?, ?, ?)")?
            .execute(params![namespace, key.key(), expires, json, sum])?;
    }
    for (client, key, state) in &batch.client_keys {
        let Some(state) = state else {
            db.prepare_cached(
                "DELETE FROM client_keys WHERE namespace = ? AND client = ? AND key = ?",
            )?
            .execute(params![namespace, client, key])?;
            continue;
        };
        let json = serde_json::to_string(state)?;
        let sum = checksum(&[name.as_bytes(), json.as_bytes()]);
        let expires = integer(state.expires().as_millis());
        db.prepare_cached("INSERT OR REPLACE INTO client_keys VALUES (?, ?, ?, ?, ?, ?)")?
            .execute(params![namespace, client, key, expires, json, sum])?;
    }
    Ok(())
}

fn forget_room(db: &Transaction<'_>, namespace: i64, room: &str) -> Result<(), DatabaseError> {
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

fn forget_namespace(db: &Transaction<'_>, name: &str) -> Result<(), DatabaseError> {
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
        db.execute("DELETE FROM client_keys WHERE namespace = ?", [id])?;
    }
    Ok(())
}
