//! Integrity of a store: decides whether it can be trusted, by how it was left and how often it was
//! written.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use rusqlite::{Connection, TransactionBehavior};

use super::{
    checkpoint::checkpoint,
    commits::{Commits, Found, unless_missing},
    database::{DatabaseError, FILE, LOG, SHARED_MEMORY, connect_without_log},
    header::Header,
    writer::Writer,
};
use crate::store::public::StoreSync;

/// The id of this boot of the system; empty if unknown.
fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// Removes files that another folder has taken over by hard links. Nothing is written to them,
/// since they may be the other folder's. Returns true if there were some.
pub(super) fn part(folder: &Path, found: &Found) -> io::Result<bool> {
    let shared = || fs::metadata(folder.join(FILE)).is_ok_and(|file| file.nlink() > 1);
    if !(found.replaced || found.is_empty() && shared()) {
        return Ok(false);
    }
    warn(folder, true);
    for name in [FILE, LOG, SHARED_MEMORY] {
        unless_missing(fs::remove_file(folder.join(name)))?;
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

/// The number of commits that the database has without SQLite's log; 0 if unknown.
pub(super) fn held(folder: &Path) -> u64 {
    let header = connect_without_log(folder).and_then(|db| Header::read(&db));
    header.ok().flatten().map_or(0, |header| header.commits)
}

/// Starts to use the store. Its contents are dropped unless they are certainly complete. `held` is
/// the result of [`held`] before the log was opened.
pub(super) fn begin(
    db: &mut Connection,
    folder: &Path,
    found: Found,
    held: u64,
    sync: StoreSync,
) -> Result<(Header, Commits), DatabaseError> {
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
            // A crash of the system may tear a page; the log then has it whole.
            let held = if header.clean || same_boot {
                held
            } else {
                u64::MAX
            };
            // The commit file is written after each commit.
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
    // From now on the store is not clean: that must be synced before anything is written.
    db.pragma_update(None, "synchronous", "full")?;
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if !believed {
        for table in ["namespaces", "rooms", "messages", "keys", "client_keys"] {
            tx.execute(&format!("DELETE FROM {table}"), [])?;
        }
    }
    header.write(&tx)?;
    tx.commit()?;
    commits.set_count(header.commits)?;
    commits.leave_alone(known)?;
    if sync == StoreSync::Second {
        db.pragma_update(None, "synchronous", "normal")?;
    }
    Ok((header, commits))
}

/// Ends the use of the store, with everything synced.
pub(super) fn end(writer: &mut Writer) -> Result<(), DatabaseError> {
    writer.db.pragma_update(None, "synchronous", "full")?;
    let next = writer.commits.next()?;
    let header = Header {
        clean: true,
        ..writer.header.clone()
    };
    writer.transact(header, Some(next), |_| Ok(()))?;
    if checkpoint(&writer.db, "TRUNCATE")?.is_whole() {
        writer.commits.set_held(writer.header.commits)?;
    }
    Ok(writer.commits.sync()?)
}
