//! The thread that moves what is written from the log into the file itself, so that no commit has to wait for a disk.
//!
//! A killed process loses nothing by it: what is in the log is found there by the next one.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::file;

const EVERY: Duration = Duration::from_millis(500);
/// A shorter log is left alone.
const WORTH_IT: u64 = 2 << 20;

/// Goes on until the other end of `ended` is dropped.
pub(super) fn run(path: &Path, ended: &Receiver<()>) {
    let log = file::beside(path, "-wal");
    while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
        if log.metadata().is_ok_and(|log| log.len() >= WORTH_IT)
            && let Err(error) = checkpoint(path.to_owned())
        {
            // Nothing is lost, and it is tried again: the writer tells if the disk is really away.
            tracing::debug!(%error, "the ledger's log could not be moved into its file");
        }
    }
}

fn checkpoint(path: PathBuf) -> rusqlite::Result<()> {
    let connection = file::checkpointer(&path)?;
    // What was written meanwhile is moved by another pass, so that the log can begin anew.
    for _ in 0..4 {
        let (log, moved): (i64, i64) =
            connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| Ok((row.get(1)?, row.get(2)?)))?;
        if moved >= log {
            break;
        }
    }
    Ok(())
}
