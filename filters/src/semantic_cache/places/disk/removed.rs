//! What was removed from disk one by one, remembered over restarts until it would have been thrown away anyhow.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::semantic_cache::entry::{Date, Entry, Id, now};
use crate::semantic_cache::places::log::Log;
use crate::semantic_cache::places::rules::LONGEST;

/// More than these and the older half is forgotten.
const MOST: usize = 100_000;

pub(super) struct Removed {
    /// Most of the time nothing was.
    any: AtomicBool,
    known: Mutex<Known>,
}

struct Known {
    dates: HashMap<Id, Date>,
    log: Log,
}

impl Removed {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let (mut dates, oldest, mut count) = (HashMap::new(), oldest(), 0);
        let (mut log, _) = Log::open(path, |record| {
            count += 1;
            if let Ok((id, date)) = postcard::from_bytes::<(Id, Date)>(record)
                && date > oldest
            {
                dates.insert(id, date);
            }
        })?;
        if count > 2 * dates.len() {
            write_all(&mut log, &dates)?;
        }
        Ok(Removed { any: AtomicBool::new(!dates.is_empty()), known: Mutex::new(Known { dates, log }) })
    }

    /// Whether this is an entry of before its removal.
    pub(super) fn has(&self, entry: &Entry) -> bool {
        if !self.any.load(Ordering::Acquire) {
            return false;
        }
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.dates.get(&entry.id).is_some_and(|date| entry.stored <= *date)
    }

    pub(super) fn add(&self, id: Id) {
        let date = now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.dates.insert(id, date);
        self.any.store(true, Ordering::Release);
        let Known { dates, log } = &mut *known;
        let written = if dates.len() > MOST {
            forget_half(dates);
            write_all(log, dates)
        } else {
            log.append(&record(&id, date))
        };
        if let Err(error) = written {
            tracing::warn!(%error, "a removal could not be written: it may be undone by a restart");
        }
    }
}

fn oldest() -> Date {
    now().saturating_sub(LONGEST.as_millis() as u64)
}

fn forget_half(dates: &mut HashMap<Id, Date>) {
    let mut all: Vec<Date> = dates.values().copied().collect();
    all.sort_unstable();
    let middle = all.get(all.len() / 2).copied().unwrap_or(0);
    dates.retain(|_, date| *date > middle);
}

fn record(id: &Id, date: Date) -> Vec<u8> {
    // Into a vector this can't fail.
    postcard::to_stdvec(&(id, date)).unwrap_or_default()
}

fn write_all(log: &mut Log, dates: &HashMap<Id, Date>) -> io::Result<()> {
    log.replace(|new| dates.iter().try_for_each(|(id, date)| new.append(&record(id, *date))))
}
