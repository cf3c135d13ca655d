//! Checkpoints: what was committed goes from the log into the database, and lasts.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rusqlite::Connection;

use super::{database::DatabaseError, writer::Writer};

/// The time after which what was committed is made to last.
const PERIOD: Duration = Duration::from_secs(1);
/// Pages of 4 KiB in the log, 16 MiB, past which commits wait until it is empty. They seldom do:
/// most of it has been copied by then.
const LOG_PAGES_MAX: i64 = 4_096;

/// A thread that makes checkpoints while something is committed.
#[derive(Debug)]
pub(super) struct Checkpoints {
    /// True when something was committed since the last one.
    committed: Arc<AtomicBool>,
    /// The thread, and a sender whose end is its end.
    thread: Mutex<Option<(Sender<()>, JoinHandle<()>)>>,
}

impl Checkpoints {
    pub(super) fn start(db: Connection, writer: Arc<Mutex<Writer>>) -> io::Result<Self> {
        let committed = Arc::new(AtomicBool::new(false));
        let (stop, stopped) = mpsc::channel();
        let news = committed.clone();
        let thread = thread::Builder::new()
            .name("roomcast-store".into())
            .spawn(move || run(&db, &writer, &news, &stopped))?;
        let thread = Mutex::new(Some((stop, thread)));
        Ok(Self { committed, thread })
    }

    /// Something was committed.
    pub(super) fn note(&self) {
        self.committed.store(true, Relaxed);
    }

    /// Ends the thread.
    pub(super) fn stop(&self) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((stop, thread)) = thread.take() {
            drop(stop);
            if thread.join().is_err() {
                tracing::error!("the thread of the store panicked");
            }
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(db: &Connection, writer: &Mutex<Writer>, committed: &AtomicBool, stopped: &Receiver<()>) {
    let mut well = true;
    while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
        if !committed.swap(false, Relaxed) {
            continue;
        }
        let done = advance(db, writer);
        match &done {
            Ok(false) if well => tracing::warn!(
                "another program reads the store: its log grows until that ends, and nobody but the \
                 server should open it"
            ),
            Err(fault) if well => {
                tracing::error!(%fault, "the store cannot be brought up to date; its log grows");
            }
            Ok(_) | Err(_) => {}
        }
        well = done.is_ok_and(|done| done);
    }
}

/// Brings the database up to date; `false` when somebody who reads held that up.
pub(super) fn advance(db: &Connection, writer: &Mutex<Writer>) -> Result<bool, DatabaseError> {
    let writer = || writer.lock().unwrap_or_else(PoisonError::into_inner);
    let commits = writer().header.commits;
    let done = checkpoint(db, "PASSIVE")?;
    let writer = &mut *writer();
    if done.is_whole() {
        writer.commits.set_held(commits)?;
    }
    if done.pages <= LOG_PAGES_MAX {
        return Ok(true);
    }
    let done = checkpoint(&writer.db, "TRUNCATE")?;
    if done.is_whole() {
        writer.commits.set_held(writer.header.commits)?;
    }
    Ok(!done.busy)
}

pub(super) struct Checkpoint {
    /// True when a reader held it up.
    busy: bool,
    /// Pages in the log, and those of them that are in the database.
    pages: i64,
    copied: i64,
}

impl Checkpoint {
    /// True when the database holds all that was in the log.
    pub(super) const fn is_whole(&self) -> bool {
        !self.busy && self.pages == self.copied
    }
}

pub(super) fn checkpoint(db: &Connection, how: &str) -> Result<Checkpoint, rusqlite::Error> {
    db.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |row| {
        Ok(Checkpoint {
            busy: row.get(0)?,
            pages: row.get(1)?,
            copied: row.get(2)?,
        })
    })
}
