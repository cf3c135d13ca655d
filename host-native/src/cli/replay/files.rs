//! The files of a journal.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use super::play::Stop;

/// A file of a journal, or standard input.
#[derive(Debug)]
pub(super) enum Source {
    Stdin,
    File(PathBuf),
}

impl Source {
    /// The files that a path names. For a folder they are its journal files, in the order in which
    /// they were written.
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
        // Their names begin with the start time of the run, and end with the number of the part.
        files.sort_by_cached_key(|file| part(file));
        // If the oldest parts were deleted, all later runs can still be replayed.
        let mut current = (String::new(), true);
        files.retain(|file| {
            let (run, number) = part(file);
            if run != current.0 {
                let whole = number <= 1;
                if !whole {
                    say!("roomcast: warning: the first part of the run {run} is missing: it is left out");
                }
                current = (run, whole);
            }
            current.1
        });
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

/// The run and the part of a file, by its name. A file with another form of name is a separate run.
fn part(file: &Path) -> (String, u64) {
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let of_run = name.rsplit_once('.');
    let of_run = of_run.and_then(|(run, number)| Some((run.to_owned(), number.parse().ok()?)));
    of_run.unwrap_or_else(|| (name.into_owned(), 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_in_the_order_of_their_numbers_and_runs_without_the_first_are_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in [
            "20260101T000000.000Z-7.000002",
            "20260101T000000.000Z-7.000003",
            "20260102T000000.000Z-7.000001",
            "20260102T000000.000Z-7.1000000",
            "20260102T000000.000Z-7.999999",
            "by hand",
        ] {
            fs::write(folder.path().join(format!("{name}.jsonl")), "").expect("written");
        }
        let files = Source::of(folder.path()).expect("a journal");
        let names = files.iter().map(|file| {
            let name = file.name();
            let name = name.trim_end_matches(".jsonl");
            name[name.len() - 7..].to_owned()
        });
        let names: Vec<_> = names.collect();
        assert_eq!(names, [".000001", ".999999", "1000000", "by hand"]);
    }
}
