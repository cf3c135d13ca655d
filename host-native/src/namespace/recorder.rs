//! The writer of the journal.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
    sync::{Arc, Mutex, PoisonError},
};

use roomcast_core::{
    Input, Timestamp,
    journal::{Entry, Opening, Record, Start},
};

use crate::clock::Clock;

/// The journal of all namespaces. Each run of the server writes new files in a folder, so the files
/// of an earlier run, which perhaps crashed, stay unchanged.
///
/// A disk error ends the recording and is logged; serving continues.
#[derive(Debug)]
pub(crate) struct Recorder {
    folder: PathBuf,
    run: String,
    bytes_max: u64,
    clock: Clock,
    part: Mutex<Option<Part>>,
}

/// The current file.
#[derive(Debug)]
struct Part {
    file: BufWriter<File>,
    number: u32,
    bytes: u64,
}

impl Recorder {
    /// Starts the first part, in a new file.
    pub(crate) fn create(folder: &Path, bytes_max: u64, clock: Clock) -> io::Result<Self> {
        if folder.is_file() {
            let fault = "it is a file, and a folder is wanted: each start writes new files into it";
            return Err(io::Error::new(io::ErrorKind::NotADirectory, fault));
        }
        // Payloads are private to the server's user.
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let mut unix_ms = clock.unix_ms(clock.now());
        loop {
            let mut recorder = Self {
                folder: folder.into(),
                run: run_name(unix_ms),
                bytes_max,
                clock,
                part: Mutex::default(),
            };
            match recorder.begin(1) {
                Ok(part) => {
                    recorder.part = Mutex::new(Some(part));
                    return Ok(recorder);
                }
                // A process with the same id started at the same time: the clock was set back.
                Err(fault) if fault.kind() == io::ErrorKind::AlreadyExists => unix_ms += 1,
                Err(fault) => return Err(fault),
            }
        }
    }

    pub(crate) fn input(&self, namespace: &Arc<str>, at: Timestamp, input: Input<'_>) {
        self.line(Entry::new(at, &**namespace, Record::Input(input)));
    }

    pub(crate) fn opening(&self, namespace: &Arc<str>, at: Timestamp, opening: Opening) {
        self.line(Entry::new(at, &**namespace, Record::Open(opening)));
    }

    /// Flushes the buffer to the system.
    pub(crate) fn flush(&self) {
        self.with(|part| part.file.flush());
    }

    fn line(&self, entry: Entry<'_>) {
        let line = entry.to_line();
        self.with(|part| {
            part.line(&line)?;
            if part.bytes >= self.bytes_max {
                part.file.flush()?;
                match self.begin(part.number + 1) {
                    Ok(next) => *part = next,
                    Err(fault) => {
                        let name = self.run.as_str();
                        tracing::error!(%fault, name, "the next part of the journal cannot be created: this one grows on");
                        part.bytes = 0;
                    }
                }
            }
            Ok(())
        });
    }

    /// Starts a part, and writes its first line.
    fn begin(&self, number: u32) -> io::Result<Part> {
        let path = self.folder.join(format!("{}.{number:06}.jsonl", self.run));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        let mut part = Part {
            file: BufWriter::with_capacity(64 * 1024, file),
            number,
            bytes: 0,
        };
        let now = self.clock.now();
        let (unix_ms, version) = (self.clock.unix_ms(now), env!("CARGO_PKG_VERSION"));
        let start = Start::new(&*self.run, number, unix_ms, version);
        part.line(&Entry::new(now, "", Record::Start(start)).to_line())?;
        Ok(part)
    }

    fn with(&self, write: impl FnOnce(&mut Part) -> io::Result<()>) {
        let mut slot = self.part.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(part) = &mut *slot
            && let Err(fault) = write(part)
        {
            tracing::error!(%fault, "the journal cannot be written: recording ends here");
            *slot = None;
        }
    }
}

impl Part {
    fn line(&mut self, line: &str) -> io::Result<()> {
        self.bytes += line.len() as u64 + 1;
        self.file.write_all(line.as_bytes())?;
        self.file.write_all(b"\n")
    }
}

/// The name of a run. Names sort in the order of the runs' starts.
fn run_name(unix_ms: u64) -> String {
    let time = i64::try_from(unix_ms).ok();
    let time = time.and_then(chrono::DateTime::from_timestamp_millis);
    let time = time.unwrap_or_default().format("%Y%m%dT%H%M%S%.3fZ");
    format!("{time}-{}", process::id())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn files(folder: &Path) -> Vec<PathBuf> {
        let files = fs::read_dir(folder).expect("a folder");
        let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
        files.sort();
        files
    }

    #[test]
    fn a_part_that_is_full_is_followed_by_another_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let recorder = Recorder::create(folder.path(), 400, Clock::start(false)).expect("created");
        for at in 0..20 {
            recorder.input(&"n".into(), Timestamp::from_millis(at), Input::Timeout);
        }
        recorder.flush();
        let files = files(folder.path());
        assert!(files.len() > 2, "{files:?}");
        let (mut timeouts, mut parts) = (0, Vec::new());
        for file in files {
            let text = fs::read_to_string(file).expect("readable");
            assert!(text.len() < 400 + 100 && text.ends_with('\n'), "{text}");
            for line in text.lines() {
                if let Record::Start(start) = Entry::parse(line).expect(line).record {
                    parts.push(start.part);
                } else {
                    timeouts += 1;
                }
            }
        }
        assert_eq!(timeouts, 20);
        assert!(
            parts
                .iter()
                .copied()
                .eq(1..=u32::try_from(parts.len()).expect("few"))
        );
    }

    #[test]
    fn a_run_of_the_same_time_and_number_gets_another_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Clock::start(false);
        for _ in 0..3 {
            Recorder::create(folder.path(), 1_000, clock).expect("created");
        }
        assert_eq!(files(folder.path()).len(), 3);
    }

    #[test]
    fn a_file_is_never_overwritten() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal.jsonl");
        fs::write(&path, "evidence").expect("written");
        let fault = Recorder::create(&path, 1_000, Clock::start(false)).expect_err("a file");
        assert!(fault.to_string().contains("a folder is wanted"), "{fault}");
        assert_eq!(fs::read_to_string(&path).expect("there"), "evidence");
    }
}
