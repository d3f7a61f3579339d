//! Where baselines are kept over a restart: one JSON file, written whole and put in the old one's place at once.
//!
//! A file that cannot be read as ours is moved aside, so that somebody can look at it: it is never a reason not to start.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Measure;
use super::baseline::Baseline;

pub const EVERY: Duration = Duration::from_secs(60);
const VERSION: u32 = 1;
const MOST_BYTES: u64 = 1 << 20;

pub struct File(PathBuf);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    pub backend: String,
    pub model: String,
    pub measure: Measure,
    pub baseline: Baseline,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: u32,
    series: Vec<Kept>,
}

/// What is to be written; it stands by itself, so that another thread can write it.
#[derive(Debug)]
pub struct Snapshot {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl File {
    /// An empty path keeps nothing.
    pub fn new(path: PathBuf) -> Self {
        File(path)
    }

    pub fn is_kept(&self) -> bool {
        !self.0.as_os_str().is_empty()
    }

    pub fn read(&self) -> Vec<Kept> {
        if !self.is_kept() {
            return Vec::new();
        }
        match read(&self.0) {
            Ok(kept) => kept,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let aside = with_ending(&self.0, ".broken");
                let moved = fs::rename(&self.0, &aside).is_ok();
                tracing::warn!(path = %self.0.display(), %error, moved, "the baselines are not ours to read: learned anew");
                Vec::new()
            }
            Err(error) => {
                tracing::warn!(path = %self.0.display(), %error, "the baselines cannot be read: learned anew");
                Vec::new()
            }
        }
    }

    /// None where nothing is kept.
    pub fn snapshot(&self, series: Vec<Kept>) -> Option<Snapshot> {
        if !self.is_kept() {
            return None;
        }
        let bytes = serde_json::to_vec(&Contents { version: VERSION, series }).ok()?;
        Some(Snapshot { path: self.0.clone(), bytes })
    }
}

impl Snapshot {
    /// Waits for the disk.
    pub fn write(&self) -> io::Result<()> {
        let part = with_ending(&self.path, ".part");
        let mut file = fs::File::create(&part)?;
        file.write_all(&self.bytes)?;
        file.sync_all()?;
        fs::rename(&part, &self.path)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        // Only then is it sure that the new name outlives a loss of power.
        fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

fn read(path: &Path) -> io::Result<Vec<Kept>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    let foreign = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    if bytes.len() as u64 > MOST_BYTES {
        return Err(foreign("it is too large"));
    }
    let contents: Contents = serde_json::from_slice(&bytes).map_err(|error| foreign(&error.to_string()))?;
    if contents.version != VERSION {
        return Err(foreign("it is of another version"));
    }
    if !contents.series.iter().all(|kept| kept.baseline.is_sound()) {
        return Err(foreign("its numbers are none that were measured"));
    }
    Ok(contents.series)
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(ending);
    path.into()
}
