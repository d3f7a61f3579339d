//! Answers in memory: what is asked for most, within a cap on bytes.

use std::sync::Arc;

use foyer::{Cache, CacheBuilder, Event, EventListener, SieveConfig};

use crate::semantic_cache::entry::{Entry, Id};

/// What the cache itself keeps of an entry, beside the entry: its record, its place in table and queue, two counts.
const OVERHEAD: usize = 256;

/// Entries that fit into a shard at least: of fewer, one that comes would put too much out at once.
const PER_SHARD: usize = 8;

type Leaving = dyn Fn(&Entry) + Send + Sync;

pub(super) struct Memory {
    cache: Cache<Id, Arc<Entry>>,
    largest: usize,
}

impl Memory {
    /// `evicted` hears of what had to make room.
    pub(super) fn new(bytes: usize, max_entry_bytes: usize, evicted: Box<Leaving>) -> Self {
        let shards = (bytes / (PER_SHARD * (max_entry_bytes + OVERHEAD)).max(1)).clamp(1, 16);
        let cache = CacheBuilder::new(bytes)
            .with_shards(shards)
            .with_eviction_config(SieveConfig)
            .with_weighter(|_, entry: &Arc<Entry>| entry.weight() + OVERHEAD)
            .with_event_listener(Arc::new(Leavers(evicted)))
            .build();
        Memory { cache, largest: bytes / shards }
    }

    pub(super) fn get(&self, id: &Id) -> Option<Arc<Entry>> {
        self.cache.get(id).map(|held| held.value().clone())
    }

    /// False where it is larger than all that one shard may hold.
    pub(super) fn put(&self, entry: Arc<Entry>) -> bool {
        if entry.weight() + OVERHEAD > self.largest {
            self.cache.remove(&entry.id);
            return false;
        }
        self.cache.insert(entry.id, entry);
        true
    }

    pub(super) fn remove(&self, id: &Id) -> Option<Arc<Entry>> {
        self.cache.remove(id).map(|held| held.value().clone())
    }

    /// All that are meant.
    pub(super) async fn find(&self, is_meant: impl Fn(&Entry) -> bool) -> Vec<Id> {
        let mut meant = Vec::new();
        // The one way through all of them; what it would let go of itself would count as evicted.
        self.cache
            .flush_if(|id, entry| {
                if is_meant(entry) {
                    meant.push(*id);
                }
                false
            })
            .await;
        meant
    }

    pub(super) fn entries(&self) -> u64 {
        self.cache.entries() as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.cache.usage() as u64
    }
}

struct Leavers(Box<Leaving>);

impl EventListener for Leavers {
    type Key = Id;
    type Value = Arc<Entry>;

    fn on_leave(&self, reason: Event, _: &Id, entry: &Arc<Entry>) {
        if reason == Event::Evict {
            self.0(entry);
        }
    }
}
