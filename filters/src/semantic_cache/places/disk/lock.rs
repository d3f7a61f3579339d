//! One process at a time in a folder: two would write over each other.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

/// How long one that is ending is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(10);

/// Held as long as this is; the system lets go of it when the process dies.
pub(super) struct Lock(#[expect(dead_code, reason = "what locks is that it is open")] File);

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
}
