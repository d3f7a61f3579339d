//! Where answers are kept: in memory, on disk, in Redis. What is found is whole, of this id, and not invalidated.
//!
//! An answer that is put is in memory at once; disk and Redis follow in the background, and a write that finds their
//! queues full is dropped and counted. What is asked for is looked for in the same order, and what a later place has is
//! brought into memory. Redis away is a miss at once, never a wait.

mod disk;
mod hints;
mod log;
mod memory;
mod opening;
mod reading;
mod rules;
mod service;
pub mod shared;
mod stats;
#[cfg(test)]
mod testing;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use opentelemetry::metrics::Meter;

use crate::semantic_cache::entry::{Entry, Hint, Id, Scope, wire};
use crate::store::Store;
use crate::windows::{Summary, Window};
use disk::Disk;
use hints::Hints;
use memory::Memory;
use opening::{Elsewhere, Opened, evicted};
use rules::Rules;
use shared::{Away, Job, Remote};
use stats::{Counts, count};

pub use rules::{Purge, Rule};
pub use stats::{PlaceStats, Stats};

#[derive(Clone, Debug)]
pub struct Settings {
    pub memory_bytes: usize,
    /// The folder for answers on disk; none are kept there if absent.
    pub disk_path: Option<PathBuf>,
    pub disk_bytes: u64,
    pub max_entry_bytes: usize,
    /// Whether answers are shared through Redis, where there is one.
    pub redis: bool,
    /// How many hints Redis keeps of one scope.
    pub max_hints: usize,
    /// How long the first question of a scope waits for the scope's hints.
    pub load_wait: Duration,
}

/// What is wrong with the settings, or with the disk.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the folder for kept answers, {path}: {error}")]
    Disk { path: PathBuf, error: io::Error },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Memory,
    Disk,
    Redis,
}

impl Place {
    pub const fn name(self) -> &'static str {
        match self {
            Place::Memory => "memory",
            Place::Disk => "disk",
            Place::Redis => "redis",
        }
    }
}

/// Whoever finds answers by the meaning of their questions. Called from any thread, in the middle of putting and
/// fetching: it must be quick, and must not come back to the places. May be told the same twice.
pub trait Listener: Send + Sync {
    /// An answer that somebody else has put: an earlier process of this sidecar, or another sidecar.
    fn hint(&self, hint: Hint);

    /// An answer that is not to be had here any more.
    fn gone(&self, scope: &Scope, id: &Id);
}

/// What a purge has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purged {
    /// Answers that were in this sidecar's memory.
    pub here: u64,
    /// Whether all sidecars know, or there are no others. If not, they are told when Redis is back.
    pub everywhere: bool,
    /// Whether it also holds here after a restart.
    pub lasting: bool,
}

/// Answers that are let go before others get their turn.
const AT_A_TIME: u64 = 64;

pub struct Places {
    memory: Memory,
    disk: Option<Arc<Disk>>,
    hints: Option<Hints>,
    rules: Arc<Rules>,
    listener: Arc<dyn Listener>,
    counts: Arc<Counts>,
    remote: Option<Remote>,
    folder: Option<PathBuf>,
    max_entry_bytes: usize,
    /// Whether the disk is another process's for now.
    resting: AtomicBool,
    /// For what comes when nobody waits any more.
    me: Weak<Places>,
}

impl Places {
    /// How long reads from disk have taken lately.
    pub fn disk_took(&self, window: Window) -> Option<Summary> {
        self.disk.as_ref()?.took(window)
    }

    /// Opens the disk and reads what is to be known before the first answer; hints follow in the background. Needs no
    /// runtime.
    pub fn new(
        settings: &Settings,
        store: Option<Arc<Store>>,
        listener: Arc<dyn Listener>,
        meter: &Meter,
    ) -> Result<Arc<Self>, Error> {
        Places::beside(settings, store, listener, meter, None)
    }

    /// The same, maybe beside another process that has left the disk alone and handed over its lock.
    ///
    /// # Errors
    /// As of [`Places::new`].
    pub fn beside(
        settings: &Settings,
        store: Option<Arc<Store>>,
        listener: Arc<dyn Listener>,
        meter: &Meter,
        handed: Option<OwnedFd>,
    ) -> Result<Arc<Self>, Error> {
        let counts = Arc::new(Counts::default());
        let open = Opened::new(settings, &listener, &counts, handed)
            .map_err(|error| Error::Disk { path: settings.disk_path.clone().unwrap_or_default(), error })?;
        let store = store.filter(|_| settings.redis);
        let remote = store.map(|store| Remote::new(store, settings.max_hints, settings.load_wait));
        let elsewhere = Elsewhere { disk: open.disk.clone(), redis: remote.is_some() };
        let evicted = evicted(elsewhere, listener.clone(), counts.clone());
        let places = Arc::new_cyclic(|me| Places {
            memory: Memory::new(settings.memory_bytes, settings.max_entry_bytes, evicted),
            disk: open.disk,
            hints: open.hints,
            rules: open.rules,
            listener,
            counts,
            remote,
            folder: settings.disk_path.clone(),
            max_entry_bytes: settings.max_entry_bytes,
            resting: AtomicBool::new(false),
            me: me.clone(),
        });
        stats::observe(meter, &Arc::downgrade(&places));
        Ok(places)
    }

