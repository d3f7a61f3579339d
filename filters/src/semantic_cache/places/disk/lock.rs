//! One process at a time in a folder: two would write over each other.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// How long one that is ending is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(10);

/// Held as long as this is; the system lets go of it when the process dies.
pub(super) struct Lock(File);

impl Lock {
    pub(super) fn take(path: &Path) -> io::Result<Self> {
        let file = File::create(path)?;
        let mut waited = Duration::ZERO;
        while file.try_lock().is_err() {
            if waited >= PATIENCE {
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process keeps its answers there"));
            }
            #[expect(clippy::disallowed_methods, reason = "at start, where there is no runtime yet, and nobody waits")]
            std::thread::sleep(AGAIN);
            waited += AGAIN;
        }
        Ok(Lock(file))
    }

    /// The one that another process holds on this file and has handed over: it is held by both. None where it is another
    /// file's.
    pub(super) fn handed(path: &Path, fd: OwnedFd) -> Option<Self> {
        let file = File::from(fd);
        let (own, there) = (file.metadata().ok()?, path.metadata().ok()?);
        ((own.dev(), own.ino()) == (there.dev(), there.ino())).then_some(Lock(file))
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
