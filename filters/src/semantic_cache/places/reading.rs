//! How an answer is found: in memory, then on disk, then in Redis; and what of it may be used.

use std::sync::Arc;

use bytes::Bytes;

use super::disk::Read;
use super::rules::LONGEST;
use super::shared::Away;
use super::stats::count;
use super::{Place, Places};
use crate::semantic_cache::entry::{Entry, Id, Scope, now, wire};

impl Places {
    /// By its id alone, for those who know no scope: from memory, or from disk without bringing it anywhere.
    pub async fn look(&self, id: &Id) -> Option<(Arc<Entry>, Place)> {
        if let Some(entry) = self.get(id) {
            return Some((entry, Place::Memory));
        }
        match self.own_disk()?.get(id).await {
            Read::Entry(entry) if self.is_good(&entry) => Some((entry, Place::Disk)),
            _ => None,
        }
    }

    /// From memory only.
    pub fn get(&self, id: &Id) -> Option<Arc<Entry>> {
        let entry = self.memory.get(id)?;
        if self.is_good(&entry) {
            return Some(entry);
        }
        self.memory.remove(id);
        None
    }

    /// From wherever it is; what memory does not have is brought there.
    pub async fn fetch(&self, id: &Id, scope: &Scope) -> Option<(Arc<Entry>, Place)> {
        if let Some(entry) = self.get(id).filter(|entry| entry.scope == *scope) {
            return Some((entry, Place::Memory));
        }
        if let Some(entry) = self.fetch_from_disk(id, scope).await {
            return Some((entry, Place::Disk));
        }
        match self.fetch_from_redis(id, scope).await {
            Ok(Some(entry)) => return Some((entry, Place::Redis)),
            Ok(None) => self.listener.gone(scope, id),
            // It may be there all the same.
            Err(Away) => {}
        }
        None
    }

    /// The first use of a scope: its hints out of Redis, for which it waits `load_wait` at most, and not at all while
    /// Redis is away.
    pub async fn enter(&self, scope: &Scope) {
        if let Some(remote) = &self.remote {
            let wait = remote.is_trusted().then_some(remote.load_wait);
            remote.entered.enter(scope, wait).await;
        }
    }

    async fn fetch_from_disk(&self, id: &Id, scope: &Scope) -> Option<Arc<Entry>> {
        let disk = self.own_disk()?;
        let entry = match disk.get(id).await {
            Read::Entry(entry) => entry,
            Read::Nothing | Read::Failed => return None,
            Read::Corrupt => {
                count(&self.counts.disk_corrupt);
                return None;
            }
        };
        if !self.is_good(&entry) {
            disk.forget(id);
            return None;
        }
        self.found(entry, scope)
    }

    async fn fetch_from_redis(&self, id: &Id, scope: &Scope) -> Result<Option<Arc<Entry>>, Away> {
        let Some(remote) = &self.remote else { return Ok(None) };
        if !remote.is_trusted() {
            return Err(Away);
        }
        let (me, id_then, scope_then) = (self.me.clone(), *id, *scope);
        let late = move |bytes| {
            if let Some(places) = me.upgrade() {
                places.found_in_redis(&bytes, &id_then, &scope_then);
            }
        };
        match remote.get(scope, id, late).await {
            Ok(bytes) => Ok(bytes.and_then(|bytes| self.found_in_redis(&bytes, id, scope))),
            Err(Away) => {
                count(&self.counts.redis_unanswered);
                Err(Away)
            }
        }
    }

    fn found_in_redis(&self, bytes: &Bytes, id: &Id, scope: &Scope) -> Option<Arc<Entry>> {
        match wire::decode(bytes, id) {
            Ok(entry) if entry.stored >= self.remote.as_ref()?.born() && self.is_good(&entry) => {
                self.found(Arc::new(entry), scope)
            }
            Ok(_) => None,
            Err(error) => {
                tracing::debug!(%error, ?id, "a kept answer in Redis is not what it was");
                count(&self.counts.redis_corrupt);
                None
            }
        }
    }

    /// Brings into memory what was found elsewhere.
    fn found(&self, entry: Arc<Entry>, scope: &Scope) -> Option<Arc<Entry>> {
        if entry.scope != *scope {
            return None;
        }
        // A newer one may have been put meanwhile.
        if let Some(newer) = self.get(&entry.id).filter(|held| held.stored >= entry.stored) {
            return Some(newer);
        }
        self.memory.put(entry.clone());
        Some(entry)
    }

    /// Whether it may be used, fresh or not.
    pub(super) fn is_good(&self, entry: &Entry) -> bool {
        let now = now();
        entry.is_kept(now) && entry.age(now) < LONGEST && !self.rules.hides(entry)
    }
}
