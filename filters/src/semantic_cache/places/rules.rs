//! What has been invalidated: rules that hide entries at once, wherever they lie and also while they are being made.
//!
//! A purge begins an era. An entry bears the era in which its question was asked; a rule hides what it is about and
//! what bears an earlier one. So an answer that was under way when the purge came is hidden like the old ones, and
//! nothing needs to be found or deleted for a purge to hold.
//! Eras are counted in milliseconds of Unix time where that is ahead of the last one: so they go on upward also where
//! whoever counted them has lost count.

mod purge;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::log::{Log, Tail};
use crate::semantic_cache::entry::{Date, Entry, now};

pub use purge::Purge;
pub(super) use purge::hex;

/// How long a rule is kept, and with it the longest that an entry can be: none may outlive what hides it.
pub const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// More than these and the older half becomes one that hides everything of its time.
const MOST: usize = 10_000;

/// One purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub what: Purge,
    pub era: u64,
    /// When it can be forgotten.
    pub until: Date,
}

#[derive(Clone, Copy)]
struct Held {
    era: u64,
    until: Date,
    /// Whether the others know it.
    told: bool,
}

#[derive(Serialize, Deserialize)]
struct Record<'a> {
    what: &'a str,
    era: u64,
    until: Date,
    told: bool,
}

pub(super) struct Rules {
    held: RwLock<HashMap<Purge, Held>>,
    era: AtomicU64,
    file: Option<Mutex<Log>>,
    /// The file is another process's for now.
    resting: AtomicBool,
}

impl Rules {
    /// Reads what an earlier process knew, where there is a file.
    pub(super) fn open(path: Option<&Path>) -> io::Result<Self> {
        let Some(path) = path else {
            let (held, era, resting) = (RwLock::default(), AtomicU64::new(0), AtomicBool::new(false));
            return Ok(Rules { held, era, file: None, resting });
        };
        let (mut held, mut count, date) = (HashMap::new(), 0, now());
        let (mut log, tail) = Log::open(path, |record| {
            count += 1;
            if let Some((what, rule)) = read(record).filter(|(_, rule)| rule.until > date) {
                raise(&mut held, what, rule);
            }
        })?;
        if tail == Tail::Corrupt {
            tracing::warn!(path = %path.display(), "rules of invalidation are damaged: all kept answers are let go");
            raise(&mut held, Purge::All, Held { era: date, until: later(date), told: false });
        }
        if tail == Tail::Corrupt || count > 2 * held.len() + 64 {
            write_all(&mut log, &held)?;
        }
        let era = held.values().map(|rule| rule.era).max().unwrap_or(0);
        let (held, era, resting) = (RwLock::new(held), AtomicU64::new(era), AtomicBool::new(false));
        Ok(Rules { held, era, file: Some(Mutex::new(log)), resting })
    }

    pub(super) fn era(&self) -> u64 {
        self.era.load(Ordering::Acquire)
    }

    pub(super) fn hides(&self, entry: &Entry) -> bool {
        // All that was asked since the last purge: most, most of the time.
        if entry.era >= self.era() {
            return false;
        }
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        Purge::all_of(entry).any(|what| held.get(&what).is_some_and(|rule| entry.era < rule.era))
    }

    /// Begins an era. Waits for the disk. What holds at once may still be lost at the next start: then there is an
    /// error beside it.
    pub(super) fn make(&self, what: Purge) -> (Rule, io::Result<()>) {
        let date = now();
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let rule = Held { era: date.max(self.era() + 1), until: later(date), told: false };
        raise(&mut held, what.clone(), rule);
        self.era.fetch_max(rule.era, Ordering::AcqRel);
        drop(held);
        let kept = match self.file.is_some() && self.own_file().is_none() {
            true => {
                Err(io::Error::other("another process is taking over, and may not hear of it: ask again in a moment"))
            }
            false => self.keep(&[(what.clone(), rule)]),
        };
        (Rule { what, era: rule.era, until: rule.until }, kept)
    }

