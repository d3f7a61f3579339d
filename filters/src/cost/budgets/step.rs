//! In step with the other sidecars: whether Redis's word can be taken for the whole truth.
//!
//! A Redis that has come back knows nothing of what sidecars spent meanwhile. So each tells it at once what it has to
//! tell, and goes on with its share until the others have had the time to do the same; only then it asks again.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::store::Store;

/// How long the others are given to notice that Redis is back, and to tell it.
pub const OTHERS: Duration = Duration::from_millis(750);
/// How long a sidecar that was seen counts as one that may spend: longer than Redis keeps its sign of life.
const SEEN: Duration = Duration::from_secs(10);

/// No time of being up has come yet: what Redis knows then, it knows of others.
const NEVER: u64 = 0;
/// Redis was emptied, and nothing was done about it yet.
const LOST: u64 = u64::MAX;
/// All is being told anew.
const ASIDE: u64 = u64::MAX - 1;

pub struct Step {
    /// The store's time of being up in which this sidecar is in step.
    epoch: AtomicU64,
    /// Wakes the background when there is something to be told at once.
    pub woken: Notify,
    sidecars: AtomicU32,
    /// Since when fewer are seen than are counted.
    fewer: Mutex<Option<Instant>>,
}

impl Default for Step {
    fn default() -> Self {
        Step {
            epoch: AtomicU64::new(NEVER),
            woken: Notify::new(),
            sidecars: AtomicU32::new(1),
            fewer: Mutex::new(None),
        }
    }
}

impl Step {
    /// Whether Redis may be asked.
    pub fn is_kept(&self, store: &Store) -> bool {
        let kept = self.epoch.load(Ordering::Acquire);
        store.epoch().is_some_and(|epoch| kept == epoch || kept == NEVER)
    }

    pub fn is_first(&self) -> bool {
        self.epoch.load(Ordering::Acquire) == NEVER
    }

    /// Whether all has to be told anew.
    pub fn is_lost(&self) -> bool {
        self.epoch.load(Ordering::Acquire) == LOST
    }

    /// Asks nobody while all is told anew. Not before the first time: others have not waited for this one.
    pub fn step_aside(&self) {
        let aside = |kept: u64| (kept != NEVER).then_some(ASIDE);
        let _ = self.epoch.fetch_update(Ordering::AcqRel, Ordering::Acquire, aside);
    }

    /// Falls in, unless Redis was lost again meanwhile.
    pub fn fall_in(&self, epoch: u64) {
        let into = |kept: u64| (kept != LOST).then_some(epoch);
        let _ = self.epoch.fetch_update(Ordering::AcqRel, Ordering::Acquire, into);
    }

    pub fn lose(&self) {
        self.epoch.store(LOST, Ordering::Release);
        self.woken.notify_one();
    }

    /// How many sidecars may spend: those that were seen while all was well, and those that have been gone for a moment
    /// only, since an emptied Redis sees nobody at first.
    pub fn sidecars(&self) -> u32 {
        self.sidecars.load(Ordering::Relaxed)
    }

    pub fn note(&self, seen: u32) {
        let mut fewer = self.fewer.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = self.sidecars();
        if seen >= counted {
            *fewer = None;
        } else if fewer.get_or_insert_with(Instant::now).elapsed() < SEEN {
            return;
        }
        self.sidecars.store(seen.max(1), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_sidecar_that_was_seen_counts_for_a_while() {
        let step = Step::default();
        step.note(3);
        step.note(1);
        assert_eq!(step.sidecars(), 3, "Redis may have forgotten the others");
        tokio::time::advance(SEEN).await;
        step.note(2);
        assert_eq!(step.sidecars(), 2);
        step.note(4);
        assert_eq!(step.sidecars(), 4, "more are believed at once");
    }
}
