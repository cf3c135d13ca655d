//! Integrity of a store: whether it can be believed, by how it was left and how often it was
//! written.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use rusqlite::{Connection, TransactionBehavior, params};

use super::{
    FILE, Fault, LOG, SHARED_MEMORY, StoreSync, Writer, checksum,
    commits::{Commits, Found},
    integer,
};

/// Header of the database.
#[derive(Debug, Clone)]
pub(super) struct Header {
    /// Which start of the system wrote it.
    pub(super) boot: String,
    /// True when it was left with an orderly end.
    pub(super) clean: bool,
    /// True when each commit was made to last.
    pub(super) synced: bool,
    pub(super) commits: u64,
    /// The nonce of the file that counts its commits.
    pub(super) nonce: String,
}

impl Header {
    /// That of a store that nobody has used.
    pub(super) const fn new() -> Self {
        Self {
            boot: String::new(),
            clean: true,
            synced: true,
            commits: 0,
            nonce: String::new(),
        }
    }

    /// `None` when it is damaged, or not there.
    pub(super) fn read(db: &Connection) -> Result<Option<Self>, Fault> {
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

    /// Takes the place of the one that was written with so many commits; `false` when there is
    /// none.
    pub(super) fn update(&self, db: &Connection, commits: u64) -> Result<bool, Fault> {
        let mut update = db.prepare_cached(
            "UPDATE life SET boot = ?, clean = ?, synced = ?, commits = ?, nonce = ?, sum = ?
             WHERE commits = ?",
        )?;
        let updated = update.execute(params![
            self.boot,
            self.clean,
            self.synced,
            integer(self.commits),
            self.nonce,
            self.sum(),
            integer(commits)
        ])?;
        Ok(updated == 1)
    }

    pub(super) fn write(&self, db: &Connection) -> Result<(), Fault> {
        db.prepare_cached("DELETE FROM life")?.execute([])?;
        let commits = integer(self.commits);
        db.prepare_cached("INSERT INTO life VALUES (?, ?, ?, ?, ?, ?)")?
            .execute(params![
                self.boot,
                self.clean,
                self.synced,
                commits,
                self.nonce,
                self.sum()
            ])?;
        Ok(())
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

/// Which start of the system this is; empty where it does not say.
fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// Parts with files that another folder goes on with: it has hard links to them. Nothing is written
/// into them, for they may be the other's. True when there were some.
pub(super) fn part(folder: &Path, found: &Found) -> io::Result<bool> {
    let shared = || fs::metadata(folder.join(FILE)).is_ok_and(|file| file.nlink() > 1);
    if !(found.replaced || found.is_empty() && shared()) {
        return Ok(false);
    }
    warn(folder, true);
    for name in [FILE, LOG, SHARED_MEMORY] {
        match fs::remove_file(folder.join(name)) {
            Err(fault) if fault.kind() != io::ErrorKind::NotFound => return Err(fault),
            _ => {}
        }
    }
    Ok(true)
}

fn warn(folder: &Path, copied: bool) {
    let store = tracing::field::display(folder.display());
    tracing::warn!(
        %store,
        copied,
        "the store may lack what was written last, by a crash of the system, by damage, or since it \
         is a copy: all histories begin anew, and clients that come back are told so"
    );
}

/// How many commits the database holds without SQLite's log; 0 when it does not say.
pub(super) fn held(folder: &Path) -> u64 {
    let header = super::connect_without_log(folder).and_then(|db| Header::read(&db));
    header.ok().flatten().map_or(0, |header| header.commits)
}

/// Begins a life of the store. What it holds is dropped unless all of it must be there. `held` is
/// what [`held`] said before the log was opened.
pub(super) fn begin(
    db: &mut Connection,
    folder: &Path,
    found: Found,
    held: u64,
    sync: StoreSync,
) -> Result<(Header, Commits), Fault> {
    let boot = boot();
    let before = Header::read(db)?;
    let unused = before.as_ref().is_some_and(|header| header.commits == 0);
    if unused && found.used {
        let store = tracing::field::display(folder.display());
        tracing::error!(
            %store,
            "the database is new, although there was one before: all histories begin anew, and clients \
             that come back are told so"
        );
    }
    let known = before
        .as_ref()
        .and_then(|header| found.known_as(&header.nonce));
    let believed = match (&before, &known) {
        _ if unused => true,
        (Some(header), Some(file)) => {
            let same_boot = !boot.is_empty() && boot == header.boot;
            let lasted = header.clean || header.synced || same_boot;
            // A page may be torn by a crash of the system; then the log has it.
            let held = if header.clean || same_boot {
                held
            } else {
                u64::MAX
            };
            // It is written behind each commit.
            lasted && file.fits(header.commits, held)?
        }
        _ => false,
    };
    let header = Header {
        boot,
        clean: false,
        synced: sync == StoreSync::Always,
        commits: before.map_or(0, |header| header.commits) + 1,
        nonce: String::new(),
    };
    let counts = (header.commits - 1, held);
    let mut commits = Commits::create(folder, counts, header.synced)?;
    let nonce = commits.nonce();
    let header = Header { nonce, ..header };
    if !believed {
        warn(folder, known.is_none());
    }
    // From now on it is not clean: that must last before anything is written.
    db.pragma_update(None, "synchronous", "full")?;
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if !believed {
        for table in ["namespaces", "rooms", "messages", "keys"] {
            tx.execute(&format!("DELETE FROM {table}"), [])?;
        }
    }
    header.write(&tx)?;
    tx.commit()?;
    commits.set_count(header.commits)?;
    commits.settle(known)?;
    if sync == StoreSync::Second {
        db.pragma_update(None, "synchronous", "normal")?;
    }
    Ok((header, commits))
}

/// Ends it: all of it lasts.
pub(super) fn end(writer: &mut Writer) -> Result<(), Fault> {
    writer.db.pragma_update(None, "synchronous", "full")?;
    let next = writer.commits.next()?;
    let header = Header {
        clean: true,
        ..writer.header.clone()
    };
    writer.turn(header, Some(next), |_| Ok(()))?;
    if super::checkpoint::checkpoint(&writer.db, "TRUNCATE")?.is_whole() {
        writer.commits.set_held(writer.header.commits)?;
    }
    Ok(writer.commits.sync()?)
}
