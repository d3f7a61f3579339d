//! How often what happened.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

use super::guard::Veto;
use super::index::Index;
use super::pool::Counts;

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    pub entries: usize,
    pub scopes: usize,
    /// What the kept questions take, with their texts.
    pub bytes: usize,
    /// How many wait for the model.
    pub waiting: usize,
    pub embedded: u64,
    pub batches: u64,
    /// Texts that were to be kept, and for which the queue had no room.
    pub dropped: u64,
    pub vetoed: Vec<(&'static str, u64)>,
}

#[derive(Default)]
pub struct Counters {
    pub dropped: AtomicU64,
    vetoed: [AtomicU64; Veto::ALL.len()],
}

impl Counters {
    pub fn vetoed(&self, veto: Veto) {
        self.vetoed[veto as usize].fetch_add(1, Relaxed);
    }

    pub fn stats(&self, index: &Index, pool: &Counts) -> Stats {
        let vetoed = Veto::ALL.iter().map(|veto| (veto.name(), self.vetoed[*veto as usize].load(Relaxed)));
        Stats {
            entries: index.len(),
            scopes: index.scopes(),
            bytes: index.bytes(),
            waiting: pool.waiting.load(Relaxed),
            embedded: pool.embedded.load(Relaxed),
            batches: pool.batches.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            vetoed: vetoed.collect(),
        }
    }
}
