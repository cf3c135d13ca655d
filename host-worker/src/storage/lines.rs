//! Lines of hooks in the storage.

use roomcast_core::Timestamp;
use roomcast_hooks::{Change, KeptEvent, Progress};
use worker::SqlStorageValue;

use super::sql::{Row, Sql, integer, number, text};
use crate::{
    hooks::{LineChanges, StoredLine},
    platform::{Kept, PlatformError},
};

/// The tables, created with the first event for a backend.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS hook_lines (
        name TEXT PRIMARY KEY,
        epoch TEXT NOT NULL,
        next_seq INTEGER NOT NULL,
        failures INTEGER NOT NULL,
        not_before_ms INTEGER NOT NULL,
        tried_since_ms INTEGER,
        disabled INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS hook_events (
        line TEXT NOT NULL,
        seq INTEGER NOT NULL,
        first_seq INTEGER NOT NULL,
        at_ms INTEGER NOT NULL,
        event TEXT NOT NULL,
        PRIMARY KEY (line, seq)
    ) WITHOUT ROWID;";

/// The lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// True when the tables exist.
    made: bool,
}

impl Lines {
    /// Reads the lines, and counts the rows that cannot be read. A line whose row is damaged starts
    /// over.
    pub(super) fn load(
        &mut self,
        sql: &Sql,
        made: bool,
    ) -> Result<(Vec<StoredLine>, usize), PlatformError> {
        self.made = made;
        if !made {
            return Ok((Vec::new(), 0));
        }
        const LINES: &str = "SELECT name, epoch, next_seq, failures, not_before_ms, tried_since_ms, disabled FROM hook_lines";
        let rows = sql.read(LINES, vec![])?;
        let mut damaged = rows.len();
        let mut lines: Vec<_> = rows.into_iter().filter_map(line).collect();
        damaged -= lines.len();
        for line in &mut lines {
            const EVENTS: &str =
                "SELECT seq, first_seq, at_ms, event FROM hook_events WHERE line = ? ORDER BY seq";
            let rows = sql.read(EVENTS, vec![line.name.as_str().into()])?;
            damaged += rows.len();
            line.events = rows.into_iter().filter_map(event).collect();
            damaged -= line.events.len();
        }
        Ok((lines, damaged))
    }

    pub(super) fn save(&mut self, sql: &Sql, kept: &Kept<'_>) -> Result<(), PlatformError> {
        if kept.lines.is_empty() {
            return Ok(());
        }
        if !self.made {
            sql.write(SCHEMA, vec![])?;
            self.made = true;
        }
        let at = number(kept.now.as_millis());
        kept.lines.iter().try_for_each(|line| save(sql, line, &at))
    }
}

fn save(sql: &Sql, line: &LineChanges<'_>, at: &SqlStorageValue) -> Result<(), PlatformError> {
    let name = || SqlStorageValue::from(line.name);
    for change in &line.changes {
        match change {
            Change::Keep(event) => {
                const KEEP: &str = "INSERT OR REPLACE INTO hook_events (line, seq, first_seq, at_ms, event) VALUES (?, ?, ?, ?, ?)";
                let (seq, first_seq) = (number(event.seq), number(event.first_seq));
                let text = (&*event.json).into();
                sql.write(KEEP, vec![name(), seq, first_seq, at.clone(), text])?;
            }
            Change::Forget {
                first_seq,
                last_seq,
            } => {
                const FORGET: &str =
                    "DELETE FROM hook_events WHERE line = ? AND seq BETWEEN ? AND ?";
                let (first, last) = (number(*first_seq), number(*last_seq));
                sql.write(FORGET, vec![name(), first, last])?;
            }
        }
    }
    let Some((epoch, progress)) = line.state else {
        const EVENTS: &str = "DELETE FROM hook_events WHERE line = ?";
        sql.write(EVENTS, vec![name()])?;
        const LINE: &str = "DELETE FROM hook_lines WHERE name = ?";
        return sql.write(LINE, vec![name()]);
    };
    const SAVE: &str = "INSERT OR REPLACE INTO hook_lines (name, epoch, next_seq, failures, not_before_ms, tried_since_ms, disabled) VALUES (?, ?, ?, ?, ?, ?, ?)";
    let tried_since = progress.tried_since.map(Timestamp::as_millis);
    let values: Row = vec![
        name(),
        epoch.into(),
        number(progress.next_seq),
        number(progress.failures.into()),
        number(progress.not_before.as_millis()),
        tried_since.map_or(SqlStorageValue::Null, number),
        number(progress.is_disabled.into()),
    ];
    sql.write(SAVE, values)
}

fn line(row: Row) -> Option<StoredLine> {
    let row: [SqlStorageValue; 7] = row.try_into().ok()?;
    let [
        name,
        epoch,
        next_seq,
        failures,
        not_before,
        tried_since,
        disabled,
    ] = row;
    Some(StoredLine {
        name: text(name)?,
        epoch: text(epoch)?,
        progress: Progress {
            next_seq: integer(&next_seq)?,
            failures: integer(&failures)?.try_into().ok()?,
            not_before: Timestamp::from_millis(integer(&not_before)?),
            tried_since: integer(&tried_since).map(Timestamp::from_millis),
            is_disabled: integer(&disabled)? != 0,
        },
        events: Vec::new(),
    })
}

fn event(row: Row) -> Option<(Timestamp, KeptEvent)> {
    let [seq, first_seq, at, event]: [SqlStorageValue; 4] = row.try_into().ok()?;
    let event = KeptEvent {
        first_seq: integer(&first_seq)?,
        seq: integer(&seq)?,
        json: text(event)?.into(),
    };
    Some((Timestamp::from_millis(integer(&at)?), event))
}
