//! A block to begin with.
//!
//! The engine lets go of a full block when it begins a free one. Killed in between, it leaves none free; started again
//! it would wait for one for ever, since nothing makes it let go of any. So one is made free before it starts.

use std::fs::{DirEntry, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::PAGE;

/// What the engine calls the files of its blocks.
const BLOCK: &str = "foyer-storage-direct-fs-";

/// Frees the block that was written longest ago, if all `blocks` are in use; others are of a larger cap, and go.
pub(super) fn make(folder: &Path, blocks: usize) -> io::Result<()> {
    let mut is_any_free = false;
    let mut oldest: Option<(std::time::SystemTime, DirEntry)> = None;
    for file in std::fs::read_dir(folder)? {
        let file = file?;
        let Some(number) = file.file_name().to_str().and_then(number) else { continue };
        if number >= blocks {
            std::fs::remove_file(file.path())?;
            continue;
        }
        is_any_free = is_any_free || is_free(&file.path())?;
        let written = file.metadata()?.modified()?;
        if oldest.as_ref().is_none_or(|(other, _)| written < *other) {
            oldest = Some((written, file));
        }
    }
    if let Some((_, file)) = oldest.filter(|_| !is_any_free) {
        OpenOptions::new().write(true).open(file.path())?.write_all_at(&[0; PAGE], 0)?;
    }
    Ok(())
}

fn number(name: &str) -> Option<usize> {
    name.strip_prefix(BLOCK)?.parse().ok()
}

/// Without anything in its first page a block has no index, and nothing that would be found.
fn is_free(path: &Path) -> io::Result<bool> {
    let mut page = [0; PAGE];
    let file = OpenOptions::new().read(true).open(path)?;
    if file.metadata()?.len() < PAGE as u64 {
        return Ok(true);
    }
    file.read_exact_at(&mut page, 0)?;
    Ok(page.iter().all(|byte| *byte == 0))
}