    /// Takes over rules that all know; true if any of them was news. Waits for the disk.
    pub(super) fn take(&self, rules: Vec<Rule>) -> io::Result<bool> {
        let mut news = Vec::new();
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        for Rule { what, era, until } in rules {
            let rule = Held { era, until, told: true };
            if raise(&mut held, what.clone(), rule) {
                self.era.fetch_max(era, Ordering::AcqRel);
                news.push((what, rule));
            }
        }
        drop(held);
        self.keep(&news)?;
        Ok(!news.is_empty())
    }

    /// Those that are to be told to the others, and those that they know already.
    pub(super) fn told(&self, told: bool) -> Vec<Rule> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let all = held.iter().filter(|(_, rule)| rule.told == told);
        all.map(|(what, rule)| Rule { what: what.clone(), era: rule.era, until: rule.until }).collect()
    }

    /// Forgets what is past, and makes of too many one.
    pub(super) fn sweep(&self) {
        let date = now();
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let before = held.len();
        held.retain(|_, rule| rule.until > date);
        if held.len() > MOST {
            collapse(&mut held);
        }
        if let (Some(file), true) = (self.own_file(), held.len() < before)
            && let Err(error) = write_all(&mut file.lock().unwrap_or_else(PoisonError::into_inner), &held)
        {
            tracing::warn!(%error, "the rules of invalidation could not be written anew");
        }
    }

    /// Whether the file is left alone.
    pub(super) fn rest(&self, resting: bool) {
        self.resting.store(resting, Ordering::Release);
    }

    fn own_file(&self) -> Option<&Mutex<Log>> {
        self.file.as_ref().filter(|_| !self.resting.load(Ordering::Acquire))
    }

    fn keep(&self, rules: &[(Purge, Held)]) -> io::Result<()> {
        if self.held.read().unwrap_or_else(PoisonError::into_inner).len() > MOST {
            self.sweep();
        }
        let Some(file) = self.own_file().filter(|_| !rules.is_empty()) else { return Ok(()) };
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        rules.iter().try_for_each(|(what, rule)| file.append(&record(what, rule)))?;
        file.sync()
    }
}

fn later(date: Date) -> Date {
    date.saturating_add(LONGEST.as_millis() as u64)
}

/// True if the rule was not known, or only of an earlier era.
fn raise(held: &mut HashMap<Purge, Held>, what: Purge, rule: Held) -> bool {
    let known = held.entry(what).or_insert(Held { era: 0, until: 0, told: rule.told });
    let news = rule.era > known.era || (rule.told && !known.told && rule.era == known.era);
    if news {
        *known = Held { until: rule.until.max(known.until), ..rule };
    }
    news
}

/// Makes one rule of the older half. It hides more than they did, and nothing less.
fn collapse(held: &mut HashMap<Purge, Held>) {
    let mut eras: Vec<u64> = held.values().map(|rule| rule.era).collect();
    eras.sort_unstable();
    let Some(era) = eras.get(eras.len() / 2).copied() else { return };
    let mut all = Held { era, until: 0, told: true };
    held.retain(|_, rule| {
        let stays = rule.era > era;
        if !stays {
            (all.until, all.told) = (all.until.max(rule.until), all.told && rule.told);
        }
        stays
    });
    raise(held, Purge::All, all);
}

fn record(what: &Purge, rule: &Held) -> Vec<u8> {
    let name = what.name();
    let record = Record { what: &name, era: rule.era, until: rule.until, told: rule.told };
    // Into a vector this can't fail.
    postcard::to_stdvec(&record).unwrap_or_default()
}

fn read(record: &[u8]) -> Option<(Purge, Held)> {
    let Record { what, era, until, told } = postcard::from_bytes(record).ok()?;
    Some((Purge::named(what)?, Held { era, until, told }))
}

fn write_all(log: &mut Log, held: &HashMap<Purge, Held>) -> io::Result<()> {
    log.replace(|new| held.iter().try_for_each(|(what, rule)| new.append(&record(what, rule))))
}

#[cfg(test)]
mod tests;
