//! Which calls are looked at closely: some forty a second, however many there are.
//!
//! Each call's odds are fixed before the call is known: forty in as many as came until now, or as came in the
//! second before if that is more. A call that is taken counts for as many as its odds say (one over them), so that
//! sums over the taken ones are expected to be what sums over all would be (Horvitz and Thompson, "A
//! Generalization of Sampling Without Replacement From a Finite Universe", 1952).

use std::time::Duration;

use tokio::time::Instant;

const PER_SECOND: u64 = 40;
const SECOND: Duration = Duration::from_secs(1);

pub struct Sampler {
    begun: Instant,
    seen: u64,
    seen_before: u64,
    random: fastrand::Rng,
}

impl Sampler {
    pub fn new(random: fastrand::Rng) -> Self {
        Sampler { begun: Instant::now(), seen: 0, seen_before: 0, random }
    }

    /// As how many calls this one counts, if it is taken.
    pub fn pick(&mut self, at: Instant) -> Option<f64> {
        let past = at.saturating_duration_since(self.begun);
        if past >= SECOND {
            self.seen_before = if past < 2 * SECOND { self.seen } else { 0 };
            (self.begun, self.seen) = (at, 0);
        }
        self.seen += 1;
        let among = self.seen.max(self.seen_before);
        if among <= PER_SECOND {
            return Some(1.0);
        }
        (self.random.u64(..among) < PER_SECOND).then_some(among as f64 / PER_SECOND as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn few_calls_are_all_taken() {
        let mut sampler = Sampler::new(fastrand::Rng::with_seed(1));
        for _ in 0..400 {
            assert_eq!(sampler.pick(Instant::now()), Some(1.0));
            tokio::time::advance(Duration::from_millis(30)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_calls_are_thinned_and_stand_for_all_whatever_the_rate_does() {
        let mut sampler = Sampler::new(fastrand::Rng::with_seed(2));
        let (mut calls, mut taken, mut estimate, mut odd_ones) = (0_u64, 0_u64, 0.0, 0.0);
        for second in 0..600_u32 {
            let rate = [100, 3_000, 20, 500][second as usize % 4];
            for call in 0..rate {
                calls += 1;
                if let Some(weight) = sampler.pick(Instant::now()) {
                    taken += 1;
                    estimate += weight;
                    odd_ones += if call % 10 == 0 { weight } else { 0.0 };
                }
                tokio::time::advance(SECOND / rate).await;
            }
        }
        let close = |estimate: f64, truth: f64| (estimate / truth - 1.0).abs() < 0.05;
        assert!(close(estimate, calls as f64), "{estimate} for {calls}");
        assert!(close(odd_ones, calls as f64 / 10.0), "{odd_ones} for a tenth of {calls}");
        assert!(taken < 600 * 100, "{taken} in 600 seconds");
    }
}
