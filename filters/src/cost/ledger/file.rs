//! The ledger's file: made whole or not at all, opened by one process, and never replaced in silence.
//!
//! Files that are made here may be read by their owner alone: what whom costs is nobody else's business.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::{Error, schema};

const OWNER_ONLY: u32 = 0o600;
/// How long a process that is ending is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(10);
/// How long a lock of somebody who looks into the file is waited for.
const BUSY: Duration = Duration::from_secs(1);

/// Held as long as this is; the system lets go of it when the process dies.
pub(super) struct Lock(pub(super) File);

impl Lock {
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Where the file really lies. Its folder is made if only that is missing.
pub(super) fn locate(path: &Path) -> Result<PathBuf, Error> {
    let failed = |path: &Path, error| Error::Folder { path: path.to_owned(), error };
    if path.is_dir() {
        return Err(Error::File { path: path.to_owned(), error: std::io::ErrorKind::IsADirectory.into() });
    }
    if let Ok(real) = path.canonicalize() {
        return Ok(real);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.exists() {
        std::fs::create_dir(folder).map_err(|error| failed(folder, error))?;
    }
    let name = path.file_name().ok_or_else(|| failed(path, std::io::ErrorKind::IsADirectory.into()))?;
    Ok(folder.canonicalize().map_err(|error| failed(folder, error))?.join(name))
}

/// `path` with more at the end of its name.
pub(super) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// The lock is on a file of its own: to close any file that SQLite has open would take its locks away.
pub(super) fn lock(path: &Path) -> Result<Lock, Error> {
    let file = private().create(true).truncate(false).open(beside(path, ".lock"));
    let file = file.map_err(|error| Error::File { path: beside(path, ".lock"), error })?;
    let mut waited = Duration::ZERO;
    while file.try_lock().is_err() {
        if waited >= PATIENCE {
            return Err(Error::Taken { path: path.to_owned() });
        }
        #[expect(clippy::disallowed_methods, reason = "at start, where there is no runtime yet, and nobody waits")]
        std::thread::sleep(AGAIN);
        waited += AGAIN;
    }
    Ok(Lock(file))
}

/// The lock that another process holds on this file and has handed over: it is held by both. None where it is another
/// file's.
pub(super) fn handed(path: &Path, fd: OwnedFd) -> Option<Lock> {
    let file = File::from(fd);
    let (own, there) = (file.metadata().ok()?, beside(path, ".lock").metadata().ok()?);
    ((own.dev(), own.ino()) == (there.dev(), there.ino())).then_some(Lock(file))
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(OWNER_ONLY);
    options
}

/// Opens the file for writing, and makes it if it never was.
pub(super) fn open(path: &Path) -> Result<Connection, Error> {
    if !path.exists() {
        create(path)?;
    }
    if path.metadata().is_ok_and(|file| file.len() == 0) {
        return Err(Error::Damaged { path: path.to_owned(), reason: "it is empty".into() });
    }
    let failed = |error| Error::of(path, error);
    let connection = Connection::open_with_flags(path, flags(OpenFlags::SQLITE_OPEN_READ_WRITE)).map_err(failed)?;
    schema::check(&connection, path)?;
    settle(&connection).map_err(failed)?;
    Ok(connection)
}

/// Under another name first: a process that is killed meanwhile leaves no half of it.
fn create(path: &Path) -> Result<(), Error> {
    let log = beside(path, "-wal");
    if log.exists() {
        return Err(Error::Gone { path: path.to_owned(), log });
    }
    let new = beside(path, ".new");
    let failed = |error| Error::File { path: new.clone(), error };
    // What is left of an earlier attempt that was killed.
    for left in [beside(&new, "-journal"), new.clone()] {
        if left.exists() {
            std::fs::remove_file(&left).map_err(failed)?;
        }
    }
    private().create_new(true).open(&new).map_err(failed)?;
    let make = || {
        let connection = Connection::open_with_flags(&new, flags(OpenFlags::SQLITE_OPEN_READ_WRITE))?;
        schema::make(&connection)?;
        connection.close().map_err(|(_, error)| error)
    };
    make().map_err(|error| Error::of(&new, error))?;
    std::fs::rename(&new, path).map_err(failed)
}

fn settle(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A commit is in the hands of the system, which a killed process does not take with it.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // Another thread does it, so that no commit has to wait for the disk itself.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
    connection.pragma_update(None, "cache_size", -16_384)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

/// A connection of its own for whoever reads: it sees what is written as of one moment and never makes a writer wait.
pub(super) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags(OpenFlags::SQLITE_OPEN_READ_ONLY))?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

/// A connection that moves what is written from the log into the file.
pub(super) fn checkpointer(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags(OpenFlags::SQLITE_OPEN_READ_WRITE))?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    Ok(connection)
}

pub(super) fn in_memory() -> rusqlite::Result<Connection> {
    let connection = Connection::open_in_memory()?;
    schema::make(&connection)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

fn flags(how: OpenFlags) -> OpenFlags {
    how | OpenFlags::SQLITE_OPEN_NO_MUTEX
}
