//! How many calls may be repeated: a share of those that were made, so that an outage is never made worse by us.
//!
//! Of the calls of the last ten seconds a fifth may be repeated; where there are few, three in a second may be.
//! The rule is Finagle's (twitter/finagle, `RetryBudget`) with its minimum beside the share and not on top of it,
//! so that at total failure a backend sees at most 1.2 times what clients asked.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Slices of the window in which calls are counted.
const SLICES: usize = 50;
const SLICE: Duration = Duration::from_millis(200);
/// The slices that hold the last second.
const SECOND: usize = 6;

#[derive(Debug)]
pub struct Budget {
    share: f64,
    least_per_second: u32,
    begun: Instant,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    calls: u32,
    repeats: u32,
}

#[derive(Debug)]
struct Counts {
    slices: [Slice; SLICES],
    /// The number of the newest slice since the beginning.
    newest: u64,
}

impl Counts {
    fn at(&mut self, number: u64) -> &mut Slice {
        let gone = number.saturating_sub(self.newest).min(SLICES as u64);
        for old in number + 1 - gone..=number {
            self.slices[old as usize % SLICES] = Slice::default();
        }
        self.newest = self.newest.max(number);
        &mut self.slices[self.newest as usize % SLICES]
    }

    fn sum(&self, slices: usize) -> (u64, u64) {
        let recent = (0..slices as u64).filter_map(|back| self.newest.checked_sub(back));
        let counted = recent.map(|number| self.slices[number as usize % SLICES]);
        counted.fold((0, 0), |(calls, repeats), slice| {
            (calls + u64::from(slice.calls), repeats + u64::from(slice.repeats))
        })
    }
}

impl Budget {
    pub fn new(share: f64, least_per_second: u32) -> Self {
        let counts = Counts { slices: [Slice::default(); SLICES], newest: 0 };
        Budget { share, least_per_second, begun: Instant::now(), counts: Arc::new(Mutex::new(counts)) }
    }

    /// The same calls, and another share of them.
    pub fn renewed(&self, share: f64, least_per_second: u32) -> Self {
        Budget { share, least_per_second, begun: self.begun, counts: self.counts.clone() }
    }

    fn now(&self) -> u64 {
        (self.begun.elapsed().as_millis() / SLICE.as_millis()) as u64
    }

    /// A client has asked for a call.
    pub fn deposit(&self) {
        let number = self.now();
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).at(number).calls += 1;
    }

    /// Takes one repetition, if there is one left.
    pub fn withdraw(&self) -> bool {
        let number = self.now();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.at(number);
        let allowed = self.left(&counts) > 0;
        if allowed {
            counts.at(number).repeats += 1;
        }
        allowed
    }

    /// Repetitions that could be paid for now.
    pub fn remaining(&self) -> u64 {
        let number = self.now();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.at(number);
        self.left(&counts)
    }

    fn left(&self, counts: &Counts) -> u64 {
        let (calls, repeats) = counts.sum(SLICES);
        let (_, lately) = counts.sum(SECOND);
        let of_the_share = ((calls as f64 * self.share) as u64).saturating_sub(repeats);
        of_the_share.max(u64::from(self.least_per_second).saturating_sub(lately))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls at a rate for a time, each of them as often as the budget lets it, three times at most.
    async fn amplification(per_second: u64, seconds: u64) -> f64 {
        let budget = Budget::new(0.2, 3);
        let mut made = 0;
        for _ in 0..per_second * seconds {
            budget.deposit();
            made += 1 + (0..2).take_while(|_| budget.withdraw()).count();
            tokio::time::advance(Duration::from_secs(1) / per_second as u32).await;
        }
        made as f64 / (per_second * seconds) as f64
    }

    #[tokio::test(start_paused = true)]
    async fn at_total_failure_a_fifth_more_is_sent_and_never_more() {
        for (per_second, seconds) in [(20, 1), (20, 60), (200, 1), (200, 30), (1000, 15)] {
            let times = amplification(per_second, seconds).await;
            assert!(times <= 1.2, "{times} times at {per_second}/s for {seconds} s");
            assert!(times >= 1.14, "the budget is there to be used: {times} times at {per_second}/s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_alone_may_repeat_three_times_in_a_second() {
        let budget = Budget::new(0.2, 3);
        budget.deposit();
        assert_eq!((0..10).filter(|_| budget.withdraw()).count(), 3);
        tokio::time::advance(Duration::from_millis(1200)).await;
        assert_eq!((0..10).filter(|_| budget.withdraw()).count(), 3, "a second later again");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_saved_is_gone_after_ten_seconds() {
        let budget = Budget::new(0.2, 0);
        (0..100).for_each(|_| budget.deposit());
        assert_eq!(budget.remaining(), 20);
        tokio::time::advance(Duration::from_millis(9_700)).await;
        assert_eq!(budget.remaining(), 20);
        tokio::time::advance(Duration::from_millis(400)).await;
        assert_eq!(budget.remaining(), 0);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(budget.remaining(), 0, "an hour of silence is no credit");
    }
}
