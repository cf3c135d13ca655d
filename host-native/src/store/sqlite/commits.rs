//! The file `commits.N`: identifies the store's own files, and counts commits.

use std::{
    fs::{self, File, Metadata, TryLockError},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use bytes::{Buf, BufMut};

use super::database::{DatabaseError, FILE, checksum};

/// A count of commits beside the database: when it is higher than the database's own, the database
/// has lost some.
///
/// The file also records how many commits the database has without SQLite's log. The log restarts
/// when all of it is in the database, so an older database does not fit a newer log. It also
/// identifies the database file.
///
/// It also distinguishes the store from a copy. It identifies itself by inode and birth time, which
/// no copy shares. It has a nonce, which is in the database too: neither is trusted without the
/// other. Each start and each orderly end creates a new file with a new nonce. In between, the
/// count is the file's name, which each commit changes. A copy that was made before a commit, and
/// is written back over the same files later, arrives under another name and leaves this file
/// unchanged.
///
/// Owner, mode, number of links, and all times except the birth time may change.
#[derive(Debug)]
pub(super) struct Commits {
    folder: PathBuf,
    name: PathBuf,
    /// Locked while it is open: folders that share it by hard links cannot both be in use.
    file: File,
    seal: Seal,
}

/// The contents of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seal {
    /// The count when this was written; the name may have a higher one.
    count: u64,
    nonce: u128,
    identity: Identity,
    database: Identity,
    /// The commit that the database has reached at least, without the log.
    held: u64,
    /// True when another file has replaced this one. Only another folder with a hard link to it
    /// reads that.
    replaced: bool,
}

/// The identity of a file, wherever it is moved within its file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    inode: u64,
    /// The birth time in nanoseconds; 0 where the file system does not store it. An inode may be
    /// reused, but then with a later birth time.
    born: u128,
}

/// The commit files that were found in a folder.
#[derive(Debug)]
pub(super) struct Found {
    /// Files that are not copies.
    own: Vec<Commits>,
    /// True when a file belongs to a store that was written to, perhaps in another folder.
    pub(super) used: bool,
    /// True when another folder with hard links to the same files has taken them over.
    pub(super) replaced: bool,
}

/// The prefix of the name; the count follows.
const NAME: &str = "commits.";
/// The name of the next file, until the database has its nonce.
const NEXT: &str = "commits.next";
/// The size of the file in bytes.
const BYTES: usize = 96;

