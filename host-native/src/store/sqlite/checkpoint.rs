//! Checkpoints: committed data moves from the log to the database, and is synced.

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

/// The time after which committed data is synced.
const PERIOD: Duration = Duration::from_secs(1);
/// The number of 4 KiB pages in the log, 16 MiB, above which commits wait until it is empty. They
/// seldom do: most of it has been copied by then.
const LOG_PAGES_MAX: i64 = 4_096;

/// The thread that makes checkpoints while there are commits.
#[derive(Debug)]
pub(super) struct Checkpoints {
    /// True when there were commits since the last checkpoint.
    committed: Arc<AtomicBool>,
    /// The thread, and a sender; the thread ends when the sender is dropped.
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

    /// Records a commit.
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

/// Brings the database up to date; `false` when a reader blocked that.
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
    /// True when a reader blocked it.
    busy: bool,
    /// The number of pages in the log, and how many of them are in the database.
    pages: i64,
    copied: i64,
}

impl Checkpoint {
    /// True when the database has everything that was in the log.
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
