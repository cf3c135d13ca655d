//! Whether a store can be believed: how it was left, and how often it was written.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

use rusqlite::{Connection, TransactionBehavior, params};

use super::{Fault, StoreSync, Writer, checksum, integer};

/// Counts commits in a file beside the database: when that has seen fewer, it has lost some.
#[derive(Debug)]
pub(super) struct Commits {
    file: File,
    count: u64,
}

impl Commits {
    fn open(folder: &Path) -> io::Result<Self> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(folder.join("commits"))?;
        let count = Self::read(&file).unwrap_or(u64::MAX);
        Ok(Self { file, count })
    }

    /// `None` when there is no number, or half of one.
    fn read(file: &File) -> Option<u64> {
        let mut bytes = [0; 16];
        file.read_exact_at(&mut bytes, 0).ok()?;
        let (count, sum) = bytes.split_at(8);
        let sound = checksum(&[count]).to_le_bytes() == *sum;
        sound.then(|| u64::from_le_bytes(count.try_into().unwrap_or_default()))
    }

    /// Which file it is, and, unless it is written to, when it was last changed in any way, which
    /// nobody can set: a copy is another.
    fn identity(&self, at_rest: bool) -> io::Result<String> {
        let file = self.file.metadata()?;
        let changed = (file.ctime(), file.ctime_nsec());
        Ok(if at_rest {
            format!("{} {}.{}", file.ino(), changed.0, changed.1)
        } else {
            file.ino().to_string()
        })
    }

    pub(super) const fn next(&self) -> u64 {
        self.count + 1
    }

    /// Writes the number behind its commit: it is never ahead of what was committed.
    pub(super) fn count(&mut self, count: u64) -> io::Result<()> {
        let number = count.to_le_bytes();
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number);
        bytes[8..].copy_from_slice(&checksum(&[&number]).to_le_bytes());
        self.file.write_all_at(&bytes, 0)?;
        self.count = count;
        Ok(())
    }
}

/// Which start of the system this is; empty where it does not say.
fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// Begins a life of the store. What it holds is dropped unless all of it must be there.
pub(super) fn begin(db: &mut Connection, folder: &Path, sync: StoreSync) -> Result<Commits, Fault> {
    let mut commits = Commits::open(folder)?;
    let (before, clean, synced, count, counter): (String, bool, bool, i64, String) = db.query_row(
        "SELECT boot, clean, synced, commits, counter FROM life",
        [],
        |row| {
            Ok((
                row.get(0)?,
                row.get(1)?,
                row.get(2)?,
                row.get(3)?,
                row.get(4)?,
            ))
        },
    )?;
    let boot = boot();
    let same_boot = !boot.is_empty() && boot == before;
    // The count is not made to last by each commit: after another boot it may be behind, or gone.
    let behind = commits.count > count.unsigned_abs();
    let (unused, lasted) = (count == 0, clean || same_boot || synced);
    let counted = !behind || synced && !same_boot && !clean;
    // After another boot a count that did not last may be a file of its own.
    let copied = counter != commits.identity(clean)? && (clean || same_boot);
    if !(unused || lasted && counted && !copied) {
        let store = tracing::field::display(folder.display());
        tracing::warn!(
            %store,
            copied,
            "the store may lack what was written last, by a crash of the system, by damage, or since it \
             is a copy: all histories begin anew, and clients that come back are told so"
        );
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for table in ["namespaces", "rooms", "messages", "keys"] {
            tx.execute(&format!("DELETE FROM {table}"), [])?;
        }
        tx.commit()?;
    }
    // From now on it is not clean: that must last before anything is written.
    db.pragma_update(None, "synchronous", "full")?;
    let (next, synced) = (count.unsigned_abs() + 1, sync == StoreSync::Always);
    db.execute(
        "UPDATE life SET boot = ?, clean = 0, synced = ?, commits = ?, counter = ?",
        params![boot, synced, integer(next), commits.identity(false)?],
    )?;
    commits.count(next)?;
    if sync == StoreSync::Second {
        db.pragma_update(None, "synchronous", "normal")?;
    }
    Ok(commits)
}

/// Ends it: all of it lasts.
pub(super) fn end(writer: &mut Writer) -> Result<(), Fault> {
    let Writer { db, commits } = writer;
    db.pragma_update(None, "synchronous", "full")?;
    let counter = commits.identity(true)?;
    db.execute("UPDATE life SET clean = 1, counter = ?", [counter])?;
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    commits.file.sync_all()?;
    Ok(())
}
