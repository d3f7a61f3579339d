//! What lies on disk, opened; and what becomes of what memory lets go of.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::disk::Disk;
use super::hints::Hints;
use super::rules::Rules;
use super::stats::{Counts, count};
use super::{Listener, Settings};
use crate::semantic_cache::entry::{Entry, Id};

/// What lies on disk, opened.
pub(super) struct Opened {
    pub(super) disk: Option<Arc<Disk>>,
    pub(super) hints: Option<Hints>,
    pub(super) rules: Arc<Rules>,
}

impl Opened {
    pub(super) fn new(
        settings: &Settings,
        listener: &Arc<dyn Listener>,
        counts: &Arc<Counts>,
        handed: Option<OwnedFd>,
    ) -> io::Result<Self> {
        let Some(folder) = &settings.disk_path else {
            return Ok(Opened { disk: None, hints: None, rules: Arc::new(Rules::open(None)?) });
        };
        // A sixteenth is for the log of hints, and as much again while it is written anew.
        let logs = settings.disk_bytes / 16;
        let room = settings.disk_bytes - 2 * logs;
        let disk = Arc::new(Disk::open(folder, room, settings.max_entry_bytes, counts.clone(), handed)?);
        let rules = Rules::open(Some(&folder.join("rules.log")))?;
        let leads = disk.clone();
        let leads = Box::new(move |id: &Id| leads.holds(id));
        let hints = Hints::open(folder.join("hints.log"), logs, leads, listener.clone())?;
        Ok(Opened { disk: Some(disk), hints: Some(hints), rules: Arc::new(rules) })
    }
}

/// Where an entry may be that has left memory.
pub(super) struct Elsewhere {
    pub(super) disk: Option<Arc<Disk>>,
    pub(super) redis: bool,
}

/// What becomes of an entry that memory has no room for.
pub(super) fn evicted(
    elsewhere: Elsewhere,
    listener: Arc<dyn Listener>,
    counts: Arc<Counts>,
) -> Box<dyn Fn(&Entry) + Send + Sync> {
    Box::new(move |entry| {
        count(&counts.memory_evictions);
        let kept = elsewhere.redis || elsewhere.disk.as_ref().is_some_and(|disk| disk.holds(&entry.id));
        if !kept {
            listener.gone(&entry.scope, &entry.id);
        }
    })
}
