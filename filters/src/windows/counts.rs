//! How many of each kind there were, over the same windows.

use tokio::time::Instant;

use super::{LONG, Ring, SHORT, Window};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Count {
    /// Requests, or calls to a backend.
    All,
    Good,
    /// What went wrong by the client's own doing.
    ClientErrors,
    /// What the client did not wait for.
    Abandoned,
    Timeouts,
    /// No room, or nobody well enough to be asked.
    Overloads,
    BackendErrors,
    OwnErrors,
    /// Questions that were looked for among kept answers, and those of them that were found.
    CacheLooks,
    CacheHits,
    /// Those that went along on another's call.
    Followers,
    /// Calls that were not an answer's first.
    Retries,
    TokensIn,
    TokensOut,
    /// What went through without the chain.
    Passed,
}

const KINDS: usize = Count::Passed as usize + 1;

#[derive(Clone, Debug, Default)]
struct Slot([u32; KINDS]);

/// Sums of one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sums {
    counts: [u64; KINDS],
    seconds: f64,
}

#[derive(Clone, Debug)]
pub struct Counts {
    short: Ring<Slot>,
    long: Ring<Slot>,
}

impl Default for Counts {
    fn default() -> Self {
        Counts { short: Ring::new(SHORT.0, SHORT.1), long: Ring::new(LONG.0, LONG.1) }
    }
}

impl Counts {
    /// Of what has been listened to since then.
    pub fn since(begun: Instant) -> Self {
        Counts { short: Ring::since(begun, SHORT.0, SHORT.1), long: Ring::since(begun, LONG.0, LONG.1) }
    }

    pub fn add(&mut self, now: Instant, counted: &[(Count, u64)]) {
        for slot in [self.short.slot(now), self.long.slot(now)] {
            for (count, more) in counted {
                let kept = &mut slot.0[*count as usize];
                *kept = kept.saturating_add(u32::try_from(*more).unwrap_or(u32::MAX));
            }
        }
    }

    pub fn sums(&self, now: Instant, window: Window) -> Sums {
        let ring = if window == Window::One { &self.short } else { &self.long };
        let mut counts = [0; KINDS];
        for slot in ring.last(now, window.slots()) {
            counts.iter_mut().zip(slot.0).for_each(|(sum, more)| *sum += u64::from(more));
        }
        Sums { counts, seconds: ring.covered(now, window.slots()).as_secs_f64() }
    }
}

impl Sums {
    pub const fn of(&self, count: Count) -> u64 {
        self.counts[count as usize]
    }

    pub fn per_second(&self, count: Count) -> f64 {
        self.of(count) as f64 / self.seconds
    }

    /// The time that they were counted over.
    pub const fn seconds(&self) -> f64 {
        self.seconds
    }

    /// What went wrong and was not the client's doing.
    pub fn errors(&self) -> u64 {
        [Count::Timeouts, Count::Overloads, Count::BackendErrors, Count::OwnErrors]
            .iter()
            .map(|count| self.of(*count))
            .sum()
    }

    /// The share of errors: a client that asks for nonsense does not make us look well. None of none.
    pub fn error_share(&self) -> Option<f64> {
        share(self.errors(), self.judged())
    }

    /// What could be answered at all.
    pub fn judged(&self) -> u64 {
        self.errors() + self.of(Count::Good)
    }

    /// Of the questions that were looked for. None of none.
    pub fn cache_hit_share(&self) -> Option<f64> {
        share(self.of(Count::CacheHits), self.of(Count::CacheLooks))
    }
}

/// None of none.
pub fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