impl Seal {
    fn to_bytes(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        let mut out = &mut bytes[..];
        out.put_u64_le(self.count);
        out.put_u128_le(self.nonce);
        for file in [self.identity, self.database] {
            out.put_u64_le(file.inode);
            out.put_u128_le(file.born);
        }
        out.put_u64_le(self.held);
        out.put_u8(self.replaced.into());
        let sum = checksum(&[&bytes[..88]]);
        bytes[88..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Parses the contents; `None` when they are damaged.
    fn from_bytes(bytes: &[u8; BYTES]) -> Option<Self> {
        let identity = |read: &mut &[u8]| Identity {
            inode: read.get_u64_le(),
            born: read.get_u128_le(),
        };
        let read = &mut &bytes[..];
        let seal = Self {
            count: read.get_u64_le(),
            nonce: read.get_u128_le(),
            identity: identity(read),
            database: identity(read),
            held: read.get_u64_le(),
            replaced: read.get_u8() == 1,
        };
        (seal.to_bytes() == *bytes).then_some(seal)
    }
}

impl Identity {
    fn of_database(folder: &Path) -> io::Result<Self> {
        Ok(Self::of(&fs::metadata(folder.join(FILE))?))
    }

    fn of(metadata: &Metadata) -> Self {
        let born = metadata.created().ok();
        let born = born.and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        Self {
            inode: metadata.ino(),
            born: born.map_or(0, |born| born.as_nanos()),
        }
    }
}

impl Found {
    /// Finds the commit files of a folder, and locks them.
    pub(super) fn look(folder: &Path) -> Result<Self, DatabaseError> {
        let mut found = Self {
            own: Vec::new(),
            replaced: false,
            used: false,
        };
        let next = Some((0, folder.join(NEXT))).filter(|(_, name)| name.exists());
        for (count, name) in named(folder)?.into_iter().chain(next) {
            let file = File::options().read(true).write(true).open(&name)?;
            let identity = Identity::of(&file.metadata()?);
            // This is a hard link to a file found before, left behind under another count.
            if found.own.iter().any(|own| own.seal.identity == identity) {
                continue;
            }
            lock(&file)?;
            let mut bytes = [0; BYTES];
            let read = file.read_exact_at(&mut bytes, 0);
            let Some(mut seal) = read.ok().and_then(|()| Seal::from_bytes(&bytes)) else {
                continue;
            };
            seal.count = seal.count.max(count);
            found.used |= seal.count > 0;
            if seal.identity != identity {
                continue;
            }
            if seal.replaced {
                found.replaced = true;
                continue;
            }
            found.own.push(Commits {
                folder: folder.into(),
                name,
                file,
                seal,
            });
        }
        found.replaced &= found.own.is_empty();
        Ok(found)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.own.is_empty()
    }

    /// The file that the database identifies by its nonce.
    pub(super) fn known_as(self, nonce: &str) -> Option<Commits> {
        self.own.into_iter().find(|file| file.nonce() == nonce)
    }
}

impl Commits {
    /// Creates the next file, beside the one in use.
    pub(super) fn create(
        folder: &Path,
        (count, held): (u64, u64),
        lasting: bool,
    ) -> Result<Self, DatabaseError> {
        let name = folder.join(NEXT);
        unless_missing(fs::remove_file(&name))?;
        let file = File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&name)?;
        lock(&file)?;
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(io::Error::other)?;
        let seal = Seal {
            count,
            nonce: u128::from_le_bytes(nonce),
            identity: Identity::of(&file.metadata()?),
            database: Identity::of_database(folder)?,
            held,
            replaced: false,
        };
        file.write_all_at(&seal.to_bytes(), 0)?;
        if lasting {
            file.sync_all()?;
            File::open(folder)?.sync_all()?;
        }
        Ok(Self {
            folder: folder.into(),
            name,
            file,
            seal,
        })
    }

    /// Creates the next file, to be used once the database has its nonce.
    pub(super) fn next(&self) -> Result<Self, DatabaseError> {
        Self::create(&self.folder, (self.seal.count, self.seal.held), true)
    }

    /// Removes all other commit files of the folder. The replaced one is marked as such, for
    /// folders that have a hard link to it.
    pub(super) fn leave_alone(&self, other: Option<Self>) -> io::Result<()> {
        if let Some(mut other) = other {
            other.seal.replaced = true;
            other.write()?;
        }
        for (_, name) in named(&self.folder)? {
            if name != self.name {
                fs::remove_file(name)?;
            }
        }
        Ok(())
    }

    pub(super) fn nonce(&self) -> String {
        format!("{:032x}", self.seal.nonce)
    }

    /// True when the database is the one that was left: it has `commits` commits, and `held` of
    /// them without the log.
    pub(super) fn fits(&self, commits: u64, held: u64) -> io::Result<bool> {
        let seal = &self.seal;
        let same = seal.database == Identity::of_database(&self.folder)?;
        Ok(same && seal.count <= commits && seal.held <= held)
    }

    /// Renames the file to a count, after that commit: the name is never ahead of the commits.
    ///
    /// The file may have been deleted: then the store is trusted only after an orderly end.
    pub(super) fn set_count(&mut self, count: u64) -> io::Result<()> {
        let name = self.folder.join(format!("{NAME}{count}"));
        unless_missing(fs::rename(&self.name, &name))?;
        self.name = name;
        self.seal.count = count;
        Ok(())
    }

    /// Records how many commits are in the database without the log.
    pub(super) fn set_held(&mut self, held: u64) -> io::Result<()> {
        self.seal.held = held;
        self.write()
    }

    /// Syncs the file and its name.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()?;
        File::open(&self.folder)?.sync_all()
    }

    fn write(&self) -> io::Result<()> {
        self.file.write_all_at(&self.seal.to_bytes(), 0)
    }
}

/// The commit files of a folder, the highest count first.
pub(super) fn named(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut named = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let count = name.to_str().and_then(|name| name.strip_prefix(NAME));
        if let Some(count) = count.and_then(|count| count.parse().ok())
            && entry.file_type()?.is_file()
        {
            named.push((count, entry.path()));
        }
    }
    named.sort_unstable_by(|one, other| other.cmp(one));
    Ok(named)
}

/// Treats a missing file as success.
pub(super) fn unless_missing(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Locks a file for this server, until it is closed.
pub(super) fn lock(file: &File) -> Result<(), DatabaseError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(DatabaseError::Taken),
        Err(TryLockError::Error(fault)) => Err(fault.into()),
    }
}
