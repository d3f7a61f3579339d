//! What the model does, as metrics.

use std::sync::{Arc, Weak};

use opentelemetry::metrics::Meter;

use super::meaning::{Meaning, Stats};

/// A name, what it is, and how it is read.
type Measure = (&'static str, &'static str, fn(&Stats) -> u64);

pub fn observe(meter: &Meter, meaning: &Arc<Meaning>) {
    let counters: [Measure; 3] = [
        ("outrigger_cache_embeddings", "Texts that the model has read.", |stats| stats.embedded),
        ("outrigger_cache_embedding_batches", "Passes of the model.", |stats| stats.batches),
        ("outrigger_cache_dropped_embeddings", "Texts to be kept for which the model had no time.", |stats| {
            stats.dropped
        }),
    ];
    for (name, description, read) in counters {
        let meaning = Arc::downgrade(meaning);
        meter
            .u64_observable_counter(name)
            .with_description(description)
            .with_callback(move |observer| observe_one(&meaning, read, |value| observer.observe(value, &[])))
            .build();
    }
    let gauges: [Measure; 3] = [
        ("outrigger_cache_index_entries", "Questions that can be found by their meaning.", |stats| {
            stats.entries as u64
        }),
        ("outrigger_cache_index_bytes", "What these take.", |stats| stats.bytes as u64),
        ("outrigger_cache_embedder_waiting", "Texts that wait for the model.", |stats| stats.waiting as u64),
    ];
    for (name, description, read) in gauges {
        let meaning = Arc::downgrade(meaning);
        meter
            .u64_observable_gauge(name)
            .with_description(description)
            .with_callback(move |observer| observe_one(&meaning, read, |value| observer.observe(value, &[])))
            .build();
    }
}

fn observe_one(meaning: &Weak<Meaning>, read: fn(&Stats) -> u64, tell: impl FnOnce(u64)) {
    if let Some(meaning) = meaning.upgrade() {
        tell(read(&meaning.stats()));
    }
}
