//! What is counted of the places, and told to whoever measures.

use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use serde::Serialize;

use super::{Place, Places};

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) memory_evictions: AtomicU64,
    pub(super) memory_dropped: AtomicU64,
    pub(super) disk_writes: AtomicU64,
    pub(super) disk_evictions: AtomicU64,
    pub(super) disk_dropped: AtomicU64,
    pub(super) disk_corrupt: AtomicU64,
    pub(super) disk_bytes: AtomicU64,
    pub(super) redis_writes: AtomicU64,
    pub(super) redis_dropped: AtomicU64,
    pub(super) redis_corrupt: AtomicU64,
    pub(super) redis_unanswered: AtomicU64,
}

/// What is counted of one place, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    pub memory: PlaceStats,
    pub disk: PlaceStats,
    pub redis: PlaceStats,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PlaceStats {
    /// Now; known of memory only.
    pub entries: Option<u64>,
    /// Now: in memory as weighed, on disk as the file system has it. Not known of Redis.
    pub bytes: Option<u64>,
    pub written: u64,
    /// What had to make room.
    pub evictions: u64,
    /// Writes that found the queue full, the store away, or the entry too large.
    pub dropped_writes: u64,
    /// What was read and was not what had been written.
    pub corrupt_reads: u64,
    /// Reads that Redis did not answer, or not in time.
    pub unanswered: u64,
}

impl Counts {
    pub(super) fn stats(&self, entries: u64, bytes: u64, has_disk: bool) -> Stats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Stats {
            memory: PlaceStats {
                entries: Some(entries),
                bytes: Some(bytes),
                evictions: read(&self.memory_evictions),
                dropped_writes: read(&self.memory_dropped),
                ..PlaceStats::default()
            },
            disk: PlaceStats {
                bytes: has_disk.then(|| read(&self.disk_bytes)),
                written: read(&self.disk_writes),
                evictions: read(&self.disk_evictions),
                dropped_writes: read(&self.disk_dropped),
                corrupt_reads: read(&self.disk_corrupt),
                ..PlaceStats::default()
            },
            redis: PlaceStats {
                written: read(&self.redis_writes),
                dropped_writes: read(&self.redis_dropped),
                corrupt_reads: read(&self.redis_corrupt),
                unanswered: read(&self.redis_unanswered),
                ..PlaceStats::default()
            },
        }
    }
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

type Read = fn(&PlaceStats) -> Option<u64>;

/// Tells the meter what it asks for, as long as the places live.
pub(super) fn observe(meter: &Meter, places: &Weak<Places>) {
    let gauges: [(&'static str, &'static str, Read); 2] = [
        ("outrigger_cache_entries", "Kept answers in memory.", |stats| stats.entries),
        ("outrigger_cache_bytes", "Bytes that kept answers take, by place.", |stats| stats.bytes),
    ];
    for (name, description, read) in gauges {
        let places = places.clone();
        let callback = move |observer: &dyn opentelemetry::metrics::AsyncInstrument<u64>| {
            each(&places, read, |value, labels| observer.observe(value, labels));
        };
        meter.u64_observable_gauge(name).with_description(description).with_callback(callback).build();
    }
    let counters: [(&'static str, &'static str, Read); 4] = [
        ("outrigger_cache_evictions", "Kept answers that had to make room, by place.", |stats| Some(stats.evictions)),
        ("outrigger_cache_dropped_writes", "Answers that a place did not take, by place.", |stats| {
            Some(stats.dropped_writes)
        }),
        ("outrigger_cache_corrupt_reads", "Answers found damaged, which are misses, by place.", |stats| {
            Some(stats.corrupt_reads)
        }),
        ("outrigger_cache_unanswered_reads", "Reads that a place did not answer in time.", |stats| {
            Some(stats.unanswered)
        }),
    ];
    for (name, description, read) in counters {
        let places = places.clone();
        let callback = move |observer: &dyn opentelemetry::metrics::AsyncInstrument<u64>| {
            each(&places, read, |value, labels| observer.observe(value, labels));
        };
        meter.u64_observable_counter(name).with_description(description).with_callback(callback).build();
    }
}

fn each(places: &Weak<Places>, read: Read, tell: impl Fn(u64, &[KeyValue])) {
    let Some(places) = places.upgrade() else { return };
    let stats = places.stats();
    for (place, stats) in [(Place::Memory, &stats.memory), (Place::Disk, &stats.disk), (Place::Redis, &stats.redis)] {
        if let (true, Some(value)) = (places.has(place), read(stats)) {
            tell(value, &[KeyValue::new("place", place.name())]);
        }
    }
}
