//! How much may be in flight, learned from how long backends take to begin an answer.
//!
//! After Netflix's Gradient2 (<https://github.com/Netflix/concurrency-limits>): the limit follows what was in flight times
//! the gradient, which is what an answer may take over what it took, plus some headroom to find out more. Generations
//! last for many windows, and backends vary by themselves, which asks for four changes.
//! - What counts is the delay of the luckiest of the latest answers, as in CoDel (RFC 8289) and BBR. A queue that stands
//!   delays even those; a backend that takes its time as it likes, or whose cache hits now and then, has prompt ones.
//! - A sample counts for what was in flight *when it entered*. Else a crowd that was let in under an old limit would
//!   press the new one down again and again, until it has drained.
//! - What already generates beside it is proof that so much fits, and the limit never goes below that.
//! - The more of the latest are slow, the slower the limit grows: the luckiest tell late that it was too much.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

const LEAST_GRADIENT: f64 = 0.5;
const SMOOTHING: f64 = 0.2;
/// A window with fewer samples weighs less.
const SAMPLES: f64 = 2.0;
/// So much of its headroom the limit grows by, and after so many windows without one slow answer by all of it.
const CAUTIOUS: f64 = 0.1;
const CLEAN: f64 = 20.0;
/// Answers older than this count only where there are hardly any newer ones.
const RECENT: Duration = Duration::from_secs(1);
const OLDEST: Duration = Duration::from_secs(10);
/// So many are enough to have lucky ones among them.
const ENOUGH: usize = 12;
/// One in so many is lucky.
const LUCKY_OF: usize = 6;
/// Of fewer nothing follows.
const FEWEST: usize = 8;
const MOST: usize = 128;

/// What one answer shows.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// What it took, what it would have taken without load, and what it may take; in seconds.
    pub took: f64,
    pub base: f64,
    pub allowed: f64,
    /// In flight when it entered, itself included.
    pub entered_at: f64,
    /// Of what is in flight now, how much generates.
    pub running: f64,
    pub in_flight: f64,
}

impl Sample {
    fn slow(&self) -> bool {
        self.took > self.allowed
    }
}

/// Between what the limit stays, and where it began; in units.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub least: f64,
    pub most: f64,
    pub initial: f64,
}

pub struct Limit {
    pub value: f64,
    /// Of the latest answers: 1 is no congestion.
    pub gradient: f64,
    latest: VecDeque<(Instant, Sample)>,
    /// Windows without a slow answer.
    clean: f64,
    window: Window,
    width: f64,
    relearn: f64,
}

struct Window {
    opened: Instant,
    count: usize,
    peak: f64,
}

impl Window {
    const fn open(now: Instant) -> Window {
        Window { opened: now, count: 0, peak: 0.0 }
    }
}

impl Limit {
    /// With a window of `width` seconds, and `relearn` seconds in which an untried limit doubles.
    pub const fn new(value: f64, width: f64, relearn: f64, now: Instant) -> Limit {
        let latest = VecDeque::new();
        Limit { value, gradient: 1.0, latest, clean: 0.0, window: Window::open(now), width, relearn }
    }

    /// Begins anew, as where another unit is counted from now on.
    pub fn restart(&mut self, value: f64, now: Instant) {
        *self = Limit::new(value, self.width, self.relearn, now);
    }

    /// Other windows from now on; what was learned stays.
    pub const fn retune(&mut self, width: f64, relearn: f64) {
        (self.width, self.relearn) = (width, relearn);
    }

    /// Takes a sample in, and moves the limit where that ends a window. `usual` is a usual request's units.
    pub fn learn(&mut self, sample: Sample, usual: f64, bounds: Bounds, now: Instant) {
        self.latest.push_back((now, sample));
        while let Some((seen, _)) = self.latest.front() {
            let age = now.saturating_duration_since(*seen);
            let spare = self.latest.len() > ENOUGH && age > RECENT;
            if !spare && age <= OLDEST && self.latest.len() <= MOST {
                break;
            }
            self.latest.pop_front();
        }
        self.window.count += 1;
        self.window.peak = self.window.peak.max(sample.in_flight);
        let passed = now.saturating_duration_since(self.window.opened).as_secs_f64();
        if passed >= self.width {
            self.close(passed, sample.running, usual, bounds);
            self.window = Window::open(now);
        }
    }

