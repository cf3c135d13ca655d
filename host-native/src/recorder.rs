//! Writes the journal.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use roomcast_core::{Entry, Input, Opening, Record, Timestamp};

/// The journal of all namespaces, one file.
///
/// A fault of the disk ends the recording with an error in the log; serving goes on.
#[derive(Debug)]
pub(crate) struct Recorder {
    file: Mutex<Option<BufWriter<File>>>,
}

impl Recorder {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = BufWriter::with_capacity(64 * 1024, File::create(path)?);
        Ok(Self {
            file: Mutex::new(Some(file)),
        })
    }

    pub(crate) fn input(&self, namespace: &Arc<str>, at: Timestamp, input: Input<'_>) {
        self.line(Entry::new(at, &**namespace, Record::Input(input)));
    }

    pub(crate) fn opening(&self, namespace: &Arc<str>, at: Timestamp, opening: Opening) {
        self.line(Entry::new(at, &**namespace, Record::Open(opening)));
    }

    /// Hands what is written to the system.
    pub(crate) fn flush(&self) {
        self.with(BufWriter::flush);
    }

    fn line(&self, entry: Entry<'_>) {
        let line = entry.to_line();
        self.with(|file| {
            file.write_all(line.as_bytes())?;
            file.write_all(b"\n")
        });
    }

    fn with(&self, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) {
        let mut slot = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &mut *slot
            && let Err(fault) = write(file)
        {
            tracing::error!(%fault, "the journal cannot be written: recording ends here");
            *slot = None;
        }
    }
}
