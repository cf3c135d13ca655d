//! Integrity of a store: whether it can be believed, by how it was left and how often it was
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

/// The id of this start of the system; empty where it does not say.
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

/// Number of commits that the database holds without SQLite's log; 0 when it does not say.
pub(super) fn held(folder: &Path) -> u64 {
    let header = connect_without_log(folder).and_then(|db| Header::read(&db));
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

/// Ends it: all of it lasts.
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