    /// The gradient of the luckiest sixth. Where so few came that none need be lucky, nothing is held against them.
    fn luckiest(&self) -> f64 {
        let count = self.latest.len();
        if count < FEWEST {
            return 1.0;
        }
        let samples = || self.latest.iter().map(|(_, sample)| sample);
        let mean = |of: fn(&Sample) -> f64| samples().map(of).sum::<f64>() / count as f64;
        // A queue delays all by as much, so who is lucky shows by the time and not by the ratio: those are long answers.
        let mut delays: Vec<f64> = samples().map(|sample| sample.took - sample.base).collect();
        let rank = (count / LUCKY_OF).saturating_sub(1);
        let (_, delay, _) = delays.select_nth_unstable_by(rank, f64::total_cmp);
        let took = mean(|sample| sample.base) + *delay;
        (mean(|sample| sample.allowed) / took.max(1e-9)).clamp(LEAST_GRADIENT, 1.0)
    }

    fn close(&mut self, passed: f64, running: f64, usual: f64, bounds: Bounds) {
        self.gradient = self.luckiest();
        let window = || self.latest.iter().rev().take(self.window.count).map(|(_, sample)| sample);
        let count = window().count() as f64;
        let clean = !window().any(Sample::slow);
        let share = (count / SAMPLES).min(1.0);
        let headroom = (self.value / usual).sqrt() * usual;
        if self.gradient < 1.0 {
            let proposed = |sample: &Sample| {
                let held_up = (sample.entered_at * self.gradient).max(running);
                if sample.slow() { held_up.min(self.value) } else { self.value }
            };
            let proposed = window().map(proposed).sum::<f64>() / count;
            // None where the gradient is at its least: one more would wait for as long as a slot is held.
            let headroom = headroom * (self.gradient - LEAST_GRADIENT) / (1.0 - LEAST_GRADIENT);
            let target = (proposed + headroom).min(self.value);
            // By factors, so that a limit far too high comes down as soon as one that is a little too high.
            self.value *= (target / self.value).powf(SMOOTHING * share);
        } else if self.window.peak * 2.0 >= self.value {
            let good = self.latest.iter().filter(|(_, sample)| !sample.slow()).count() as f64;
            let weight = CAUTIOUS + (1.0 - CAUTIOUS) * self.clean / CLEAN;
            self.value += headroom * weight * share * good / self.latest.len() as f64;
        } else if self.value < bounds.initial {
            // Nobody comes near it, so nobody knows whether it still holds.
            self.value = (self.value * (passed.min(1.0) / self.relearn).exp2()).min(bounds.initial);
        }
        self.clean = if clean { (self.clean + 1.0).min(CLEAN) } else { 0.0 };
        self.value = self.value.max(running).max(bounds.least).min(bounds.most);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const BOUNDS: Bounds = Bounds { least: 4.0, most: 1000.0, initial: 1000.0 };

    /// The limit after so many windows of three samples each.
    fn after(windows: u32, value: f64, sample: Sample) -> f64 {
        let mut now = Instant::now();
        let mut limit = Limit::new(value, 0.1, 1800.0, now);
        for _ in 0..windows {
            for _ in 0..3 {
                now += Duration::from_millis(34);
                limit.learn(sample, 1.0, BOUNDS, now);
            }
        }
        limit.value
    }

    const SLOW: Sample =
        Sample { took: 1.0, base: 0.05, allowed: 0.1, entered_at: 100.0, running: 0.0, in_flight: 100.0 };
    const GOOD: Sample = Sample { took: 0.05, ..SLOW };

    #[test]
    fn a_limit_far_too_high_comes_down_in_two_seconds() {
        let limit = after(20, 1000.0, SLOW);
        assert!((50.0..80.0).contains(&limit), "half of what was in flight, and headroom: {limit}");
    }

    #[test]
    fn a_crowd_from_before_does_not_press_it_down_again() {
        let limit = after(100, 60.0, Sample { entered_at: 500.0, ..SLOW });
        assert!((60.0..63.0).contains(&limit), "{limit}");
    }

    #[test]
    fn what_generates_fits() {
        let limit = after(100, 100.0, Sample { running: 90.0, ..SLOW });
        assert!((90.0..=101.0).contains(&limit), "{limit}");
    }

    #[test]
    fn it_grows_only_where_it_is_in_the_way() {
        assert!(after(10, 150.0, GOOD) > 170.0);
        let untried = after(10, 500.0, GOOD);
        assert!((500.0..501.0).contains(&untried), "{untried}");
    }

    #[test]
    fn a_slow_answer_among_many_is_noise() {
        let mut now = Instant::now();
        let mut limit = Limit::new(1000.0, 0.1, 1800.0, now);
        for count in 0..1000 {
            now += Duration::from_millis(50);
            limit.learn(if count % 5 == 0 { SLOW } else { GOOD }, 1.0, BOUNDS, now);
        }
        assert!(limit.value >= 999.0, "{}", limit.value);
    }
}
