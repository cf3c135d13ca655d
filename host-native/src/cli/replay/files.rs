//! The files of a journal.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use super::Stop;

/// A file of a journal, or standard input.
#[derive(Debug)]
pub(super) enum Source {
    Stdin,
    File(PathBuf),
}

impl Source {
    /// Files that a path names: of a folder its files, in the order in which they were written.
    pub(super) fn of(path: &Path) -> Result<Vec<Self>, Stop> {
        if path == Path::new("-") {
            return Ok(vec![Self::Stdin]);
        }
        if !path.is_dir() {
            return Ok(vec![Self::File(path.into())]);
        }
        let cannot = |fault| Stop::Open(path.display().to_string(), fault);
        let mut files = Vec::new();
        for entry in fs::read_dir(path).map_err(cannot)? {
            let file = entry.map_err(cannot)?.path();
            if file.extension().is_some_and(|ending| ending == "jsonl") {
                files.push(file);
            }
        }
        if files.is_empty() {
            let fault = "there is no file of a journal in it, that is none that ends in .jsonl";
            return Err(cannot(io::Error::new(io::ErrorKind::NotFound, fault)));
        }
        // They begin with the time of their run's start, and end with their part's number.
        files.sort_unstable();
        Ok(files.into_iter().map(Self::File).collect())
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Stdin => "-".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }

    pub(super) fn open(&self) -> Result<Box<dyn BufRead>, Stop> {
        match self {
            Self::Stdin => Ok(Box::new(io::stdin().lock())),
            Self::File(path) => match File::open(path) {
                Ok(file) => Ok(Box::new(BufReader::new(file))),
                Err(fault) => Err(Stop::Open(self.name(), fault)),
            },
        }
    }
}
