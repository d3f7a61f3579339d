//! Times to the first token, of late: their mean for choosing, their quantiles for hedging and for people.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::time::Instant;

/// The mean forgets half in this time, the quantiles all in twice this.
const HALF: Duration = Duration::from_secs(10);
const TURN: Duration = Duration::from_secs(60);
const LONGEST_MICROS: u64 = 3_600_000_000;

#[derive(Debug)]
pub struct FirstTokens(Mutex<State>);

#[derive(Debug)]
struct State {
    mean: f64,
    at: Instant,
    counted: u64,
    now: Histogram<u32>,
    before: Histogram<u32>,
    turned: Instant,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quantiles {
    pub count: u64,
    pub p50: Duration,
    pub p95: Duration,
    pub p99: Duration,
}

impl FirstTokens {
    pub fn new() -> Self {
        let now = Instant::now();
        let (first, second) = (histogram(), histogram());
        FirstTokens(Mutex::new(State { mean: 0.0, at: now, counted: 0, now: first, before: second, turned: now }))
    }

    pub fn record(&self, took: Duration) {
        let now = Instant::now();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.turn(now);
        state.add(took.as_secs_f64(), now);
        state.now.saturating_record((took.as_micros() as u64).max(1));
    }

    /// The mean in seconds; none before the first one.
    pub fn mean(&self) -> Option<f64> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (state.counted > 0).then_some(state.mean)
    }

    /// The mean as far as it still holds: what is old comes to be taken for the usual, so that a backend which was slow
    /// once is tried again.
    pub fn mean_or(&self, usual: f64) -> f64 {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.counted == 0 {
            return usual;
        }
        let holds = 0.5_f64.powf(state.at.elapsed().as_secs_f64() / HALF.as_secs_f64());
        state.mean * holds + usual * (1.0 - holds)
    }

    /// An answer was given up after so long without a first token: the next may take as long.
    pub fn waited(&self, took: Duration) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if took.as_secs_f64() > state.mean {
            state.add(took.as_secs_f64(), Instant::now());
        }
    }

    /// Of the last one or two minutes.
    pub fn quantiles(&self) -> Quantiles {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.turn(Instant::now());
        let mut all = state.now.clone();
        // Both have the same bounds, so this cannot fail.
        let _ = all.add(&state.before);
        let at = |quantile| Duration::from_micros(all.value_at_quantile(quantile));
        Quantiles { count: all.len(), p50: at(0.5), p95: at(0.95), p99: at(0.99) }
    }
}

impl State {
    fn add(&mut self, seconds: f64, now: Instant) {
        let age = (now - self.at).as_secs_f64() / HALF.as_secs_f64();
        // The weight of a value is at least a tenth, so that a busy backend's mean moves, too.
        let keeps = if self.counted == 0 { 0.0 } else { 0.5_f64.powf(age).min(0.9) };
        self.mean = self.mean * keeps + seconds * (1.0 - keeps);
        (self.at, self.counted) = (now, self.counted + 1);
    }

    fn turn(&mut self, now: Instant) {
        let age = now - self.turned;
        if age < TURN {
            return;
        }
        std::mem::swap(&mut self.now, &mut self.before);
        self.now.reset();
        if age >= TURN * 2 {
            self.before.reset();
        }
        self.turned = now;
    }
}

/// From a microsecond to an hour, with two digits.
fn histogram() -> Histogram<u32> {
    match Histogram::new_with_bounds(1, LONGEST_MICROS, 2) {
        Ok(histogram) => histogram,
        Err(_) => unreachable!("the bounds are constants"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_slow_two_minutes_ago_is_forgotten() {
        let first_tokens = FirstTokens::new();
        for _ in 0..100 {
            first_tokens.record(Duration::from_secs(5));
        }
        assert!(first_tokens.quantiles().p95 >= Duration::from_secs(5));
        tokio::time::advance(Duration::from_secs(125)).await;
        assert_eq!(first_tokens.quantiles().count, 0);
        first_tokens.record(Duration::from_millis(100));
        assert!(first_tokens.mean().unwrap() < 0.11, "{:?}", first_tokens.mean());
        first_tokens.record(Duration::MAX);
        assert_eq!(first_tokens.quantiles().count, 2, "what is too long for the scale counts at its end");
    }
}
