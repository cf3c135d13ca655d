//! The header of the database: the state in which the store was left.

use rusqlite::Connection;

use super::database::{DatabaseError, checksum, integer};

/// The only row about the store itself.
#[derive(Debug, Clone)]
pub(super) struct Header {
    /// The id of the system boot that wrote it.
    pub(super) boot: String,
    /// True after an orderly end.
    pub(super) clean: bool,
    /// True when each commit was synced.
    pub(super) synced: bool,
    pub(super) commits: u64,
    /// The nonce of the commit file.
    pub(super) nonce: String,
}

impl Header {
    /// The header of a new store.
    pub(super) const fn new() -> Self {
        Self {
            boot: String::new(),
            clean: true,
            synced: true,
            commits: 0,
            nonce: String::new(),
        }
    }

    /// Reads the header; `None` when it is damaged or missing.
    pub(super) fn read(db: &Connection) -> Result<Option<Self>, DatabaseError> {
        let mut query = db.prepare("SELECT boot, clean, synced, commits, nonce, sum FROM life")?;
        let mut rows = query.query([])?;
        let Some(row) = rows.next()? else {
            return Ok(None);
        };
        let header = || -> Result<(Self, i64), rusqlite::Error> {
            let header = Self {
                boot: row.get(0)?,
                clean: row.get(1)?,
                synced: row.get(2)?,
                commits: row.get::<_, i64>(3)?.unsigned_abs(),
                nonce: row.get(4)?,
            };
            Ok((header, row.get(5)?))
        };
        let header = header().ok();
        Ok(header.and_then(|(header, sum)| (header.sum() == sum).then_some(header)))
    }

    /// Replaces the header that was written with `commits` commits; `false` when there is none.
    pub(super) fn update(&self, db: &Connection, commits: u64) -> Result<bool, DatabaseError> {
        let mut update = db.prepare_cached(
            "UPDATE life SET boot = ?, clean = ?, synced = ?, commits = ?, nonce = ?, sum = ?
             WHERE commits = ?",
        )?;
        let (boot, clean, synced, count, nonce, sum) = self.row();
        let commits = integer(commits);
        let updated = update.execute((boot, clean, synced, count, nonce, sum, commits))?;
        Ok(updated == 1)
    }

    pub(super) fn write(&self, db: &Connection) -> Result<(), DatabaseError> {
        db.prepare_cached("DELETE FROM life")?.execute([])?;
        db.prepare_cached("INSERT INTO life VALUES (?, ?, ?, ?, ?, ?)")?
            .execute(self.row())?;
        Ok(())
    }

    /// The columns of the row.
    fn row(&self) -> (&str, bool, bool, i64, &str, i64) {
        let commits = integer(self.commits);
        let (boot, nonce) = (&*self.boot, &*self.nonce);
        (boot, self.clean, self.synced, commits, nonce, self.sum())
    }

    fn sum(&self) -> i64 {
        let flags = [self.clean.into(), self.synced.into()];
        checksum(&[
            self.boot.as_bytes(),
            &flags,
            &self.commits.to_le_bytes(),
            self.nonce.as_bytes(),
        ])
    }
}
