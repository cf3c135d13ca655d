//! The file `commits.N`: which files are the store's own, and how often they were written.

use std::{
    fs::{self, File, Metadata, TryLockError},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use bytes::{Buf, BufMut};

use super::database::{DatabaseError, FILE, checksum};

/// Counts commits beside the database: when it has seen more than the database, that has lost some.
///
/// It also says what the database itself holds, without SQLite's log: the log begins anew when all
/// of it is there, so an older database does not go with a newer log. It says too which file the
/// database is.
///
/// It also tells the store from a copy. It says which file it is itself, by inode and birth time,
/// and no copy is that file. It has a nonce, which the database has too: neither is believed
/// without the other. It is a new file with a new nonce at each start and at each orderly end. In
/// between the count is its name, which each commit changes: what was copied before a commit, and
/// is written over the same files after it, comes under another name and leaves this file as it is.
///
/// Owner, mode, number of links and all times but that of birth may change.
#[derive(Debug)]
pub(super) struct Commits {
    folder: PathBuf,
    name: PathBuf,
    /// Locked while it is open: folders that share it by hard links cannot both be served.
    file: File,
    seal: Seal,
}

/// Contents of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seal {
    /// The count when this was written; the name may say more.
    count: u64,
    nonce: u128,
    identity: Identity,
    database: Identity,
    /// The commit of which the database at least knows, without the log.
    held: u64,
    /// True when another file has taken its place. Only who reaches it by another folder's hard
    /// link reads that.
    replaced: bool,
}

/// A file of a file system, wherever it is moved to there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    inode: u64,
    /// Nanoseconds of the system's clock; 0 where the file system does not keep it. An inode may be
    /// given out again, and was born later then.
    born: u128,
}

/// Such files of a folder.
#[derive(Debug)]
pub(super) struct Found {
    /// Files that are what they say.
    own: Vec<Commits>,
    /// True when there is one of a store that was written to, perhaps of another folder's.
    pub(super) used: bool,
    /// True when another folder, that had hard links to the same files, has gone on with them.
    pub(super) replaced: bool,
}

/// Beginning of its name; the count follows.
const NAME: &str = "commits.";
/// The next one, until the database has its nonce.
const NEXT: &str = "commits.next";
/// Bytes of the file.
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

    /// `None` when it is damaged.
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
    /// Looks for the files of a folder, and locks them.
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
            // The same by a hard link, which was left behind by another count.
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

    /// The file that the database knows.
    pub(super) fn known_as(self, nonce: &str) -> Option<Commits> {
        self.own.into_iter().find(|file| file.nonce() == nonce)
    }
}

impl Commits {
    /// Makes the file that is the next, beside the one that is used.
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

    /// The next file, to be counted with once the database has its nonce.
    pub(super) fn next(&self) -> Result<Self, DatabaseError> {
        Self::create(&self.folder, (self.seal.count, self.seal.held), true)
    }

    /// Leaves this as the only one of the folder. The one that it takes the place of says so, to
    /// those who have a hard link to it.
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

    /// True when a database that was left with so many commits, and holds so many of them without
    /// the log, is the one that was left.
    pub(super) fn fits(&self, commits: u64, held: u64) -> io::Result<bool> {
        let seal = &self.seal;
        let same = seal.database == Identity::of_database(&self.folder)?;
        Ok(same && seal.count <= commits && seal.held <= held)
    }

    /// Takes the number behind its commit for its name: it is never ahead of what was committed.
    ///
    /// It may have been deleted: then the store is believed after an orderly end alone.
    pub(super) fn set_count(&mut self, count: u64) -> io::Result<()> {
        let name = self.folder.join(format!("{NAME}{count}"));
        unless_missing(fs::rename(&self.name, &name))?;
        self.name = name;
        self.seal.count = count;
        Ok(())
    }

    /// Notes that so many commits are in the database, without the log.
    pub(super) fn set_held(&mut self, held: u64) -> io::Result<()> {
        self.seal.held = held;
        self.write()
    }

    /// Makes it last under its name.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()?;
        File::open(&self.folder)?.sync_all()
    }

    fn write(&self) -> io::Result<()> {
        self.file.write_all_at(&self.seal.to_bytes(), 0)
    }
}

/// The files of a folder that count commits, the highest count first.
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

/// Success also when the file was not there.
pub(super) fn unless_missing(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Locks a file for this server, as long as it is open.
pub(super) fn lock(file: &File) -> Result<(), DatabaseError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(DatabaseError::Taken),
        Err(TryLockError::Error(fault)) => Err(fault.into()),
    }
}
