//! Whether a store can be believed: how it was left, and how often it was written.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use rusqlite::{Connection, TransactionBehavior, params};

use super::{Fault, StoreSync, Writer, checksum, integer};

/// Counts commits in a file beside the database: when that has seen fewer, it has lost some.
#[derive(Debug)]
pub(super) struct Commits {
    file: File,
    count: u64,
    /// When it was written, in seconds of the system's clock.
    written: i64,
}

/// Seconds between the clock's and the file system's word on a write that are no sign of anything: the
/// process may have been held up.
const TOUCHED_S_MIN: i64 = 5;

impl Commits {
    fn open(folder: &Path) -> io::Result<Self> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(folder.join("commits"))?;
        let (count, written) = Self::read(&file).unwrap_or((u64::MAX, 0));
        Ok(Self {
            file,
            count,
            written,
        })
    }

    /// `None` when there are no numbers, or half of them.
    fn read(file: &File) -> Option<(u64, i64)> {
        let mut bytes = [0; 24];
        file.read_exact_at(&mut bytes, 0).ok()?;
        let (numbers, sum) = bytes.split_at(16);
        let sound = checksum(&[numbers]).to_le_bytes() == *sum;
        let (count, written) = numbers.split_at(8);
        let count = u64::from_le_bytes(count.try_into().ok()?);
        let written = i64::from_le_bytes(written.try_into().ok()?);
        sound.then_some((count, written))
    }

    /// When the file was last changed in any way, which nobody can set: of a copy it is another time.
    fn changed(&self) -> io::Result<String> {
        let file = self.file.metadata()?;
        Ok(format!("{}.{}", file.ctime(), file.ctime_nsec()))
    }

    /// Whether somebody else changed it after it was written. Who is killed has written it just when
    /// the file says.
    fn is_touched(&self) -> io::Result<bool> {
        let later = self.file.metadata()?.ctime() - self.written;
        Ok(later.abs() > TOUCHED_S_MIN)
    }

    pub(super) const fn next(&self) -> u64 {
        self.count + 1
    }

    /// Writes the number behind its commit: it is never ahead of what was committed.
    pub(super) fn count(&mut self, count: u64) -> io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = integer(now.unwrap_or_default().as_secs());
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&count.to_le_bytes());
        bytes[8..16].copy_from_slice(&now.to_le_bytes());
        let sum = checksum(&[&bytes[..16]]);
        bytes[16..].copy_from_slice(&sum.to_le_bytes());
        self.file.write_all_at(&bytes, 0)?;
        (self.count, self.written) = (count, now);
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
    let copied = match clean {
        true => counter != commits.changed()?,
        // After another boot the file may not have lasted.
        false => same_boot && commits.is_touched()?,
    };
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
        "UPDATE life SET boot = ?, clean = 0, synced = ?, commits = ?",
        params![boot, synced, integer(next)],
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
    let counter = commits.changed()?;
    db.execute("UPDATE life SET clean = 1, counter = ?", [counter])?;
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    commits.file.sync_all()?;
    Ok(())
}
