//! How often what happened.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

use super::guard::Veto;
use super::index::Index;
use super::pool::Counts;
use super::{Far, Sought};

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
    pub near: u64,
    /// Settled by the gate, without the model.
    pub gated: u64,
    pub unfit: u64,
    pub below: u64,
    pub doubtful: u64,
    pub busy: u64,
    pub late: u64,
    pub failed: u64,
    /// Texts that were to be kept, and for which the queue had no room.
    pub dropped: u64,
    pub vetoed: Vec<(&'static str, u64)>,
}

#[derive(Default)]
pub struct Counters {
    near: AtomicU64,
    gated: AtomicU64,
    unfit: AtomicU64,
    below: AtomicU64,
    doubtful: AtomicU64,
    busy: AtomicU64,
    late: AtomicU64,
    failed: AtomicU64,
    pub dropped: AtomicU64,
    vetoed: [AtomicU64; Veto::ALL.len()],
}

impl Counters {
    pub fn sought(&self, sought: &Sought) {
        let counter = match sought {
            Sought::Near { .. } => &self.near,
            Sought::Far { why: Far::Empty, .. } => return,
            Sought::Far { why: Far::Unfit(_), .. } => &self.unfit,
            Sought::Far { why: Far::Gate, .. } => &self.gated,
            Sought::Far { why: Far::Below, .. } => &self.below,
            Sought::Far { why: Far::Vetoed(veto), .. } => &self.vetoed[*veto as usize],
            Sought::Far { why: Far::Doubtful, .. } => &self.doubtful,
            Sought::Far { why: Far::Busy, .. } => &self.busy,
            Sought::Far { why: Far::Late, .. } => &self.late,
            Sought::Far { why: Far::Failed, .. } => &self.failed,
        };
        counter.fetch_add(1, Relaxed);
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
            near: self.near.load(Relaxed),
            gated: self.gated.load(Relaxed),
            unfit: self.unfit.load(Relaxed),
            below: self.below.load(Relaxed),
            doubtful: self.doubtful.load(Relaxed),
            busy: self.busy.load(Relaxed),
            late: self.late.load(Relaxed),
            failed: self.failed.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            vetoed: vetoed.collect(),
        }
    }
}
