//! Reads from the store. A row with any damage is left out, and logged as an error.

use std::sync::Arc;

use roomcast_core::{
    Timestamp,
    room::{Except, HistoryMessage},
};
use rusqlite::{Connection, OptionalExtension, Row, types::FromSql};
use serde::de::DeserializeOwned;

use super::database::{EVERYONE, checksum, integer, message_sum};
use crate::store::batch::{StoredNamespace, StoredRoom, StoredWithdrawn};

/// The names of all namespaces.
pub(super) fn namespaces(db: &Connection) -> Result<Vec<Arc<str>>, rusqlite::Error> {
    let mut query = db.prepare("SELECT name FROM namespaces ORDER BY name")?;
    let (mut rows, mut names) = (query.query([])?, Vec::new());
    while let Some(row) = rows.next()? {
        match column::<String>(row, 0) {
            Some(name) => names.push(name.into()),
            None => tracing::error!("a namespace in the store is damaged, and its name with it"),
        }
    }
    Ok(names)
}

/// A value of its original type; `None` when damage has changed the type, for example to text that
/// is not UTF-8.
fn column<T: FromSql>(row: &Row<'_>, index: usize) -> Option<T> {
    row.get(index).ok()
}

/// A JSON value in this column, with its checksum in the next; `None` when it is damaged. `place`
/// is what it belongs to.
fn value<T: DeserializeOwned>(row: &Row<'_>, index: usize, place: &[&str]) -> Option<T> {
    let (json, sum): (String, i64) = (column(row, index)?, column(row, index + 1)?);
    let parts: Vec<&[u8]> = place
        .iter()
        .chain([&&*json])
        .map(|part| part.as_bytes())
        .collect();
    let sound = checksum(&parts) == sum;
    serde_json::from_str(&json).ok().filter(|_| sound)
}

pub(super) fn load(
    db: &Connection,
    namespace: &str,
    room_name_bytes: usize,
) -> Result<Option<StoredNamespace>, rusqlite::Error> {
    let found = db
        .prepare_cached("SELECT id, life, sum FROM namespaces WHERE name = ?")?
        .query_row([namespace], |row| {
            Ok(column::<i64>(row, 0).zip(value(row, 1, &[namespace])))
        })
        .optional()?;
    let Some(found) = found else {
        return Ok(None);
    };
    let Some((id, header)) = found else {
        tracing::error!(
            namespace,
            "a namespace in the store is damaged: its histories begin anew"
        );
        return Ok(None);
    };
    let mut rooms = Vec::new();
    let mut query =
        db.prepare_cached("SELECT id, name, state, sum FROM rooms WHERE namespace = ?")?;
    let mut rows = query.query([id])?;
    while let Some(row) = rows.next()? {
        let name: Option<String> = column(row, 1);
        match stored_room(row, namespace) {
            Some(room) if room.state.room().len() > room_name_bytes => tracing::warn!(
                namespace,
                room = room.state.room(),
                "a room in the store has a name longer than --room-name-bytes-max: it is left out"
            ),
            Some(room) => rooms.push(room),
            None => tracing::error!(
                namespace,
                room = name,
                "a room in the store is damaged: it begins anew"
            ),
        }
    }
    Ok(Some(StoredNamespace {
        header,
        rooms,
        keys: keys(db, "keys", (id, namespace))?,
        client_keys: keys(db, "client_keys", (id, namespace))?,
    }))
}

/// The idempotency keys of a namespace in one of the two tables.
fn keys<K: DeserializeOwned>(
    db: &Connection,
    table: &str,
    (id, namespace): (i64, &str),
) -> Result<Vec<K>, rusqlite::Error> {
    let (mut keys, mut damaged) = (Vec::new(), 0_u64);
    let query = format!("SELECT state, sum FROM {table} WHERE namespace = ?");
    let mut query = db.prepare_cached(&query)?;
    let mut rows = query.query([id])?;
    while let Some(row) = rows.next()? {
        match value(row, 0, &[namespace]) {
            Some(key) => keys.push(key),
            None => damaged += 1,
        }
    }
    if damaged > 0 {
        tracing::error!(
            namespace,
            damaged,
            "idempotency keys in the store are damaged: they are forgotten"
        );
    }
    Ok(keys)
}

/// The users of a namespace, each with the time before which its identities are refused.
pub(super) fn withdrawn(
    db: &Connection,
    namespace: &str,
) -> Result<StoredWithdrawn, rusqlite::Error> {
    let mut query =
        db.prepare_cached("SELECT user, not_before FROM withdrawn WHERE namespace = ?")?;
    let (mut rows, mut withdrawn) = (query.query([namespace])?, StoredWithdrawn::default());
    while let Some(row) = rows.next()? {
        match (column::<String>(row, 0), column::<i64>(row, 1)) {
            (Some(user), Some(time)) if user == EVERYONE => {
                withdrawn.not_before_s = time.unsigned_abs();
            }
            (Some(user), Some(time)) => withdrawn.users.push((user.into(), time.unsigned_abs())),
            _ => tracing::error!(namespace, "a withdrawn user in the store is damaged"),
        }
    }
    Ok(withdrawn)
}

/// Parses a room; `None` when it is damaged.
fn stored_room(row: &Row<'_>, namespace: &str) -> Option<StoredRoom> {
    let (id, room): (_, String) = (column(row, 0)?, column(row, 1)?);
    let state = value(row, 2, &[namespace, &room])?;
    Some(StoredRoom { id, state })
}

pub(super) fn messages(
    db: &Connection,
    namespace: &str,
    room: &StoredRoom,
) -> Result<Vec<HistoryMessage>, rusqlite::Error> {
    let mut query = db.prepare_cached(
        "SELECT position, at, excluded, frame, sum FROM messages
         WHERE room = ? AND position BETWEEN ? AND ? ORDER BY position DESC",
    )?;
    let StoredRoom { id, state: room } = room;
    let (place, first, top) = ([namespace, room.room()], room.first(), room.offset());
    let mut rows = query.query([*id, integer(first), integer(top)])?;
    let (mut messages, mut next) = (Vec::new(), integer(top));
    while next >= integer(first) {
        let row = rows.next()?;
        let Some(message) = row.and_then(|row| message(row, place, next)) else {
            let room = room.room();
            tracing::error!(
                namespace,
                room,
                position = next,
                "a message in the store is damaged or missing: it is dropped, and those before it"
            );
            break;
        };
        messages.push(message);
        next -= 1;
    }
    messages.reverse();
    Ok(messages)
}

/// Parses a message; `None` when it is damaged, or has another position than expected.
fn message(row: &Row<'_>, place: [&str; 2], expected: i64) -> Option<HistoryMessage> {
    let (position, at): (i64, i64) = (column(row, 0)?, column(row, 1)?);
    let (excluded, frame): (String, String) = (column(row, 2)?, column(row, 3)?);
    let sum = message_sum(place, position, at, &excluded, &frame);
    if sum != column::<i64>(row, 4)? || position != expected {
        return None;
    }
    let except: Except = serde_json::from_str(&excluded).ok()?;
    let (offset, at) = (position.unsigned_abs(), at.unsigned_abs());
    let at = Timestamp::from_millis(at);
    Some(HistoryMessage::new(offset, at, frame, except))
}