    /// Whether answers are kept there at all.
    pub fn has(&self, place: Place) -> bool {
        match place {
            Place::Memory => true,
            Place::Disk => self.disk.is_some(),
            Place::Redis => self.remote.is_some(),
        }
    }

    /// The era to be noted with a question when it is asked.
    pub fn era(&self) -> u64 {
        self.rules.era()
    }

    /// In memory at once; elsewhere soon.
    pub fn put(&self, entry: Arc<Entry>) {
        // A purge may have come while it was made.
        if !self.is_good(&entry) {
            return;
        }
        let small = entry.weight() <= self.max_entry_bytes;
        if !(small && self.memory.put(entry.clone())) {
            count(&self.counts.memory_dropped);
        }
        if small
            && (self.disk.is_some() || self.remote.is_some())
            && let Some(bytes) = wire::encode(&entry)
        {
            self.write(entry, bytes.into());
        }
    }

    fn write(&self, entry: Arc<Entry>, bytes: Bytes) {
        if let Some(disk) = self.own_disk()
            && !disk.put(entry.id, bytes.clone())
        {
            count(&self.counts.disk_dropped);
        }
        if let Some(remote) = &self.remote
            && !(remote.takes(&bytes) && remote.queue.push(Job::Keep(entry, bytes)))
        {
            count(&self.counts.redis_dropped);
        }
    }

    /// Keeps a hint of an answer that was put here.
    pub fn learn(&self, hint: Hint) {
        if let Some(hints) = self.hints.as_ref().filter(|_| !self.is_resting())
            && !hints.learn(hint.clone())
        {
            count(&self.counts.disk_dropped);
        }
        self.tell_redis(Job::Hint(hint));
    }

    fn tell_redis(&self, job: Job) {
        if let Some(remote) = &self.remote
            && !(remote.is_trusted() && remote.queue.push(job))
        {
            count(&self.counts.redis_dropped);
        }
    }

    /// Throws one answer away, here and elsewhere.
    pub fn remove(&self, id: &Id, scope: &Scope) {
        self.remove_here(id, scope);
        self.tell_redis(Job::Gone(*scope, *id));
    }

    fn remove_here(&self, id: &Id, scope: &Scope) {
        self.memory.remove(id);
        if let Some(disk) = self.own_disk() {
            disk.remove(id);
        }
        self.listener.gone(scope, id);
    }

    /// Makes all that is meant invisible, from now on and for good, also what is being made now.
    pub async fn purge(&self, purge: Purge) -> Purged {
        let (rules, what) = (self.rules.clone(), purge.clone());
        // The disk is waited for elsewhere than on the caller's thread.
        let Ok((rule, kept)) = tokio::task::spawn_blocking(move || rules.make(what)).await else {
            return Purged { here: 0, everywhere: false, lasting: false };
        };
        if let Err(error) = &kept {
            tracing::error!(%error, "a purge holds, but could not be written: a restart would undo it");
        }
        let here = self.drop_bad().await;
        let everywhere = match &self.remote {
            Some(remote) => match remote.index.purge(&rule).await {
                Ok(rule) => {
                    self.take(vec![rule]).await;
                    true
                }
                Err(Away) => false,
            },
            None => true,
        };
        Purged { here, everywhere, lasting: kept.is_ok() }
    }

    /// Lets go of what may not be used any more; how many these were.
    async fn drop_bad(&self) -> u64 {
        let mut count = 0;
        for id in self.memory.find(|entry| !self.is_good(entry)).await {
            if let Some(entry) = self.memory.remove(&id) {
                self.listener.gone(&entry.scope, &entry.id);
                count += 1;
            }
            if count % AT_A_TIME == 0 {
                tokio::task::yield_now().await;
            }
        }
        count
    }

    pub fn stats(&self) -> Stats {
        self.counts.stats(self.memory.entries(), self.memory.bytes(), self.disk.is_some())
    }

    /// Waits until all that is on its way is kept.
    pub async fn finish(&self) {
        if let Some(remote) = &self.remote {
            while self.send_some(remote).await {}
        }
        if !self.is_resting() {
            self.write_out().await;
        }
    }

    /// Waits until all is on disk that is on its way there.
    async fn write_out(&self) {
        if let Some(disk) = &self.disk {
            disk.finish().await;
        }
        if let Some(hints) = &self.hints {
            hints.finish().await;
        }
    }

    fn is_resting(&self) -> bool {
        self.resting.load(Ordering::Acquire)
    }

    /// The disk, where it is not another process's for now.
    fn own_disk(&self) -> Option<&Arc<Disk>> {
        self.disk.as_ref().filter(|_| !self.is_resting())
    }

    /// The lock on the folder, for the process that opens it beside this one.
    pub fn lock_file(&self) -> Option<BorrowedFd<'_>> {
        Some(self.disk.as_ref()?.lock_file())
    }

    /// Leaves the disk alone from here on, with all that was on its way there: another process opens it.
    pub async fn rest(&self) {
        self.resting.store(true, Ordering::Release);
        self.rules.rest(true);
        self.write_out().await;
    }

    /// The other process has failed: the disk is this one's again. What it has written meanwhile is read with its
    /// checksum, as all is.
    pub fn wake(&self) {
        self.rules.rest(false);
        self.resting.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
