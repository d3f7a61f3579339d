//! What came of the calls of the last seconds, in ten buckets that expire by themselves.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

const BUCKETS: usize = 10;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub good: u32,
    pub bad: u32,
    /// First tokens, and those of them that were slow.
    pub first_tokens: u32,
    pub slow: u32,
}

impl Counts {
    pub const fn calls(&self) -> u32 {
        self.good + self.bad
    }
}

#[derive(Clone, Debug)]
pub struct Window {
    bucket: Duration,
    buckets: [Counts; BUCKETS],
    sum: Counts,
    newest: u64,
    begun: Instant,
}

impl Window {
    pub fn new(span: Duration, now: Instant) -> Self {
        let bucket = (span / BUCKETS as u32).max(Duration::from_millis(1));
        Window { bucket, buckets: [Counts::default(); BUCKETS], sum: Counts::default(), newest: 0, begun: now }
    }

    /// Another span: what counts now goes on counting, as if it had all just been.
    pub fn refit(&mut self, span: Duration, now: Instant) {
        let counted = self.counts(now);
        let window = Window::new(span, now);
        if window.bucket != self.bucket {
            *self = window;
            self.add(now, counted);
        }
    }

    pub fn clear(&mut self) {
        self.buckets = [Counts::default(); BUCKETS];
        self.sum = Counts::default();
    }

    /// What was counted in the window that ends now.
    pub fn counts(&mut self, now: Instant) -> Counts {
        self.turn(now);
        self.sum
    }

    pub fn add(&mut self, now: Instant, counted: Counts) {
        self.turn(now);
        add(&mut self.buckets[self.newest as usize % BUCKETS], counted);
        add(&mut self.sum, counted);
    }

    fn turn(&mut self, now: Instant) {
        let number = (now.saturating_duration_since(self.begun).as_micros() / self.bucket.as_micros()) as u64;
        let gone = number.saturating_sub(self.newest).min(BUCKETS as u64);
        for old in 0..gone {
            let bucket = &mut self.buckets[(number - old) as usize % BUCKETS];
            self.sum.good -= bucket.good;
            self.sum.bad -= bucket.bad;
            self.sum.first_tokens -= bucket.first_tokens;
            self.sum.slow -= bucket.slow;
            *bucket = Counts::default();
        }
        self.newest = self.newest.max(number);
    }
}

fn add(to: &mut Counts, counted: Counts) {
    to.good += counted.good;
    to.bad += counted.bad;
    to.first_tokens += counted.first_tokens;
    to.slow += counted.slow;
}

/// Whether so many of all are, beyond chance, less than this ratio: the upper end of Wilson's score interval
/// (E. B. Wilson 1927) at three standard deviations. Ten calls of which three failed prove nothing.
pub fn is_below(good: u32, all: u32, ratio: f64) -> bool {
    const DEVIATIONS: f64 = 3.0;
    if all == 0 {
        return false;
    }
    let (all, share) = (f64::from(all), f64::from(good) / f64::from(all));
    let square = DEVIATIONS * DEVIATIONS;
    let middle = share + square / (2.0 * all);
    let margin = DEVIATIONS * (share * (1.0 - share) / all + square / (4.0 * all * all)).sqrt();
    (middle + margin) / (1.0 + square / all) < ratio
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_older_than_the_window_is_forgotten_by_itself() {
        let mut window = Window::new(Duration::from_secs(10), Instant::now());
        let bad = Counts { bad: 1, ..Counts::default() };
        for _ in 0..20 {
            window.add(Instant::now(), bad);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(window.counts(Instant::now()).bad, 9, "nine whole buckets, and the one that has just begun");
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(window.counts(Instant::now()).bad, 5);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(window.counts(Instant::now()), Counts::default());
    }

    #[test]
    fn a_few_faults_are_chance_and_many_are_not() {
        for (good, all, below) in [
            (7, 10, false),
            (5, 10, false),
            (4, 10, true),
            (10, 20, true),
            (78, 100, false),
            (60, 100, true),
            (0, 1, false),
        ] {
            assert_eq!(is_below(good, all, 0.8), below, "{good} of {all}");
        }
    }
}
